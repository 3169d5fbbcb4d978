//! The commands that change an instance, and `coast flush`.

use std::time::Duration;

use coast_instance::{
    CoastfileChoice, ContinuousStatus, Directories, FollowOptions, Insist, LifecycleError, LifecycleEvent,
    Name, Record, RmOptions, RunOptions, Step, Trust, VoidObserver,
};
use coast_sync::Cancel;

use super::confirmation::Confirmation;
use super::explain::explain;
use super::time_limit::TimeLimit;
use super::whole_project::{Ended, WholeProject};
use super::{Chosen, Scene, refuse};
use crate::args::cache::CacheArgs;
use crate::args::connection::HelperArgs;
use crate::args::lifecycle::{
    AnyDirectoryArg, AssignArgs, FlushArgs, ForceArg, ImageArg, InsistArg, ProjectArg, RmArgs, RunArgs,
    StartArgs, StopArgs, TellingArgs, TrashArg, TrustArg, UnassignArgs,
};
use crate::args::which::WhichArgs;
use crate::exit_code::{PARTIAL, TIMED_OUT};
use crate::output::{
    Detail, Form, Itemizer, Manner, Narrator, OutputOptions, ProgressWish, counted, narrator,
};

impl From<&InsistArg> for Insist {
    fn from(argument: &InsistArg) -> Self {
        if argument.require_continuous { Self::OnContinuous } else { Self::No }
    }
}

pub(super) fn follow_options(
    insist: &InsistArg,
    force: &ForceArg,
    trash: &TrashArg,
    image: &ImageArg,
    trust: &TrustArg,
    cache: &CacheArgs,
) -> FollowOptions {
    FollowOptions {
        insist: Insist::from(insist),
        force: force.force,
        no_trash: trash.no_trash,
        allow_mass_deletion: false,
        content_sources: cache.content_sources(),
        image: image.image.clone(),
        trust: if trust.trust { Trust::Given } else { Trust::Ask },
    }
}

impl From<&AnyDirectoryArg> for Directories {
    fn from(argument: &AnyDirectoryArg) -> Self {
        if argument.any_directory { Self::Any } else { Self::OfProject }
    }
}

pub(super) fn narrator_for(telling: &TellingArgs, scene: &Scene) -> Box<dyn Narrator> {
    let options = OutputOptions {
        manner: Manner::Push,
        form: Form::of(telling.json),
        detail: match telling.verbose {
            _ if telling.quiet => Detail::Problems,
            0 => Detail::Problems,
            1 => Detail::Names,
            _ => Detail::Itemized,
        },
        quiet: telling.quiet,
        stats: false,
        dry_run: false,
        progress: match (telling.quiet, telling.json) {
            (true, _) => ProgressWish::Never,
            (false, true) => ProgressWish::Always,
            (false, false) => ProgressWish::OnTerminal,
        },
        itemizer: Itemizer { remote: true, checksum: false },
        transfer_root: scene.root().to_owned(),
        restorable: None,
    };
    narrator(options, &scene.cancel)
}

/// Warns if the settings of the project cannot be used. The command needs only the record.
pub(super) fn tell_without_settings(scene: &Scene, narrator: &dyn Narrator) {
    if let Some(why) = scene.scope.warning() {
        narrator.lifecycle_event(&LifecycleEvent::WithoutSettings { why });
    }
}

/// Carries out a command that leaves an instance, and prints the outcome.
fn carry_out(
    chosen: &Chosen<'_>,
    helper: Option<&HelperArgs>,
    telling: &TellingArgs,
    command: impl FnOnce(&Scene, &dyn Narrator) -> Result<Record, LifecycleError>,
) -> anyhow::Result<u8> {
    Scene::with(chosen, helper, telling.json, |scene| {
        Ok(carry_out_in(scene, telling, chosen.instance(), |narrator| command(scene, narrator)).exit_code())
    })
}

fn carry_out_in(
    scene: &Scene,
    telling: &TellingArgs,
    instance: &Name,
    command: impl FnOnce(&dyn Narrator) -> Result<Record, LifecycleError>,
) -> Ended {
    let narrator = narrator_for(telling, scene);
    let ended = command(&*narrator);
    scene.daemon.tell_changed();
    match ended {
        Ok(record) => {
            narrator.done(Some(&record), &scene.scope.addressed(&record.instance));
            Ended::With(record.exit_code())
        }
        Err(error) => tell_failed(scene, &*narrator, instance, &error),
    }
}

fn tell_failed(scene: &Scene, narrator: &dyn Narrator, instance: &Name, error: &LifecycleError) -> Ended {
    let code = error.exit_code();
    let interrupted = match error {
        LifecycleError::Interrupted { at: Some(step) } => interrupted_words(scene, instance, *step),
        _ => None,
    };
    narrator.failed(&interrupted.unwrap_or_else(|| error.to_string()), code);
    match error {
        LifecycleError::Distrusted => Ended::ForAll(code),
        _ => Ended::With(code),
    }
}

