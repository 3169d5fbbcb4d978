//! Access and sessions: the programs that are run in the container, their order, and the handling of their answers.
#![allow(clippy::unwrap_used)]

mod support;

use coast_mutagen::{Endpoint, MutagenError, RemoteAccess, SessionSpec, Shell, ShellSpec, Status, Step};
use std::sync::{Arc, Mutex};
use support::{Engine, Run, ends};

const WATCHING: &str = include_str!("../../../fixtures/mutagen/recordings/watching.json");
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\ndev:x:1000:1001::/home/dev:/bin/sh\n";

fn with_shell() -> (Engine, tempfile::TempDir, Shell) {
    let engine = Engine::start().image("shell:1", "sha256:1");
    let worktree = tempfile::tempdir().unwrap();
    let spec = ShellSpec::new("p", "dev-1", "shell:1", worktree.path(), "bridge");
    let (shell, _) = engine.connect().ensure_shell(&spec).unwrap();
    engine.runs();
    (engine, worktree, shell)
}

/// The answers of the programs of an ordinary image.
fn ordinary(arguments: &[String]) -> Run {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["id", "-u"] => ends(0, "1000\n", ""),
        ["id", "-g"] => ends(0, "1001\n", ""),
        ["cat", "/etc/passwd"] => ends(0, PASSWD, ""),
        ["ls", ..] => ends(2, "", "ls: cannot access"),
        _ => ends(0, "", ""),
    }
}

fn access() -> RemoteAccess {
    RemoteAccess {
        user: "dev".to_owned(),
        host: "remote.example".to_owned(),
        port: 2222,
        private_key: b"-----BEGIN OPENSSH PRIVATE KEY-----".to_vec().into(),
        host_key: "ssh-ed25519 AAAAkey".to_owned(),
    }
}

fn endpoint(engine: &Engine, shell: &Shell) -> Endpoint {
    engine.programs(ordinary);
    let endpoint = shell.install_access(&access()).unwrap();
    engine.runs();
    endpoint
}

fn spec(endpoint: Endpoint) -> SessionSpec {
    SessionSpec {
        project: "p".to_owned(),
        instance: "dev-1".to_owned(),
        endpoint,
        remote_path: "/data/workspaces/p/dev-1/".to_owned(),
        ignores: ["node_modules", "a,b\"c"].map(str::to_owned).into(),
        private: Vec::new(),
        file_mode: 0o644,
    }
}

