//! The lifecycle on one machine: a directory in the remote's place, and a continuous layer that can be told to fail.

mod explaining;
mod gap;
mod killed;
mod made_there;
mod native;
mod showing;
mod stage;
mod trusting;

use std::fs;
use std::path::Path;

use stage::{Stage, TransferFails, dev_1, files};

use crate::lifecycle::{Check, FollowOptions, Insist, Lifecycle, LifecycleError, RmOptions, RunOptions};
use crate::record::{Command, Following, Record, State, Step};
use crate::records::Records;
use crate::{CoastfileChoice, Name, Project, Scope};

fn insisting() -> RunOptions {
    RunOptions { follow: Insist::OnContinuous.into(), ..RunOptions::default() }
}

fn forced() -> FollowOptions {
    FollowOptions { force: true, ..FollowOptions::default() }
}

/// An instance that runs.
fn running() -> Stage {
    let stage = Stage::following();
    stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap();
    stage
}

#[track_caller]
fn position(log: &[String], wanted: &str) -> usize {
    let found = log.iter().position(|line| line.starts_with(wanted));
    found.unwrap_or_else(|| panic!("{wanted:?} is not in {log:?}"))
}

#[test]
fn run_brings_the_worktree_and_has_it_followed_one_recorded_step_after_the_other() {
    let stage = Stage::following();
    fs::create_dir_all(stage.root().join("node_modules/x")).unwrap();
    let record = stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap();
    assert_eq!(stage.steps(), ["transfer", "runner", "access", "session", "gap"]);
    assert_eq!((record.state, &record.following), (State::Running, &Following::Yes));
    assert_eq!(record.runner.as_deref(), Some("runner of shop/dev-1"));
    assert_eq!(record.last_transfer.map(|transfer| transfer.sent_files), Some(4));
    assert_eq!(stage.record(), Some(record));
    fs::remove_dir_all(stage.root().join("node_modules")).unwrap();
    stage.assert_follows(&stage.root());
}

#[test]
fn run_refuses_an_instance_that_exists_and_touches_nothing() {
    let stage = running();
    let before = stage.record();
    let error = stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap_err();
    assert!(matches!(error, LifecycleError::Exists { .. }) && error.exit_code() == 3, "{error}");
    assert_eq!((stage.record(), stage.steps().len()), (before, 0));
}

#[test]
fn a_run_that_reached_nothing_leaves_nothing() {
    let stage = Stage::following();
    let missing = RunOptions { worktree: Some("/no/such/worktree".into()), ..RunOptions::default() };
    let error = stage.command(|coast| coast.run(&dev_1(), missing)).unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
    stage.assert_gone();
    let unknown = RunOptions { remote: Some("attic".parse().unwrap()), ..RunOptions::default() };
    let error = stage.command(|coast| coast.run(&dev_1(), unknown)).unwrap_err();
    assert!(error.to_string().contains("\"attic\""), "{error}");
    stage.assert_gone();
}

#[test]
fn bulk_only_starts_no_runner() {
    let stage = Stage::new("");
    let record = stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap();
    assert_eq!(stage.steps(), ["transfer"]);
    assert_eq!((&record.following, &record.runner), (&Following::BulkOnly, &None));
    assert_eq!(files(&stage.workspace()), files(&stage.root()));
    for ended in [
        stage.command(|coast| coast.flush(&dev_1()).map(drop)),
        stage.command(|coast| coast.start(&dev_1(), Insist::OnContinuous).map(drop)),
    ] {
        let error = ended.unwrap_err();
        assert!(matches!(error, LifecycleError::BulkOnly) && error.exit_code() == 12, "{error}");
    }
    stage.command(|coast| coast.rm(&dev_1(), RmOptions::default())).unwrap();
    stage.assert_gone();
}

