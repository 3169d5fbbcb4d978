//! `coast status` and `coast ls`: what they say about records.

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{coast, command, project, refuses, remember, succeeds, text};

/// How long a command may take to notice that nobody reads.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

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
