//! `stop`, `start`, `rm`: the state that they leave behind, and the effect of a second call.

use std::fs;

use coast_tests::{Project, Snapshot, Tree};

fn running() -> Project {
    let project = Project::of(&Tree::new().file("src/main.rs", "1").file("README", "read"));
    project.coast(["run", "dev-1"]).run().assert_code(0);
    assert_eq!(project.sessions("dev-1").len(), 1);
    assert!(project.holds_key("dev-1"), "a key that cannot be found could not be missed either");
    project
}

fn has_container(project: &Project) -> bool {
    project.containers().contains(&project.container("dev-1"))
}

#[test]
fn stop_leaves_no_session_and_no_key_and_start_follows_again() {
    let project = running();
    for _ in 0..2 {
        project.coast(["stop", "dev-1"]).run().assert_code(0);
        assert!(project.sessions("dev-1").is_empty());
        assert!(!has_container(&project) || !project.holds_key("dev-1"));
    }
    fs::write(project.root().join("src/main.rs"), "while stopped").expect("the repository is ours");
    fs::remove_file(project.root().join("README")).expect("the repository is ours");
    for _ in 0..2 {
        project.coast(["start", "dev-1"]).run().assert_code(0);
        let workspace = project.workspace("dev-1");
        assert_eq!(fs::read(workspace.join("src/main.rs")).expect("it is there"), b"while stopped");
        assert!(!workspace.join("README").exists());
        assert_eq!((project.sessions("dev-1").len(), project.containers().len()), (1, 1));
    }
    fs::write(project.root().join("src/main.rs"), "2").expect("the repository is ours");
    project.follows_with("dev-1", "src/main.rs", b"2");
}

#[test]
fn stop_takes_the_key_out_whatever_state_the_container_is_in() {
    let project = running();
    let container = project.container("dev-1");
    project.engine().run(["pause", &container]);
    project.coast(["stop", "dev-1"]).run().assert_code(0);
    assert!(project.sessions("dev-1").is_empty());
    assert!(!has_container(&project) || !project.holds_key("dev-1"));
    project.coast(["start", "dev-1"]).run().assert_code(0).assert_does_not_say("warning");

    // A mutagen that does not end its session. The session ends with the container.
    project.engine().run([
        "exec",
        &container,
        "cp",
        "--remove-destination",
        "/bin/false",
        "/usr/local/bin/mutagen",
    ]);
    for _ in 0..2 {
        project.coast(["stop", "dev-1"]).run().assert_code(0);
        assert!(!has_container(&project));
    }
    project.coast(["start", "dev-1"]).run().assert_code(0).assert_does_not_say("warning");
    assert_eq!(project.sessions("dev-1").len(), 1);
    fs::write(project.root().join("src/main.rs"), "2").expect("the repository is ours");
    project.follows_with("dev-1", "src/main.rs", b"2");
}

#[test]
fn a_stop_that_could_not_end_the_session_is_told_and_finished_by_the_next() {
    let project = running();
    let without =
        project.coast(["stop", "dev-1"]).env("DOCKER_HOST", "unix:///nonexistent/docker.sock").run();
    assert_eq!(without.code(), 12, "{without}");
    without.assert_says("not stopped yet").assert_says("coast stop dev-1");
    project
        .coast(["status", "dev-1"])
        .run()
        .assert_code(0)
        .assert_says("not stopped yet")
        .assert_says("may still");
    assert!(project.holds_key("dev-1"));
    project.coast(["stop", "dev-1"]).run().assert_code(0);
    assert!(project.sessions("dev-1").is_empty() && !project.holds_key("dev-1"));
    project.coast(["status", "dev-1"]).run().assert_code(0).assert_does_not_say("may still");
}

#[test]
fn rm_leaves_nothing() {
    let project = running();
    let home = project.remote().account().home();
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(project.record("dev-1")).expect("it runs"))
            .expect("a record is JSON");
    let traces = record["traces"].as_array().expect("a session leaves files");
    let traces: Vec<_> = traces.iter().map(|trace| home.join(trace.as_str().expect("a path"))).collect();
    assert_eq!(traces.len(), 2);
    for trace in &traces {
        // mutagen writes its cache a minute after it has started.
        fs::create_dir_all(trace.parent().expect("it lies in mutagen's directory")).expect("root may");
        project.remote().account().own(home.join(".mutagen"));
        project.remote().account().own(trace.parent().expect("as above"));
        fs::write(trace, "x").expect("root may");
    }
    project.coast(["rm", "-y", "dev-1"]).run().assert_code(0).assert_does_not_say("may be left");
    assert!(traces.iter().all(|trace| !trace.exists()), "{traces:?}");
    let service = fs::read_dir(project.remote().path("service/workspaces")).expect("the first run made it");
    assert_eq!(service.count(), 0, "the directory of the project goes with its last instance");
    let helpers = fs::read_dir(home.join(".cache/coast")).expect("the first run made it");
    assert_eq!(helpers.count(), 0, "the helper goes with the last instance");
    assert!(!has_container(&project));
    let workspace = project.workspace("dev-1");
    assert!(!workspace.exists());
    assert!(!workspace.with_file_name(".dev-1.coast").exists(), "the helper's state goes with the workspace");
    assert!(!project.record("dev-1").exists());
    assert!(project.root().join("src/main.rs").exists());
    let again = project.coast(["rm", "-y", "dev-1"]).run();
    assert_ne!(again.code(), 0, "{again}");
    again.assert_says("dev-1");
    // The name can be used again.
    project.coast(["run", "dev-1"]).run().assert_code(0);
    assert_eq!(project.sessions("dev-1").len(), 1);
}

