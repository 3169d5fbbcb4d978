//! The shell container and programs in it, against a stand-in for the Docker engine.
#![allow(clippy::unwrap_used)]

mod support;

use coast_mutagen::{
    Docker, DockerEnvironment, Ensured, Interrupt, MutagenError, Shell, ShellSpec, Step, shell_labels,
    shell_name,
};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};
use support::{Engine, Run, ends};

const NAME: &str = "p-coasts-dev-1-shell";

fn spec(worktree: &Path) -> ShellSpec {
    ShellSpec::new("p", "dev-1", "shell:1", worktree, "bridge")
}

fn labels() -> Vec<(String, String)> {
    shell_labels("p", "dev-1")
}

/// An engine that has the image and the container, and the container.
fn with_shell() -> (Engine, tempfile::TempDir, Shell) {
    let engine = Engine::start().image("shell:1", "sha256:1");
    let worktree = tempfile::tempdir().unwrap();
    let (shell, _) = engine.connect().ensure_shell(&spec(worktree.path())).unwrap();
    engine.requests();
    engine.runs();
    (engine, worktree, shell)
}

#[test]
fn where_nobody_answers_the_address_is_told() {
    let error = Docker::connect(&DockerEnvironment::isolated("unix:///nowhere/docker.sock")).unwrap_err();
    let expected = "cannot reach Docker at unix:///nowhere/docker.sock: there is no such socket; start it, allow this \
                    user to use it, or name another address with DOCKER_HOST or a Docker context";
    assert_eq!((error.to_string().as_str(), error.step()), (expected, Step::Docker));

    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let error =
        Docker::connect(&DockerEnvironment::isolated(format!("unix://{}", socket.display()))).unwrap_err();
    assert!(matches!(&error, MutagenError::NoDocker { answer, .. } if answer.contains("refused")), "{error}");
}

#[test]
fn a_container_that_is_missing_is_created_as_documented() {
    let engine = Engine::start().image("shell:1", "sha256:1");
    let worktree = tempfile::tempdir().unwrap();
    let (shell, ensured) = engine.connect().ensure_shell(&spec(worktree.path())).unwrap();
    assert_eq!(ensured, Ensured::Created);
    assert_eq!((shell.name(), shell.is_running()), ("p-coasts-dev-1-shell", true));
    let config = &engine.container().unwrap()["Config"];
    assert_eq!((&config["Entrypoint"], &config["Cmd"]), (&json!(["mutagen"]), &json!(["daemon", "run"])));
    let labels = json!({ "coast.project": "p", "coast.instance": "dev-1", "coast.make": "2" });
    assert_eq!((&config["Labels"], &config["StopSignal"]), (&labels, &json!("SIGTERM")));
    let host = &config["HostConfig"];
    assert_eq!((&host["Init"], &host["NetworkMode"]), (&json!(true), &json!("bridge")));
    assert_eq!((&host["CapDrop"], &host["CapAdd"]), (&json!(["ALL"]), &json!(["DAC_OVERRIDE"])));
    assert_eq!(host["SecurityOpt"], json!(["no-new-privileges"]));
    assert_eq!(host["ExtraHosts"], json!(["host.docker.internal:host-gateway"]));
    let mount =
        json!([{ "Type": "bind", "Source": worktree.path(), "Target": "/workspace", "ReadOnly": true }]);
    assert_eq!(host["Mounts"], mount);
    let found = engine.container().unwrap();
    assert_eq!(found["HostConfig"]["RestartPolicy"]["Name"], "always");
}

#[test]
fn an_image_that_is_missing_is_an_error_that_says_how_to_get_it_and_is_not_pulled() {
    let engine = Engine::start();
    let worktree = tempfile::tempdir().unwrap();
    let error = engine.connect().ensure_shell(&spec(worktree.path())).unwrap_err();
    let expected = "Docker has no image shell:1, and coast pulls none by itself; make it with: coast image build \
                    --mutagen ARCHIVE --tag shell:1";
    assert_eq!((error.to_string().as_str(), error.step()), (expected, Step::Image));
    assert_eq!((engine.container(), engine.requests()), (None, Vec::new()));
}

