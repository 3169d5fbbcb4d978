//! The commands on remotes and instances as far as they need no other machine: what they keep, what they print, and how they
//! refuse.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use coast_instance::{Following, Record, State};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// How long a command may take to notice that nobody reads.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// The program in a project's directory, with a home of its own and no Docker.
fn coast(scratch: &Path, arguments: &[&str]) -> Output {
    command(scratch, arguments).output().unwrap()
}

fn command(scratch: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coast"));
    command.current_dir(scratch.join("shop")).env("HOME", scratch.join("home")).stdin(Stdio::null());
    for variable in ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "SSH_AUTH_SOCK"]
    {
        command.env_remove(variable);
    }
    command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock").args(arguments);
    command
}

/// A project called `shop`.
fn project() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    fs::create_dir_all(scratch.path().join("home")).unwrap();
    fs::create_dir_all(scratch.path().join("shop/src")).unwrap();
    scratch
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    out
}

#[track_caller]
fn refuses(output: &Output, code: i32) -> String {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    format!("{out}{err}")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn remotes_are_kept_for_the_user_alone_and_listed() {
    let scratch = project();
    let run = |arguments: &[&str]| coast(scratch.path(), arguments);
    assert!(succeeds(&run(&["remote", "ls"])).contains("coast remote add NAME USER@HOST"));
    fs::write(scratch.path().join("shop/key"), "").unwrap();
    let added = succeeds(&run(&["remote", "add", "box", "dev@box.example:2222", "--key", "key"]));
    assert!(added.contains("coast remote test box"), "{added}");
    let file = scratch.path().join("home/.config/coast/remotes.toml");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let key = fs::canonicalize(scratch.path()).unwrap().join("shop/key");
    let listed: Value = serde_json::from_str(&succeeds(&run(&["remote", "ls", "--json"]))).unwrap();
    let expected = json!({ "remotes": [{
        "name": "box", "user": "dev", "host": "box.example", "port": 2222, "service_home": "/data", "key": key,
    }]});
    assert_eq!(listed, expected);

    let again = refuses(&run(&["remote", "add", "box", "dev@other"]), 3);
    assert!(again.contains("coast remote add --replace box"), "{again}");
    let missing = refuses(&run(&["remote", "add", "lab", "dev@lab", "--key", "no-such-key"]), 3);
    assert!(missing.contains("no-such-key"), "{missing}");
    let address = refuses(&run(&["remote", "add", "lab", "-x", "--json"]), 1);
    assert!(!address.is_empty());
    succeeds(&run(&["remote", "rm", "box"]));
    let gone = refuses(&run(&["remote", "test", "box"]), 3);
    assert!(gone.contains("\"box\""), "{gone}");
}

#[test]
fn a_key_that_could_not_be_installed_is_not_left_here() {
    let scratch = project();
    let run = |arguments: &[&str]| coast(scratch.path(), arguments);
    // A server that hangs up.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().for_each(drop));
    succeeds(&run(&["remote", "add", "box", &format!("dev@127.0.0.1:{port}")]));
    let keys = scratch.path().join("home/.local/share/coast/keys");
    let failed = run(&["remote", "key", "box", "--create"]);
    assert!(!failed.status.success(), "{failed:?}");
    assert_eq!(fs::read_dir(&keys).unwrap().count(), 0, "{failed:?}");

    // A killed command leaves a key. The next one uses it, and keeps it where it fails, too.
    fs::write(keys.join("box"), "the key of a killed command").unwrap();
    assert!(!run(&["remote", "key", "box", "--create"]).status.success());
    let removed = run(&["remote", "rm", "box"]);
    succeeds(&removed);
    let said = String::from_utf8_lossy(&removed.stderr).into_owned();
    let left = format!("a private key that was made for box is left: {}", keys.join("box").display());
    assert!(said.contains(&left), "{said}");
}

#[test]
fn a_directory_is_not_silently_taken_for_an_instance_by_restore() {
    let scratch = project();
    let run = |arguments: &[&str]| coast(scratch.path(), arguments);
    fs::create_dir(scratch.path().join("shop/tree")).unwrap();
    for arguments in [&["restore", "tree"][..], &["restore", "tree", "a"]] {
        let said = refuses(&run(arguments), 3);
        assert!(said.contains("; for the directory: coast restore ./tree"), "{said}");
    }
    let said = refuses(&run(&["restore", "no-tree"]), 3);
    assert!(!said.contains("for the directory"), "{said}");
    let listed = succeeds(&run(&["restore", "./tree"]));
    assert!(listed.contains("empty"), "{listed}");
}

#[test]
fn a_remote_is_given_another_address_where_that_is_asked_for() {
    let scratch = project();
    let run = |arguments: &[&str]| coast(scratch.path(), arguments);
    succeeds(&run(&["remote", "add", "box", "dev@one", "--service-home", "/srv"]));
    let said = refuses(&run(&["remote", "add", "box", "dev@two"]), 3);
    assert!(said.contains("coast remote add --replace box"), "{said}");
    remember(scratch.path(), "dev-1", json!({}));
    succeeds(&run(&["remote", "add", "--replace", "box", "dev@two"]));
    let listed = succeeds(&run(&["remote", "ls"]));
    assert!(listed.contains("dev@two") && listed.contains("/srv") && !listed.contains("dev@one"), "{listed}");
    // Its instances are where they are.
    let said = refuses(&run(&["remote", "add", "--replace", "box", "dev@two", "--service-home", "/data"]), 3);
    assert!(said.contains("shop/dev-1"), "{said}");
}

#[test]
fn what_cannot_be_done_is_refused_with_what_to_do_and_leaves_nothing() {
    let scratch = project();
    let run = |arguments: &[&str]| coast(scratch.path(), arguments);
    let none = refuses(&run(&["run", "dev-1"]), 3);
    assert!(none.contains("coast remote add NAME USER@HOST"), "{none}");
    let name = refuses(&run(&["run", "../x"]), 1);
    assert!(name.contains("not a valid name"), "{name}");
    for command in [&["stop", "dev-1"][..], &["start", "dev-1"], &["status", "dev-1"], &["rm", "dev-1"]] {
        let said = refuses(&run(command), 3);
        assert!(said.contains("there is no instance \"dev-1\" of the project \"shop\""), "{said}");
    }
    succeeds(&run(&["remote", "add", "box", "dev@127.0.0.1:1"]));
    // Nobody listens there, so nothing was begun that would have to be finished.
    let refused = refuses(&run(&["run", "dev-1"]), 10);
    assert!(refused.contains("127.0.0.1"), "{refused}");
    assert!(succeeds(&run(&["ls"])).contains("no instances"));
    let test = refuses(&run(&["remote", "test"]), 10);
    assert!(test.contains("connect") && test.contains("-> check the port"), "{test}");
}

#[test]
fn a_name_with_two_dots_is_for_no_new_instance() {
    let scratch = project();
    let run = |arguments: &[&str]| coast(scratch.path(), arguments);
    succeeds(&run(&["remote", "add", "box", "dev@127.0.0.1:1"]));
    let said = refuses(&run(&["run", "a..b"]), 1);
    assert!(said.contains("\"a..b\" is not a valid name") && said.contains("without \"..\""), "{said}");
    // One that was made before is found.
    let said = refuses(&run(&["rm", "-y", "a..b"]), 3);
    assert!(said.contains("there is no instance \"a..b\""), "{said}");
    fs::write(scratch.path().join("shop/Coastfile"), "[coast]\nname = \"sh..op\"\n").unwrap();
    let said = refuses(&run(&["run", "dev-1"]), 1);
    assert!(said.contains("\"sh..op\" is not a valid name") && said.contains("[coast] name"), "{said}");
    assert!(succeeds(&run(&["ls"])).contains("no instances"));
}

/// Writes the record of an instance that runs, with these fields in place of its own.
fn remember(scratch: &Path, instance: &str, fields: Value) {
    let root = fs::canonicalize(scratch.join("shop")).unwrap();
    let name = |text: &str| text.parse().unwrap();
    let remote_path = format!("/data/workspaces/shop/{instance}");
    let mut record = Record::begun(name("shop"), name(instance), &root, &root, name("box"), remote_path);
    record.state = State::Running;
    record.following = Following::BulkOnly;
    let mut record = serde_json::to_value(&record).unwrap();
    let Value::Object(fields) = fields else { panic!("{fields}") };
    record.as_object_mut().unwrap().extend(fields);
    let directory = scratch.join("home/.local/state/coast/shop");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(format!("{instance}.json")), record.to_string()).unwrap();
}

