//! `status` and `ls`: the state of instances, in words and as JSON.

use std::fs;
use std::time::{Duration, Instant};

use coast_tests::{Project, Tree};
use serde_json::Value;

fn running() -> Project {
    let project = Project::of(&Tree::new().file("src/main.rs", "1").file("README", "read"));
    project.coast(["run", "dev-1"]).run().assert_code(0);
    project
}

#[track_caller]
fn json(project: &Project, arguments: &[&str]) -> Value {
    let outcome = project.coast(arguments).run();
    outcome.assert_code(0);
    serde_json::from_slice(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome}"))
}

#[test]
fn a_running_and_a_stopped_instance_are_shown_as_such() {
    let project = running();
    project.coast(["ls"]).run().assert_code(0).assert_says("dev-1").assert_says("box");
    project.coast(["status", "dev-1"]).run().assert_code(0).assert_says("watching");
    assert!(json(&project, &["status", "dev-1", "--json"]).to_string().contains("watching"));
    assert!(json(&project, &["ls", "--json"]).to_string().contains("dev-1"));
    project.coast(["stop", "dev-1"]).run().assert_code(0);
    project.coast(["ls"]).run().assert_code(0).assert_says("stopped");
    project.coast(["status", "dev-1"]).run().assert_code(0).assert_says("stopped");
}

#[test]
fn a_conflict_is_shown_with_its_path() {
    let project = running();
    let workspace = project.workspace("dev-1");
    fs::write(workspace.join("both"), "made there").expect("root writes anywhere");
    // The scan of the remote must see the file first. Otherwise it would be mutagen's own by the time of the scan.
    project.coast(["flush", "dev-1"]).run().assert_code(0);
    fs::write(project.root().join("both"), "made here").expect("the repository is ours");
    project.coast_says(&["status", "dev-1"], "conflict");
    project.coast(["status", "dev-1"]).run().assert_code(0).assert_says("both");
    assert!(json(&project, &["status", "dev-1", "--json"]).to_string().contains("both"));
    assert_eq!(fs::read(workspace.join("both")).expect("it stays"), b"made there");
    // Mending decides for the entry here, and so do the next assign and start.
    let mended = project.coast(["status", "dev-1", "--mend"]).run();
    mended.assert_code(0).assert_says("edits");
    mended.assert_does_not_say("conflict");
    assert_eq!(fs::read(workspace.join("both")).expect("it is there"), b"made here");
}

#[test]
fn a_directory_that_the_user_may_not_write_is_a_problem_with_its_path() {
    let project = running();
    let workspace = project.workspace("dev-1");
    Tree::new().dir("rooted").owner(0, 0).build(&workspace);
    project.coast(["flush", "dev-1"]).run().assert_code(0);
    Tree::new().file("rooted/file", "1").build(project.root());
    project.coast_says(&["status", "dev-1"], "rooted/file");
    // The transfer gives every entry to the user, so edits can follow again.
    project.coast(["start", "dev-1"]).run().assert_code(0);
    fs::write(project.root().join("rooted/file"), "2").expect("the repository is ours");
    project.follows_with("dev-1", "rooted/file", b"2");
}

#[test]
fn an_emptied_worktree_halts_and_start_mends_it() {
    let project = running();
    let away = project.remote().path("away");
    fs::create_dir(&away).expect("a new sandbox is empty");
    // Everything is deleted, version control too. An ignored directory that stays would count as content.
    let names = fs::read_dir(project.root()).expect("it is ours").flatten().map(|entry| entry.file_name());
    let names: Vec<_> = names.collect();
    for name in &names {
        fs::rename(project.root().join(name), away.join(name)).expect("it is ours");
    }
    let started = Instant::now();
    let halted = |project: &Project| {
        let sessions = project.sessions("dev-1");
        sessions[0]["status"].as_str().is_some_and(|status| status.starts_with("halted"))
    };
    while !halted(&project) {
        assert!(started.elapsed() < Duration::from_secs(30), "the session does not halt");
    }
    for name in &names {
        fs::rename(away.join(name), project.root().join(name)).expect("it is ours");
    }
    let status = project.coast(["status", "dev-1"]).run();
    status.assert_code(12).assert_says("halted").assert_says("start");
    assert!(project.workspace("dev-1").join("src/main.rs").exists(), "nothing was deleted");
    project.coast(["start", "dev-1"]).run().assert_code(0);
    fs::write(project.root().join("src/main.rs"), "2").expect("the repository is ours");
    project.follows_with("dev-1", "src/main.rs", b"2");
}

#[test]
fn edits_follow_only_while_the_container_and_the_session_run() {
    let project = running();
    let container = project.container("dev-1");
    assert!(project.exec("dev-1", &["mutagen", "sync", "pause", "--all"]).status.success());
    project
        .coast(["status", "dev-1"])
        .run()
        .assert_code(12)
        .assert_says("do not follow")
        .assert_says("coast start");
    project.coast(["ls"]).run().assert_code(0).assert_says("halted");
    assert!(project.exec("dev-1", &["mutagen", "sync", "terminate", "--all"]).status.success());
    project.coast(["status", "dev-1"]).run().assert_code(12).assert_says("the session is gone");
    project.engine().run(["stop", "--time=0", &container]);
    project
        .coast(["status", "dev-1"])
        .run()
        .assert_code(12)
        .assert_says(&format!("{container} does not run"));
    project.coast(["ls"]).run().assert_code(0).assert_says("runner stopped");
    project.engine().run(["rm", "--force", &container]);
    project.coast(["status", "dev-1"]).run().assert_code(12).assert_says(&format!("{container} is gone"));
    let without =
        |program: coast_tests::Program| program.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let status = without(project.coast(["status", "dev-1"])).run();
    status.assert_code(12).assert_says("nobody can tell: ").assert_says("cannot reach Docker");
    without(project.coast(["ls"])).run().assert_code(0).assert_says("dev-1: cannot ask the session: ");
    project.coast(["start", "dev-1"]).run().assert_code(0);
    project.coast(["status", "dev-1"]).run().assert_code(0).assert_says("edits       follow: watching");
}

