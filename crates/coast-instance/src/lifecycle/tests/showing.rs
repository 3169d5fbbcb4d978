//! `status` and `ls` say what is, and a session whose worktree is lost is paused.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::running;
use super::stage::{Stage, dev_1, files};
use crate::continuous::{Activity, PrivateFile, RunnerState};
use crate::lifecycle::{Check, Edits, Insist, InstanceStatus, LifecycleError, Questions};
use crate::record::{Following, State};
use crate::worktree::WorktreeState;
use crate::{Layers, Listed, Places, RecordError};

impl Stage {
    fn status(&self, check: Check) -> InstanceStatus {
        self.command(|coast| coast.status(&dev_1(), check)).unwrap()
    }

    fn list_within(&self, places: &Places, limit: Duration) -> Result<Vec<Listed>, RecordError> {
        let layers = Layers { mutagen: self, native: self };
        let questions = Questions { layers, remotes: Some(self), prompt: self, limit, cancel: &self.cancel };
        crate::list(places, None, &questions)
    }

    fn list(&self) -> Vec<Listed> {
        self.list_within(&self.places, Duration::from_secs(600)).unwrap()
    }
}

#[test]
fn edits_follow_only_where_one_would_arrive() {
    let stage = running();
    let status = stage.status(Check::No);
    assert_eq!((status.edits(), status.exit_code()), (Edits::Follow, 0));
    assert_eq!((status.worktree, status.holder), (WorktreeState::There, None));
    let session = status.continuous.unwrap().unwrap();
    assert_eq!((session.files, session.runner), (4, RunnerState::Running));
    assert!(status.remote.is_none(), "nobody asked it");

    for (activity, edits) in [
        (Activity::Carrying, Edits::Follow),
        (Activity::Connecting, Edits::DoNotFollow),
        (Activity::Halted, Edits::DoNotFollow),
    ] {
        *stage.fake.activity.lock().unwrap() = Some(activity);
        assert_eq!(stage.status(Check::No).edits(), edits, "{activity:?}");
    }
    *stage.fake.activity.lock().unwrap() = None;

    *stage.fake.unreachable.lock().unwrap() = true;
    let status = stage.status(Check::No);
    assert_eq!((status.edits(), status.exit_code()), (Edits::DoNotFollow, 12));
    assert!(status.continuous.unwrap().unwrap_err().contains("it does not answer"));
    *stage.fake.unreachable.lock().unwrap() = false;

    stage.fake.stop_runner();
    let status = stage.status(Check::No);
    assert_eq!(status.edits(), Edits::DoNotFollow);
    assert_eq!(status.continuous.unwrap().unwrap().runner, RunnerState::Stopped);

    let stage = running();
    stage.fake.lose_session();
    let status = stage.status(Check::No);
    assert_eq!(status.edits(), Edits::DoNotFollow);
    assert_eq!(status.continuous.unwrap().unwrap().runner, RunnerState::Running);

    stage.command(|coast| coast.stop(&dev_1())).unwrap();
    let status = stage.status(Check::No);
    assert_eq!((status.edits(), status.exit_code()), (Edits::NeedNotFollow, 0));
    assert!(status.continuous.is_none() && status.record.state == State::Stopped);

    let stage = Stage::new("");
    stage.command(|coast| coast.run(&dev_1(), Default::default())).unwrap();
    assert_eq!(stage.status(Check::No).edits(), Edits::NeedNotFollow);
}

#[test]
fn a_check_asks_the_remote_for_the_workspace() {
    let stage = running();
    let status = stage.status(Check::Remote);
    assert!(status.remote.as_ref().unwrap().as_ref().unwrap().workspace);
    assert_eq!(status.edits(), Edits::Follow);
    *stage.remote_is_down.lock().unwrap() = true;
    assert_eq!(stage.status(Check::No).edits(), Edits::Follow, "nobody asked it");
    let status = stage.status(Check::Remote);
    assert!(status.remote.as_ref().unwrap().is_err());
    assert_eq!(status.exit_code(), 12);
    *stage.remote_is_down.lock().unwrap() = false;
    stage.command(|coast| coast.stop(&dev_1())).unwrap();
    fs::remove_dir_all(stage.workspace()).unwrap();
    assert_eq!(stage.status(Check::Remote).exit_code(), 12, "it was asked for the workspace");
}

/// Takes the worktree away, and puts another directory in its place if wanted. The old directory lives on, so that the new one cannot
/// get its inode number.
fn lose(worktree: &Path, another: bool) {
    fs::rename(worktree, worktree.with_file_name("away")).unwrap();
    if another {
        fs::create_dir(worktree).unwrap();
        fs::write(worktree.join("Coastfile"), "").unwrap();
    }
}