#[test]
fn workspace_is_transferred_and_recorded_even_when_the_session_cannot_start() {
    for step in [Step::Runner, Step::Access, Step::Session] {
        let stage = Stage::following();
        *stage.fake.fail_at.lock().unwrap() = Some(step);
        let record = stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap();
        assert!(stage.log().iter().any(|line| line.starts_with("told NotFollowing")), "{:?}", stage.log());
        assert_eq!(record.state, State::Running);
        let Following::Failed { doing, said, .. } = &record.following else { panic!("{record:?}") };
        assert_eq!((doing.as_str(), said.as_str()), (&*format!("doing {}", step.as_str()), "no"));
        assert_eq!(files(&stage.workspace()), files(&stage.root()));
        stage.assert_quiet();
        let error = stage.command(|coast| coast.flush(&dev_1())).unwrap_err();
        assert!(matches!(error, LifecycleError::NotFollowing { .. }) && error.exit_code() == 12, "{error}");

        let error = stage.command(|coast| coast.start(&dev_1(), Insist::OnContinuous)).unwrap_err();
        assert_eq!(error.exit_code(), 12, "{error}");
        assert!(error.to_string().contains("coast start dev-1"), "{error}");

        *stage.fake.fail_at.lock().unwrap() = None;
        stage.command(|coast| coast.start(&dev_1(), Insist::OnContinuous)).unwrap();
        stage.assert_follows(&stage.root());
    }
    let stage = Stage::following();
    *stage.fake.fail_at.lock().unwrap() = Some(Step::Session);
    let error = stage.command(|coast| coast.run(&dev_1(), insisting())).unwrap_err();
    assert_eq!(error.exit_code(), 12, "{error}");
    assert_eq!(files(&stage.workspace()), files(&stage.root()), "brought all the same");
}

#[test]
fn assign_ends_the_old_session_before_it_brings_the_new_worktree() {
    let stage = running();
    fs::create_dir_all(stage.workspace().join("kept")).unwrap();
    fs::write(stage.workspace().join("kept/by-a-service"), "z").unwrap();
    let record = stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), Insist::No)).unwrap();
    let log = stage.log();
    assert!(position(&log, "end Session") < position(&log, "transfer all together"), "{log:?}");
    assert_eq!(stage.steps(), ["end_session", "transfer", "runner", "access", "session", "gap"]);
    assert_eq!(*record.worktree, *stage.feature());
    assert!(stage.workspace().join("kept/by-a-service").exists());
    fs::remove_dir_all(stage.workspace().join("kept")).unwrap();
    stage.assert_follows(&stage.feature());

    stage.command(|coast| coast.unassign(&dev_1(), Insist::No)).unwrap();
    stage.assert_follows(&stage.root());
}

#[test]
fn assign_of_a_stopped_instance_or_none_is_refused_before_anything_is_touched() {
    let stage = running();
    stage.command(|coast| coast.stop(&dev_1())).unwrap();
    let before = (stage.record(), files(&stage.workspace()));
    let error = stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), Insist::No)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the instance \"dev-1\" is stopped; start it first with: coast start dev-1"
    );
    assert_eq!((stage.record(), files(&stage.workspace())), before);
    let dev_2: Name = "dev-2".parse().unwrap();
    let error = stage.command(|coast| coast.assign(&dev_2, &stage.feature(), Insist::No)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no instance \"dev-2\" of the project \"shop\"; it has dev-1; did you mean \"dev-1\"?"
    );
    let left = fs::read_dir(stage.places.instances(&stage.project.name)).unwrap();
    let names: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| name.starts_with("dev-1.")), "no lock for nothing: {names:?}");
}

