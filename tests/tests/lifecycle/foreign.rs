//! Containers that have the name of an instance's shell container and were not made by coast are left alone.

use std::fs;

use coast_tests::{Project, ShellImage, Tree};

fn project() -> Project {
    Project::of(&Tree::new().file("src/main.rs", "1"))
}

/// A foreign container with a file at the path where coast puts the key.
fn occupy(project: &Project, name: &str) {
    let image = ShellImage::Whole.build(project.engine());
    project.engine().run([
        "run",
        "--detach",
        "--network=host",
        "--name",
        name,
        &image,
        "sh",
        "-c",
        "mkdir -p /root/.ssh/coast && echo precious > /root/.ssh/coast/file && exec sleep infinity",
    ]);
}

#[test]
fn a_container_of_somebody_else_is_left_as_it_is_by_every_command() {
    let project = project();
    let name = project.container("dev-1");
    occupy(&project, &name);
    let untouched = |after: &str| {
        let output = project.engine().exec(&name, &["cat", "/root/.ssh/coast/file"]);
        assert_eq!(output.stdout, b"precious\n", "after {after}");
        assert!(!project.holds_key("dev-1"), "after {after}");
    };
    let run = project.coast(["run", "dev-1"]).run();
    run.assert_code(0).assert_says("warning").assert_says("does not belong to this instance");
    untouched("run");
    for command in ["unassign", "start", "stop", "start"] {
        project.coast([command, "dev-1"]).run().assert_code(0);
        untouched(command);
    }
    project.coast(["rm", "-y", "dev-1"]).run().assert_code(0);
    assert!(!project.record("dev-1").exists() && !project.workspace("dev-1").exists());
    untouched("rm");

    // The foreign container replaces a container of coast.
    project.engine().run(["rm", "--force", &name]);
    project.coast(["run", "dev-1"]).run().assert_code(0);
    project.engine().run(["rm", "--force", &name]);
    occupy(&project, &name);
    project.coast(["status", "dev-1"]).run().assert_code(12).assert_says("does not belong to this instance");
    project.coast(["stop", "dev-1"]).run().assert_code(0).assert_says("does not belong to this instance");
    untouched("stop");
    project.engine().run(["rm", "--force", &name]);
}

#[test]
fn of_two_instances_with_one_name_for_the_container_the_first_keeps_it() {
    let first = project();
    let mut second = project();
    // `{project}-coasts-{instance}-shell` is the same for both instances.
    second.rename(&format!("{}-coasts-b", first.name()));
    first.coast(["run", "b-coasts-c"]).run().assert_code(0);
    let run = second.coast(["run", "c"]).run();
    run.assert_code(0).assert_says("warning").assert_says("\"b-coasts-c\"");
    second.coast(["rm", "-y", "c"]).run().assert_code(0);
    assert!(first.holds_key("b-coasts-c"));
    fs::write(first.root().join("src/main.rs"), "2").expect("it is ours");
    first.follows_with("b-coasts-c", "src/main.rs", b"2");
}
