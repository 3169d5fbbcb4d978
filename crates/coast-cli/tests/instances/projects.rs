//! Projects that are reached from anywhere, and commands on all their instances.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::{coast, command, project, refuses, remember, status_of, succeeds};

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