#[test]
fn access_is_put_below_the_users_home_and_taken_out_again() {
    let (engine, _worktree, shell) = with_shell();
    endpoint(&engine, &shell);
    let uploaded = engine.uploaded();
    let entries: Vec<_> = uploaded.iter().map(|(path, uid, mode, _)| (path.as_str(), *uid, *mode)).collect();
    let expected = [
        (".ssh/", 1000, 0o700),
        (".ssh/coast/", 1000, 0o700),
        (".ssh/coast/key", 1000, 0o600),
        (".ssh/coast/known_hosts", 1000, 0o600),
        (".ssh/coast/config", 1000, 0o600),
        (".ssh/config", 1000, 0o600),
    ];
    assert_eq!(entries, expected);
    assert_eq!(uploaded[2].3, "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    assert_eq!(uploaded[3].3, "[remote.example]:2222 ssh-ed25519 AAAAkey\n");

    engine.file("/home/dev/.ssh/config", uploaded[5].3.as_bytes());
    shell.remove_access().unwrap();
    let runs = engine.runs();
    assert_eq!(runs[3..], ["rm -rf -- /home/dev/.ssh/coast", "rm -f -- /home/dev/.ssh/config"]);
    assert!(engine.uploaded().is_empty());
}

#[test]
fn an_ssh_configuration_of_the_image_keeps_its_content_owner_and_mode() {
    let (engine, _worktree, shell) = with_shell();
    engine.file("/home/dev/.ssh/config", b"Host other\n");
    endpoint(&engine, &shell);
    let (path, uid, mode, content) = engine.uploaded().pop().unwrap();
    assert_eq!((path.as_str(), uid, mode), (".ssh/config", 7, 0o640));
    assert!(content.contains("\nInclude coast/config\n") && content.ends_with("\nHost other\n"), "{content}");

    engine.file("/home/dev/.ssh/config", content.as_bytes());
    shell.install_access(&access()).unwrap();
    assert_ne!(engine.uploaded().pop().unwrap().0, ".ssh/config", "once is enough");

    shell.remove_access().unwrap();
    let restored = engine.uploaded().pop().unwrap();
    assert_eq!(restored, (".ssh/config".to_owned(), 7, 0o640, "Host other\n".to_owned()));
}

#[test]
fn an_image_without_ssh_or_a_home_is_told_before_the_key_goes_in() {
    let (engine, _worktree, shell) = with_shell();
    engine.programs(|arguments| if arguments[0] == "ssh" { Run::Missing } else { ordinary(arguments) });
    let error = shell.install_access(&access()).unwrap_err();
    assert!(
        matches!(&error, MutagenError::NoProgram { step: Step::Ssh, program, .. } if program == "ssh"),
        "{error}"
    );

    engine.programs(|arguments| if arguments[0] == "cat" { ends(0, "", "") } else { ordinary(arguments) });
    let error = shell.install_access(&access()).unwrap_err();
    let expected = "the user 1000 of the image shell:1 has no entry in its /etc/passwd, and ssh needs that";
    assert_eq!((error.to_string().as_str(), error.step()), (expected, Step::Key));
    assert!(engine.uploaded().is_empty());
}

#[test]
fn a_session_is_created_after_what_is_stale_has_ended() {
    let (engine, _worktree, shell) = with_shell();
    let endpoint = endpoint(&engine, &shell);
    engine.programs(|arguments| if arguments[2] == "list" { ends(0, WATCHING, "") } else { ends(0, "", "") });
    let state = shell.create_session(&spec(endpoint)).unwrap();
    assert_eq!((state.status, state.alpha.files), (Status::Watching, 798));
    let expected = [
        "mutagen sync list --template {{json .}}",
        "mutagen sync terminate sync_yAwXU60rLUUuUFsCUD9TgtTHdWqVJIeq8UipzbjXJK2",
        "mutagen sync create --name coast-p-dev-1 --label coast-project=p --label coast-instance=dev-1 \
         --sync-mode one-way-safe --symlink-mode posix-raw --default-file-mode-beta 0644 \
         --default-directory-mode-beta 0755 --ignore node_modules --ignore \"a,b\"\"c\" --ignore-vcs /workspace/ \
         dev@remote.example:/data/workspaces/p/dev-1/",
        "mutagen sync list --label-selector coast-project=p,coast-instance=dev-1 --template {{json .}}",
    ];
    assert_eq!(engine.runs(), expected);
}

#[test]
fn private_files_are_left_out_last_and_counted() {
    let (engine, _worktree, shell) = with_shell();
    let endpoint = endpoint(&engine, &shell);
    engine.programs(|arguments| if arguments[2] == "list" { ends(0, WATCHING, "") } else { ends(0, "", "") });
    let private = ["sub/.env", "a{1}"].map(str::to_owned).into();
    shell.create_session(&SessionSpec { private, file_mode: 0o640, ..spec(endpoint) }).unwrap();
    let runs = engine.runs();
    let create = runs.iter().find(|run| run.contains("create")).unwrap();
    for part in [
        "--label coast-private=2 ",
        "--default-file-mode-beta 0640 --default-directory-mode-beta 0750 ",
        "--ignore /sub/.env --ignore /a\\{1\\} --ignore-vcs ",
    ] {
        assert!(create.contains(part), "{part} is missing from {create}");
    }
}

#[test]
fn sessions_of_others_are_left_alone() {
    let (engine, _worktree, shell) = with_shell();
    let endpoint = endpoint(&engine, &shell);
    let others = WATCHING.replace("coast-p-dev-1", "something-else");
    engine.programs(
        move |arguments| if arguments[2] == "list" { ends(0, &others, "") } else { ends(0, "", "") },
    );
    shell.create_session(&spec(endpoint)).unwrap();
    assert!(!engine.runs().iter().any(|run| run.contains("terminate")));
}

#[test]
fn what_a_killed_command_left_creating_a_session_is_ended_first() {
    let (engine, _worktree, shell) = with_shell();
    let endpoint = endpoint(&engine, &shell);
    engine.programs(|arguments| if arguments[2] == "list" { ends(0, WATCHING, "") } else { ends(0, "", "") });
    let restart = "POST /containers/p-coasts-dev-1-shell/restart".to_owned();
    for (arguments, restarts) in [(["mutagen", "sync", "create"], true), (["mutagen", "sync", "list"], false)]
    {
        engine.runs();
        engine.abandoned(&arguments);
        engine.requests();
        shell.create_session(&spec(endpoint.clone())).unwrap();
        assert_eq!(engine.requests().contains(&restart), restarts, "{arguments:?}");
    }
    engine.runs();
    engine.abandoned(&["mutagen", "sync", "create"]);
    shell.terminate("p", "dev-1").unwrap();
    assert!(engine.requests().contains(&restart));
}

#[test]
fn a_session_that_cannot_be_created_says_whether_it_was_ssh_the_agent_or_the_session() {
    let bundle = "Error: unable to connect to beta: unable to install agent: unable to locate agent bundle";
    let name = "Error: invalid session name: invalid name character at index 3: '_'";
    for (ssh, create, step, said) in [
        (
            255,
            bundle,
            Step::Ssh,
            "ssh dev@remote.example failed with exit code 255: Permission denied (publickey).",
        ),
        (0, bundle, Step::Agent, "unable to locate agent bundle"),
        (0, name, Step::Session, "mutagen sync create failed with exit code 1: Error: invalid session name"),
    ] {
        let (engine, _worktree, shell) = with_shell();
        let endpoint = endpoint(&engine, &shell);
        engine.programs(move |arguments| match (arguments[0].as_str(), arguments[2].as_str()) {
            ("ssh", _) => ends(ssh, "", if ssh == 0 { "" } else { "Permission denied (publickey).\r\n" }),
            (_, "create") => ends(1, "Creating session...\rConnecting to agent (POSIX)...\n", create),
            (_, "list") => ends(0, "[]\n", ""),
            _ => ends(0, "", ""),
        });
        let error = shell.create_session(&spec(endpoint)).unwrap_err();
        assert_eq!(error.step(), step, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn names_and_paths_that_mutagen_would_take_for_something_else_are_refused() {
    let (engine, _worktree, shell) = with_shell();
    let endpoint = endpoint(&engine, &shell);
    for wrong in [
        SessionSpec { project: "a,b".to_owned(), ..spec(endpoint.clone()) },
        SessionSpec { instance: "-x".to_owned(), ..spec(endpoint.clone()) },
        SessionSpec { remote_path: "workspace".to_owned(), ..spec(endpoint.clone()) },
        SessionSpec { ignores: vec![String::new()], ..spec(endpoint) },
    ] {
        let error = shell.create_session(&wrong).unwrap_err();
        assert_eq!(error.step(), Step::Session, "{error}");
    }
    assert!(shell.sessions("p", "a=b").is_err() && engine.runs().is_empty());
}

#[test]
fn sessions_are_flushed_and_terminated_by_their_labels() {
    let (engine, _worktree, shell) = with_shell();
    let programs = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&programs);
    engine.programs(move |arguments| {
        seen.lock().unwrap().push(arguments.join(" "));
        ends(0, "", "")
    });
    shell.flush("p", "dev-1", std::time::Duration::from_secs(5)).unwrap();
    shell.terminate("p", "dev-1").unwrap();
    let selector = "--label-selector coast-project=p,coast-instance=dev-1";
    let expected = ["flush", "terminate"].map(|verb| format!("mutagen sync {verb} {selector}"));
    assert_eq!(*programs.lock().unwrap(), expected);
}

#[test]
fn a_list_that_cannot_be_read_is_an_error_and_not_an_empty_one() {
    let (engine, _worktree, shell) = with_shell();
    for answer in ["", "Attempting to start", "{}"] {
        engine.programs(move |_| ends(0, answer, ""));
        let error = shell.sessions("p", "dev-1").unwrap_err();
        assert!(matches!(error, MutagenError::Output { step: Step::Session, .. }), "{answer}: {error}");
    }
    engine.programs(|_| ends(1, "", "Error: unable to connect to daemon\n"));
    let error = shell.sessions("p", "dev-1").unwrap_err().to_string();
    assert_eq!(error, "mutagen sync list failed with exit code 1: Error: unable to connect to daemon");
}