#[test]
fn every_command_may_be_given_twice() {
    let stage = running();
    for _ in 0..2 {
        stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), Insist::No)).unwrap();
        stage.assert_follows(&stage.feature());
    }
    for _ in 0..2 {
        let record = stage.command(|coast| coast.stop(&dev_1())).unwrap();
        assert_eq!(
            (record.state, &record.following, record.access),
            (State::Stopped, &Following::Off, false)
        );
        stage.assert_quiet();
    }
    fs::write(stage.feature().join("src/a"), "while stopped").unwrap();
    fs::remove_file(stage.feature().join("only-feature")).unwrap();
    for _ in 0..2 {
        stage.command(|coast| coast.start(&dev_1(), Insist::No)).unwrap();
        stage.assert_follows(&stage.feature());
    }
    stage.command(|coast| coast.stop(&dev_1())).unwrap();
    stage.command(|coast| coast.rm(&dev_1(), RmOptions::default())).unwrap();
    stage.assert_gone();
    let error = stage.command(|coast| coast.rm(&dev_1(), RmOptions::default())).unwrap_err();
    assert!(matches!(error, LifecycleError::NoInstance { .. }), "{error}");
    stage.assert_gone();
}

#[test]
fn rm_sweeps_what_sessions_left_and_the_helper_goes_with_the_last_instance() {
    let stage = running();
    stage.command(|coast| coast.start(&dev_1(), Insist::No)).unwrap();
    assert_eq!(stage.record().unwrap().traces, ["traces/of/a/session"], "each trace is noted once");
    let other = Record {
        instance: "dev-2".parse().unwrap(),
        remote_path: stage.record().unwrap().remote_path.replace("dev-1", "dev-2"),
        ..stage.record().unwrap()
    };
    Records::new(stage.places.clone()).save(&other).unwrap();
    stage.command(|coast| coast.rm(&dev_1(), RmOptions::default())).unwrap();
    let swept = position(&stage.log(), "sweep traces/of/a/session Stay");
    let removing = position(&stage.log(), "told RemovingWorkspace { entries: 7 }");
    assert!(position(&stage.log(), "remove workspace") < removing && removing < swept);

    let stage = running();
    stage.command(|coast| coast.rm(&dev_1(), RmOptions::default())).unwrap();
    position(&stage.log(), "sweep traces/of/a/session Go");
}

#[test]
fn rm_may_leave_the_workspace() {
    let stage = running();
    let options = RmOptions { keep_workspace: true, ..RmOptions::default() };
    stage.command(|coast| coast.rm(&dev_1(), options)).unwrap();
    assert_eq!(files(&stage.workspace()), files(&stage.root()));
    assert!(stage.record().is_none());
    stage.assert_quiet();
}

#[test]
fn session_that_cannot_be_ended_is_reported_recorded_and_tried_again() {
    let stage = running();
    *stage.fake.stop_fails.lock().unwrap() = true;
    for _ in 0..2 {
        let error = stage.command(|coast| coast.stop(&dev_1())).unwrap_err();
        assert_eq!(error.exit_code(), 12);
        assert!(error.to_string().contains("the runner of shop/dev-1"), "{error}");
        let record = stage.record().unwrap();
        assert_eq!((record.state, record.access), (State::Stopped, true));
        assert!(record.is_half_stopped() && record.unended.is_some());
    }
    let error = stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), Insist::No)).unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with("stop of the instance \"dev-1\" did not finish: the session may go on in"),
        "{said}"
    );
    let ways = "finish it with: coast stop dev-1, or go on with: coast start dev-1";
    assert!(said.ends_with(ways) && error.exit_code() == 3, "{said}");
    let error = stage.command(|coast| coast.rm(&dev_1(), RmOptions::default())).unwrap_err();
    assert!(error.to_string().contains("coast rm --force dev-1"), "{error}");
    assert!(stage.workspace().exists() && stage.record().is_some());
    *stage.fake.stop_fails.lock().unwrap() = false;
    stage.command(|coast| coast.rm(&dev_1(), RmOptions::default())).unwrap();
    stage.assert_gone();

    let stage = running();
    *stage.fake.stop_fails.lock().unwrap() = true;
    let options = RmOptions { force: true, ..RmOptions::default() };
    stage.command(|coast| coast.rm(&dev_1(), options)).unwrap();
    assert!(stage.log().iter().any(|line| line.starts_with("told LeftBehind")), "{:?}", stage.log());
    assert!(stage.record().is_none() && !stage.workspace().exists());
}

