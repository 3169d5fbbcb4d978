//! coastd makes true what the records say, and deletes nothing of a worktree that is lost.

use std::fs;
use std::path::Path;

use coast_tests::{Layer, Project, Snapshot, Tree};
use rustix::process::{Pid, Signal, kill_process};

use super::{Daemon, kill};

fn project() -> Project {
    Project::on(
        Layer::Native,
        &Tree::new().file("src/main.rs", "1").file("src/old.rs", "old").file("README", "read"),
    )
}

fn daemon(project: &Project) -> Daemon<'_> {
    Daemon::of(project.remote().sandbox())
}

/// Makes a file in a workspace, as a service on the remote does.
fn make_there(project: &Project, instance: &str, path: &str, content: &str) {
    let workspace = project.workspace(instance);
    Tree::new().file(path, content).build(&workspace);
    project.remote().account().own(workspace.join(path));
}

#[test]
fn all_instances_follow_again_after_a_kill() {
    let project = project();
    let daemon = daemon(&project);
    let feature = project.worktree("feature");
    project.coast(["run", "dev-1"]).run().assert_code(0);
    project.coast(["run", "dev-2", "--worktree"]).arg(&feature).run().assert_code(0);
    project.coast(["run", "idle"]).run().assert_code(0);
    project.coast(["stop", "idle"]).run().assert_code(0);
    make_there(&project, "dev-1", "made/there", "by a service");
    make_there(&project, "dev-1", "README", "changed there");

    kill(daemon.pid());
    let begin = "do not follow: coastd does not run; begin with: coast start dev-1";
    for command in [&["status", "dev-1"][..], &["status", "dev-1", "--check"], &["flush", "dev-1"]] {
        project.coast(command).run().assert_code(12).assert_says(begin);
    }
    project.coast(["ls"]).run().assert_code(0).assert_says("dev-2").assert_says("coastd does not run");
    let root = project.root();
    Tree::new().file("src/main.rs", "2").file("new/file", "new").build(&root);
    fs::remove_file(root.join("src/old.rs")).expect("it was built");
    fs::write(feature.join("README"), "edited").expect("the worktree is ours");
    make_there(&project, "dev-1", "made/later", "by a service");
    fs::write(root.join("README"), "changed here").expect("the repository is ours");

    daemon.run(&["start"]).assert_code(0);
    // A command that comes at once waits until the instance follows.
    project.coast(["flush", "dev-1"]).run().assert_code(23).assert_says("README");
    project.coast(["flush", "dev-2"]).run().assert_code(0);
    let workspace = project.workspace("dev-1");
    let there = |path: &str| fs::read_to_string(workspace.join(path)).expect("it is there");
    assert_eq!((there("src/main.rs"), there("new/file")), ("2".into(), "new".into()));
    assert!(!workspace.join("src/old.rs").exists());
    assert_eq!((there("made/there"), there("made/later")), ("by a service".into(), "by a service".into()));
    assert_eq!(there("README"), "changed there");
    project.follows_with("dev-2", "README", b"edited");
    for (root, instance) in [(&root, "dev-1"), (&feature, "dev-2")] {
        fs::write(root.join("src/main.rs"), instance).expect("the worktree is ours");
        project.follows_with(instance, "src/main.rs", instance.as_bytes());
    }
    project.coast(["status", "idle"]).run().assert_code(0).assert_says("stopped");
    let status = daemon.status();
    assert_eq!(status["instances"].as_array().map(Vec::len), Some(2), "{status}");
    let stopped = daemon.run(&["stop"]);
    let name = project.name();
    stopped.assert_says(&format!("do not follow any more in: {name}/dev-1, {name}/dev-2;"));
    stopped.assert_says("coast daemon start").assert_does_not_say("idle");
}

/// Checks that the status of `dev-1` says this, and that the workspace is as it was.
#[track_caller]
fn halts(project: &Project, before: &Snapshot, words: &str) {
    project.coast_says(&["status", "dev-1"], words);
    project.coast(["status", "dev-1"]).run().assert_code(12).assert_says("do not follow");
    project.coast(["ls"]).run().assert_code(0).assert_does_not_say("dev-1  running  follow");
    before.assert_same_content(&Snapshot::of(project.workspace("dev-1")));
}

