//! `assign` and `unassign`: an instance follows another worktree.

use std::fs;

use coast_tests::{Project, Snapshot, Tree};
use serde_json::Value;

/// A project with a running instance, and a second worktree whose branch differs in every way.
fn two_worktrees() -> (Project, std::path::PathBuf) {
    let tree = Tree::new()
        .file("same", "same")
        .file("changed", "of main")
        .file("removed", "of main")
        .file("moved/from/here", "a file that moves, and is long enough to be told from others")
        .file("src/deep/file", "of main");
    let mut project = Project::of(&tree);
    project.set("protect", "[\"uploads/***\"]");
    project.commit(&project.root());
    project.coast(["run", "dev-1"]).run().assert_code(0);
    let feature = project.worktree("feature");
    fs::write(feature.join("changed"), "of feature").expect("it is ours");
    fs::write(feature.join("added"), "of feature").expect("it is ours");
    fs::remove_file(feature.join("removed")).expect("main has it");
    fs::create_dir_all(feature.join("moved/to")).expect("it is ours");
    fs::rename(feature.join("moved/from/here"), feature.join("moved/to/there")).expect("main has it");
    fs::remove_dir(feature.join("moved/from")).expect("it is empty");
    project.commit(&feature);
    (project, feature)
}

fn same_but_for(project: &Project, worktree: &std::path::Path, own: &[&str]) {
    let here = Snapshot::of(worktree).without(|path| path == std::path::Path::new(".git"));
    let there = Snapshot::of(project.workspace("dev-1"))
        .without(|path| own.iter().any(|own| path == std::path::Path::new(own)));
    here.assert_same_content(&there);
}

#[test]
fn the_workspace_becomes_the_other_worktree_and_follows_that_one_only() {
    let (project, feature) = two_worktrees();
    let workspace = project.workspace("dev-1");
    Tree::new()
        .file("uploads/by/a/user", "precious")
        .file("generated/routes.json", "by a service")
        .file(".react-router/types/root.d.ts", "by a service")
        .file("node_modules/left-pad/index.js", "installed there")
        .build(&workspace);
    let before =
        (Snapshot::of(project.remote().path("service")), fs::read(project.record("dev-1")).expect("it runs"));
    let session = project.sessions("dev-1")[0]["identifier"].clone();
    let explain = || project.coast(["assign", "dev-1", "--worktree", "feature", "--explain"]);
    let explained = explain().run();
    explained.assert_code(0).assert_says("would be sent").assert_says("nothing was changed");
    let told: Value = serde_json::from_slice(&explain().arg("--json").run().stdout).expect("JSON");
    Snapshot::of(project.remote().path("service")).assert_untouched_since(&before.0);
    assert_eq!(fs::read(project.record("dev-1")).expect("it runs"), before.1);
    assert_eq!(project.sessions("dev-1")[0]["identifier"], session);
    assert_eq!((&told["event"], &told["ends_session"]), (&"explained".into(), &true.into()), "{told}");

    // The name of a worktree is enough.
    project.coast(["assign", "dev-1", "--worktree", "feature"]).run().assert_code(0);
    let record: Value =
        serde_json::from_slice(&fs::read(project.record("dev-1")).expect("it runs")).expect("JSON");
    let done = &record["last_transfer"];
    assert_eq!(told["deleted"]["placed"]["count"], done["deleted"], "{told} {done}");
    // The file that moved into a new directory is not sent. A dry run does not make that directory, and so counts the file.
    assert_eq!(
        told["sent"]["files"].as_u64(),
        done["sent_files"].as_u64().map(|files| files + 1),
        "{told} {done}"
    );
    let own = ["uploads", "generated", ".react-router", "node_modules"];
    same_but_for(&project, &feature, &own);
    for path in [
        "uploads/by/a/user",
        "generated/routes.json",
        ".react-router/types/root.d.ts",
        "node_modules/left-pad/index.js",
    ] {
        assert!(workspace.join(path).exists(), "{path} is protected");
    }
    assert_eq!(project.sessions("dev-1").len(), 1);

    fs::write(feature.join("changed"), "in feature").expect("it is ours");
    project.follows_with("dev-1", "changed", b"in feature");
    // An edit in the old worktree, then an edit in the new one. If the first edit were sent, it would arrive before the
    // second.
    fs::write(project.root().join("same"), "edited in main").expect("it is ours");
    fs::write(feature.join("added"), "after it").expect("it is ours");
    project.follows_with("dev-1", "added", b"after it");
    project.coast(["flush", "dev-1"]).run().assert_code(0);
    assert_eq!(fs::read(workspace.join("same")).expect("it is there"), b"same");

    project.coast(["unassign", "dev-1"]).run().assert_code(0);
    same_but_for(&project, &project.root(), &own);
    fs::write(project.root().join("changed"), "in main again").expect("it is ours");
    project.follows_with("dev-1", "changed", b"in main again");
}

