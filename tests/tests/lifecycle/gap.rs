//! Edits between the transfer and mutagen's first scan. mutagen takes them for conflicts that never resolve, so coast sends
//! them itself.

use std::fs;

use coast_tests::{Project, Running, Snapshot, Tree, Watch};

/// Waits until a command has begun a step after its transfer.
fn after_transfer(project: &Project) {
    let record = project.record("dev-1");
    Watch::below(project.states()).until("the step of the runner", || {
        fs::read_to_string(&record).is_ok_and(|text| text.replace(' ', "").contains("\"step\":\"runner\""))
    });
}

fn edit_in_the_gap(project: &Project, worktree: &std::path::Path, command: Running) {
    after_transfer(project);
    fs::write(worktree.join("src/changed"), "edited in the gap").expect("it is ours");
    fs::write(worktree.join("src/new [1]*"), "created in the gap").expect("it is ours");
    fs::remove_file(worktree.join("src/deleted")).expect("it is ours");
    fs::remove_dir_all(worktree.join("dir")).expect("it is ours");
    let outcome = command.wait();
    outcome.assert_code(0).assert_says("src/changed");

    let here = Snapshot::of(worktree).without(|path| path == std::path::Path::new(".git"));
    here.assert_same_content(&Snapshot::of(project.workspace("dev-1")));
    let sessions = project.sessions("dev-1");
    assert_eq!(sessions.len(), 1, "{outcome}");
    assert!(sessions[0].get("conflicts").is_none(), "{:#}\n{outcome}", sessions[0]);
    // Later edits follow as usual.
    fs::write(worktree.join("src/changed"), "edited later").expect("it is ours");
    project.follows_with("dev-1", "src/changed", b"edited later");
    fs::remove_file(worktree.join("src/new [1]*")).expect("it is ours");
    project.follows("dev-1", "a deletion", |workspace| !workspace.join("src/new [1]*").exists());
}

fn project() -> Project {
    let tree =
        Tree::new().file("src/changed", "1").file("src/deleted", "1").file("dir/a/b", "1").file("keep", "1");
    Project::of(&tree)
}

#[test]
fn edits_in_the_gap_of_run_arrive() {
    let project = project();
    fs::create_dir_all(project.states()).expect("the home is ours");
    let run = project.coast(["run", "dev-1"]).start();
    edit_in_the_gap(&project, &project.root(), run);
}

#[test]
fn edits_in_the_gap_of_assign_arrive() {
    let project = project();
    project.coast(["run", "dev-1"]).run().assert_code(0);
    let feature = project.worktree("feature");
    let assign = project.coast(["assign", "dev-1", "--worktree"]).arg(&feature).start();
    edit_in_the_gap(&project, &feature, assign);
}
