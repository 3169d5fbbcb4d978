//! `coast remote`: the machines of instances.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use coast_tests::{Project, Tree};

#[test]
fn remotes_are_kept_listed_tested_and_removed_when_nothing_lives_there() {
    let mut project = Project::of(&Tree::new().file("src/main.rs", "1"));
    project.set("workspace_sync", "\"rsync\"");
    let file = project.remote().path("home/.config/coast/remotes.toml");
    let mode = fs::metadata(&file).expect("it was written").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    project.coast(["remote", "ls"]).run().assert_code(0).assert_says("box").assert_says("127.0.0.1");
    let test = project.coast(["remote", "test", "box"]).run();
    test.assert_code(0).assert_says("sudo").assert_says(std::env::consts::ARCH);

    project.add_remote("other").run().assert_code(0);
    let outcome = project.coast(["run", "dev-1"]).run();
    assert_ne!(outcome.code(), 0, "{outcome}");
    outcome.assert_says("--remote").assert_says("other");
    project.coast(["run", "dev-1", "--remote", "other"]).run().assert_code(0);

    let outcome = project.coast(["remote", "rm", "other"]).run();
    assert_ne!(outcome.code(), 0, "{outcome}");
    outcome.assert_says("dev-1");
    project.coast(["rm", "-y", "dev-1"]).run().assert_code(0);
    project.coast(["remote", "rm", "other"]).run().assert_code(0);
    project.coast(["remote", "ls"]).run().assert_code(0).assert_does_not_say("other");
}

#[test]
fn a_remote_that_cannot_be_reached_says_what_failed() {
    let project = Project::of(&Tree::new().file("src/main.rs", "1"));
    let address = format!("{}@127.0.0.1:1", project.remote().account().name());
    project.coast(["remote", "add", "dead", &address]).run().assert_code(0);
    let test = project.coast(["remote", "test", "dead"]).run();
    assert_ne!(test.code(), 0, "{test}");
    test.assert_says("connect");
    let run = project.coast(["run", "dev-1", "--remote", "dead"]).run();
    assert_ne!(run.code(), 0, "{run}");
    run.assert_says("127.0.0.1");
    // Nothing of the remote is left, so its name can be used again.
    project.coast(["run", "dev-1", "--remote", "box"]).run().assert_code(0);
}