#[test]
fn a_container_that_is_right_is_left_alone() {
    let (engine, worktree, _) = with_shell();
    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(worktree.path()).unwrap());
    engine.programs(move |_| ends(0, &format!("2 {inode}\n"), ""));
    let (_, ensured) = engine.connect().ensure_shell(&spec(worktree.path())).unwrap();
    assert_eq!((ensured, engine.requests()), (Ensured::Reused, Vec::<String>::new()));

    engine.change("/State/Running", json!(false));
    let (_, ensured) = engine.connect().ensure_shell(&spec(worktree.path())).unwrap();
    let requests = ["update", "start"].map(|request| format!("POST /containers/{NAME}/{request}"));
    assert_eq!((ensured, engine.requests()), (Ensured::Reused, requests.to_vec()));
}

#[test]
fn a_container_of_another_version_of_coast_is_made_anew() {
    for label in [json!("1"), json!("3")] {
        let (engine, worktree, _) = with_shell();
        engine.change("/Config/Labels/coast.make", label);
        let (_, ensured) = engine.connect().ensure_shell(&spec(worktree.path())).unwrap();
        assert_eq!(ensured, Ensured::Recreated);
    }
}

#[test]
fn a_container_that_is_stopped_stays_stopped_until_it_is_wanted_again() {
    let (engine, worktree, shell) = with_shell();
    let docker = engine.connect();
    docker.stop_shell(NAME, &labels()).unwrap();
    let state = |pointer: &str| engine.container().unwrap().pointer(pointer).unwrap().clone();
    assert_eq!(
        (state("/HostConfig/RestartPolicy/Name"), state("/State/Running")),
        (json!("no"), json!(false))
    );
    let stopped = docker.find_shell(NAME, &labels()).unwrap().unwrap();
    assert!(!stopped.is_stopped_with_key());
    docker.ensure_shell(&spec(worktree.path())).unwrap();
    assert_eq!(
        (state("/HostConfig/RestartPolicy/Name"), state("/State/Running")),
        (json!("always"), json!(true))
    );
    assert!(!shell.is_stopped_with_key());
    engine.change("/State/Running", json!(false));
    assert!(docker.find_shell(NAME, &labels()).unwrap().unwrap().is_stopped_with_key());
    docker.remove_shell(NAME, &labels()).unwrap();
    docker.stop_shell(NAME, &labels()).expect("nothing there is fine");
}

#[test]
fn a_paused_container_goes_on_or_is_made_anew() {
    let (engine, worktree, _) = with_shell();
    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(worktree.path()).unwrap());
    engine.programs(move |_| ends(0, &format!("2 {inode}\n"), ""));
    engine.change("/State/Paused", json!(true));
    let (_, ensured) = engine.connect().ensure_shell(&spec(worktree.path())).unwrap();
    assert_eq!(
        (ensured, engine.container().unwrap()["State"]["Paused"].clone()),
        (Ensured::Reused, json!(false))
    );
}

#[test]
fn a_container_with_another_worktree_network_or_image_is_made_anew() {
    let elsewhere = tempfile::tempdir().unwrap();
    let anew = ["DELETE /containers/", "POST /containers/create", "POST /containers/"];
    for (what, value) in [
        ("/Mounts/0/Source", json!(elsewhere.path())),
        ("/HostConfig/NetworkMode", json!("host")),
        ("/Config/Image", json!("shell:0")),
        ("/Image", json!("sha256:0")),
    ] {
        let (engine, worktree, _) = with_shell();
        engine.change(what, value);
        let (_, ensured) = engine.connect().ensure_shell(&spec(worktree.path())).unwrap();
        assert_eq!(ensured, Ensured::Recreated, "{what}");
        let requests = engine.requests();
        assert!(
            requests.iter().zip(anew).all(|(has, wanted)| has.starts_with(wanted)),
            "{what}: {requests:?}"
        );
    }
}

