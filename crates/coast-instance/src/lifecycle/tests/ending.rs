//! `coast stop` and `coast rm`: what they end and remove, and what they leave where that fails.

use super::stage::{Stage, dev_1, files};
use super::{position, running};
use crate::lifecycle::{Insist, Lifecycle, LifecycleError, RmOptions, RunOptions};
use crate::record::{Record, State};
use crate::records::Records;

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