#[test]
fn runner_of_another_owner_is_reported_and_forgotten() {
    let stage = Stage::following();
    *stage.fake.foreign.lock().unwrap() = true;
    let record = stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap();
    position(&stage.log(), "told NotFollowing");
    assert_eq!((record.state, record.runner.as_deref(), record.access), (State::Running, None, false));
    stage.command(|coast| coast.stop(&dev_1())).unwrap();
    stage.command(|coast| coast.rm(&dev_1(), RmOptions::default())).unwrap();
    assert!(stage.record().is_none() && !stage.workspace().exists());

    for command in [
        (|coast| coast.stop(&dev_1()).map(drop)) as fn(&Lifecycle<'_>) -> Result<(), LifecycleError>,
        |coast| coast.rm(&dev_1(), RmOptions::default()),
    ] {
        let stage = running();
        *stage.fake.foreign.lock().unwrap() = true;
        stage.command(command).unwrap();
        position(&stage.log(), "told Foreign { runner: \"runner of shop/dev-1\", said: \"not ours\" }");
    }
}

#[test]
fn earlier_session_that_may_still_run_is_reported_and_recorded_until_it_has_ended() {
    for (command, follows) in [
        ((|coast, _| coast.start(&dev_1(), forced())) as NextCommand, true),
        (|coast, feature| coast.assign(&dev_1(), feature, forced()), true),
        (|coast, _| coast.stop(&dev_1()), false),
    ] {
        let stage = running();
        *stage.fake.stop_fails.lock().unwrap() = true;
        *stage.fake.fail_at.lock().unwrap() = Some(Step::Runner);
        // The second time it is still that of the root.
        for _ in 0..2 {
            let record = stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), forced())).unwrap();
            position(&stage.log(), "told Unended");
            let unended = record.unended.as_ref().unwrap();
            assert_eq!((&*unended.worktree, &*record.worktree), (&*stage.root(), &*stage.feature()));
            assert_eq!(
                (unended.runner.as_str(), stage.record().as_ref()),
                ("runner of shop/dev-1", Some(&record))
            );
        }
        let insisting = FollowOptions { insist: Insist::OnContinuous, ..forced() };
        let error = stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), insisting));
        assert_eq!(error.unwrap_err().exit_code(), 12);
        position(&stage.log(), "told Unended");

        *stage.fake.stop_fails.lock().unwrap() = false;
        *stage.fake.fail_at.lock().unwrap() = None;
        let record = stage.command(|coast| command(coast, &stage.feature())).unwrap();
        position(&stage.log(), "end ");
        assert_eq!(record.unended, None);
        if follows { stage.assert_follows(&stage.feature()) } else { stage.assert_quiet() }
    }
}

