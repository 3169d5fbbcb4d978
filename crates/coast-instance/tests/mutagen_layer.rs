//! The parts that stopping the mutagen layer removes and leaves, against a stand-in for the Docker engine.
#![allow(clippy::unwrap_used)]

#[path = "../../coast-mutagen/tests/support/mod.rs"]
mod support;

use std::path::Path;

use coast_instance::{
    Coastfile, Continuous, ContinuousError, Extent, InstanceId, MutagenLayer, Places, Remains, RunnerState,
    Step,
};
use coast_mutagen::{DockerEnvironment, ShellSpec};
use coast_sync::Cancel;
use serde_json::json;
use support::{Engine, Run, ends};

fn id() -> InstanceId {
    InstanceId { project: "p".parse().unwrap(), instance: "dev-1".parse().unwrap() }
}

/// An engine with the shell container of the instance, whose programs answer like this.
fn with_shell(programs: impl Fn(&[&str]) -> Run + Send + 'static) -> (Engine, tempfile::TempDir) {
    let engine = Engine::start().image("shell:1", "sha256:1");
    let worktree = tempfile::tempdir().unwrap();
    let spec = ShellSpec::new("p", "dev-1", "shell:1", worktree.path(), "bridge");
    engine.connect().ensure_shell(&spec).unwrap();
    engine.programs(move |arguments| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match arguments.as_slice() {
            ["id", _] => ends(0, "0\n", ""),
            ["cat", "/etc/passwd"] => ends(0, "root:x:0:0:root:/root:/bin/sh\n", ""),
            arguments => programs(arguments),
        }
    });
    engine.requests();
    engine.runs();
    (engine, worktree)
}

fn layer(engine: &Engine) -> MutagenLayer {
    MutagenLayer::new(
        DockerEnvironment::isolated(engine.address()),
        &Places::below(Path::new("/nonexistent")),
        &Coastfile::default(),
    )
}

/// Stops the layer. Returns the outcome and the steps.
fn stop(engine: &Engine, extent: Extent) -> (Result<Remains, ContinuousError>, Vec<Step>) {
    let layer = layer(engine);
    let mut steps = Vec::new();
    let mut begin = |step| {
        steps.push(step);
        Ok(())
    };
    let stopped = layer.stop(&id(), extent, &mut begin, &Cancel::new());
    (stopped, steps)
}

fn mutagen_fails(arguments: &[&str]) -> Run {
    if arguments.starts_with(&["mutagen", "sync", "terminate"]) {
        ends(1, "", "Error: broken\n")
    } else {
        ends(0, "", "")
    }
}

#[test]
fn what_ends_as_it_should_leaves_the_container_without_key_and_stopped() {
    let (engine, _worktree) = with_shell(|_| ends(0, "", ""));
    let (stopped, steps) = stop(&engine, Extent::Access);
    assert_eq!((stopped.unwrap(), steps), (Remains::Runner, vec![Step::EndSession, Step::RemoveAccess]));
    assert!(engine.runs().contains(&"rm -rf -- /root/.ssh/coast".to_owned()));
    let container = engine.container().unwrap();
    assert_eq!(container["State"]["Running"], false);
    assert_eq!(container["HostConfig"]["RestartPolicy"]["Name"], "no");
    let (engine, _worktree) =
        with_shell(|arguments| if arguments[0] == "mutagen" { Run::Missing } else { ends(0, "", "") });
    assert_eq!(stop(&engine, Extent::Access).0.unwrap(), Remains::Runner);
}

#[test]
fn the_key_goes_also_when_the_session_cannot_be_ended_and_then_the_container_with_it() {
    let (engine, _worktree) = with_shell(mutagen_fails);
    let (stopped, steps) = stop(&engine, Extent::Access);
    assert_eq!(stopped.unwrap(), Remains::Nothing);
    assert_eq!(steps, [Step::EndSession, Step::RemoveAccess, Step::RemoveRunner]);
    assert!(engine.runs().contains(&"rm -rf -- /root/.ssh/coast".to_owned()));
    assert_eq!(engine.container(), None);

    let (engine, _worktree) =
        with_shell(|arguments| if arguments[0] == "rm" { ends(1, "", "no") } else { ends(0, "", "") });
    assert_eq!(stop(&engine, Extent::Access).0.unwrap(), Remains::Nothing);
    assert_eq!(engine.container(), None);
}