#[test]
fn watching_ends_when_nobody_reads() {
    let scratch = project();
    remember(scratch.path(), "dev-1", json!({}));
    for arguments in [&["status", "dev-1", "--watch"][..], &["status", "dev-1", "--watch", "--json"]] {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let watching =
            command(scratch.path(), arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0];
        reader.read_exact(&mut first).unwrap();
        // Nothing changes from here on.
        drop(reader);
        let pid = Pid::from_child(&watching);
        let (ended, end) = mpsc::channel();
        thread::spawn(move || ended.send(watching.wait_with_output()));
        let Ok(output) = end.recv_timeout(ENDS_WITHIN) else {
            kill_process(pid, Signal::KILL).unwrap();
            panic!("{arguments:?} goes on");
        };
        let output = output.unwrap();
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_status_that_cannot_be_written_is_an_error() {
    let scratch = project();
    remember(scratch.path(), "dev-1", json!({}));
    for arguments in
        [&["status", "dev-1"][..], &["status", "dev-1", "--json"], &["status", "dev-1", "--watch"]]
    {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let ended = command(scratch.path(), arguments).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let said = refuses(&ended.wait_with_output().unwrap(), 11);
        assert!(said.contains("cannot write to standard output: No space left"), "{said}");
    }
}

#[test]
fn a_failure_is_one_object_for_programs() {
    let scratch = project();
    let output = coast(scratch.path(), &["status", "dev-1", "--json"]);
    let failed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&failed["event"], &failed["exit_code"]), (&"failed".into(), &3.into()));
    assert!(output.stderr.is_empty());
    let listed = succeeds(&coast(scratch.path(), &["ls", "--all", "--json"]));
    assert_eq!(listed, "{\"instances\":[]}\n");
}

