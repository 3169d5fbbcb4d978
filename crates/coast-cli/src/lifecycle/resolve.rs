//! `coast resolve`.

use std::os::unix::ffi::OsStringExt;

use super::change::{carried_code, narrator_for, tell_without_settings};
use super::{Chosen, Scene};
use crate::args::resolve::ResolveArgs;

/// `coast resolve`
pub(crate) fn resolve(args: &ResolveArgs) -> anyhow::Result<u8> {
    let chosen = Chosen::by(&args.project, &args.instance);
    Scene::with(&chosen, None, args.telling.json, |scene| {
        let narrator = narrator_for(&args.telling, scene);
        tell_without_settings(scene, &*narrator);
        let paths: Vec<Vec<u8>> = args.paths.iter().map(|path| path.clone().into_vec()).collect();
        let resolved = scene.lifecycle(&*narrator).resolve(&args.instance, &paths, args.take.into());
        Ok(match resolved {
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
