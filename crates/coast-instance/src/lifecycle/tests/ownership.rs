//! Which project an instance belongs to, and instances that do not exist.

use std::fs;

use super::running;
use super::stage::{Stage, dev_1, files};
use crate::lifecycle::{Check, Insist, LifecycleError, RmOptions, RunOptions};
use crate::record::State;
use crate::{CoastfileChoice, Project, Scope};

#[test]
fn an_instance_belongs_to_one_project_directory() {
    let mut stage = running();
    stage.project = Project::find(&stage.feature()).unwrap();
    stage.project.name = "shop".parse().unwrap();
    let error = stage.command(|coast| coast.stop(&dev_1())).unwrap_err();
    assert!(matches!(error, LifecycleError::OtherProject { .. }), "{error}");
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