#[test]
fn a_wrong_coastfile_is_named_with_its_line() {
    let scratch = project();
    fs::write(scratch.path().join("shop/Coastfile"), "[remote]\nworkspace_sync = \"mutagn\"\n").unwrap();
    remember(scratch.path(), "dev-1", json!({ "following": { "is": "bulk_only" } }));
    for command in [
        &["run", "dev-2"][..],
        &["start", "dev-1"],
        &["assign", "dev-1", "-w", "src"],
        &["unassign", "dev-1"],
    ] {
        let said = refuses(&coast(scratch.path(), command), 1);
        assert!(said.contains("Coastfile:2: [remote] workspace_sync is \"mutagn\""), "{said}");
        assert!(said.contains("did you mean \"mutagen\"?"), "{said}");
    }
}

#[test]
fn the_mode_of_a_project_is_told_as_a_mode_and_what_changes_it() {
    let scratch = project();
    let run = |arguments: &[&str]| coast(scratch.path(), arguments);
    succeeds(&run(&["remote", "add", "box", "dev@127.0.0.1:1"]));
    let said = refuses(&run(&["run", "dev-1", "--require-continuous"]), 12);
    assert!(said.contains("bulk only") && said.contains("workspace_sync = \"native\""), "{said}");
    remember(scratch.path(), "dev-1", json!({ "following": { "is": "bulk_only" } }));
    let said = refuses(&run(&["flush", "dev-1"]), 12);
    assert!(said.contains("this project is bulk only"), "{said}");
    let status = succeeds(&run(&["status", "dev-1"]));
    assert!(status.contains("edits       bulk only: transferred by `coast start dev-1`"), "{status}");
    assert!(!status.contains("do not follow"), "{status}");

    fs::write(scratch.path().join("shop/Coastfile"), "[remote]\nworkspace_sync = \"mutagen\"\n").unwrap();
    let status = refuses(&run(&["status", "dev-1"]), 12);
    assert!(
        status.contains("do not follow: never started, although the Coastfile asks for that")
            && status.contains("coast start dev-1"),
        "{status}"
    );
    assert!(refuses(&run(&["flush", "dev-1"]), 12).contains("begin with: coast start dev-1"));
    let json: Value = serde_json::from_str(&refuses(&run(&["status", "dev-1", "--json"]), 12)).unwrap();
    assert_eq!((&json["begins_to_follow"], &json["edits"]), (&json!(true), &json!("do_not_follow")));
    remember(scratch.path(), "dev-1", json!({ "following": { "is": "bulk_only" }, "state": "stopped" }));
    succeeds(&run(&["status", "dev-1"]));
}

#[test]
fn a_failure_is_told_with_what_to_do_first() {
    let scratch = project();
    let failed = |part: &str| json!({ "following": { "is": "failed", "part": part, "step": "a step", "said": "no", "at": 1 } });
    for (part, todo) in [
        ("docker", "mend that first, and then: coast start dev-1"),
        ("image", "or name another image with: coast start dev-1 --image IMAGE"),
        ("session", "try again with: coast start dev-1"),
    ] {
        remember(scratch.path(), "dev-1", failed(part));
        let status = refuses(&coast(scratch.path(), &["status", "dev-1"]), 12);
        assert!(status.contains("do not follow: a step failed ") && status.contains(todo), "{status}");
        assert!(refuses(&coast(scratch.path(), &["flush", "dev-1"]), 12).contains(todo), "{part}");
    }
    // A record of before has no word for the part.
    remember(
        scratch.path(),
        "dev-1",
        json!({ "following": { "is": "failed", "step": "a step", "said": "no", "at": 1 } }),
    );
    let status = refuses(&coast(scratch.path(), &["status", "dev-1"]), 12);
    assert!(status.contains("\n            mend that first, and then: coast start dev-1"), "{status}");
}

#[test]
fn stale_entries_stand_below_their_heading() {
    let scratch = project();
    let stale =
        json!({ "code": 23, "count": 2, "paths": [{ "path": "a/b", "reason": "cannot write:\nread-only" }] });
    remember(scratch.path(), "dev-1", json!({ "stale": stale }));
    let status = succeeds(&coast(scratch.path(), &["status", "dev-1"]));
    let lines = "stale       2 entries of box:/data/workspaces/shop/dev-1 could not be brought up to date:\n\
                 \x20             a/b: cannot write:\n\
                 \x20           read-only\n\
                 \x20             and 1 more\n\
                 \x20           after mending that, transfer them with: coast start dev-1\n";
    assert!(status.contains(lines), "{status}");
}

#[test]
fn a_remote_is_tested_by_its_name_where_there_are_several() {
    let scratch = project();
    let run = |arguments: &[&str]| coast(scratch.path(), arguments);
    for name in ["box", "lab"] {
        succeeds(&run(&["remote", "add", name, "dev@127.0.0.1:1"]));
    }
    let said = refuses(&run(&["remote", "test"]), 3);
    assert!(
        said.contains("(box, lab)") && said.contains("coast remote test NAME") && !said.contains("--remote"),
        "{said}"
    );
}

/// The warning of a command that goes on although the Coastfile is wrong.
#[track_caller]
fn warns(output: &Output, of: &str) -> String {
    let said = text(&output.stderr);
    assert_eq!(said.matches("warning").count(), 1, "{said}");
    assert!(said.contains(of) && said.contains("needs only the records of the project \"shop\""), "{said}");
    text(&output.stdout)
}