#[test]
fn a_session_that_could_not_be_ended_is_told_until_it_was() {
    let (project, feature) = two_worktrees();
    let assign = || project.coast(["assign", "dev-1", "--worktree"]).arg(&feature);
    let warning = format!("the session of {} may still run", project.root().display());
    let without = || assign().env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let refused = without().run();
    refused.assert_code(12).assert_says("nothing was changed").assert_says("--force");
    same_but_for(&project, &project.root(), &[]);
    without()
        .arg("--force")
        .run()
        .assert_code(0)
        .assert_says(&warning)
        .assert_says("coast assign dev-1")
        .assert_says("coast stop dev-1");
    // The second edit arrives.
    fs::write(project.root().join("late"), "in main").expect("it is ours");
    project.follows_with("dev-1", "late", b"in main");
    project.coast(["status", "dev-1"]).run().assert_code(12).assert_says(&warning);
    project.coast(["status", "dev-1", "--json"]).run().assert_code(12).assert_says("\"unended\"");

    assign().run().assert_code(0).assert_does_not_say("warning");
    project.coast(["status", "dev-1"]).run().assert_code(0).assert_does_not_say("warning");
    same_but_for(&project, &feature, &[]);
    assert_eq!((project.sessions("dev-1").len(), project.containers().len()), (1, 1));
}

#[test]
fn a_remote_that_cannot_be_reached_leaves_session_and_key_as_they_are() {
    let (project, feature) = two_worktrees();
    let known_hosts = project.remote().path("home/.ssh/known_hosts");
    let known = fs::read_to_string(&known_hosts).expect("the host was recorded");
    let other = fs::read_to_string(project.remote().path("key.pub")).expect("the key was made");
    let port = project.remote().sshd().port();
    fs::write(&known_hosts, format!("[127.0.0.1]:{port} {other}")).expect("it is ours");
    let session = project.sessions("dev-1")[0]["identifier"].clone();
    let record = fs::read(project.record("dev-1")).expect("it runs");
    for command in
        [&["assign", "dev-1", "--worktree", "feature"][..], &["unassign", "dev-1"], &["start", "dev-1"]]
    {
        let outcome = project.coast(command).run();
        outcome.assert_code(255).assert_says("nothing was changed");
        assert_eq!(project.sessions("dev-1")[0]["identifier"], session);
        assert!(project.holds_key("dev-1"));
        assert_eq!(fs::read(project.record("dev-1")).expect("it runs"), record);
    }
    fs::write(project.root().join("changed"), "meanwhile").expect("it is ours");
    project.follows_with("dev-1", "changed", b"meanwhile");

    fs::write(&known_hosts, known).expect("it is ours");
    project.coast(["assign", "dev-1", "-w", "feature"]).run().assert_code(0).assert_does_not_say("warning");
    same_but_for(&project, &feature, &[]);
    assert_eq!(project.sessions("dev-1").len(), 1);
}

#[test]
fn assigning_twice_is_assigning_once() {
    let (project, feature) = two_worktrees();
    for _ in 0..2 {
        project.coast(["assign", "dev-1", "--worktree"]).arg(&feature).run().assert_code(0);
        same_but_for(&project, &feature, &[]);
        assert_eq!((project.sessions("dev-1").len(), project.containers().len()), (1, 1));
    }
    let before = Snapshot::of(project.workspace("dev-1"));
    project.coast(["assign", "dev-1", "--worktree"]).arg(&feature).run().assert_code(0);
    Snapshot::of(project.workspace("dev-1")).assert_untouched_since(&before);
}