/// A command after another one that has left something.
type NextCommand = fn(&Lifecycle<'_>, &Path) -> Result<Record, LifecycleError>;

/// The commands that end the old session, transfer a worktree and start a new session.
const FOLLOW: [NextCommand; 3] = [
    |coast, _| coast.start(&dev_1(), Insist::No),
    |coast, feature| coast.assign(&dev_1(), feature, Insist::No),
    |coast, _| coast.unassign(&dev_1(), Insist::No),
];

#[test]
fn nothing_ends_before_the_remote_has_answered() {
    for follow in FOLLOW {
        let stage = running();
        let before = stage.record();
        *stage.transfer_fails.lock().unwrap() = Some(TransferFails::ToConnect);
        let error = stage.command(|coast| follow(coast, &stage.feature())).unwrap_err();
        assert_eq!(error.exit_code(), 12, "that of the connection: {error}");
        assert!(error.to_string().contains("\nnothing was changed: the session of "), "{error}");
        assert!(!stage.log().iter().any(|line| line.starts_with("end ")), "{:?}", stage.log());
        assert_eq!(stage.record(), before);
        stage.assert_follows(&stage.root());
    }
    // Without a session there is none to speak of.
    let stage = running();
    stage.command(|coast| coast.stop(&dev_1())).unwrap();
    *stage.transfer_fails.lock().unwrap() = Some(TransferFails::ToConnect);
    let error = stage.command(|coast| coast.start(&dev_1(), Insist::No)).unwrap_err();
    assert!(!error.to_string().contains("session"), "{error}");
}

#[test]
fn an_old_session_that_cannot_be_ended_keeps_its_workspace_unless_forced() {
    for reachable in [false, true] {
        for follow in FOLLOW {
            let stage = running();
            let before = (stage.record(), files(&stage.workspace()));
            if reachable {
                *stage.fake.stop_fails.lock().unwrap() = true;
            } else {
                *stage.fake.unreachable.lock().unwrap() = true;
            }
            let error = stage.command(|coast| follow(coast, &stage.feature())).unwrap_err();
            assert!(matches!(error, LifecycleError::OldSession { .. }) && error.exit_code() == 12, "{error}");
            for said in [&*stage.root().display().to_string(), "the runner of shop/dev-1", "--force"] {
                assert!(error.to_string().contains(said), "{error}");
            }
            assert!(!stage.log().iter().any(|line| line.starts_with("transfer")), "{:?}", stage.log());
            assert_eq!((stage.record(), files(&stage.workspace())), before);

            *stage.fake.fail_at.lock().unwrap() = Some(Step::Runner);
            let record = stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), forced())).unwrap();
            assert_eq!(record.unended.map(|unended| unended.worktree.to_path_buf()), Some(stage.root()));
            assert_eq!(files(&stage.workspace()), files(&stage.feature()));
        }
    }
}

#[test]
fn an_assign_whose_transfer_breaks_leaves_no_key_and_says_that_edits_do_not_follow() {
    let stage = running();
    *stage.transfer_fails.lock().unwrap() = Some(TransferFails::OnceReady);
    let error = stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), Insist::No)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("edits do not follow now") && text.ends_with("coast start dev-1"), "{text}");
    stage.assert_quiet();
    let record = stage.record().unwrap();
    let Following::Failed { doing, .. } = &record.following else { panic!("{record:?}") };
    assert_eq!(doing, "transferring the worktree to the remote");
    assert_eq!((record.access, record.unfinished()), (false, Some((Command::Assign, Step::Transfer))));

    *stage.transfer_fails.lock().unwrap() = None;
    stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), Insist::No)).unwrap();
    stage.assert_follows(&stage.feature());

    // The old session may run on: that is said as well.
    *stage.fake.stop_fails.lock().unwrap() = true;
    *stage.transfer_fails.lock().unwrap() = Some(TransferFails::OnceReady);
    stage.command(|coast| coast.unassign(&dev_1(), forced())).unwrap_err();
    position(&stage.log(), "told Unended");
    assert_eq!(*stage.record().unwrap().unended.unwrap().worktree, *stage.feature());
}

#[test]
fn a_worktree_that_does_not_exist_changes_nothing() {
    let stage = running();
    let before = stage.record();
    let missing = stage.feature().join("gone");
    let error = stage.command(|coast| coast.assign(&dev_1(), &missing, Insist::No)).unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
    assert_eq!(stage.record(), before);
    stage.assert_follows(&stage.root());
}

#[test]
fn instance_without_a_session_has_none_to_end() {
    let stage = running();
    stage.command(|coast| coast.stop(&dev_1())).unwrap();
    *stage.fake.stop_fails.lock().unwrap() = true;
    *stage.fake.fail_at.lock().unwrap() = Some(Step::Runner);
    let record = stage.command(|coast| coast.start(&dev_1(), Insist::No)).unwrap();
    assert_eq!(record.unended, None);
}