#[test]
fn a_wrong_coastfile_does_not_keep_from_what_needs_only_the_record() {
    for (coastfile, of) in [
        (
            &b"[remote]\nworkspace_sync = \"mutagn\"\n"[..],
            "Coastfile:2: [remote] workspace_sync is \"mutagn\"",
        ),
        (b"[remote\n", "Coastfile:1: "),
        (b"\xff\xfe", "stream did not contain valid UTF-8"),
        (b"[coast]\nname = \"store\"\n", "is called \"store\" now"),
    ] {
        let scratch = project();
        let run = |arguments: &[&str]| coast(scratch.path(), arguments);
        remember(scratch.path(), "dev-1", json!({ "following": { "is": "bulk_only" } }));
        fs::write(scratch.path().join("shop/Coastfile"), coastfile).unwrap();
        let listed = succeeds(&run(&["ls"]));
        assert!(listed.contains("dev-1"), "{listed}");
        assert!(warns(&run(&["status", "dev-1"]), of).contains("state       running"));
        let json: Value = serde_json::from_str(&warns(&run(&["status", "dev-1", "--json"]), of)).unwrap();
        assert_eq!(json["instance"], "dev-1");
        warns(&run(&["flush", "dev-1"]), of);
        assert!(warns(&run(&["stop", "dev-1"]), of).contains("stopped"));
        let json = text(&run(&["stop", "dev-1", "--json"]).stdout);
        assert_eq!(json.matches("{\"event\":\"without_settings\",\"text\":").count(), 1, "{json}");
        warns(&run(&["rm", "dev-1", "--keep-workspace"]), of);
        assert!(
            !scratch.path().join("home/.local/state/coast").exists(),
            "nothing is left of the last instance"
        );
    }
}

#[test]
fn an_instance_of_a_deleted_project_is_reached_from_anywhere() {
    let scratch = project();
    remember(scratch.path(), "dev-1", json!({ "following": { "is": "bulk_only" } }));
    fs::rename(scratch.path().join("shop"), scratch.path().join("gone")).unwrap();
    let elsewhere = scratch.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let run =
        |arguments: &[&str]| command(scratch.path(), arguments).current_dir(&elsewhere).output().unwrap();
    let all = succeeds(&run(&["ls", "--all"]));
    assert!(all.contains("shop/dev-1") && all.contains("coast status dev-1 --project shop"), "{all}");
    assert!(succeeds(&run(&["ls", "--project", "shop"])).contains("dev-1"));
    let said = refuses(&run(&["status", "dev-1"]), 3);
    assert!(said.contains("the project \"shop\" has one, reach it with: --project shop"), "{said}");
    assert!(succeeds(&run(&["status", "dev-1", "--project", "shop"])).contains("(project shop)"));
    for command in [&["start", "dev-1"][..], &["assign", "dev-1", "-w", "."], &["unassign", "dev-1"]] {
        let said = refuses(&run(&[command, &["--project", "shop"]].concat()), 3);
        assert!(said.contains("shop of the project \"shop\" is gone"), "{said}");
    }
    let said = refuses(&run(&["stop", "dev-2", "--project", "shop"]), 3);
    assert!(said.contains("no instance \"dev-2\" of the project \"shop\"; it has dev-1"), "{said}");
    succeeds(&run(&["stop", "dev-1", "--project", "shop"]));
    succeeds(&run(&["rm", "dev-1", "--keep-workspace", "--project", "shop"]));
    assert!(succeeds(&run(&["ls", "--all"])).contains("there are no instances"));
}

#[test]
fn the_current_directory_may_be_gone_where_the_project_is_named() {
    let scratch = project();
    remember(scratch.path(), "dev-1", json!({ "following": { "is": "bulk_only" } }));
    let gone = scratch.path().join("gone");
    fs::create_dir(&gone).unwrap();
    let in_it = |arguments: &str| {
        let mut shell = Command::new("/bin/sh");
        let script = format!("rmdir \"$PWD\" && exec \"$0\" {arguments}");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_coast")]).env("HOME", scratch.path().join("home"));
        fs::create_dir_all(&gone).unwrap();
        shell.current_dir(&gone).env_remove("XDG_STATE_HOME").output().unwrap()
    };
    let said = refuses(&in_it("status dev-1"), 11);
    assert!(said.contains("cannot look for the project"), "{said}");
    assert!(succeeds(&in_it("status dev-1 --project shop")).contains("running"));
}

#[test]
fn a_refused_command_leaves_no_directory_of_records() {
    let scratch = project();
    let run = |arguments: &[&str]| coast(scratch.path(), arguments);
    let state = scratch.path().join("home/.local/state/coast");
    refuses(&run(&["run", "dev-1"]), 3);
    assert!(!state.exists(), "no remote");
    succeeds(&run(&["remote", "add", "box", "dev@127.0.0.1:1"]));
    refuses(&run(&["run", "dev-1"]), 10);
    assert!(!state.exists(), "no answer");
    for command in ["stop", "start", "status", "flush", "rm", "unassign"] {
        refuses(&run(&[command, "dev-1"]), 3);
        assert!(!state.exists(), "{command}");
    }
}

