//! Commands that are refused: what they say, and that they leave nothing.

use std::fs;

use serde_json::{Value, json};

use super::{coast, command, project, refuses, remember, succeeds};

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

#[test]
fn a_transfer_that_deletes_in_the_workspace_of_an_instance_says_so() {
    let scratch = project();
    let run = |arguments: &[&str]| coast(scratch.path(), arguments);
    succeeds(&run(&["remote", "add", "box", "dev@127.0.0.1:1"]));
    remember(scratch.path(), "dev-1", json!({}));
    let place = "ssh://dev@127.0.0.1:1/data/workspaces/shop/dev-1";
    let advice = "to the instance shop/dev-1; this run does not know the rules";
    // Nobody listens there.
    for arguments in [
        &["push", ".", place][..],
        &["push", "-n", ".", place],
        &["push", "-p", "1", ".", "dev@127.0.0.1:/data/workspaces/shop/dev-1/uploads"],
        &["sync", "-a", "--delete", "./", place],
    ] {
        let said = refuses(&run(arguments), 10);
        assert!(said.contains(advice) && said.contains("coast start dev-1 --project shop;"), "{said}");
    }
    for arguments in [
        &["push", "--no-delete", ".", place][..],
        &["push", "--quiet", ".", place],
        &["push", ".", "ssh://127.0.0.1:1/data/workspaces/shop/dev-2"],
        &["sync", "-a", "./", place],
        // It deletes in `workspaces/src` alone.
        &["sync", "-a", "--delete", "src", "ssh://127.0.0.1:1/data/workspaces"],
    ] {
        let said = refuses(&run(arguments), 10);
        assert!(!said.contains(advice), "{said}");
    }
}

#[test]
fn a_second_run_names_the_commands_that_go_on_with_the_instance_first() {
    let scratch = project();
    let run = |arguments: &[&str]| coast(scratch.path(), arguments);
    succeeds(&run(&["remote", "add", "box", "dev@127.0.0.1:1"]));
    remember(scratch.path(), "dev-1", json!({ "claimed": true }));
    let said = refuses(&run(&["run", "dev-1"]), 3);
    let places =
        ["coast start dev-1", "coast assign dev-1 --worktree", "coast status dev-1", "coast rm dev-1"]
            .map(|command| said.find(command));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{said}");
}
