//! Entries that cannot be written on the remote: `run`, `assign` and `start` exit 23 and leave an instance that runs, and `status`
//! names the entries until a later transfer has brought them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use coast_tests::{Outcome, Project, Tree, require};
use serde_json::Value;

/// A file that not even root can change, until this is dropped.
struct Immutable(PathBuf);

impl Immutable {
    fn new(file: &Path) -> Self {
        assert!(chattr("+i", file), "the file system of {} has no immutable files", file.display());
        Self(file.to_owned())
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        chattr("-i", &self.0);
    }
}

fn chattr(mode: &str, file: &Path) -> bool {
    let status = Command::new(require("chattr", "e2fsprogs")).arg(mode).arg(file).status();
    status.expect("chattr starts").success()
}

#[test]
fn an_immutable_file_is_named_until_a_transfer_has_brought_it() {
    let mut project = Project::of(&Tree::new().file("src/main.rs", "1").file("README", "read"));
    project.set("workspace_sync", "\"rsync\"");
    project.commit(&project.root());
    let feature = project.worktree("feature");
    fs::write(feature.join("src/main.rs"), "2").expect("it is ours");
    let workspace = project.workspace("dev-1");
    fs::create_dir_all(workspace.join("src")).expect("root may");
    fs::write(workspace.join("src/main.rs"), "0").expect("root may");
    let immutable = Immutable::new(&workspace.join("src/main.rs"));
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

    drop(immutable);
    project.coast(["start", "dev-1"]).run().assert_code(0).assert_does_not_say("warning");
    assert_eq!(fs::read(workspace.join("src/main.rs")).expect("it was transferred"), b"2");
    let status = project.coast(["status", "dev-1"]).run();
    status.assert_code(0).assert_does_not_say("src/main.rs").assert_does_not_say("stale");
}