#[test]
fn help_teaches_each_command() {
    let scratch = project();
    for (command, taught) in [
        (&["run"][..], "workspace_sync = \"mutagen\""),
        (&["assign"], "coast assign dev-1 --worktree feature"),
        (&["stop"], "key is removed"),
        (&["start"], "a halted session"),
        (&["rm"], "files that exist only there"),
        (&["status"], "\"following\""),
        (&["trust"], "shell_image"),
        (&["init"], "never overwritten"),
        (&["remote"], "remotes.toml"),
        (&["remote", "test"], "sudo"),
    ] {
        let arguments = [command, &["--help"]].concat();
        let help = succeeds(&coast(scratch.path(), &arguments));
        assert!(help.contains(taught), "{command:?}: {help}");
    }
}

#[test]
fn settings_that_could_do_harm_are_used_only_when_they_are_trusted() {
    let scratch = project();
    let run = |arguments: &[&str]| coast(scratch.path(), arguments);
    let coastfile = |image: &str| {
        let text = format!("[remote]\nworkspace_sync = \"mutagen\"\nshell_image = \"{image}\"\n");
        fs::write(scratch.path().join("shop/Coastfile"), text).unwrap();
    };
    coastfile("theirs");
    succeeds(&run(&["remote", "add", "box", "dev@127.0.0.1:1"]));
    remember(scratch.path(), "dev-1", json!({ "following": { "is": "bulk_only" } }));
    // With `--json` nobody is asked.
    let commands =
        [&["run", "dev-2"][..], &["start", "dev-1"], &["assign", "dev-1", "-w", "."], &["unassign", "dev-1"]];
    for command in commands {
        let said = refuses(&run(&[command, &["--json"]].concat()), 3);
        assert!(
            said.contains("[remote] shell_image = \\\"theirs\\\"") && said.contains("coast trust"),
            "{said}"
        );
    }
    // An image that the user names is the user's word. Nobody listens at the remote.
    refuses(&run(&["run", "dev-2", "--image", "mine", "--json"]), 10);
    refuses(&run(&["run", "dev-2", "--trust", "--json"]), 10);
    for command in commands {
        refuses(&run(&[command, &["--json"]].concat()), 10);
    }
    let directory = scratch.path().join("home/.local/state/coast/.trust");
    let files: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    assert_eq!(fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);

    coastfile("another");
    let said = refuses(&run(&["start", "dev-1", "--json"]), 3);
    assert!(said.contains("+ [remote] shell_image = \\\"another\\\""), "{said}");
    assert!(said.contains("- [remote] shell_image = \\\"theirs\\\""), "{said}");
    // What needs no settings works.
    succeeds(&run(&["ls"]));
    succeeds(&run(&["stop", "dev-1"]));

    let trusted = succeeds(&run(&["trust"]));
    assert!(trusted.contains("+ [remote] shell_image = \"another\"\n"), "{trusted}");
    refuses(&run(&["start", "dev-1", "--json"]), 10);
    let list = succeeds(&run(&["trust", "--list"]));
    assert!(list.ends_with("/shop\"\n  [remote] shell_image = \"another\"\n"), "{list}");
    let list: Value = serde_json::from_str(&succeeds(&run(&["trust", "--list", "--json"]))).unwrap();
    assert_eq!(list["projects"][0]["settings"][0]["setting"], "[remote] shell_image = \"another\"");
    assert!(succeeds(&run(&["trust", "--revoke"])).contains("do not trust"));
    refuses(&run(&["start", "dev-1", "--json"]), 3);
    assert!(succeeds(&run(&["trust", "--list"])).contains("no settings"));
    // The directory of answers is not taken for a project.
    succeeds(&run(&["trust"]));
    assert!(succeeds(&run(&["ls", "--all"])).contains("shop/dev-1"));
}