#[test]
fn a_worktree_that_was_removed_and_made_again_is_mounted_anew() {
    for links_and_inode in ["0 1\n", "2 1\n"] {
        let (engine, worktree, _) = with_shell();
        engine.programs(move |_| ends(0, links_and_inode, ""));
        let (_, ensured) = engine.connect().ensure_shell(&spec(worktree.path())).unwrap();
        assert_eq!(ensured, Ensured::Recreated, "{links_and_inode}");
    }
}

#[test]
fn a_container_stays_when_there_is_nothing_to_replace_it_with() {
    let (engine, worktree, _) = with_shell();
    let docker = engine.connect();
    let other = ShellSpec { image: "shell:9".to_owned(), ..spec(worktree.path()) };
    assert_eq!(docker.ensure_shell(&other).unwrap_err().step(), Step::Image);
    let gone = spec(&worktree.path().join("gone"));
    assert_eq!(docker.ensure_shell(&gone).unwrap_err().step(), Step::Container);
    assert!(engine.container().is_some());
}

#[test]
fn a_container_of_somebody_else_is_not_touched() {
    let (engine, worktree, _) = with_shell();
    let docker = engine.connect();
    for (labels_there, hint) in [
        (json!(null), "remove or rename it"),
        (json!({ "coast.project": "p" }), "remove or rename it"),
        (
            json!({ "coast.project": "p-coasts-dev", "coast.instance": "1" }),
            "it belongs to the instance \"1\" of the project \"p-coasts-dev\"; give one of the two another name",
        ),
    ] {
        engine.change("/Config/Labels", labels_there);
        for refused in [
            docker.ensure_shell(&spec(worktree.path())).map(drop),
            docker.find_shell(NAME, &labels()).map(drop),
            docker.settled_shell(NAME, &labels()).map(drop),
            docker.remove_shell(NAME, &labels()).map(drop),
        ] {
            let error = refused.unwrap_err();
            assert!(matches!(error, MutagenError::ForeignContainer { .. }), "{error}");
            assert!(error.to_string().ends_with(hint), "{error}");
        }
        assert_eq!((engine.requests(), engine.runs()), (Vec::<String>::new(), Vec::<String>::new()));
    }
}

#[test]
fn finding_and_removing_take_none_for_an_answer() {
    let (engine, ..) = with_shell();
    let docker = engine.connect();
    assert!(docker.find_shell(&shell_name("p", "dev-1"), &labels()).unwrap().is_some());
    assert!(docker.remove_shell(NAME, &labels()).unwrap());
    assert!(!docker.remove_shell(NAME, &labels()).unwrap());
    assert!(docker.find_shell(NAME, &labels()).unwrap().is_none());
}

#[test]
fn a_container_that_a_killed_command_asked_for_is_waited_for() {
    let (engine, worktree, _) = with_shell();
    let docker = engine.connect();
    engine.shown_after(3);
    assert!(docker.settled_shell(NAME, &labels()).unwrap().is_some());

    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(worktree.path()).unwrap());
    engine.programs(move |_| ends(0, &format!("2 {inode}\n"), ""));
    engine.shown_after(3);
    let (_, ensured) = docker.ensure_shell(&spec(worktree.path())).unwrap();
    assert_eq!(ensured, Ensured::Reused);

    // If no container is on its way, the probe for it leaves nothing behind.
    docker.remove_shell(NAME, &labels()).unwrap();
    assert!(docker.settled_shell(NAME, &labels()).unwrap().is_none());
    assert_eq!(engine.container(), None);
}

#[test]
fn a_removal_that_is_under_way_is_waited_for() {
    let (engine, worktree, _) = with_shell();
    let docker = engine.connect();
    engine.gone_after(3);
    assert!(docker.remove_shell(NAME, &labels()).unwrap());
    assert_eq!(engine.container(), None);
    docker.ensure_shell(&spec(worktree.path())).unwrap();
    engine.gone_after(3);
    let elsewhere = tempfile::tempdir().unwrap();
    let (_, ensured) = docker.ensure_shell(&spec(elsewhere.path())).unwrap();
    assert_eq!(ensured, Ensured::Recreated);
}

