//! coastd mends sessions of mutagen, with a real Docker engine.

use std::fs;

use coast_tests::{Layer, Project, Tree, Watch};

use super::Daemon;

#[test]
fn sessions_and_containers_that_have_ended_are_mended_without_a_command() {
    let project = Project::on(Layer::Mutagen, &Tree::new().file("src/main.rs", "1"));
    let daemon = Daemon::of(project.remote().sandbox());
    project.coast(["daemon", "start"]).run().assert_code(0);
    let instances = ["killed", "gone", "halted"];
    for instance in instances {
        project.coast(["run", instance]).run().assert_code(0);
    }
    let kill = ["kill", &project.container("killed")];
    project.engine().run(kill);
    for (instance, action) in [("gone", "terminate"), ("halted", "pause")] {
        let session = project.sessions(instance)[0]["identifier"].clone();
        let session = session.as_str().expect("a session has an identifier");
        let ended = project.exec(instance, &["mutagen", "sync", action, session]);
        assert!(ended.status.success(), "{action}: {}", String::from_utf8_lossy(&ended.stderr));
    }
    for instance in instances {
        project.coast(["status", instance]).run().assert_code(12);
    }
    fs::write(project.root().join("src/main.rs"), "2").expect("the repository is ours");
    for instance in instances {
        let there = project.workspace(instance).join("src/main.rs");
        let arrived = || fs::read(&there).is_ok_and(|found| found == b"2");
        Watch::below(project.workspace(instance)).until(instance, arrived);
        project.coast_says(&["status", instance], "follow: watching");
        assert_eq!(project.sessions(instance).len(), 1, "{instance}");
        daemon.run(&["logs"]).assert_says(&format!("{}/{instance}: edits follow again", project.name()));
    }
}