#[test]
fn init_writes_a_coastfile_once() {
    let scratch = project();
    let run = |arguments: &[&str]| coast(scratch.path(), arguments);
    fs::write(scratch.path().join("shop/.gitignore"), "*.log\nfile?\n").unwrap();
    let printed = succeeds(&run(&["init", "--print"]));
    let file = scratch.path().join("shop/Coastfile");
    assert!(!file.exists());
    assert!(succeeds(&run(&["init"])).contains("/shop/Coastfile is written"));
    assert_eq!(fs::read_to_string(&file).unwrap(), printed);
    for part in ["name = \"shop\"\n", "workspace_sync = \"native\"\n", "  '*.log',\n", "#   file?\n"] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    fs::write(&file, "# mine\n").unwrap();
    let said = refuses(&run(&["init"]), 3);
    assert!(said.contains("has a Coastfile already") && said.contains("coast init --print"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "# mine\n");
    assert_eq!(succeeds(&run(&["init", "--print"])), printed);
}

/// The instance `q`, which follows `/wt/feature`.
fn remember_assigned(scratch: &Path, fields: Value) {
    let mut all = json!({
        "worktree": "/wt/feature", "following": { "is": "yes" }, "runner": "container shop-coasts-q-shell", "access": true
    });
    let Value::Object(fields) = fields else { panic!("{fields}") };
    all.as_object_mut().unwrap().extend(fields);
    remember(scratch, "q", all);
}

#[test]
fn an_assign_that_was_killed_at_its_first_step_has_two_ways_on() {
    let scratch = project();
    let begun =
        json!({ "state": "working", "command": "assign", "step": "end_session", "wanted": "/wt/the new" });
    remember_assigned(scratch.path(), begun);
    let status = refuses(&coast(scratch.path(), &["status", "q"]), 12);
    let ways_on = "unfinished: assign did not finish (step end_session); go on to /wt/the new with: coast assign q --worktree \
                   '/wt/the new', or go back to /wt/feature with: coast start q\n";
    assert!(status.contains(ways_on), "{status}");
    let json: Value =
        serde_json::from_str(&refuses(&coast(scratch.path(), &["status", "q", "--json"]), 12)).unwrap();
    assert_eq!(json["wanted"], "/wt/the new");
    // An older program did not write down where it goes.
    remember_assigned(
        scratch.path(),
        json!({ "state": "working", "command": "assign", "step": "end_session" }),
    );
    let status = refuses(&coast(scratch.path(), &["status", "q"]), 12);
    assert!(status.contains("finish it with: coast start q\n"), "{status}");
}

#[test]
fn a_session_of_before_that_may_still_run_is_shown_with_what_ends_it() {
    let scratch = project();
    let unended = json!({
        "worktree": "/wt/old", "runner": "container shop-coasts-q-shell", "said": "cannot reach Docker", "at": 1
    });
    let failed = json!({ "is": "failed", "step": "reaching Docker", "said": "no", "at": 1 });
    remember_assigned(scratch.path(), json!({ "following": failed, "unended": unended }));
    let status = refuses(&coast(scratch.path(), &["status", "q"]), 12);
    let warning = "warning     the session of /wt/old may still run in the container shop-coasts-q-shell: it would bring the files of \
                   /wt/old back; end it as soon as that answers, with: coast assign q --worktree /wt/feature, or: coast stop q \
                   (cannot reach Docker)";
    assert!(status.contains(warning), "{status}");
    let json: Value =
        serde_json::from_str(&refuses(&coast(scratch.path(), &["status", "q", "--json"]), 12)).unwrap();
    assert_eq!(json["unended"], unended);
    assert!(succeeds(&coast(scratch.path(), &["ls"])).contains("may follow"));

    let stopped = json!({ "state": "stopped", "following": { "is": "off" }, "unended": unended });
    remember_assigned(scratch.path(), stopped);
    let status = succeeds(&coast(scratch.path(), &["status", "q"]));
    for said in [
        "state       not stopped yet: the session may go on in the container shop-coasts-q-shell, so that edits of /wt/old may still \
         be carried, and the key may still be in the container shop-coasts-q-shell; finish that with: coast stop q",
        "edits       may still follow, until `coast stop` could end the session",
    ] {
        assert!(status.contains(said), "{status}");
    }
    assert!(succeeds(&coast(scratch.path(), &["ls"])).contains("stop unfinished"));
    let said = refuses(&coast(scratch.path(), &["stop", "q"]), 12);
    assert!(said.contains("it is not stopped yet") && said.contains("coast stop q"), "{said}");
    remember_assigned(
        scratch.path(),
        json!({ "state": "stopped", "following": { "is": "off" }, "access": false }),
    );
    assert!(succeeds(&coast(scratch.path(), &["status", "q"])).contains("state       stopped\n"));
}

#[test]
fn a_docker_that_hangs_does_not_hang_ls() {
    let scratch = project();
    // It accepts connections and never answers.
    let socket = scratch.path().join("docker.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    for instance in ["dev-1", "dev-2", "dev-3"] {
        remember(scratch.path(), instance, json!({ "following": { "is": "yes" }, "runner": "container x" }));
    }
    remember(scratch.path(), "bulk", json!({ "following": { "is": "bulk_only" } }));
    let ls = |arguments: &[&str]| {
        let host = format!("unix://{}", socket.display());
        succeeds(&command(scratch.path(), arguments).env("DOCKER_HOST", host).output().unwrap())
    };
    let listed = ls(&["ls"]);
    for instance in ["dev-1", "dev-2", "dev-3"] {
        let said = format!("{instance}: cannot ask the session: no answer within 2 s");
        assert!(listed.contains(&said), "{listed}");
    }
    assert!(listed.contains("bulk only") && !listed.contains("bulk: "), "{listed}");
    let listed: Value = serde_json::from_str(&ls(&["ls", "--json"])).unwrap();
    let bulk = &listed["instances"][0];
    assert_eq!((&bulk["edits"], &bulk["worktree_is"]), (&"need_not_follow".into(), &"there".into()));
    let other = &listed["instances"][1];
    assert_eq!(
        (&other["edits"], &other["continuous"]["error"]),
        (&"do_not_follow".into(), &"no answer within 2 s".into())
    );
}

#[test]
fn a_worktree_that_is_gone_is_shown_with_what_to_do() {
    let scratch = project();
    remember_assigned(
        scratch.path(),
        json!({ "state": "stopped", "following": { "is": "off" }, "access": false }),
    );
    let status = succeeds(&coast(scratch.path(), &["status", "q"]));
    let said = "worktree    /wt/feature is gone: mount its disk if that is not mounted, or assign another worktree with: \
                coast assign q --worktree NAME_OR_PATH";
    assert!(status.contains(said), "{status}");
    assert!(succeeds(&coast(scratch.path(), &["ls"])).contains("/wt/feature (gone)"));
    let said = refuses(&coast(scratch.path(), &["start", "q"]), 3);
    assert!(said.contains("the worktree /wt/feature is gone; mount its disk"), "{said}");
    // Docker does not answer, so the session cannot be paused.
    remember_assigned(scratch.path(), json!({}));
    let status = refuses(&coast(scratch.path(), &["status", "q"]), 12);
    assert!(status.contains("do not follow: the worktree is gone or replaced"), "{status}");
    let warning = "warning     the session could not be paused: reaching the Docker engine: ";
    assert!(status.contains(warning), "{status}");
    let json: Value =
        serde_json::from_str(&refuses(&coast(scratch.path(), &["status", "q", "--json"]), 12)).unwrap();
    assert_eq!((&json["worktree_is"], &json["edits"]), (&"gone".into(), &"do_not_follow".into()));
}

#[test]
fn a_command_on_all_instances_goes_on_after_an_error_and_tells_of_each() {
    let scratch = project();
    let run = |arguments: &[&str]| coast(scratch.path(), arguments);
    for command in [&["stop", "--all"][..], &["start", "--all"], &["rm", "--all"]] {
        assert_eq!(succeeds(&run(command)), "the project shop has no instances\n");
        let both = refuses(&run(&[command, &["dev-1"]].concat()), 1);
        assert!(both.contains("cannot be used with"), "{both}");
    }
    assert!(refuses(&run(&["stop"]), 1).contains("INSTANCE"));
    let unknown = refuses(&run(&["stop", "--all", "--project", "nope"]), 3);
    assert!(unknown.contains("no project \"nope\" with an instance, and no other one"), "{unknown}");

    for instance in ["a", "b", "c"] {
        remember(scratch.path(), instance, json!({}));
    }
    for command in [&["stop", "--all"][..], &["start", "--all"], &["rm", "--all", "-y"], &["ls"]] {
        let unknown = refuses(&run(&[command, &["--project", "shopp"]].concat()), 3);
        let known =
            "no project \"shopp\" with an instance; those that have one: shop; did you mean \"shop\"?";
        assert!(unknown.contains(known), "{unknown}");
    }
    let damaged = scratch.path().join("home/.local/state/coast/shop/b.json");
    let sound = fs::read(&damaged).unwrap();
    fs::write(&damaged, "{").unwrap();
    let stopped = refuses(&run(&["stop", "--all"]), 11);
    assert!(stopped.contains("2 of 3 instances stopped; with errors: b (code 11)"), "{stopped}");
    let state = |instance: &str| status_of(&run, instance)["state"].clone();
    assert_eq!((state("a"), state("c")), (json!("stopped"), json!("stopped")));

    fs::write(&damaged, sound).unwrap();
    // From anywhere, and for programs.
    let mut elsewhere = command(scratch.path(), &["stop", "--all", "--project", "shop", "--json"]);
    let events = succeeds(&elsewhere.current_dir("/").output().unwrap());
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).count();
    assert_eq!((of("instance"), of("done"), of("all")), (3, 3, 1), "{events:?}");
    let end = json!({ "event": "all", "exit_code": 0, "done": ["a", "b", "c"], "failed": [], "left": [] });
    assert_eq!(events.last(), Some(&end));

    // There is no such remote, so every start fails in its own way.
    let started = refuses(&run(&["start", "--all"]), 3);
    assert!(started.contains("0 of 3 instances started; with errors: a (code 3), b"), "{started}");

    let asked = refuses(&run(&["rm", "--all"]), 1);
    for place in ["a (box:/data/workspaces/shop/a)", "c (box:/data/workspaces/shop/c)", "-y"] {
        assert!(asked.contains(place), "{asked}");
    }
    assert!(!asked.contains("instances removed"), "{asked}");
    // Nobody was asked whether the instance of a root that is gone belongs to this project.
    remember(scratch.path(), "lost", json!({ "root": "/gone/shop" }));
    let removed = run(&["rm", "--all", "--keep-workspace", "-y"]);
    assert!(succeeds(&removed).ends_with("3 instances removed\n"), "{removed:?}");
    let stays = "lost stays: it was made in /gone/shop, which is gone; remove it with: coast rm lost";
    assert!(String::from_utf8_lossy(&removed.stderr).contains(stays), "{removed:?}");
    let removed = succeeds(&run(&["rm", "lost", "--keep-workspace"]));
    assert!(removed.ends_with("removed\n"), "{removed}");
    assert!(!scratch.path().join("home/.local/state/coast").exists());
}