#[test]
fn the_standard_error_of_a_program_is_kept_apart_from_its_output() {
    let (engine, _worktree, shell) = with_shell();
    engine.programs(|_| ends(0, "[]\n", "careful\n"));
    assert_eq!(shell.sessions("p", "dev-1").unwrap(), []);
}

#[test]
fn a_program_that_the_image_lacks_is_named() {
    let (engine, _worktree, shell) = with_shell();
    engine.programs(|_| Run::Missing);
    let error = shell.await_daemon().unwrap_err();
    let expected = "the image shell:1 has no mutagen; use an image that has mutagen and an ssh client";
    assert_eq!((error.to_string().as_str(), error.step()), (expected, Step::Mutagen));

    // The init of the container has not found it.
    engine.change("/State/Restarting", json!(true));
    engine.change("/State/ExitCode", json!(127));
    let error = shell.await_daemon().unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_container_without_mutagen_does_not_stay() {
    let engine = Engine::start().image("shell:1", "sha256:1");
    engine.programs(|_| Run::Missing);
    let worktree = tempfile::tempdir().unwrap();
    let error = engine.connect().ensure_shell(&spec(worktree.path())).unwrap_err();
    assert!(matches!(error, MutagenError::NoProgram { .. }), "{error}");
    assert_eq!(engine.container(), None);
}

#[test]
fn a_daemon_that_does_not_answer_yet_is_waited_for() {
    let (engine, _worktree, shell) = with_shell();
    let asked = std::sync::atomic::AtomicU32::new(0);
    engine.programs(move |_| match asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0..3 => {
            ends(1, "", "Error: unable to connect to daemon: connection timed out (is the daemon running?)\n")
        }
        _ => ends(0, "[]\n", ""),
    });
    engine.runs();
    shell.await_daemon().unwrap();
    assert_eq!(engine.runs().len(), 4);
}

#[test]
fn a_container_that_does_not_run_is_told() {
    let (engine, _worktree, shell) = with_shell();
    engine.change("/State/Running", json!(false));
    let error = shell.await_daemon().unwrap_err();
    assert!(matches!(error, MutagenError::NotRunning { .. }), "{error}");
}

#[test]
fn a_program_that_does_not_end_is_given_up() {
    let (engine, _worktree, shell) = with_shell();
    engine.programs(|_| Run::Hangs);
    let error = shell.flush("p", "dev-1", Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, MutagenError::TimedOut { step: Step::Session, .. }), "{error}");
}

#[test]
fn an_interruption_ends_the_call_that_waits_and_those_that_follow() {
    let (engine, _worktree, shell) = with_shell();
    engine.programs(|_| Run::Hangs);
    let interrupt = Interrupt::new();
    let docker = engine.connect().interrupted_by(&interrupt);
    let interrupted = docker.find_shell(NAME, &labels()).unwrap().unwrap();
    let begin = Instant::now();
    let waiting = std::thread::spawn(move || (interrupted.await_daemon(), interrupted));
    while engine.runs().is_empty() {
        std::thread::yield_now();
    }
    interrupt.interrupt();
    let (result, interrupted) = waiting.join().unwrap();
    assert!(result.unwrap_err().is_interrupted());
    assert!(interrupted.sessions("p", "dev-1").unwrap_err().is_interrupted());
    assert!(begin.elapsed() < Duration::from_secs(10));

    engine.programs(|_| ends(0, "[]\n", ""));
    assert_eq!(shell.sessions("p", "dev-1").unwrap(), []);
}

#[test]
fn it_works_inside_another_runtime() {
    let (engine, _worktree, shell) = with_shell();
    engine.programs(|_| ends(0, "[]\n", ""));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async move {
        assert_eq!(shell.sessions("p", "dev-1").unwrap(), []);
        drop(shell);
    });
}
