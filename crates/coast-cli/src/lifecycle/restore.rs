//! `coast restore`.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use coast_instance::{LifecycleError, Name, shell_word};
use coast_sync::{
    Cancel, Destination, Prompt, RestoreReport, RestoreRequest, SyncError, TrashReport, TrashRequest,
};

use super::{Chosen, Scene, println_json, refuse_with};
use crate::args::connection::SudoArg;
use crate::args::restore::RestoreArgs;
use crate::output::{
    Form, Lines, Narrator, OutputOptions, RestoredObject, TrashObject, Weight, complain, left_lines,
    narrator, restored_line, trash_lines,
};
use crate::plan::{Restorable, TypedConnection, restorable, restore_words};
use crate::signals::cancelled_by_signals;

/// `coast restore`
pub(crate) fn restore(args: RestoreArgs) -> anyhow::Result<u8> {
    match restorable(&args)? {
        Restorable::Instance(instance) => of_instance(&args, &instance),
        Restorable::Destination(destination) => of_destination(&args, *destination),
    }
}

fn of_instance(args: &RestoreArgs, instance: &Name) -> anyhow::Result<u8> {
    let cancel = cancelled_by_signals()?;
    let failed = |error: LifecycleError| {
        let text = format!("{error}{}", directory_hint(args, &error));
        refuse_with(&text, error.exit_code(), args.json)
    };
    let scene = match Scene::open(&Chosen::by(&args.project, instance), Some(&args.helper), &cancel)? {
        Ok(scene) => scene,
        Err(error) => return Ok(failed(error)),
    };
    let narrator = prompt(args, &scene.cancel);
    let lifecycle = scene.lifecycle(&*narrator);
    let words = scene.scope.addressed(instance).to_string();
    Ok(if args.paths.is_empty() {
        lifecycle.trash(instance).map_or_else(failed, |report| tell_trash(args, &report, &words))
    } else {
        lifecycle.restore(instance, &paths(args)).map_or_else(failed, |report| tell_restored(args, &report))
    })
}

/// How to name the directory that the user may have meant, if there is no such instance.
fn directory_hint(args: &RestoreArgs, error: &LifecycleError) -> String {
    let is_missing = matches!(error, LifecycleError::NoInstance { .. } | LifecycleError::Project(_));
    if is_missing && args.project.project.is_none() && Path::new(&args.workspace).is_dir() {
        format!("; for the directory: coast restore {}", shell_word(&Path::new(".").join(&args.workspace)))
    } else {
        String::new()
    }
}

fn of_destination(args: &RestoreArgs, destination: Destination) -> anyhow::Result<u8> {
    let cancel = cancelled_by_signals()?;
    let narrator = prompt(args, &cancel);
    let prompt: &dyn Prompt = &*narrator;
    let failed = |error: SyncError| refuse_with(&error.to_string(), error.exit_code(), args.json);
    Ok(if args.paths.is_empty() {
        let listed = TrashRequest::new(destination).run(prompt, &cancel);
        let connection = TypedConnection {
            port: args.port,
            identities: &args.identity,
            options: &args.ssh_option,
            sudo: args.sudo.unwrap_or(SudoArg::Auto),
        };
        let words = restore_words(&args.workspace, &connection);
        listed.map_or_else(failed, |report| tell_trash(args, &report, &words))
    } else {
        let restored =
            RestoreRequest::new(destination, paths(args)).and_then(|request| request.run(prompt, &cancel));
        restored.map_or_else(failed, |report| tell_restored(args, &report))
    })
}

fn paths(args: &RestoreArgs) -> Vec<Vec<u8>> {
    args.paths.iter().map(|path| path.as_bytes().to_vec()).collect()
}

/// Asks the questions of the connection, and prints its notices.
fn prompt(args: &RestoreArgs, cancel: &Cancel) -> Box<dyn Narrator> {
    let options = OutputOptions { quiet: args.quiet, ..OutputOptions::for_questions(Form::of(args.json)) };
    narrator(options, cancel)
}

/// Prints the trash. `words` are those after `coast restore` that name the workspace.
fn tell_trash(args: &RestoreArgs, report: &TrashReport, words: &str) -> u8 {
    if args.json {
        println_json(&TrashObject::from(report));
        return 0;
    }
    let lines = Lines::new();
    let workspace = args.workspace.to_string_lossy();
    trash_lines(report, (&workspace, words), !args.quiet).iter().for_each(|line| lines.print(line));
    lines.flush();
    let count = u64::try_from(report.unreadable.len()).unwrap_or(u64::MAX);
    left_lines(&report.unreadable, count).iter().for_each(|line| complain(Weight::Warning, line));
    0
}

fn tell_restored(args: &RestoreArgs, report: &RestoreReport) -> u8 {
    let exit_code = report.exit_code();
    if args.json {
        println_json(&RestoredObject::from(report));
        return exit_code;
    }
    if !args.quiet {
        let lines = Lines::new();
        lines.print(&restored_line(report));
        lines.flush();
    }
    if report.left_entries > 0 {
        let left = left_lines(&report.left, report.left_entries).join("\n  ");
        complain(Weight::Error, &format!("not restored (code {exit_code}):\n  {left}"));
    }
    exit_code
}
