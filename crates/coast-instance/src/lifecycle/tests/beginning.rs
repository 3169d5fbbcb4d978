//! `coast run`: what it brings, what it refuses, and what it leaves when it fails.

use std::fs;

use super::stage::{Stage, dev_1, files};
use super::{insisting, running};
use crate::lifecycle::{Check, FollowOptions, Insist, LifecycleError, RmOptions, RunOptions};
use crate::record::{Following, Record, State, Step};

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
fn a_place_that_cannot_be_used_names_the_commands_that_mend_the_remote() {
    let stage = Stage::new("");
    let workspaces = stage.workspace().parent().unwrap().to_owned();
    fs::create_dir_all(workspaces.parent().unwrap()).unwrap();
    fs::write(&workspaces, "a file in the place of the directory").unwrap();
    let error = stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.exit_code(), 3, "{text}");
    assert!(text.contains("; see what is missing there with: coast remote setup box;"), "{text}");
    assert!(
        text.contains("coast remote add --replace box ") && text.contains(" --service-home DIR"),
        "{text}"
    );
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