#[test]
fn rm_of_a_stopped_instance_leaves_nothing() {
    let project = running();
    project.coast(["stop", "dev-1"]).run().assert_code(0);
    project.coast(["rm", "-y", "dev-1"]).run().assert_code(0);
    assert!(!has_container(&project) && !project.workspace("dev-1").exists());
    assert!(!project.record("dev-1").exists());
}

#[test]
fn rm_can_leave_the_workspace() {
    let project = running();
    let before = Snapshot::of(project.workspace("dev-1"));
    project.coast(["rm", "-y", "--keep-workspace", "dev-1"]).run().assert_code(0);
    assert!(!has_container(&project) && !project.record("dev-1").exists());
    Snapshot::of(project.workspace("dev-1")).assert_untouched_since(&before);

    // A workspace that no record names is deleted only with an option.
    fs::write(project.workspace("dev-1").join("precious"), "x").expect("root may");
    let again = project.coast(["run", "dev-1"]).run();
    again
        .assert_code(3)
        .assert_says("there is something in it already")
        .assert_says("repeat this command with --adopt");
    assert!(project.workspace("dev-1").join("precious").exists() && !project.record("dev-1").exists());
    project.coast(["run", "--adopt", "dev-1"]).run().assert_code(0);
    assert!(!project.workspace("dev-1").join("precious").exists());
}

#[test]
fn rm_asks_before_it_removes_a_workspace() {
    let project = running();
    // No server answers.
    let outcome = project.coast(["rm", "dev-1"]).run();
    assert_ne!(outcome.code(), 0, "{outcome}");
    outcome.assert_says("-y");
    assert!(project.workspace("dev-1").join("src/main.rs").exists());
    assert_eq!(project.sessions("dev-1").len(), 1);
}

#[test]
fn run_refuses_an_instance_that_exists() {
    let project = running();
    let session = project.sessions("dev-1")[0]["identifier"].clone();
    let outcome = project.coast(["run", "dev-1"]).run();
    assert_ne!(outcome.code(), 0, "{outcome}");
    outcome.assert_says("dev-1");
    assert_eq!(project.sessions("dev-1")[0]["identifier"], session);
}

#[test]
fn an_instance_with_a_name_that_is_not_allowed_any_more_can_be_ended() {
    let project = running();
    project.coast(["run", "a..b"]).run().assert_code(1).assert_says("not a valid name");
    // The record is as an earlier version wrote it.
    let record = fs::read_to_string(project.record("dev-1")).expect("it runs");
    fs::write(project.record("a..b"), record.replace("dev-1", "a..b")).expect("the places are ours");
    Tree::new().file("there", "1").build(project.workspace("a..b"));
    for arguments in [&["stop", "a..b"][..], &["start", "a..b"], &["stop", "a..b"], &["rm", "-y", "a..b"]] {
        project.coast(arguments).run().assert_code(0);
    }
    assert!(!project.workspace("a..b").exists() && !project.record("a..b").exists());
    assert_eq!(project.containers(), [project.container("dev-1")]);
    assert_eq!(project.sessions("dev-1").len(), 1);
}

#[test]
fn two_instances_of_one_project_live_side_by_side() {
    let project = running();
    let feature = project.worktree("feature");
    project.coast(["run", "dev_2", "--worktree"]).arg(&feature).run().assert_code(0);
    fs::write(project.root().join("src/main.rs"), "in main").expect("it is ours");
    fs::write(feature.join("src/main.rs"), "in feature").expect("it is ours");
    project.follows_with("dev-1", "src/main.rs", b"in main");
    project.follows_with("dev_2", "src/main.rs", b"in feature");
    project.coast(["rm", "-y", "dev_2"]).run().assert_code(0);
    fs::write(project.root().join("src/main.rs"), "still").expect("it is ours");
    project.follows_with("dev-1", "src/main.rs", b"still");
}

#[test]
fn a_second_command_on_one_instance_comes_after_the_first() {
    let project = running();
    let feature = project.worktree("feature");
    let first = project.coast(["assign", "dev-1", "--worktree"]).arg(&feature).start();
    let second = project.coast(["assign", "dev-1", "--worktree"]).arg(&feature).run();
    first.wait().assert_code(0);
    second.assert_code(0);
    assert_eq!((project.sessions("dev-1").len(), project.containers().len()), (1, 1));
    fs::write(feature.join("src/main.rs"), "after both").expect("it is ours");
    project.follows_with("dev-1", "src/main.rs", b"after both");
}