#[test]
fn a_coastfile_that_is_no_regular_file_is_refused_and_never_waited_for() {
    for extends in [false, true] {
        for (is, said) in
            [("pipe", "it is a pipe"), ("device", "it is a device"), ("directory", "it is a directory")]
        {
            let scratch = project();
            let run = |arguments: &[&str]| coast(scratch.path(), arguments);
            remember(scratch.path(), "dev-1", json!({}));
            let mut file = scratch.path().join("shop/Coastfile");
            if extends {
                fs::write(&file, "extends = \"base\"\n").unwrap();
                file = scratch.path().join("shop/base");
            }
            match is {
                "pipe" => mknodat(CWD, &file, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap(),
                "device" => std::os::unix::fs::symlink("/dev/zero", &file).unwrap(),
                _ => fs::create_dir(&file).unwrap(),
            }
            for command in [&["run", "dev-2"][..], &["start", "dev-1"], &["trust"]] {
                let refused = refuses(&run(command), 1);
                assert!(refused.contains(said) && refused.contains("shop/Coastfile"), "{refused}");
            }
            warns(&run(&["status", "dev-1"]), said);
            warns(&run(&["stop", "dev-1"]), said);
        }
    }
}

#[test]
fn a_typed_coastfile_is_chosen_trusted_on_its_own_and_remembered() {
    let scratch = project();
    let run = |arguments: &[&str]| coast(scratch.path(), arguments);
    succeeds(&run(&["remote", "add", "box", "dev@127.0.0.1:1"]));
    let write = |name: &str, text: &str| fs::write(scratch.path().join("shop").join(name), text).unwrap();
    write("Coastfile", "[remote]\n");
    write("Coastfile.remote.light", "[remote]\nown = \"all\"\n");
    for bad in ["../x", "a/b", "", "toml"] {
        assert!(refuses(&run(&["run", "dev-1", "--type", bad]), 1).contains("is not a type of a Coastfile"));
    }
    let missing = refuses(&run(&["run", "dev-1", "--type", "full"]), 1);
    assert!(missing.contains("Coastfile.remote.full.toml or Coastfile.remote.full"), "{missing}");
    assert!(missing.contains("it has the types light"), "{missing}");

    let refused = refuses(&run(&["run", "dev-1", "--type", "light"]), 3);
    assert!(refused.contains("coast trust --type light"), "{refused}");
    assert!(succeeds(&run(&["trust"])).contains("need no trust"), "the other Coastfile asks for nothing");
    refuses(&run(&["run", "dev-1", "--type", "light"]), 3);
    succeeds(&run(&["trust", "--type", "light"]));
    assert!(succeeds(&run(&["trust", "--list"])).contains("(type light)"));
    // It is trusted, and nobody listens there.
    refuses(&run(&["run", "dev-1", "--type", "light"]), 10);

    remember(scratch.path(), "dev-1", json!({ "coastfile_type": "light" }));
    refuses(&run(&["start", "dev-1"]), 10);
    succeeds(&run(&["trust", "--type", "light", "--revoke"]));
    for command in [&["start", "dev-1"][..], &["start", "--all"], &["start", "dev-1", "--project", "shop"]] {
        assert!(refuses(&run(command), 3).contains("coast trust --type light"), "{command:?}");
    }
    refuses(&run(&["start", "dev-1", "--type", "default"]), 10);
    assert_eq!(status_of(&run, "dev-1")["coastfile_type"], "light", "nothing was changed");

    fs::remove_file(scratch.path().join("shop/Coastfile.remote.light")).unwrap();
    assert!(refuses(&run(&["start", "dev-1"]), 1).contains("there is no Coastfile.remote.light"));
    warns(&run(&["stop", "dev-1"]), "there is no Coastfile.remote.light");
}

fn status_of(run: &impl Fn(&[&str]) -> Output, instance: &str) -> Value {
    serde_json::from_slice(&run(&["status", instance, "--json"]).stdout).unwrap()
}

#[test]
fn a_suggested_command_repeats_the_project_and_is_quoted_for_a_shell() {
    let scratch = project();
    let elsewhere = |arguments: &[&str]| {
        let arguments = [arguments, &["dev-1", "--project", "shop"]].concat();
        command(scratch.path(), &arguments).current_dir("/").output().unwrap()
    };
    let here = |arguments: &[&str]| coast(scratch.path(), &[arguments, &["dev-1"]].concat());
    succeeds(&coast(scratch.path(), &["remote", "add", "box", "dev@127.0.0.1:1"]));
    remember(scratch.path(), "dev-1", json!({ "worktree": "/gone/a b" }));
    let assign = "coast assign dev-1 --project shop --worktree NAME_OR_PATH";
    assert!(succeeds(&elsewhere(&["status"])).contains(assign));
    assert!(refuses(&elsewhere(&["start"]), 3).contains(assign));
    assert!(!succeeds(&here(&["status"])).contains("--project"));
    assert!(succeeds(&elsewhere(&["stop"])).contains("coast start dev-1 --project shop"));
    assert!(
        refuses(&elsewhere(&["flush"]), 3).contains("start it first with: coast start dev-1 --project shop")
    );
    assert!(refuses(&here(&["flush"]), 3).contains("start it first with: coast start dev-1 (code 3)"));

    let unended = json!({ "worktree": "/wt/it's", "runner": "container c", "said": "no", "at": 1 });
    remember(scratch.path(), "dev-1", json!({ "worktree": "/wt/it's", "unended": unended }));
    let status = succeeds(&elsewhere(&["status"]));
    assert!(status.contains("coast assign dev-1 --project shop --worktree '/wt/it'\\''s', or: "), "{status}");
}