#[test]
fn a_session_whose_worktree_is_lost_is_paused_by_every_command_that_notices() {
    for another in [false, true] {
        for command in ["status", "ls", "flush", "start"] {
            let stage = running();
            stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), Insist::No)).unwrap();
            let before = files(&stage.workspace());
            let feature = stage.feature();
            lose(&feature, another);
            // The session has not looked yet.
            *stage.fake.frozen.lock().unwrap() = true;
            match command {
                "status" => {
                    let status = stage.status(Check::No);
                    assert_eq!(status.exit_code(), 12);
                    let lost = if another { WorktreeState::Another } else { WorktreeState::Gone };
                    assert_eq!((status.worktree, status.not_held), (lost, None));
                }
                "ls" => {
                    let listed = stage.list();
                    assert!(listed[0].status.as_ref().unwrap().worktree.is_lost());
                }
                "flush" => {
                    let error = stage.command(|coast| coast.flush(&dev_1())).unwrap_err();
                    assert_eq!(error.exit_code(), 12);
                    assert!(error.to_string().contains("the session was paused"), "{error}");
                }
                _ => {
                    let error = stage.command(|coast| coast.start(&dev_1(), Insist::No)).unwrap_err();
                    assert_eq!(error.exit_code(), 3);
                    let text = error.to_string();
                    let assign = format!("coast assign dev-1 --worktree {}", feature.display());
                    let other_way =
                        if another { &*assign } else { "coast assign dev-1 --worktree NAME_OR_PATH" };
                    for said in ["mount", other_way, "its session was paused"] {
                        assert!(text.contains(said), "{text}");
                    }
                }
            }
            assert_eq!(stage.log().iter().filter(|line| *line == "pause").count(), 1, "{command}");
            assert_eq!(files(&stage.workspace()), before, "{command}");
            let record = stage.record().unwrap();
            let Following::Failed { said, .. } = &record.following else { panic!("{record:?}") };
            assert!(said.contains("the session was paused"), "{said}");

            // Once is enough, and the record remembers.
            assert_eq!(stage.status(Check::No).exit_code(), 12);
            assert!(!stage.log().contains(&"pause".to_owned()));
            let error = stage.command(|coast| coast.start(&dev_1(), Insist::No)).unwrap_err();
            assert_eq!(error.exit_code(), 3, "{error}");
            assert_eq!(files(&stage.workspace()), before);

            if another {
                // What is named explicitly is taken.
                stage.command(|coast| coast.assign(&dev_1(), &feature, Insist::No)).unwrap();
            } else {
                // The disk is mounted again.
                fs::rename(feature.with_file_name("away"), &feature).unwrap();
                stage.command(|coast| coast.start(&dev_1(), Insist::No)).unwrap();
            }
            assert_eq!(files(&stage.workspace()), files(&feature));
            assert_eq!(stage.status(Check::No).edits(), Edits::Follow);
        }
    }
}

#[test]
fn deletions_that_were_carried_before_the_pause_are_said() {
    let said_after = |deleted: &[&str], private: &[&str]| {
        let stage = running();
        stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), Insist::No)).unwrap();
        deleted.iter().for_each(|file| fs::remove_file(stage.workspace().join(file)).unwrap());
        let private = private.iter().map(|path| PrivateFile { path: path.as_bytes().to_vec() });
        *stage.fake.private.lock().unwrap() = private.collect();
        let feature = stage.feature();
        *stage.fake.frozen.lock().unwrap() = true;
        lose(&feature, false);
        let status = stage.status(Check::No);
        let Following::Failed { said, .. } = status.record.following else { panic!("{status:?}") };
        said
    };
    let said = said_after(&["src/a", "src/deep/b"], &[]);
    assert!(said.ends_with("it had deleted files there before that: 2 of 4 are left"), "{said}");
    // The session does not count them.
    let said = said_after(&[], &["src/a"]);
    assert!(said.ends_with("so that it deletes nothing more on the remote"), "{said}");
    let said = said_after(&["src/deep/b"], &["src/a"]);
    assert!(said.ends_with("2 of 3 are left"), "{said}");
}

#[test]
fn a_session_that_cannot_be_paused_is_said() {
    let stage = running();
    stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), Insist::No)).unwrap();
    *stage.fake.stop_fails.lock().unwrap() = true;
    *stage.fake.frozen.lock().unwrap() = true;
    let feature = stage.feature();
    lose(&feature, false);
    let before = stage.record();
    let status = stage.status(Check::No);
    assert!(status.not_held.unwrap().contains("the session could not be paused: "));
    assert_eq!(stage.record(), before, "the next command tries again");
    let error = stage.command(|coast| coast.start(&dev_1(), Insist::No)).unwrap_err();
    assert!(error.to_string().contains("could not be paused"), "{error}");
}

#[test]
fn a_stopped_instance_does_not_start_from_another_directory() {
    for mut stage in [running(), Stage::new("")] {
        if stage.record().is_none() {
            stage.command(|coast| coast.run(&dev_1(), Default::default())).unwrap();
        }
        stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), Insist::No)).unwrap();
        stage.command(|coast| coast.stop(&dev_1())).unwrap();
        let before = files(&stage.workspace());
        let feature = stage.feature();
        lose(&feature, true);
        let error = stage.command(|coast| coast.start(&dev_1(), Insist::No)).unwrap_err();
        assert!(matches!(error, LifecycleError::OtherWorktree { .. }), "{error}");
        assert_eq!(files(&stage.workspace()), before);
        stage.rewrite_coastfile("");
    }
}

#[test]
fn a_session_that_hangs_is_marked_and_hinders_no_other() {
    let stage = running();
    *stage.fake.hangs.lock().unwrap() = true;
    let listed = stage.list_within(&stage.places, Duration::from_secs(1)).unwrap();
    let status = listed[0].status.as_ref().unwrap();
    assert_eq!(status.continuous.as_ref().unwrap().as_ref().unwrap_err(), "no answer within 1 s");
    assert_eq!(status.edits(), Edits::DoNotFollow);
    assert!(status.remote.as_ref().unwrap().is_ok(), "the remote was asked all the same");
}

#[test]
fn instances_of_all_projects_are_listed() {
    let stage = running();
    let listed = stage.list();
    let names: Vec<String> =
        listed.iter().map(|listed| format!("{}/{}", listed.project, listed.instance)).collect();
    assert_eq!(names, ["shop/dev-1"]);
    assert_eq!(listed[0].status.as_ref().unwrap().edits(), Edits::Follow);
    let nowhere = Places::below(Path::new("/nonexistent"));
    assert!(stage.list_within(&nowhere, Duration::from_secs(600)).unwrap().is_empty());
}
