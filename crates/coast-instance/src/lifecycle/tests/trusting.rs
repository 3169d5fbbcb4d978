//! Settings that the user does not trust are not used.

use std::fs;

use super::stage::{Stage, dev_1};
use crate::lifecycle::{FollowOptions, LifecycleError, RunOptions, Trust};
use crate::record::Following;

const ASKS: &str = "[remote]\nworkspace_sync = \"mutagen\"\nshell_image = \"theirs\"\n";

fn trusting() -> FollowOptions {
    FollowOptions { trust: Trust::Given, ..FollowOptions::default() }
}

#[track_caller]
fn nothing_was_done(stage: &Stage) {
    let log = stage.log();
    assert!(log.iter().all(|line| line.starts_with("asked ")), "{log:?}");
}

#[test]
fn run_asks_once_and_does_nothing_before_the_answer() {
    let stage = Stage::new(ASKS);
    let run = || stage.command(|coast| coast.run(&dev_1(), RunOptions::default()));
    let error = run().unwrap_err();
    assert!(matches!(error, LifecycleError::Untrusted(_)) && error.exit_code() == 3, "{error}");
    assert!(error.to_string().contains("shell_image = \"theirs\""), "{error}");
    nothing_was_done(&stage);
    stage.assert_gone();
    *stage.trusts.lock().unwrap() = Some(false);
    let error = run().unwrap_err();
    assert!(matches!(error, LifecycleError::Distrusted) && error.exit_code() == 3, "{error}");
    nothing_was_done(&stage);
    *stage.trusts.lock().unwrap() = Some(true);
    run().unwrap();
    stage.assert_follows(&stage.root());
    *stage.trusts.lock().unwrap() = None;
    stage.command(|coast| coast.start(&dev_1(), FollowOptions::default())).unwrap();
}

#[test]
fn a_changed_setting_keeps_every_command_from_the_old_session() {
    let mut stage = Stage::new(ASKS);
    let options = RunOptions { follow: trusting(), ..RunOptions::default() };
    stage.command(|coast| coast.run(&dev_1(), options)).unwrap();
    stage.rewrite_coastfile(&format!("{ASKS}shell_network = \"host\"\n"));
    let feature = stage.feature();
    for refused in [
        stage.command(|coast| coast.start(&dev_1(), FollowOptions::default())),
        stage.command(|coast| coast.assign(&dev_1(), &feature, FollowOptions::default())),
        stage.command(|coast| coast.unassign(&dev_1(), FollowOptions::default())),
    ] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("\n+ [remote] shell_network = \"host\"\n"), "{error}");
        nothing_was_done(&stage);
    }
    assert_eq!(stage.record().unwrap().following, Following::Yes);
    stage.command(|coast| coast.assign(&dev_1(), &feature, trusting())).unwrap();
    stage.command(|coast| coast.start(&dev_1(), FollowOptions::default())).unwrap();
}

#[test]
fn an_image_that_the_user_named_needs_no_trust_later() {
    let stage = Stage::new(ASKS);
    let options = RunOptions {
        follow: FollowOptions { image: Some("mine".to_owned()), ..FollowOptions::default() },
        ..RunOptions::default()
    };
    stage.command(|coast| coast.run(&dev_1(), options)).unwrap();
    stage.command(|coast| coast.start(&dev_1(), FollowOptions::default())).unwrap();
    let other = "dev-2".parse().unwrap();
    let error = stage.command(|coast| coast.run(&other, RunOptions::default())).unwrap_err();
    assert!(matches!(error, LifecycleError::Untrusted(_)), "{error}");
}

#[test]
fn flush_mends_no_conflict_with_settings_that_are_not_trusted() {
    let mut stage = Stage::new(ASKS);
    let options = RunOptions { follow: trusting(), ..RunOptions::default() };
    stage.command(|coast| coast.run(&dev_1(), options)).unwrap();
    stage.rewrite_coastfile(&format!("{ASKS}own = \"all\"\n"));
    fs::write(stage.workspace().join("new"), "there").unwrap();
    fs::write(stage.root().join("new"), "here").unwrap();
    let status = stage.command(|coast| coast.flush(&dev_1())).unwrap();
    assert_eq!(status.conflicts.len(), 1);
    assert_eq!(fs::read_to_string(stage.workspace().join("new")).unwrap(), "there");

    stage.rewrite_coastfile(ASKS);
    let status = stage.command(|coast| coast.flush(&dev_1())).unwrap();
    assert_eq!(status.conflicts.len(), 0);
    assert_eq!(fs::read_to_string(stage.workspace().join("new")).unwrap(), "here");
}
