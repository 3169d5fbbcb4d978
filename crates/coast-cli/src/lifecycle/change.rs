//! The commands that change an instance, and the one that waits for its edits.

use std::path::Path;

use coast_instance::{Insist, LifecycleError, Name, Record, RmOptions, RunOptions};

use super::{Scene, refuse, refuse_with};
use crate::args::connection::HelperArgs;
use crate::args::lifecycle::{
    AssignArgs, FlushArgs, FollowArgs, InsistArg, RmArgs, RunArgs, StopArgs, TellingArgs,
};
use crate::output::{Detail, Form, Itemizer, Manner, Narrator, OutputOptions, ProgressWish, ask, narrator};

/// The exit code when nobody said that something may be removed.
const NOT_CONFIRMED: u8 = 1;

/// The exit code when edits that were waited for did not arrive.
const NOT_CARRIED: u8 = 23;

impl From<&InsistArg> for Insist {
    fn from(argument: &InsistArg) -> Self {
        if argument.require_continuous { Self::OnContinuous } else { Self::No }
    }
}

fn narrator_for(telling: &TellingArgs, worktree: &Path) -> Box<dyn Narrator> {
    narrator(OutputOptions {
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
        transfer_root: worktree.to_owned(),
    })
}

/// Carries out a command that leaves an instance, and tells its end.
fn carry_out(
    helper: Option<&HelperArgs>,
    telling: &TellingArgs,
    command: impl FnOnce(&Scene, &dyn Narrator) -> Result<Record, LifecycleError>,
) -> anyhow::Result<u8> {
    let scene = match Scene::set(helper)? {
        Ok(scene) => scene,
        Err(error) => return Ok(refuse(&error, telling.json)),
    };
    let narrator = narrator_for(telling, &scene.project.root);
    Ok(match command(&scene, &*narrator) {
        Ok(record) => {
            narrator.done(Some(&record));
            0
        }
        Err(error) => {
            narrator.failed(&error.to_string(), error.exit_code());
            error.exit_code()
        }
    })
}

/// `coast run`
pub(crate) fn run(args: RunArgs) -> anyhow::Result<u8> {
    carry_out(Some(&args.helper), &args.telling, |scene, narrator| {
        let worktree = args.worktree.as_deref().map(|wanted| scene.worktree(wanted)).transpose()?;
        let options = RunOptions {
            worktree,
            remote: args.remote.clone(),
            image: args.image.clone(),
            adopt: args.adopt,
            insist: Insist::from(&args.insist),
        };
        scene.lifecycle(narrator).run(&args.instance, options)
    })
}

/// `coast assign`
pub(crate) fn assign(args: AssignArgs) -> anyhow::Result<u8> {
    carry_out(Some(&args.helper), &args.telling, |scene, narrator| {
        let worktree = scene.worktree(&args.worktree)?;
        scene.lifecycle(narrator).assign(&args.instance, &worktree, Insist::from(&args.insist))
    })
}

/// `coast unassign`
pub(crate) fn unassign(args: FollowArgs) -> anyhow::Result<u8> {
    carry_out(Some(&args.helper), &args.telling, |scene, narrator| {
        scene.lifecycle(narrator).unassign(&args.instance, Insist::from(&args.insist))
    })
}

/// `coast start`
pub(crate) fn start(args: FollowArgs) -> anyhow::Result<u8> {
    carry_out(Some(&args.helper), &args.telling, |scene, narrator| {
        scene.lifecycle(narrator).start(&args.instance, Insist::from(&args.insist))
    })
}

/// `coast stop`
pub(crate) fn stop(args: StopArgs) -> anyhow::Result<u8> {
    carry_out(None, &args.telling, |scene, narrator| scene.lifecycle(narrator).stop(&args.instance))
}

/// `coast rm`
pub(crate) fn rm(args: RmArgs) -> anyhow::Result<u8> {
    let json = args.telling.json;
    let scene = match Scene::set(Some(&args.helper))? {
        Ok(scene) => scene,
        Err(error) => return Ok(refuse(&error, json)),
    };
    let narrator = narrator_for(&args.telling, &scene.project.root);
    let lifecycle = scene.lifecycle(&*narrator);
    if !args.yes && !args.keep_workspace {
        let record = match lifecycle.record(&args.instance) {
            Ok(record) => record,
            Err(error) => return Ok(refuse(&error, json)),
        };
        match confirmed(&record, &args.instance, json) {
            Some(true) => {}
            Some(false) => return Ok(refuse_with("nothing was removed", NOT_CONFIRMED, json)),
            None => {
                let text = format!(
                    "nobody is here to be asked whether {}:{} may be removed; say so with -y, or leave it there with --keep-workspace",
                    record.remote, record.remote_path
                );
                return Ok(refuse_with(&text, NOT_CONFIRMED, json));
            }
        }
    }
    let options = RmOptions { keep_workspace: args.keep_workspace, force: args.force };
    Ok(match lifecycle.rm(&args.instance, options) {
        Ok(()) => {
            narrator.done(None);
            0
        }
        Err(error) => {
            narrator.failed(&error.to_string(), error.exit_code());
            error.exit_code()
        }
    })
}

/// Whether the workspace may be removed; none when there is nobody to ask.
fn confirmed(record: &Record, instance: &Name, json: bool) -> Option<bool> {
    if json {
        return None;
    }
    let question = format!(
        "Remove {instance} with everything at {}:{}, also what only exists there (yes/no)? ",
        record.remote, record.remote_path
    );
    ask(&question).map(|answer| matches!(answer.trim(), "yes" | "y"))
}

/// `coast flush`
pub(crate) fn flush(args: FlushArgs) -> anyhow::Result<u8> {
    let scene = match Scene::set(None)? {
        Ok(scene) => scene,
        Err(error) => return Ok(refuse(&error, args.telling.json)),
    };
    let narrator = narrator_for(&args.telling, &scene.project.root);
    Ok(match scene.lifecycle(&*narrator).flush(&args.instance) {
        Ok(status) => {
            let stuck = !status.conflicts.is_empty() || !status.problems.is_empty();
            let exit_code = if stuck { NOT_CARRIED } else { 0 };
            narrator.flushed(&status, exit_code);
            exit_code
        }
        Err(error) => {
            narrator.failed(&error.to_string(), error.exit_code());
            error.exit_code()
        }
    })
}