#[test]
fn what_is_left_is_told_one_by_one() {
    let (engine, _worktree) = with_shell(mutagen_fails);
    engine.stick();
    let error = stop(&engine, Extent::Access).0.unwrap_err();
    assert!(matches!(error, ContinuousError::NotRemoved { session: true, access: false, .. }), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("remove the container p-coasts-dev-1-shell: device or resource busy"), "{said}");
    assert!(
        said.contains("the session could not be removed from it either: mutagen sync terminate failed"),
        "{said}"
    );
    assert!(!said.contains("the key"), "{said}");
}

#[test]
fn a_paused_container_goes_on_to_be_stopped_or_is_removed() {
    let (engine, _worktree) = with_shell(|_| ends(0, "", ""));
    engine.change("/State/Paused", json!(true));
    assert_eq!(stop(&engine, Extent::Access).0.unwrap(), Remains::Runner);
    assert_eq!(engine.container().unwrap()["State"]["Paused"], false);
    assert!(engine.runs().contains(&"rm -rf -- /root/.ssh/coast".to_owned()));

    let (engine, _worktree) = with_shell(|_| ends(0, "", ""));
    engine.change("/State/Paused", json!(true));
    assert_eq!(stop(&engine, Extent::Session).0.unwrap(), Remains::Runner);
    assert_eq!(stop(&engine, Extent::Everything).0.unwrap(), Remains::Nothing);
}

#[test]
fn the_container_of_another_version_of_coast_is_removed_with_its_session_and_key() {
    for extent in [Extent::Session, Extent::Access, Extent::Everything] {
        let (engine, _worktree) = with_shell(|_| ends(0, "", ""));
        engine.change("/Config/Labels/coast.make", json!("1"));
        let (stopped, steps) = stop(&engine, extent);
        assert_eq!((stopped.unwrap(), steps), (Remains::Nothing, vec![Step::RemoveRunner]));
        assert_eq!((engine.container(), engine.runs()), (None, Vec::new()));
    }
}

#[test]
fn the_status_starts_nothing_and_names_a_container_that_holds_a_key_and_does_not_run() {
    let (engine, _worktree) = with_shell(|_| ends(0, "[]\n", ""));
    let layer = layer(&engine);
    engine.change("/State/Running", json!(false));
    let status = layer.status(&id(), &Cancel::new()).unwrap();
    assert_eq!(status.runner, RunnerState::Stopped);
    let error = status.last_error.unwrap();
    assert!(error.contains("p-coasts-dev-1-shell is not running, and still holds the key"), "{error}");
    assert_eq!((engine.requests(), engine.runs()), (Vec::new(), Vec::new()));

    engine.change("/State/Running", json!(true));
    assert_eq!(stop(&engine, Extent::Access).0.unwrap(), Remains::Runner);
    let status = layer.status(&id(), &Cancel::new()).unwrap();
    assert_eq!((status.runner, status.last_error), (RunnerState::Stopped, None));
}

#[test]
fn nothing_is_done_to_a_container_of_somebody_else() {
    let (engine, _worktree) = with_shell(|_| ends(0, "", ""));
    engine.change("/Config/Labels", json!({}));
    for extent in [Extent::Session, Extent::Access, Extent::Everything] {
        let (stopped, steps) = stop(&engine, extent);
        let Remains::Foreign { said } = stopped.unwrap() else { panic!("{extent:?}") };
        assert!(said.contains("p-coasts-dev-1-shell"), "{said}");
        assert_eq!(
            (steps, engine.requests(), engine.runs()),
            (Vec::new(), Vec::<String>::new(), Vec::<String>::new())
        );
    }
}
