//! `coast resolve`.

use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStringExt;

use coast_instance::{Check, Side, VoidObserver};

use super::change::{narrator_for, tell_without_settings};
use super::confirmation::Confirmation;
use super::{Chosen, Scene};
use crate::args::resolve::ResolveArgs;
use crate::exit_code::PARTIAL;
use crate::output::{Form, counted};

/// `coast resolve`
pub(crate) fn resolve(args: &ResolveArgs) -> anyhow::Result<u8> {
    let chosen = Chosen::by(&args.project, &args.instance);
    Scene::with(&chosen, None, args.telling.json, |scene| {
        let narrator = narrator_for(&args.telling, scene);
        tell_without_settings(scene, &*narrator);
        let take = Side::from(args.take);
        // A script has named the side, and has nobody to ask.
        let asks = take == Side::Remote && args.paths.is_empty() && !args.yes && io::stderr().is_terminal();
        if asks {
            match confirm(scene, args) {
                Ok(()) => {}
                Err(code) => return Ok(code),
            }
        }
        let paths: Vec<Vec<u8>> = args.paths.iter().map(|path| path.clone().into_vec()).collect();
        Ok(match scene.lifecycle(&*narrator).resolve(&args.instance, &paths, take) {
            Ok(resolution) => {
                let exit_code = if resolution.left == 0 { 0 } else { PARTIAL };
                narrator.resolved(&resolution, take, &scene.scope.addressed(&args.instance), exit_code);
                exit_code
            }
            Err(error) => {
                narrator.failed(&error.to_string(), error.exit_code());
                error.exit_code()
            }
        })
    })
}

/// Asks whether the remote may replace everything that is in conflict: nothing keeps what the worktree has there. An instance without
/// conflicts needs no answer, and one that cannot be asked is refused later.
fn confirm(scene: &Scene, args: &ResolveArgs) -> Result<(), u8> {
    let status = scene.lifecycle(&VoidObserver).status(&args.instance, Check::No).ok();
    let session = status.and_then(|status| status.continuous?.ok());
    let count = session.map_or(0, |session| session.conflicts.len() as u64 + session.more_conflicts);
    if count == 0 {
        return Ok(());
    }
    let question = format!(
        "Replace {} of the worktree by what the remote has; the content here is lost",
        counted(count, "entry", "entries")
    );
    let confirmation = Confirmation {
        question: &question,
        refused: "nothing was replaced",
        nobody: "nobody can be asked whether every conflict may be replaced in the worktree; name the paths, or add -y",
    };
    confirmation.ask(&scene.cancel, Form::of(args.telling.json))
}
