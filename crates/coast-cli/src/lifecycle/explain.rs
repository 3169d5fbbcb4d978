//! `coast assign --explain`.

use coast_instance::{Directories, LifecycleError};

use super::change::follow_options;
use super::{Chosen, Scene, println_json, refuse};
use crate::args::lifecycle::AssignArgs;
use crate::output::{ExplanationObject, Form, Lines, OutputOptions, explanation_lines, narrator};

/// Shows what `coast assign` would do with these arguments.
pub(super) fn explain(args: &AssignArgs) -> anyhow::Result<u8> {
    let json = args.telling.json;
    let chosen = Chosen::typed(&args.project, &args.instance, args.kind.choice());
    Scene::with(&chosen, Some(&args.helper), json, |scene| {
        let options =
            OutputOptions { quiet: args.telling.quiet, ..OutputOptions::for_questions(Form::of(json)) };
        let narrator = narrator(options, &scene.cancel);
        let explained = || -> Result<_, LifecycleError> {
            let directories = Directories::from(&args.any_directory);
            let worktree = scene.worktree(&args.worktree, directories, &*narrator)?;
            let assigning =
                follow_options(&args.insist, &args.force, &args.trash, &args.image, &args.trust, &args.cache);
            scene.lifecycle(&*narrator).explain(&args.instance, &worktree, &assigning)
        };
        let explanation = match explained() {
            Ok(explanation) => explanation,
            Err(error) => return Ok(refuse(&error, json)),
        };
        if json {
            println_json(&ExplanationObject::of(&explanation));
        } else {
            let lines = Lines::new();
            explanation_lines(&explanation).iter().for_each(|line| lines.print(line));
            lines.flush();
        }
        Ok(explanation.report.workspace_exit_code())
    })
}
