//! `stop --all`, `start --all` and `rm --all`.

use std::fs;

use coast_tests::{InTerminal, Project, Tree};

#[test]
fn all_instances_are_stopped_started_and_after_one_question_removed() {
    let project = Project::of(&Tree::new().file("src/main.rs", "1"));
    for instance in ["dev-1", "dev-2"] {
        project.coast(["run", instance]).run().assert_code(0);
    }
    project.coast(["stop", "--all"]).run().assert_code(0).assert_says("2 instances stopped");
    assert!(!project.runs("dev-1") && !project.runs("dev-2"));
    project.coast(["start", "--all"]).run().assert_code(0).assert_says("2 instances started");
    fs::write(project.root().join("src/main.rs"), "2").expect("the repository is ours");
    for instance in ["dev-1", "dev-2"] {
        project.follows_with(instance, "src/main.rs", b"2");
    }

    let ask = || {
        let mut terminal = InTerminal::start(&project.coast(["rm", "--all"]));
        terminal.wait_for("files that exist only there (yes/no)? ");
        terminal
    };
    let mut terminal = ask();
    terminal.type_in("no\n");
    let (code, shown) = terminal.wait();
    assert!(code == 1 && shown.contains("nothing was removed"), "{code} {shown}");
    assert!(project.workspace("dev-1").exists() && project.workspace("dev-2").exists());
    let mut terminal = ask();
    terminal.type_in("yes\n");
    let (code, shown) = terminal.wait();
    assert_eq!(code, 0, "{shown}");
    assert_eq!(shown.matches("(yes/no)?").count(), 1, "{shown}");
    for instance in ["dev-1", "dev-2"] {
        assert!(shown.contains(project.workspace(instance).to_str().expect("text")), "{shown}");
        assert!(!project.workspace(instance).exists() && !project.record(instance).exists());
    }
    assert!(project.containers().is_empty());
}