/// Says at which step a command was interrupted, and with which command to go on. `None` if its record does not tell that.
fn interrupted_words(scene: &Scene, instance: &Name, step: Step) -> Option<String> {
    let record = scene.lifecycle(&VoidObserver).record(instance).ok()?;
    let ways_on = record.ways_on(&scene.scope.addressed(instance))?;
    Some(format!("interrupted at the step {}; {ways_on}", step.as_str()))
}

/// Carries out a command on one instance, or on all instances of a project. `done` is the participle of the command.
fn on_each(
    (which, project): (&WhichArgs, &ProjectArg),
    coastfile: CoastfileChoice,
    helper: Option<&HelperArgs>,
    telling: &TellingArgs,
    done: &str,
    command: impl Fn(&Scene, &Name) -> Ended,
) -> anyhow::Result<u8> {
    match &which.instance {
        Some(instance) => {
            let chosen = Chosen::typed(project, instance, coastfile);
            Scene::with(&chosen, helper, telling.json, |scene| Ok(command(scene, instance).exit_code()))
        }
        None => match WholeProject::find(project, telling)? {
            Ok(whole) => whole.carry_out(helper, &coastfile, done, command),
            Err(error) => Ok(refuse(&error, telling.json)),
        },
    }
}

/// `coast run`
pub(crate) fn run(args: RunArgs) -> anyhow::Result<u8> {
    let chosen = Chosen::Here { instance: &args.instance, coastfile: args.kind.choice() };
    carry_out(&chosen, Some(&args.helper), &args.telling, |scene, narrator| {
        let directories = Directories::from(&args.any_directory);
        let worktree = args.worktree.as_deref();
        let worktree = worktree.map(|wanted| scene.worktree(wanted, directories, narrator)).transpose()?;
        let options = RunOptions {
            worktree,
            remote: args.remote.clone(),
            adopt: args.adopt,
            follow: follow_options(
                &args.insist,
                &args.force,
                &args.trash,
                &args.image,
                &args.trust,
                &args.cache,
            ),
        };
        scene.lifecycle(narrator).run(&args.instance, options)
    })
}

/// `coast assign`
pub(crate) fn assign(args: AssignArgs) -> anyhow::Result<u8> {
    if args.explain {
        return explain(&args);
    }
    let chosen = Chosen::typed(&args.project, &args.instance, args.kind.choice());
    carry_out(&chosen, Some(&args.helper), &args.telling, |scene, narrator| {
        let worktree = scene.worktree(&args.worktree, Directories::from(&args.any_directory), narrator)?;
        scene.lifecycle(narrator).assign(
            &args.instance,
            &worktree,
            follow_options(&args.insist, &args.force, &args.trash, &args.image, &args.trust, &args.cache),
        )
    })
}

/// `coast unassign`
pub(crate) fn unassign(args: UnassignArgs) -> anyhow::Result<u8> {
    let UnassignArgs { instance, follow: args } = args;
    let chosen = Chosen::typed(&args.project, &instance, args.kind.choice());
    carry_out(&chosen, Some(&args.helper), &args.telling, |scene, narrator| {
        scene.lifecycle(narrator).unassign(
            &instance,
            follow_options(&args.insist, &args.force, &args.trash, &args.image, &args.trust, &args.cache),
        )
    })
}

/// `coast start`
pub(crate) fn start(args: StartArgs) -> anyhow::Result<u8> {
    let StartArgs { which, follow: args, allow_mass_deletion } = args;
    let options =
        follow_options(&args.insist, &args.force, &args.trash, &args.image, &args.trust, &args.cache);
    let options = FollowOptions { allow_mass_deletion, ..options };
    let telling = &args.telling;
    on_each(
        (&which, &args.project),
        args.kind.choice(),
        Some(&args.helper),
        telling,
        "started",
        |scene, instance| {
            carry_out_in(scene, telling, instance, |narrator| {
                scene.lifecycle(narrator).start(instance, options.clone())
            })
        },
    )
}

/// `coast stop`
pub(crate) fn stop(args: StopArgs) -> anyhow::Result<u8> {
    on_each(
        (&args.which, &args.project),
        CoastfileChoice::Remembered,
        None,
        &args.telling,
        "stopped",
        |scene, instance| {
            carry_out_in(scene, &args.telling, instance, |narrator| {
                tell_without_settings(scene, narrator);
                scene.lifecycle(narrator).stop(instance)
            })
        },
    )
}