#[test]
fn a_project_that_becomes_bulk_only_leaves_no_runner() {
    let mut stage = running();
    stage.rewrite_coastfile("");
    let record = stage.command(|coast| coast.start(&dev_1(), Insist::No)).unwrap();
    assert_eq!((&record.following, &record.runner), (&Following::BulkOnly, &None));
    stage.assert_quiet();
    assert_eq!(files(&stage.workspace()), files(&stage.root()));
}

#[test]
fn an_instance_belongs_to_one_project_directory() {
    let mut stage = running();
    stage.project = Project::find(&stage.feature()).unwrap();
    stage.project.name = "shop".parse().unwrap();
    let error = stage.command(|coast| coast.stop(&dev_1())).unwrap_err();
    assert!(matches!(error, LifecycleError::OtherProject { .. }), "{error}");
}

#[test]
fn flush_carries_what_was_edited() {
    let stage = running();
    fs::write(stage.root().join("src/a"), "just now").unwrap();
    let status = stage.command(|coast| coast.flush(&dev_1())).unwrap();
    assert_eq!((status.files, status.conflicts.len()), (4, 0));
    assert_eq!(fs::read_to_string(stage.workspace().join("src/a")).unwrap(), "just now");
    stage.command(|coast| coast.stop(&dev_1())).unwrap();
    assert!(matches!(stage.command(|coast| coast.flush(&dev_1())), Err(LifecycleError::Stopped(_))));
    let none: Name = "none".parse().unwrap();
    assert!(matches!(stage.command(|coast| coast.flush(&none)), Err(LifecycleError::NoInstance { .. })));
}

#[test]
fn the_image_that_start_or_assign_names_is_kept() {
    let stage = running();
    let image = |image: &str| FollowOptions { image: Some(image.to_owned()), ..FollowOptions::default() };
    let kept = |record: Record| record.image;
    let started = stage.command(|coast| coast.start(&dev_1(), image("one"))).unwrap();
    assert_eq!(kept(started).as_deref(), Some("one"));
    let assigned = stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), image("two"))).unwrap();
    assert_eq!(kept(assigned).as_deref(), Some("two"));
    let unassigned = stage.command(|coast| coast.unassign(&dev_1(), Insist::No)).unwrap();
    assert_eq!(kept(unassigned).as_deref(), Some("two"));
    assert_eq!(stage.record().and_then(kept).as_deref(), Some("two"));
}

#[test]
fn a_project_that_asks_for_edits_to_follow_later_is_told_what_begins_it() {
    let mut stage = Stage::new("");
    stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap();
    assert!(!stage.command(|coast| coast.status(&dev_1(), Check::No)).unwrap().begins_to_follow);
    stage.rewrite_coastfile("[remote]\nworkspace_sync = \"mutagen\"\n");
    assert!(stage.command(|coast| coast.status(&dev_1(), Check::No)).unwrap().begins_to_follow);
    let error = stage.command(|coast| coast.flush(&dev_1())).unwrap_err();
    assert!(matches!(error, LifecycleError::NotBegun(_)) && error.exit_code() == 12, "{error}");
    stage.command(|coast| coast.start(&dev_1(), Insist::No)).unwrap();
    assert!(!stage.command(|coast| coast.status(&dev_1(), Check::No)).unwrap().begins_to_follow);
    stage.assert_follows(&stage.root());
}

