//! `coast assign`, `unassign`, `start` and `flush`: the old session ends before the new one begins.

use std::fs;
use std::path::Path;

use super::stage::{TransferFails, dev_1, files};
use super::{forced, position, running};
use crate::Name;
use crate::bulk::ContentSources;
use crate::lifecycle::{FollowOptions, Insist, Lifecycle, LifecycleError, RmOptions};
use crate::record::{Command, Following, Record, State, Step};

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
fn transfer_relies_on_what_the_user_allows() {
    for (content_sources, told) in
        [(ContentSources::Cache, " without git"), (ContentSources::None, " reading all")]
    {
        let stage = running();
        let doubting = || FollowOptions { content_sources, ..FollowOptions::default() };
        let transfer = format!("transfer all together{told}");
        stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), doubting())).unwrap();
        position(&stage.log(), &transfer);
        stage.command(|coast| coast.start(&dev_1(), doubting())).unwrap();
        position(&stage.log(), &transfer);
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

    // The error also says that the old session may still be running.
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