#[test]
fn a_worktree_that_is_gone_or_emptied_halts_and_deletes_nothing() {
    let project = project();
    let daemon = daemon(&project);
    let (feature, away) = (project.worktree("feature"), project.remote().path("away"));
    project.coast(["run", "dev-1", "--worktree"]).arg(&feature).run().assert_code(0);
    let before = Snapshot::of(project.workspace("dev-1"));
    let start = || project.coast(["start", "dev-1"]).run();

    // While coastd follows it.
    fs::rename(&feature, &away).expect("the sandbox is ours");
    halts(&project, &before, "feature is gone");
    fs::rename(&away, &feature).expect("the sandbox is ours");
    start().assert_code(0);
    let empty = |worktree: &Path| {
        fs::create_dir(&away).expect("it was renamed");
        for entry in fs::read_dir(worktree).expect("it is there") {
            let entry = entry.expect("it can be listed");
            if entry.file_name() == ".git" {
                continue;
            }
            fs::rename(entry.path(), away.join(entry.file_name())).expect("the sandbox is ours");
        }
    };
    let refill = || {
        for entry in fs::read_dir(&away).expect("it is there") {
            let entry = entry.expect("it can be listed");
            fs::rename(entry.path(), feature.join(entry.file_name())).expect("the sandbox is ours");
        }
        fs::remove_dir(&away).expect("it is empty");
    };
    // Its directory and git's file are there, and everything else is gone.
    kill(daemon.pid());
    empty(&feature);
    daemon.run(&["start"]).assert_code(0);
    halts(&project, &before, "is empty");
    refill();
    start().assert_code(0);

    kill(daemon.pid());
    fs::rename(&feature, &away).expect("the sandbox is ours");
    daemon.run(&["start"]).assert_code(0);
    halts(&project, &before, "feature is gone");
    // Another directory in its place is not followed either.
    fs::create_dir(&feature).expect("it was renamed");
    fs::write(feature.join("other"), "other").expect("the sandbox is ours");
    daemon.run(&["restart"]).assert_code(0);
    halts(&project, &before, "another directory than before");
    fs::remove_dir_all(&feature).expect("the sandbox is ours");
    fs::rename(&away, &feature).expect("the sandbox is ours");
    start().assert_code(0);
    fs::write(feature.join("src/main.rs"), "2").expect("the worktree is ours");
    project.follows_with("dev-1", "src/main.rs", b"2");
}

#[test]
fn a_refused_deletion_names_the_command_that_allows_it_and_is_logged_once() {
    let many = (0..150).map(|number| format!("many/{number}")).collect::<Vec<_>>();
    let tree = many.iter().fold(Tree::new().file("README", "read"), |tree, path| tree.file(path, path));
    let project = Project::on(Layer::Native, &tree);
    let daemon = daemon(&project);
    project.coast(["run", "dev-1"]).run().assert_code(0);
    let (many, away) = (project.root().join("many"), project.remote().path("away"));
    fs::rename(&many, &away).expect("the repository is ours");
    let command = "coast start dev-1 --allow-mass-deletion";
    let flushed = project.coast(["flush", "dev-1"]).run();
    flushed
        .assert_code(12)
        .assert_says(command)
        .assert_says("go on by themselves")
        .assert_does_not_say("mend that");
    project.coast_says(&["status", "dev-1"], command);
    assert_eq!(fs::read_dir(project.workspace("dev-1").join("many")).expect("it is there").count(), 150);

    project.coast_says(&["daemon", "logs"], "edits do not follow: ");
    fs::rename(&away, &many).expect("the sandbox is ours");
    project.coast(["flush", "dev-1"]).run().assert_code(0);
    project.coast_says(&["daemon", "logs"], "edits follow again");
    let log = daemon.run(&["logs"]).text();
    assert_eq!(
        (log.matches("edits do not follow").count(), log.matches("follow again").count()),
        (1, 1),
        "{log}"
    );

    fs::rename(&many, &away).expect("the repository is ours");
    project.coast_says(&["status", "dev-1"], command);
    project.coast(command.split(' ').skip(1)).run().assert_code(0);
    assert!(!project.workspace("dev-1").join("many").exists());
}