#[test]
fn a_worktree_that_does_not_exist_is_an_error_before_anything_is_touched() {
    let (project, _) = two_worktrees();
    let before = Snapshot::of(project.workspace("dev-1"));
    let session = project.sessions("dev-1")[0]["identifier"].clone();
    for worktree in ["futare", "/nonexistent/worktree"] {
        let outcome = project.coast(["assign", "dev-1", "--worktree", worktree]).run();
        assert_ne!(outcome.code(), 0, "{outcome}");
        outcome.assert_says(worktree);
    }
    Snapshot::of(project.workspace("dev-1")).assert_untouched_since(&before);
    assert_eq!(project.sessions("dev-1")[0]["identifier"], session);
}

#[test]
fn a_stopped_instance_or_none_at_all_is_an_error_before_anything_is_touched() {
    let (project, feature) = two_worktrees();
    project.coast(["stop", "dev-1"]).run().assert_code(0);
    let before = Snapshot::of(project.workspace("dev-1"));
    let outcome = project.coast(["assign", "dev-1", "--worktree"]).arg(&feature).run();
    assert_ne!(outcome.code(), 0, "{outcome}");
    outcome.assert_says("stopped").assert_says("coast start dev-1");
    Snapshot::of(project.workspace("dev-1")).assert_untouched_since(&before);
    assert!(project.sessions("dev-1").is_empty());
    let outcome = project.coast(["assign", "dev-2", "--worktree"]).arg(&feature).run();
    assert_ne!(outcome.code(), 0, "{outcome}");
    outcome.assert_says("dev-2").assert_says("dev-1");
}

#[test]
fn a_name_is_a_worktree_or_branch_before_it_is_a_directory() {
    let (project, feature) = two_worktrees();
    // A directory of the same name in the project.
    Tree::new().file("feature/manual", "of main").build(project.root());
    let assign = project.coast(["assign", "dev-1", "-w", "feature"]).run();
    let said = format!("{} is taken, not {}", feature.display(), project.root().join("feature").display());
    assign.assert_code(0).assert_says(&said);
    same_but_for(&project, &feature, &[]);

    // A branch that no worktree has checked out.
    project.git(&project.root(), ["branch", "docs"]);
    Tree::new().file("docs/manual", "of main").build(project.root());
    let refused = project.coast(["assign", "dev-1", "-w", "docs"]).run();
    refused.assert_code(3).assert_says("git worktree add PATH docs").assert_says("./docs");
    same_but_for(&project, &feature, &[]);
}

#[test]
fn a_directory_that_is_no_worktree_of_the_project_needs_a_word() {
    let (project, feature) = two_worktrees();
    project.coast(["assign", "dev-1", "-w", "feature"]).run().assert_code(0);
    Tree::new().file("docs/manual", "of main").build(project.root());
    let other = project.remote().path("other");
    fs::create_dir(&other).expect("a new sandbox is empty");
    project.git(&other, ["init", "--quiet"]);
    std::os::unix::fs::symlink("/etc", project.root().join("elsewhere")).expect("it is ours");
    let pruned = project.worktree("pruned");
    fs::rename(pruned.join(".git"), project.remote().path("kept.git")).expect("it is ours");
    project.git(&project.root(), ["worktree", "prune"]);
    fs::rename(project.remote().path("kept.git"), pruned.join(".git")).expect("it is ours");
    let before = Snapshot::of(project.workspace("dev-1"));
    for wanted in ["docs", "./docs", "/etc", "elsewhere", "..", "../other", "../pruned", "../feature/src"] {
        for command in [&["assign", "dev-1"], &["run", "dev-2"]] {
            let outcome = project.coast(command).arg("-w").arg(wanted).run();
            outcome.assert_code(3).assert_says("--any-directory");
        }
    }
    Snapshot::of(project.workspace("dev-1")).assert_untouched_since(&before);
    assert!(!project.record("dev-2").exists());

    let docs = project.root().join("docs");
    project.coast(["assign", "dev-1", "-w", "./docs", "--any-directory"]).run().assert_code(0);
    same_but_for(&project, &docs, &[]);
    project.coast(["assign", "dev-1", "-w", "../feature"]).run().assert_code(0);
    same_but_for(&project, &feature, &[]);
}