#[test]
fn an_emptied_worktree_empties_no_workspace() {
    let stage = running();
    fs::write(stage.workspace().join("by-a-service"), "z").unwrap();
    let before = (stage.record(), files(&stage.workspace()));
    for entry in fs::read_dir(stage.root()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            fs::remove_dir_all(entry.path()).unwrap();
        } else {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    for ended in [
        stage.command(|coast| coast.start(&dev_1(), Insist::No)),
        stage.command(|coast| coast.assign(&dev_1(), &stage.root(), Insist::No)),
    ] {
        let error = ended.unwrap_err();
        assert!(matches!(error, LifecycleError::EmptyWorktree { .. }) && error.exit_code() == 3, "{error}");
    }
    assert_eq!((stage.record(), files(&stage.workspace())), before);
}

#[test]
fn an_instance_of_another_project_with_this_name_is_left_alone_by_every_command() {
    let stage = running();
    let before = (stage.record(), files(&stage.workspace()));
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("Coastfile"), "[coast]\nname = \"shop\"\n").unwrap();
    let other = Project::find(elsewhere.path()).unwrap();
    for ended in [
        stage.command_of(&other, |coast| coast.rm(&dev_1(), RmOptions::default())),
        stage.command_of(&other, |coast| coast.stop(&dev_1()).map(drop)),
        stage.command_of(&other, |coast| coast.start(&dev_1(), Insist::No).map(drop)),
        stage.command_of(&other, |coast| coast.run(&dev_1(), RunOptions::default()).map(drop)),
        stage.command_of(&other, |coast| coast.status(&dev_1(), Check::No).map(drop)),
        stage.command_of(&other, |coast| coast.flush(&dev_1()).map(drop)),
    ] {
        let error = ended.unwrap_err();
        assert!(matches!(error, LifecycleError::OtherProject { .. }) && error.exit_code() == 3, "{error}");
    }
    assert_eq!((stage.record(), files(&stage.workspace())), before);
}

#[test]
fn an_instance_of_a_deleted_directory_is_stopped_and_removed_and_not_started() {
    let stage = running();
    fs::remove_dir_all(stage.root()).unwrap();
    let scope =
        Scope::of_name(&stage.places, &stage.project.name, &dev_1(), &CoastfileChoice::Remembered).unwrap();
    for ended in [
        stage.command_of(&scope, |coast| coast.start(&dev_1(), Insist::No)),
        stage.command_of(&scope, |coast| coast.assign(&dev_1(), &stage.feature(), Insist::No)),
        stage.command_of(&scope, |coast| coast.unassign(&dev_1(), Insist::No)),
        stage.command_of(&scope, |coast| coast.run(&dev_1(), RunOptions::default())),
    ] {
        let error = ended.unwrap_err();
        assert!(error.to_string().contains("is gone") && error.exit_code() == 3, "{error}");
        assert!(stage.steps().is_empty());
    }
    stage.command_of(&scope, |coast| coast.status(&dev_1(), Check::No)).unwrap();
    let error = stage.command_of(&scope, |coast| coast.flush(&dev_1())).unwrap_err();
    assert!(error.to_string().contains("is gone") && error.exit_code() == 12, "{error}");
    let stopped = stage.command_of(&scope, |coast| coast.stop(&dev_1())).unwrap();
    assert_eq!(stopped.state, State::Stopped);
    stage.assert_quiet();
    stage.command_of(&scope, |coast| coast.rm(&dev_1(), RmOptions::default())).unwrap();
    stage.assert_gone();
}

#[test]
fn refused_commands_on_no_instance_leave_no_directory() {
    let stage = Stage::following();
    for error in [
        stage.command(|coast| coast.stop(&dev_1())).map(drop),
        stage.command(|coast| coast.start(&dev_1(), Insist::No)).map(drop),
        stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), Insist::No)).map(drop),
        stage.command(|coast| coast.rm(&dev_1(), RmOptions::default())),
        stage.command(|coast| coast.flush(&dev_1())).map(drop),
        stage.command(|coast| coast.status(&dev_1(), Check::No)).map(drop),
    ] {
        assert!(matches!(error, Err(LifecycleError::NoInstance { .. })), "{error:?}");
        stage.assert_gone();
    }
}

