//! A command that is killed at any step leaves something that the next one finishes or undoes.

use std::fs;

use super::running;
use super::stage::{Stage, dev_1};
use crate::lifecycle::{Insist, LifecycleError, RmOptions, RunOptions};
use crate::record::{State, Step};

const STEPS_OF_RUN: [Step; 5] = [Step::Transfer, Step::Runner, Step::Access, Step::Session, Step::Gap];

const STEPS_OF_ASSIGN: [Step; 6] =
    [Step::EndSession, Step::Transfer, Step::Runner, Step::Access, Step::Session, Step::Gap];

const STEPS_OF_STOP: [Step; 2] = [Step::EndSession, Step::RemoveAccess];

const STEPS_OF_RM: [Step; 4] =
    [Step::EndSession, Step::RemoveAccess, Step::RemoveRunner, Step::RemoveWorkspace];

/// The commands that take over, each with the check of where it ends.
fn take_over(stage: &Stage, next: &str) {
    match next {
        "run" => {
            stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap();
            stage.assert_follows(&stage.root());
        }
        "assign" => {
            stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), Insist::No)).unwrap();
            stage.assert_follows(&stage.feature());
        }
        "unassign" => {
            stage.command(|coast| coast.unassign(&dev_1(), Insist::No)).unwrap();
            stage.assert_follows(&stage.root());
        }
        "start" => {
            let record = stage.command(|coast| coast.start(&dev_1(), Insist::No)).unwrap();
            stage.assert_follows(&record.worktree);
        }
        "stop" => {
            let record = stage.command(|coast| coast.stop(&dev_1())).unwrap();
            assert_eq!(record.state, State::Stopped);
            stage.assert_quiet();
            take_over(stage, "start");
        }
        _ => {
            stage.command(|coast| coast.rm(&dev_1(), RmOptions::default())).unwrap();
            stage.assert_gone();
        }
    }
}

#[test]
fn whatever_comes_after_a_killed_run_ends_right() {
    for step in STEPS_OF_RUN {
        for next in ["run", "assign", "start", "stop", "rm"] {
            let stage = Stage::following();
            stage.kill_at(step, |coast| coast.run(&dev_1(), RunOptions::default()));
            let error = stage.command(|coast| coast.flush(&dev_1())).unwrap_err();
            assert!(matches!(error, LifecycleError::Unfinished { .. }), "{error}");
            take_over(&stage, next);
        }
    }
}

#[test]
fn whatever_comes_after_a_killed_assign_ends_right() {
    for step in STEPS_OF_ASSIGN {
        for next in ["assign", "unassign", "start", "stop", "rm"] {
            let stage = running();
            stage.kill_at(step, |coast| coast.assign(&dev_1(), &stage.feature(), Insist::No));
            let error = stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap_err();
            let (root, feature) = (stage.root().display().to_string(), stage.feature().display().to_string());
            // From the transfer on the workspace may have files of the new worktree.
            let ways_on = match step {
                Step::EndSession => format!(
                    "go on to {feature} with: coast assign dev-1 --worktree {feature}, or go back to {root} with: coast start dev-1"
                ),
                _ => "finish it with: coast start dev-1".to_owned(),
            };
            assert!(error.to_string().contains(&ways_on), "{error}");
            take_over(&stage, next);
        }
    }
}

#[test]
fn a_command_that_goes_to_another_worktree_than_a_killed_assign_says_so() {
    for (next, given_up) in
        [("assign", false), ("unassign", true), ("start", true), ("stop", true), ("rm", true)]
    {
        let stage = running();
        stage.kill_at(Step::EndSession, |coast| coast.assign(&dev_1(), &stage.feature(), Insist::No));
        assert_eq!(stage.record().unwrap().wanted.as_deref(), Some(&*stage.feature()));
        let taken_over = match next {
            "assign" => stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), Insist::No)).map(drop),
            "unassign" => stage.command(|coast| coast.unassign(&dev_1(), Insist::No)).map(drop),
            "start" => stage.command(|coast| coast.start(&dev_1(), Insist::No)).map(drop),
            "stop" => stage.command(|coast| coast.stop(&dev_1())).map(drop),
            _ => stage.command(|coast| coast.rm(&dev_1(), RmOptions::default())),
        };
        taken_over.unwrap();
        let told = stage.log().into_iter().find(|line| line.contains("TakingOver")).unwrap();
        assert_eq!(
            told.contains(&format!("given_up: Some({:?})", stage.feature())),
            given_up,
            "{next}: {told}"
        );
        assert_eq!(stage.record().and_then(|record| record.wanted), None, "{next}");
    }
}

#[test]
fn a_killed_stop_is_finished_by_whatever_comes_next() {
    for step in STEPS_OF_STOP {
        for next in ["start", "stop", "rm"] {
            let stage = running();
            stage.kill_at(step, |coast| coast.stop(&dev_1()));
            take_over(&stage, next);
        }
        let stage = running();
        stage.kill_at(step, |coast| coast.stop(&dev_1()));
        let error = stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), Insist::No)).unwrap_err();
        assert!(matches!(error, LifecycleError::Stopped(_)), "{error}");
        stage.assert_quiet();
    }
}

#[test]
fn a_killed_rm_is_finished_by_rm_and_run_and_undone_by_all_others() {
    for step in STEPS_OF_RM {
        for next in ["run", "rm", "start", "assign", "unassign", "stop"] {
            let stage = running();
            stage.kill_at(step, |coast| coast.rm(&dev_1(), RmOptions::default()));
            let error = stage.command(|coast| coast.flush(&dev_1())).unwrap_err();
            assert!(error.to_string().contains("coast rm dev-1, or undo it"), "{error}");
            take_over(&stage, next);
        }
    }
}

#[test]
fn a_killed_rm_that_is_undone_deletes_nothing() {
    for next in ["start", "stop"] {
        let stage = running();
        fs::create_dir_all(stage.workspace().join("kept")).unwrap();
        fs::write(stage.workspace().join("kept/by-a-service"), "z").unwrap();
        stage.kill_at(Step::RemoveRunner, |coast| coast.rm(&dev_1(), RmOptions::default()));
        let undone = match next {
            "start" => stage.command(|coast| coast.start(&dev_1(), Insist::No)),
            _ => stage.command(|coast| coast.stop(&dev_1())),
        };
        undone.unwrap();
        assert!(stage.workspace().join("kept/by-a-service").exists(), "{next}");
    }
}

#[test]
fn a_command_that_is_killed_twice_is_finished_all_the_same() {
    for first in STEPS_OF_RUN {
        for second in [Step::Transfer, Step::Session, Step::Gap] {
            let stage = Stage::following();
            stage.kill_at(first, |coast| coast.run(&dev_1(), RunOptions::default()));
            stage.kill_at(second, |coast| coast.run(&dev_1(), RunOptions::default()));
            take_over(&stage, "run");
        }
    }
}

#[test]
fn a_cancelled_command_stops_before_its_next_step() {
    let stage = running();
    stage.cancel.cancel();
    let error = stage.command(|coast| coast.stop(&dev_1())).unwrap_err();
    assert_eq!(error.exit_code(), 20, "{error}");
    assert!(stage.steps().is_empty());
    assert_eq!(stage.record().unwrap().state, State::Running);
}
