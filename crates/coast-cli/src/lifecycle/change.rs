//! The commands that change an instance, and `coast flush`.

use coast_instance::{
    ContinuousStatus, Directories, FollowOptions, Insist, LifecycleError, LifecycleEvent, Name, Record,
    RmOptions, RunOptions, Trust,
};

use super::{Chosen, Scene, refuse, refuse_with};
use crate::args::connection::HelperArgs;
use crate::args::lifecycle::{
    AnyDirectoryArg, AssignArgs, FlushArgs, FollowArgs, ForceArg, ImageArg, InsistArg, RmArgs, RunArgs,
    StartArgs, StopArgs, TellingArgs, TrashArg, TrustArg,
};
use crate::output::{
    Detail, Form, Itemizer, Manner, Narrator, OutputOptions, ProgressWish, Terminal, narrator,
};

/// The exit code when the removal was not confirmed.
const NOT_CONFIRMED: u8 = 1;

/// The exit code when edits did not arrive.
const NOT_CARRIED: u8 = 23;

impl From<&InsistArg> for Insist {
    fn from(argument: &InsistArg) -> Self {
        if argument.require_continuous { Self::OnContinuous } else { Self::No }
    }
}

fn follow_options(
    insist: &InsistArg,
    force: &ForceArg,
    trash: &TrashArg,
    image: &ImageArg,
    trust: &TrustArg,
) -> FollowOptions {
    FollowOptions {
        insist: Insist::from(insist),
        force: force.force,
        no_trash: trash.no_trash,
        allow_mass_deletion: false,
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
        form: if telling.json { Form::Json } else { Form::Text },
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
fn tell_without_settings(scene: &Scene, narrator: &dyn Narrator) {
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
        let narrator = narrator_for(telling, scene);
        Ok(match command(scene, &*narrator) {
            Ok(record) => {
                narrator.done(Some(&record));
                record.exit_code()
            }
            Err(error) => {
                narrator.failed(&error.to_string(), error.exit_code());
                error.exit_code()
            }
        })
    })
}

/// `coast run`
pub(crate) fn run(args: RunArgs) -> anyhow::Result<u8> {
    carry_out(&Chosen::Here, Some(&args.helper), &args.telling, |scene, narrator| {
        let directories = Directories::from(&args.any_directory);
        let worktree = args.worktree.as_deref();
        let worktree = worktree.map(|wanted| scene.worktree(wanted, directories, narrator)).transpose()?;
        let options = RunOptions {
            worktree,
            remote: args.remote.clone(),
            adopt: args.adopt,
            follow: follow_options(&args.insist, &args.force, &args.trash, &args.image, &args.trust),
        };
        scene.lifecycle(narrator).run(&args.instance, options)
    })
}

/// `coast assign`
pub(crate) fn assign(args: AssignArgs) -> anyhow::Result<u8> {
    let chosen = Chosen::by(&args.project, &args.instance);
    carry_out(&chosen, Some(&args.helper), &args.telling, |scene, narrator| {
        let worktree = scene.worktree(&args.worktree, Directories::from(&args.any_directory), narrator)?;
        scene.lifecycle(narrator).assign(
            &args.instance,
            &worktree,
            follow_options(&args.insist, &args.force, &args.trash, &args.image, &args.trust),
        )
    })
}

/// `coast unassign`
pub(crate) fn unassign(args: FollowArgs) -> anyhow::Result<u8> {
    let chosen = Chosen::by(&args.project, &args.instance);
    carry_out(&chosen, Some(&args.helper), &args.telling, |scene, narrator| {
        scene.lifecycle(narrator).unassign(
            &args.instance,
            follow_options(&args.insist, &args.force, &args.trash, &args.image, &args.trust),
        )
    })
}

/// `coast start`
pub(crate) fn start(args: StartArgs) -> anyhow::Result<u8> {
    let StartArgs { follow: args, allow_mass_deletion } = args;
    let chosen = Chosen::by(&args.project, &args.instance);
    carry_out(&chosen, Some(&args.helper), &args.telling, |scene, narrator| {
        let options = follow_options(&args.insist, &args.force, &args.trash, &args.image, &args.trust);
        let options = FollowOptions { allow_mass_deletion, ..options };
        scene.lifecycle(narrator).start(&args.instance, options)
    })
}

/// `coast stop`
pub(crate) fn stop(args: StopArgs) -> anyhow::Result<u8> {
    let chosen = Chosen::by(&args.project, &args.instance);
    carry_out(&chosen, None, &args.telling, |scene, narrator| {
        tell_without_settings(scene, narrator);
        scene.lifecycle(narrator).stop(&args.instance)
    })
}

/// `coast rm`
pub(crate) fn rm(args: RmArgs) -> anyhow::Result<u8> {
    let chosen = Chosen::by(&args.project, &args.instance);
    Scene::with(&chosen, Some(&args.helper), args.telling.json, |scene| Ok(rm_in(scene, &args)))
}

fn rm_in(scene: &Scene, args: &RmArgs) -> u8 {
    let json = args.telling.json;
    let narrator = narrator_for(&args.telling, scene);
    tell_without_settings(scene, &*narrator);
    let lifecycle = scene.lifecycle(&*narrator);
    if !args.yes && !args.keep_workspace {
        let record = match lifecycle.record(&args.instance) {
            Ok(record) => record,
            Err(error) => return refuse(&error, json),
        };
        match confirmed(scene, &record, &args.instance, json) {
            Some(true) => {}
            Some(false) => return refuse_with("nothing was removed", NOT_CONFIRMED, json),
            None => {
                let text = format!(
                    "nobody can be asked whether {}:{} may be removed; confirm the removal with -y, or leave the directory there with \
                     --keep-workspace",
                    record.remote, record.remote_path
                );
                return refuse_with(&text, NOT_CONFIRMED, json);
            }
        }
    }
    let options = RmOptions { keep_workspace: args.keep_workspace, force: args.force };
    match lifecycle.rm(&args.instance, options) {
        Ok(()) => {
            narrator.done(None);
            0
        }
        Err(error) => {
            narrator.failed(&error.to_string(), error.exit_code());
            error.exit_code()
        }
    }
}

/// Whether the user confirms the removal; `None` if nobody can be asked.
fn confirmed(scene: &Scene, record: &Record, instance: &Name, json: bool) -> Option<bool> {
    if json {
        return None;
    }
    let question = format!(
        "Remove {instance} with everything in {}:{}, including files that exist only there (yes/no)? ",
        record.remote, record.remote_path
    );
    Terminal::new(&scene.cancel).ask(&question).map(|answer| matches!(answer.trim(), "yes" | "y"))
}

/// The exit code of a command that has waited until every edit has arrived.
pub(super) fn carried_code(status: &ContinuousStatus) -> u8 {
    let all_arrived = status.conflicts.is_empty() && status.problems.is_empty() && status.private.is_empty();
    if all_arrived { 0 } else { NOT_CARRIED }
}

/// `coast flush`
pub(crate) fn flush(args: FlushArgs) -> anyhow::Result<u8> {
    let chosen = Chosen::by(&args.project, &args.instance);
    Scene::with(&chosen, None, args.telling.json, |scene| {
        let narrator = narrator_for(&args.telling, scene);
        tell_without_settings(scene, &*narrator);
        narrator.flushing();
        Ok(match scene.lifecycle(&*narrator).flush(&args.instance) {
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