#[test]
fn a_killed_run_of_another_worktree_goes_on_with_that() {
    let stage = Stage::following();
    let feature = || RunOptions { worktree: Some(stage.feature()), ..RunOptions::default() };
    stage.kill_at(Step::Runner, |coast| coast.run(&dev_1(), feature()));
    stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap();
    stage.assert_follows(&stage.feature());
}

#[test]
fn directory_that_no_instance_made_is_neither_replaced_nor_removed_unless_it_is_adopted() {
    for killed in [false, true] {
        let stage = Stage::following();
        if killed {
            // Before the remote had answered.
            stage.kill_at(Step::Transfer, |coast| coast.run(&dev_1(), RunOptions::default()));
        }
        let theirs = stage.workspace().join("theirs");
        fs::create_dir_all(stage.workspace()).unwrap();
        fs::write(&theirs, "precious").unwrap();
        for command in ["start", "run"] {
            let ended = match command {
                "run" => stage.command(|coast| coast.run(&dev_1(), RunOptions::default())),
                _ if killed => stage.command(|coast| coast.start(&dev_1(), Insist::No)),
                _ => continue,
            };
            let error = ended.unwrap_err();
            assert!(matches!(error, LifecycleError::Occupied { .. }) && error.exit_code() == 3, "{error}");
        }
        assert!(theirs.exists() && stage.record().is_none());

        if killed {
            stage.kill_at(Step::Transfer, |coast| coast.run(&dev_1(), RunOptions::default()));
            stage.command(|coast| coast.rm(&dev_1(), RmOptions::default())).unwrap();
            assert!(theirs.exists() && stage.record().is_none());
        }
        let adopting = || RunOptions { adopt: true, ..RunOptions::default() };
        // Taken over only once the remote has been reached.
        let missing = RunOptions { worktree: Some("/no/such/worktree".into()), ..adopting() };
        stage.command(|coast| coast.run(&dev_1(), missing)).unwrap_err();
        assert!(theirs.exists() && stage.record().is_none());
        stage.command(|coast| coast.run(&dev_1(), adopting())).unwrap();
        stage.assert_follows(&stage.root());
    }
}

#[test]
fn entries_that_could_not_be_written_are_reported_recorded_and_set_the_exit_code() {
    let stage = Stage::following();
    let stale = |record: &Record| {
        let stale = record.stale.clone().unwrap_or_else(|| panic!("{record:?}"));
        let paths = stale.paths.iter().map(|stale| stale.path.display().to_string()).collect::<Vec<_>>();
        (stale.count, paths.join(" "))
    };
    *stage.unwritable.lock().unwrap() = vec!["src/a", "only-main"];
    let run = stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap();
    assert_eq!((run.state, &run.following), (State::Running, &Following::Yes), "it runs all the same");
    assert_eq!((run.exit_code(), stale(&run)), (23, (2, "src/a only-main".to_owned())));
    assert_eq!(run.stale.as_ref().unwrap().paths[0].reason, "cannot write: read-only");
    assert_eq!(stage.record(), Some(run));

    // Another worktree lacks one of them.
    let assign = stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), Insist::No)).unwrap();
    assert_eq!((assign.exit_code(), stale(&assign)), (23, (1, "src/a".to_owned())));
    let stop = stage.command(|coast| coast.stop(&dev_1())).unwrap();
    assert_eq!((stop.exit_code(), stale(&stop)), (0, (1, "src/a".to_owned())));
    let start = stage.command(|coast| coast.start(&dev_1(), Insist::No)).unwrap();
    assert_eq!((start.exit_code(), stale(&start)), (23, (1, "src/a".to_owned())));

    stage.unwritable.lock().unwrap().clear();
    let start = stage.command(|coast| coast.start(&dev_1(), Insist::No)).unwrap();
    assert_eq!((start.exit_code(), &start.stale), (0, &None));
    stage.assert_follows(&stage.feature());
}