#[test]
fn a_flush_without_the_remote_says_that_coastd_connects_again() {
    let project = project();
    let daemon = daemon(&project);
    project.coast(["run", "dev-1"]).run().assert_code(0);
    let sshd = project.remote().sshd();
    let pid = i32::try_from(sshd.pid()).ok().and_then(Pid::from_raw).expect("it is a process");
    let signal = |signal| kill_process(pid, signal).expect("the server is ours");
    // It must take no new connection while the old ones end, and is found by them until then.
    signal(Signal::STOP);
    sshd.cut_connections();
    signal(Signal::KILL);
    fs::write(project.root().join("README"), "edited").expect("the repository is ours");
    let flushed = project.coast(["flush", "dev-1"]).run();
    flushed.assert_code(12).assert_says("edits do not follow: reconnecting, ").assert_says(" try ");
    flushed.assert_says("coastd goes on by itself").assert_does_not_say("coast start");
    let status = project.coast(["status", "dev-1", "--check"]).run();
    status.assert_code(12).assert_says("do not follow: reconnecting, ");
    let log = daemon.run(&["logs"]).text();
    assert_eq!(log.matches("cannot connect to").count(), 1, "{log}");
}

#[test]
fn resolve_takes_the_side_that_is_asked_for() {
    let project = project();
    project.coast(["run", "dev-1"]).run().assert_code(0);
    let (root, workspace) = (project.root(), project.workspace("dev-1"));
    let both = |path: &str| {
        let read = |directory: &Path| fs::read_to_string(directory.join(path)).expect("it is there");
        (read(&root), read(&workspace))
    };
    for path in ["conf/a", "conf/b", "c", "README"] {
        make_there(&project, "dev-1", path, "there");
        Tree::new().file(path, "here").build(&root);
    }
    project.coast(["flush", "dev-1"]).run().assert_code(23);
    let status = project.coast(["status", "dev-1"]).run();
    for path in ["conf/a", "conf/b", "c", "README"] {
        status.assert_says(&format!("conflict    {path}:"));
        assert_eq!(both(path), ("here".into(), "there".into()), "{path}");
    }
    let resolve = |arguments: &[&str]| project.coast(["resolve", "dev-1"]).args(arguments).run();
    let one = resolve(&["conf/a", "--take", "remote"]);
    one.assert_code(0).assert_says("1 conflict settled: replaced in the worktree by the remote\n  conf/a\n");
    assert_eq!(both("conf/a"), ("there".into(), "there".into()));
    resolve(&["conf", "--take", "local"]).assert_code(0).assert_says("coast restore dev-1\n  conf/b\n");
    assert_eq!(both("conf/b"), ("here".into(), "here".into()));
    assert_eq!(both("conf/a"), ("there".into(), "there".into()));
    resolve(&["README", "--take", "local"]);
    assert_eq!(both("README"), ("here".into(), "here".into()));
    resolve(&["--take", "remote"]).assert_code(0).assert_says("1 conflict settled");
    assert_eq!(both("c"), ("there".into(), "there".into()));
    project.coast(["status", "dev-1"]).run().assert_code(0).assert_does_not_say("conflict");
    // What the remote had is in its trash.
    project.coast(["restore", "dev-1"]).run().assert_code(0).assert_says("conf/b").assert_says("README");

    for (path, content) in [("c", "2"), ("conf/a", "3"), ("README", "4")] {
        fs::write(root.join(path), content).expect("the repository is ours");
        project.follows_with("dev-1", path, content.as_bytes());
    }
    project.coast(["flush", "dev-1"]).run().assert_code(0);
}