#[test]
fn a_check_looks_at_the_remote() {
    let project = running();
    project.coast(["status", "dev-1", "--check"]).run().assert_code(0).assert_says("the workspace is there");
    project.coast(["ls", "--check"]).run().assert_code(0).assert_says("box, reached");
    let known_hosts = project.remote().path("home/.ssh/known_hosts");
    let known = fs::read_to_string(&known_hosts).expect("the host was recorded");
    let other = fs::read_to_string(project.remote().path("key.pub")).expect("the key was made");
    fs::write(&known_hosts, format!("[127.0.0.1]:{} {other}", project.remote().sshd().port()))
        .expect("it is ours");
    project.coast(["status", "dev-1"]).run().assert_code(0);
    project.coast(["status", "dev-1", "--check"]).run().assert_code(12).assert_says("cannot be reached: ");
    project.coast(["ls", "--check"]).run().assert_code(0).assert_says("dev-1: cannot ask the remote: ");
    fs::write(&known_hosts, known).expect("it is ours");
    project.coast(["stop", "dev-1"]).run().assert_code(0);
    fs::remove_dir_all(project.workspace("dev-1")).expect("root may");
    project.coast(["status", "dev-1"]).run().assert_code(0);
    project.coast(["status", "dev-1", "--check"]).run().assert_code(12).assert_says("the workspace is gone");
    project.coast(["start", "dev-1"]).run().assert_code(0);
    assert!(project.workspace("dev-1").join("src/main.rs").exists());
}

#[test]
fn a_worktree_that_goes_away_pauses_its_session_and_deletes_nothing() {
    let project = running();
    let feature = project.worktree("feature");
    project.coast(["assign", "dev-1", "-w", "feature"]).run().assert_code(0);
    let workspace = project.workspace("dev-1");
    let away = project.remote().path("away");
    fs::rename(&feature, &away).expect("it is ours");
    let status = project.coast(["status", "dev-1"]).run();
    status.assert_code(12).assert_says("is gone: mount its disk").assert_says("the session was paused");
    assert_eq!(project.sessions("dev-1")[0]["paused"], true);
    project.coast(["ls"]).run().assert_code(0).assert_says("feature (gone)");
    project.coast(["flush", "dev-1"]).run().assert_code(12).assert_says("the session was paused");
    project
        .coast(["start", "dev-1"])
        .run()
        .assert_code(3)
        .assert_says("is gone")
        .assert_says("--worktree NAME_OR_PATH");

    // The mount point of a disk that is not mounted.
    Tree::new().file("Coastfile", "").build(&feature);
    let assign = format!("coast assign dev-1 --worktree {}", feature.display());
    project
        .coast(["status", "dev-1"])
        .run()
        .assert_code(12)
        .assert_says("is another directory")
        .assert_says(&assign);
    let start = project.coast(["start", "dev-1"]).run();
    start.assert_code(3).assert_says("another directory").assert_says(&assign).assert_says("mount the disk");
    assert_eq!(fs::read(workspace.join("src/main.rs")).expect("nothing was deleted"), b"1");

    fs::remove_dir_all(&feature).expect("it is ours");
    fs::rename(&away, &feature).expect("it is ours");
    project.coast(["start", "dev-1"]).run().assert_code(0);
    fs::write(feature.join("src/main.rs"), "2").expect("it is ours");
    project.follows_with("dev-1", "src/main.rs", b"2");

    // A worktree that git makes again is another one, and is taken when it is named.
    project.commit(&feature);
    project.git(
        &project.root(),
        ["worktree", "move", "feature", away.to_str().expect("paths of tests are text")],
    );
    project.git(
        &project.root(),
        ["worktree", "add", "--quiet", "--force", "--detach", feature.to_str().expect("text")],
    );
    project.coast(["start", "dev-1"]).run().assert_code(3).assert_says("another directory");
    project.coast(["assign", "dev-1", "--worktree"]).arg(&feature).run().assert_code(0);
    project.coast(["status", "dev-1"]).run().assert_code(0);
}

#[test]
fn flush_returns_when_everything_has_arrived() {
    let project = running();
    for round in 0..3 {
        let mut tree = Tree::new();
        for number in 0..200 {
            tree = tree.file(format!("many/{number}"), format!("{round} {number}"));
        }
        tree.build(project.root());
        project.coast(["flush", "dev-1"]).run().assert_code(0);
        let last = fs::read(project.workspace("dev-1").join("many/199")).expect("it has arrived");
        assert_eq!(last, format!("{round} 199").as_bytes());
    }
    project.coast(["stop", "dev-1"]).run().assert_code(0);
    let outcome = project.coast(["flush", "dev-1"]).run();
    assert_ne!(outcome.code(), 0, "{outcome}");
    outcome.assert_says("stopped");
}
