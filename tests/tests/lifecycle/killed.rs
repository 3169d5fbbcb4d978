//! After a command was killed at any step, the next command finishes or undoes its work.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use coast_tests::{Outcome, Program, Project, Snapshot, Tree, Watch};
use rustix::process::Signal;
use serde_json::Value;

/// The steps of `run`. The record names each step before it begins.
const STEPS_OF_RUN: [&str; 5] = ["transfer", "runner", "access", "session", "gap"];

/// The steps of `assign`.
const STEPS_OF_ASSIGN: [&str; 6] = ["end_session", "transfer", "runner", "access", "session", "gap"];

fn project() -> Project {
    let project = Project::of(&Tree::new().file("src/main.rs", "1").file("README", "read"));
    fs::create_dir_all(project.states()).expect("the home is ours");
    project
}

fn step(record: &Path) -> Option<String> {
    let record: Value = serde_json::from_slice(&fs::read(record).ok()?).ok()?;
    Some(record["step"].as_str()?.to_owned())
}

/// Starts a command that makes the instance follow `worktree`, and kills it as soon as the record names a step.
#[track_caller]
fn kill_at(project: &Project, command: &Program, worktree: &Path, wanted: &str) {
    static EDITS: AtomicU32 = AtomicU32::new(0);
    let record = project.record("dev-1");
    // The directory goes with the last record, and a directory that does not exist cannot be watched.
    fs::create_dir_all(project.states()).expect("the home is ours");
    let running = command.start();
    let until = |wanted: &str| {
        Watch::below(project.states()).until(wanted, || step(&record).is_some_and(|step| step == wanted));
    };
    if wanted == "gap" {
        // Without a file to send the step is over before the command can be killed.
        until("runner");
        let edit = EDITS.fetch_add(1, Ordering::Relaxed);
        fs::write(worktree.join("README"), format!("edit {edit}")).expect("it is ours");
    }
    until(wanted);
    running.signal(Signal::KILL);
    let outcome = running.wait();
    assert_eq!(outcome.code(), 128 + 9, "it had ended before it could be killed at {wanted}: {outcome}");
}

/// Checks that the workspace is equal to the worktree and follows it, with one session in one container.
#[track_caller]
fn assert_right(project: &Project, worktree: &Path, after: &Outcome, edit: &str) {
    after.assert_code(0);
    let here = Snapshot::of(worktree).without(|path| path == Path::new(".git"));
    here.assert_same_content(&Snapshot::of(project.workspace("dev-1")));
    assert_eq!((project.sessions("dev-1").len(), project.containers().len()), (1, 1), "{after}");
    fs::write(worktree.join("src/main.rs"), edit).expect("it is ours");
    project.follows_with("dev-1", "src/main.rs", edit.as_bytes());
}

#[track_caller]
fn assert_gone(project: &Project, after: &Outcome) {
    after.assert_code(0);
    assert!(project.containers().is_empty(), "{after}");
    assert!(!project.workspace("dev-1").exists(), "{after}");
    assert!(!project.record("dev-1").exists(), "{after}");
}

#[test]
fn run_finishes_what_a_killed_run_began_and_rm_undoes_it() {
    let project = project();
    for step in STEPS_OF_RUN {
        kill_at(&project, &project.coast(["run", "dev-1"]), &project.root(), step);
        let run = project.coast(["run", "dev-1"]).run();
        assert_right(&project, &project.root(), &run, step);
        assert_gone(&project, &project.coast(["rm", "-y", "dev-1"]).run());

        kill_at(&project, &project.coast(["run", "dev-1"]), &project.root(), step);
        assert_gone(&project, &project.coast(["rm", "-y", "dev-1"]).run());
    }
}

#[test]
fn assign_finishes_or_undoes_what_a_killed_assign_began() {
    let project = project();
    let feature = project.worktree("feature");
    project.coast(["run", "dev-1"]).run().assert_code(0);
    let assign = |worktree: &Path| project.coast(["assign", "dev-1", "--worktree"]).arg(worktree);
    let (mut before, mut after) = (project.root(), feature);
    for step in STEPS_OF_ASSIGN {
        kill_at(&project, &assign(&after), &after, step);
        assert_right(&project, &after, &assign(&after).run(), step);
        // The instance follows the old worktree instead, so the begun work is undone.
        kill_at(&project, &assign(&before), &before, step);
        assert_right(&project, &after, &assign(&after).run(), &format!("{step} again"));
        (before, after) = (after, before);
    }
}

#[test]
fn stop_ends_what_a_killed_assign_began() {
    let project = project();
    let feature = project.worktree("feature");
    project.coast(["run", "dev-1"]).run().assert_code(0);
    for step in STEPS_OF_ASSIGN {
        let assign = project.coast(["assign", "dev-1", "--worktree"]).arg(&feature);
        kill_at(&project, &assign, &feature, step);
        project.coast(["stop", "dev-1"]).run().assert_code(0);
        assert!(project.sessions("dev-1").is_empty());
        assert!(project.containers().is_empty() || !project.holds_key("dev-1"));
        let start = project.coast(["start", "dev-1"]).run();
        start.assert_code(0);
        assert_eq!((project.sessions("dev-1").len(), project.containers().len()), (1, 1), "{start}");
    }
}
