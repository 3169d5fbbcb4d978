//! When edits cannot follow, the workspace is still pushed, and coast names the failed step.

use std::fs;
use std::process::{Child, Command, Stdio};

use coast_tests::{Outcome, Program, Project, ShellImage, Tree, require};

fn tree() -> Tree {
    Tree::new().file("src/main.rs", "1").file("README", "read")
}

/// `run` succeeds with a warning that holds all of `said`, `status` repeats it, and the workspace is there. With the option
/// that insists on following, the same is an error.
#[track_caller]
fn assert_falls_back(project: &Project, said: &[&str], with: impl Fn(Program) -> Program) {
    let check = |outcome: &Outcome| {
        for said in said {
            outcome.assert_says(said);
        }
    };
    let outcome = with(project.coast(["run", "dev-1"])).run();
    check(outcome.assert_code(0).assert_says("warning"));
    outcome.assert_says("coast start dev-1");
    assert_eq!(fs::read(project.workspace("dev-1").join("src/main.rs")).expect("it was brought"), b"1");
    check(with(project.coast(["status", "dev-1"])).run().assert_code(12));

    let feature = project.worktree("feature");
    fs::write(feature.join("src/main.rs"), "2").expect("it is ours");
    let outcome = with(project.coast(["assign", "dev-1", "--worktree"]).arg(&feature)).run();
    check(outcome.assert_code(0).assert_says("warning"));
    assert_eq!(fs::read(project.workspace("dev-1").join("src/main.rs")).expect("it was brought"), b"2");

    let outcome = with(project.coast(["run", "dev-2", "--require-continuous"])).run();
    assert_ne!(outcome.code(), 0, "{outcome}");
    check(&outcome);
    with(project.coast(["stop", "dev-1"])).run().assert_code(0);
    with(project.coast(["rm", "-y", "dev-1"])).run().assert_code(0);
    assert!(!project.workspace("dev-1").exists());
}

#[test]
fn without_docker() {
    let project = Project::of(&tree());
    assert_falls_back(&project, &["docker", "/nonexistent/docker.sock"], |program| {
        program.env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    });
}

#[test]
fn without_the_image() {
    let mut project = Project::of(&tree());
    project.set("shell_image", "\"coast-tests-no-such-image:1\"");
    assert_falls_back(&project, &["coast-tests-no-such-image:1"], |program| program);
}

#[test]
fn without_mutagen_in_the_image() {
    let project = Project::with_image(&tree(), ShellImage::WithoutMutagen);
    assert_falls_back(&project, &["mutagen"], |program| program);
}

#[test]
fn without_ssh_in_the_image() {
    let project = Project::with_image(&tree(), ShellImage::WithoutSsh);
    assert_falls_back(&project, &["ssh"], |program| program);
}

#[test]
fn without_agents_in_the_image() {
    let project = Project::with_image(&tree(), ShellImage::WithoutAgents);
    assert_falls_back(&project, &["agent", "unable to locate agent bundle"], |program| program);
}

#[test]
fn without_a_way_from_the_container_to_the_remote() {
    let mut project = Project::of(&tree());
    project.set("shell_network", "\"none\"");
    assert_falls_back(&project, &["host.docker.internal"], |program| program);
}

#[test]
fn with_a_key_that_only_an_agent_holds() {
    let project = Project::of(&tree());
    let agent = Agent::start(&project);
    let key = project.remote().key();
    agent.add(&key);
    // The agent keeps the key, and the file is removed.
    fs::rename(&key, key.with_extension("away")).expect("it is ours");
    fs::remove_file(key.with_extension("pub")).expect("it is ours");
    project.coast(["remote", "rm", "box"]).run().assert_code(0);
    let account = project.remote().account().name();
    let address = format!("{account}@127.0.0.1:{}", project.remote().sshd().port());
    let add = project.coast(["remote", "add", "box", &address, "--service-home"]);
    add.arg(project.remote().path("service")).run().assert_code(0);
    assert_falls_back(&project, &["agent"], |program| program.env("SSH_AUTH_SOCK", &agent.socket));
}

#[test]
fn what_failed_is_mended_by_start() {
    let mut project = Project::of(&tree());
    let image = ShellImage::Whole.build(project.engine());
    project.set("shell_image", "\"coast-tests-no-such-image:1\"");
    project.coast(["run", "dev-1"]).run().assert_code(0).assert_says("warning");
    project.set("shell_image", &format!("\"{image}\""));
    project.coast(["start", "dev-1"]).run().assert_code(0).assert_does_not_say("warning");
    fs::write(project.root().join("src/main.rs"), "2").expect("the repository is ours");
    project.follows_with("dev-1", "src/main.rs", b"2");
    project.coast(["status", "dev-1"]).run().assert_code(0).assert_does_not_say("no-such-image");
}

#[test]
fn bulk_only_needs_no_docker_and_warns_of_nothing() {
    let mut project = Project::of(&tree());
    project.set("workspace_sync", "\"rsync\"");
    let without = |program: Program| program.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    without(project.coast(["run", "dev-1"])).run().assert_code(0).assert_does_not_say("warning");
    assert!(project.workspace("dev-1").join("src/main.rs").exists());
    let feature = project.worktree("feature");
    without(project.coast(["assign", "dev-1", "--worktree"]).arg(&feature)).run().assert_code(0);
    without(project.coast(["status", "dev-1"])).run().assert_code(0);
    without(project.coast(["rm", "-y", "dev-1"])).run().assert_code(0);
    assert!(!project.workspace("dev-1").exists());
}

#[test]
fn a_file_that_cannot_be_read_is_a_warning_and_makes_run_exit_23() {
    let mut project = Project::of(&tree());
    project.set("workspace_sync", "\"rsync\"");
    Tree::new().file("secret/of somebody", "x").mode(0o600).build(project.root());
    project.remote().account().own(project.root().join("secret/of somebody"));
    // Root may read everything, unless a capability is taken away.
    let denied = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"];
    let run = project.coast(["run", "dev-1"]).by(denied).run();
    run.assert_code(23).assert_says("warning").assert_says("1 entry of box:");
    // Once when it fails, and once in the last lines.
    assert_eq!(run.text().matches("of somebody").count(), 2, "{run}");
    project.coast(["status", "dev-1"]).run().assert_code(0).assert_says("running").assert_says("of somebody");
    project.coast(["start", "dev-1"]).run().assert_code(0);
    project.coast(["status", "dev-1"]).run().assert_code(0).assert_does_not_say("of somebody");
    fs::remove_file(project.workspace("dev-1").join("secret/of somebody")).expect("it was transferred");
    let workspace = project.workspace("dev-1");
    assert!(workspace.join("src/main.rs").exists() && !workspace.join("secret/of somebody").exists());
}

/// An ssh-agent, ended when dropped.
struct Agent {
    child: Child,
    socket: std::path::PathBuf,
}

impl Agent {
    fn start(project: &Project) -> Self {
        let socket = project.remote().path("agent.sock");
        let mut agent = Command::new(require("ssh-agent", "openssh-client"));
        agent.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).stderr(Stdio::null());
        let child = agent.spawn().expect("ssh-agent starts");
        coast_tests::Watch::below(project.remote().path("")).until("the agent's socket", || socket.exists());
        Self { child, socket }
    }

    fn add(&self, key: &std::path::Path) {
        let mut add = Command::new(require("ssh-add", "openssh-client"));
        let output =
            add.arg("-q").arg(key).env("SSH_AUTH_SOCK", &self.socket).output().expect("ssh-add starts");
        assert!(output.status.success(), "{add:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
