//! The native layer: a follower that is prepared before the transfer, and takes over after it.

use std::fs;

use super::stage::{Stage, dev_1};
use super::{insisting, position};
use crate::continuous::Side;
use crate::lifecycle::{FollowOptions, LifecycleError, RmOptions, RunOptions};
use crate::record::{Following, State};
use crate::{Layer, Project};

const NATIVE: &str = "[remote]\nworkspace_sync = \"native\"\n";
const MUTAGEN: &str = "[remote]\nworkspace_sync = \"mutagen\"\n";

/// An instance that runs.
fn running() -> Stage {
    let stage = Stage::new(NATIVE);
    stage.command(|coast| coast.run(&dev_1(), insisting())).unwrap();
    stage
}

/// Has both worktrees of a stage name another layer.
fn change_layer(stage: &Stage, coastfile: &str) -> Project {
    for worktree in [stage.root(), stage.feature()] {
        fs::write(worktree.join("Coastfile"), coastfile).unwrap();
    }
    Project::find(&stage.root()).unwrap()
}

#[test]
fn edits_are_noted_from_before_the_transfer_and_no_gap_is_left_to_close() {
    let stage = running();
    let log = stage.log();
    assert!(position(&log, "prepare") < position(&log, "transfer all"), "{log:?}");
    assert!(position(&log, "transfer all") < position(&log, "begin Noted"), "{log:?}");
    assert_eq!(stage.steps(), ["transfer", "runner", "session"]);
    let record = stage.record().unwrap();
    assert_eq!((record.layer, &record.following), (Layer::Native, &Following::Yes));
    assert_eq!(record.runner.as_deref(), Some("follower of shop/dev-1 in coastd"));
}

#[test]
fn an_explanation_tells_that_a_follower_would_give_way_to_another() {
    let stage = running();
    let explained =
        stage.command(|coast| coast.explain(&dev_1(), &stage.feature(), &FollowOptions::default())).unwrap();
    assert!(explained.ends_session && explained.begins_session);
}

#[test]
fn a_follower_sends_everything_where_the_transfer_left_something() {
    let stage = Stage::new(NATIVE);
    *stage.unwritable.lock().unwrap() = vec!["src/a"];
    stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap();
    position(&stage.log(), "begin Everything");
    assert_eq!(stage.record().unwrap().stale, None, "the follower has no problem");
}

#[test]
fn a_worktree_that_cannot_be_watched_is_transferred_all_the_same() {
    let stage = Stage::new(NATIVE);
    *stage.fake.unreachable.lock().unwrap() = true;
    let record = stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap();
    assert_eq!(record.state, State::Running);
    assert!(matches!(&record.following, Following::Failed { said, .. } if said == "it does not answer"));
    position(&stage.log(), "transfer all");
}

#[test]
fn assign_ends_the_old_follower_once_the_remote_is_ready() {
    let stage = running();
    let feature = stage.feature();
    stage.command(|coast| coast.assign(&dev_1(), &feature, FollowOptions::default())).unwrap();
    let log = stage.log();
    assert!(position(&log, "prepare") < position(&log, "end follower"), "{log:?}");
    assert!(position(&log, "end follower") < position(&log, "begin Noted"), "{log:?}");
    assert_eq!(stage.record().unwrap().worktree.to_path_buf(), feature);
}

#[test]
fn stop_and_rm_end_the_follower() {
    let stage = running();
    let record = stage.command(|coast| coast.stop(&dev_1())).unwrap();
    assert_eq!((record.state, record.runner), (State::Stopped, None));
    position(&stage.log(), "end follower");
    stage.command(|coast| coast.start(&dev_1(), FollowOptions::default())).unwrap();
    stage.command(|coast| coast.rm(&dev_1(), RmOptions::default())).unwrap();
    position(&stage.log(), "end follower");
    assert_eq!(stage.record(), None);
}

#[test]
fn a_changed_layer_ends_the_session_of_the_other_one() {
    let stage = running();
    let project = change_layer(&stage, MUTAGEN);
    stage.command_of(&project, |coast| coast.start(&dev_1(), FollowOptions::default())).unwrap();
    position(&stage.log(), "end follower");
    let record = stage.record().unwrap();
    assert_eq!((record.layer, record.runner.as_deref()), (Layer::Mutagen, Some("runner of shop/dev-1")));
    let project = change_layer(&stage, NATIVE);
    stage.command_of(&project, |coast| coast.start(&dev_1(), FollowOptions::default())).unwrap();
    position(&stage.log(), "end Everything");
    assert_eq!(stage.record().unwrap().layer, Layer::Native);
}

#[test]
fn a_follower_that_may_go_on_keeps_the_worktree_from_being_changed() {
    let stage = running();
    *stage.fake.stop_fails.lock().unwrap() = true;
    let before = stage.record();
    let feature = stage.feature();
    let error =
        stage.command(|coast| coast.assign(&dev_1(), &feature, FollowOptions::default())).unwrap_err();
    assert!(matches!(error, LifecycleError::OldSession { .. }), "{error}");
    assert_eq!(stage.record(), before);
}

#[test]
fn flush_asks_the_follower_alone_and_resolve_takes_a_side() {
    let stage = running();
    stage.command(|coast| coast.flush(&dev_1())).unwrap();
    assert!(stage.log().iter().all(|line| !line.starts_with("transfer")), "{:?}", stage.log());
    let paths = [b"src/a".to_vec()];
    stage.command(|coast| coast.resolve(&dev_1(), &paths, Side::Remote)).unwrap();
    position(&stage.log(), "resolve Remote src/a");
}