/// `coast rm`
pub(crate) fn rm(args: RmArgs) -> anyhow::Result<u8> {
    let json = args.telling.json;
    let Some(instance) = &args.which.instance else { return rm_all(&args) };
    Scene::with(&Chosen::by(&args.project, instance), Some(&args.helper), json, |scene| {
        if !args.yes && !args.keep_workspace {
            let record = match scene.lifecycle(&VoidObserver).record(instance) {
                Ok(record) => record,
                Err(error) => return Ok(refuse(&error, json)),
            };
            let place = format!("{}:{}", record.remote, record.remote_path);
            let question = format!("Remove {instance} with everything in {place}");
            if let Err(code) = confirm(&question, &place, &scene.cancel, json) {
                return Ok(code);
            }
        }
        Ok(rm_in(scene, &args, instance).exit_code())
    })
}

/// `coast rm --all`
fn rm_all(args: &RmArgs) -> anyhow::Result<u8> {
    let json = args.telling.json;
    let mut whole = match WholeProject::find(&args.project, &args.telling)? {
        Ok(whole) => whole,
        Err(error) => return Ok(refuse(&error, json)),
    };
    if args.yes && args.project.project.is_none() {
        whole.leave_lost();
    }
    if !args.yes && !args.keep_workspace && !whole.instances.is_empty() {
        let named = |before: &str, between: &str| {
            let instances = whole.instances.iter().map(|instance| {
                let place = instance.place.as_deref().unwrap_or("its record does not tell the workspace");
                let lost = instance
                    .lost_root
                    .as_ref()
                    .map(|root| format!(", made in {}, which is gone", root.display()));
                format!("{before}{} ({place}{})", whole.name(instance), lost.unwrap_or_default())
            });
            instances.collect::<Vec<_>>().join(between)
        };
        let question =
            format!("Remove these instances:\n{}\nwith everything in these places", named("  ", "\n"));
        let what = named("", ", ");
        if let Err(code) = confirm(&question, &what, &whole.cancel, json) {
            return Ok(code);
        }
    }
    whole.carry_out(Some(&args.helper), &CoastfileChoice::Remembered, "removed", |scene, instance| {
        rm_in(scene, args, instance)
    })
}

fn rm_in(scene: &Scene, args: &RmArgs, instance: &Name) -> Ended {
    let narrator = narrator_for(&args.telling, scene);
    tell_without_settings(scene, &*narrator);
    let options = RmOptions { keep_workspace: args.keep_workspace, force: args.force };
    let removed = scene.lifecycle(&*narrator).rm(instance, options);
    scene.daemon.tell_changed();
    match removed {
        Ok(()) => {
            narrator.done(None, &scene.scope.addressed(instance));
            Ended::With(0)
        }
        Err(error) => tell_failed(scene, &*narrator, instance, &error),
    }
}

/// Asks the user whether `what` may be removed. If not, or if nobody can be asked, that is printed, and the exit code returned.
fn confirm(question: &str, what: &str, cancel: &Cancel, json: bool) -> Result<(), u8> {
    let question = format!("{question}, including files that exist only there");
    let nobody = format!(
        "nobody can be asked whether {what} may be removed; confirm the removal with -y, or leave what is on the remote with \
         --keep-workspace"
    );
    let confirmation = Confirmation { question: &question, refused: "nothing was removed", nobody: &nobody };
    confirmation.ask(cancel, Form::of(json))
}

/// The exit code of a command that has waited until every edit has arrived.
pub(super) fn carried_code(status: &ContinuousStatus) -> u8 {
    let all_arrived = status.conflicts.is_empty() && status.problems.is_empty() && status.private.is_empty();
    if all_arrived { 0 } else { PARTIAL }
}

/// `coast flush`
pub(crate) fn flush(args: FlushArgs) -> anyhow::Result<u8> {
    let chosen = Chosen::by(&args.project, &args.instance);
    Scene::with(&chosen, None, args.telling.json, |scene| {
        let narrator = narrator_for(&args.telling, scene);
        tell_without_settings(scene, &*narrator);
        narrator.flushing();
        let limit = args.timeout.map(|seconds| TimeLimit::new(Duration::from_secs(seconds), &scene.cancel));
        let flushed = scene.lifecycle(&*narrator).flush(&args.instance);
        Ok(match flushed {
            Err(LifecycleError::Interrupted { .. }) if limit.as_ref().is_some_and(TimeLimit::is_over) => {
                let text = format!(
                    "not every edit has arrived within {}; what is on its way: coast status {}",
                    counted(args.timeout.unwrap_or_default(), "second", "seconds"),
                    scene.scope.addressed(&args.instance)
                );
                narrator.failed(&text, TIMED_OUT);
                TIMED_OUT
            }
            Ok(status) => {
                let exit_code = carried_code(&status);
                narrator.flushed(&status, exit_code);
                exit_code
            }
            Err(error) => {
                narrator.failed(&error.to_string(), error.exit_code());
                error.exit_code()
            }
        })
    })
}
