//! Entries that cannot be written on the remote: `run`, `assign` and `start` exit 23 and leave an instance that runs, and `status` names
//! the entries until a later transfer has brought them.

use std::fs;

use coast_tests::{Mount, Outcome, Project, Tree};
use serde_json::Value;

#[test]
fn entries_on_a_read_only_file_system_are_named_until_a_transfer_has_brought_them() {
    let mut project = Project::of(&Tree::new().file("src/main.rs", "1").file("README", "read"));
    project.set("workspace_sync", "\"rsync\"");
    project.commit(&project.root());
    let feature = project.worktree("feature");
    fs::write(feature.join("src/main.rs"), "2").expect("it is ours");
    let workspace = project.workspace("dev-1");
    fs::create_dir_all(workspace.join("src")).expect("root may");
    let mount = Mount::tmpfs(workspace.join("src"), "ro");
    let fails = |outcome: &Outcome| {
        outcome.assert_code(23);
        let text = outcome.text();
        let last = text.lines().rev().take(6).collect::<Vec<_>>().join("\n");
        assert!(last.contains("src/main.rs: ") && last.contains("(code 23)"), "{outcome}");
        assert!(last.contains("coast start dev-1"), "{outcome}");
        let status = project.coast(["status", "dev-1"]).run();
        status.assert_code(0).assert_says("state       running\n").assert_says("src/main.rs: ");
        let json = project.coast(["status", "dev-1", "--json"]).run();
        let json: Value = serde_json::from_slice(&json.assert_code(0).stdout).expect("it is JSON");
        let paths = json["stale"]["paths"].as_array().expect("paths are listed");
        assert!(paths.iter().any(|stale| stale["path"] == "src/main.rs"), "{json:#}");
        assert!(json["stale"]["count"].as_u64() >= Some(1), "{json:#}");
        project.coast(["ls"]).run().assert_code(0).assert_says("running, stale");
    };
    fails(&project.coast(["run", "dev-1", "--adopt"]).run());
    assert_eq!(fs::read(workspace.join("README")).expect("the rest was transferred"), b"read");
    fails(&project.coast(["assign", "dev-1", "-w", "feature"]).run());
    fails(&project.coast(["start", "dev-1"]).run());
    let json = project.coast(["start", "dev-1", "--json"]).run();
    let done = String::from_utf8_lossy(&json.assert_code(23).stdout).lines().last().map(str::to_owned);
    let done: Value = serde_json::from_str(&done.expect("there is a last line")).expect("it is JSON");
    assert_eq!((&done["event"], &done["exit_code"]), (&"done".into(), &23.into()));

    drop(mount);
    project.coast(["start", "dev-1"]).run().assert_code(0).assert_does_not_say("warning");
    assert_eq!(fs::read(workspace.join("src/main.rs")).expect("it was transferred"), b"2");
    let status = project.coast(["status", "dev-1"]).run();
    status.assert_code(0).assert_does_not_say("src/main.rs").assert_does_not_say("stale");
}
