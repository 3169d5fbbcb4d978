//! The Coastfile, as far as commands show it. Its tables and messages are tested in `coast-instance`.

use std::fs;

use coast_tests::{Project, Tree};

#[test]
fn an_invalid_value_names_file_line_field_and_the_nearest_word() {
    let mut project = Project::of(&Tree::new().file("src/main.rs", "1"));
    project.set("workspace_sync", "\"mutagn\"");
    let outcome = project.coast(["run", "dev-1"]).run();
    assert_ne!(outcome.code(), 0, "{outcome}");
    outcome
        .assert_says("Coastfile")
        .assert_says("workspace_sync")
        .assert_says("\"mutagn\"")
        .assert_says("\"mutagen\"");
    assert!(!project.workspace("dev-1").exists());
}

#[test]
fn without_a_coastfile_the_directory_names_the_project_and_nothing_follows() {
    let project = Project::of(&Tree::new().file("src/main.rs", "1"));
    fs::remove_file(project.root().join("Coastfile")).expect("it is ours");
    project.coast(["run", "dev-1"]).run().assert_code(0).assert_does_not_say("warning");
    assert!(project.remote().path("service/workspaces/shop/dev-1/src/main.rs").exists());
    assert!(project.containers().is_empty());
}
