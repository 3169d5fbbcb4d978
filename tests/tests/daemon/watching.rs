//! `coast status --watch`, and the events that it listens to.

use std::fs;

use coast_tests::{InTerminal, Layer, Project, Tree};
use rustix::process::Signal;

use super::{Daemon, curl, kill};

/// A project with an instance that follows.
fn running() -> Project {
    let project = Project::on(Layer::Native, &Tree::new().file("src/main.rs", "1"));
    project.coast(["run", "dev-1"]).run().assert_code(0);
    project
}

fn edit(project: &Project, content: &str) {
    fs::write(project.root().join("src/main.rs"), content).expect("the repository is ours");
    project.follows_with("dev-1", "src/main.rs", content.as_bytes());
}

#[test]
fn a_terminal_shows_the_status_as_it_changes() {
    let project = running();
    let daemon = Daemon::of(project.remote().sandbox());
    let mut terminal = InTerminal::start(&project.coast(["status", "dev-1", "--watch"]));
    terminal.wait_for("\x1b[2J");
    terminal.wait_for("follow: 2 directories");
    edit(&project, "2");
    terminal.wait_for("the last 1 file (1 B) arrived");
    kill(daemon.pid());
    terminal.wait_for("coastd does not run");
    daemon.run(&["start"]).assert_code(0);
    project.coast(["flush", "dev-1"]).run().assert_code(0);
    edit(&project, "three");
    terminal.wait_for("the last 1 file (5 B) arrived");
    project.coast(["stop", "dev-1"]).run().assert_code(0);
    terminal.wait_for("do not follow while it is stopped");
    terminal.signal(Signal::TERM);
    let (code, shown) = terminal.wait();
    assert_eq!(code, 0, "{shown}");
}

#[test]
fn a_program_reads_one_object_for_each_change() {
    let project = running();
    let watch = project.coast(["status", "dev-1", "--watch"]).command_line();
    // The output of the first program is a pipe.
    let last = "case $line in *need_not_follow*) exit 0 ;; esac";
    let script = format!("{watch} | while read -r line; do echo \"got $line\"; {last}; done");
    let watch = project.coast([""; 0]).by(["env", "sh", "-c", &script]);
    let mut terminal = InTerminal::start(&watch);
    terminal.wait_for("got {");
    terminal.wait_for("\"edits\":\"follow\"");
    edit(&project, "2");
    terminal.wait_for("\"last_batch\":{\"files\":1,\"bytes\":1,");
    project.coast(["stop", "dev-1"]).run().assert_code(0);
    terminal.wait_for("\"edits\":\"need_not_follow\"");
    // The reader has gone, so the command ends.
    let (code, shown) = terminal.wait();
    assert_eq!(code, 0, "{shown}");
}

#[test]
fn the_events_of_coastd_name_the_instance_and_its_state() {
    let project = running();
    let daemon = Daemon::of(project.remote().sandbox());
    let listen = curl(project.remote().sandbox(), &daemon.socket(), &["-N", "http://coastd/v1/events"]);
    let mut events = InTerminal::start(&listen);
    events.wait_for("\"event\":\"listening\"");
    edit(&project, "2");
    let instance =
        format!("\"event\":\"instance\",\"project\":\"{}\",\"instance\":\"dev-1\"", project.name());
    events.wait_for(&instance);
    events.wait_for("\"activity\":\"watching\"");
    project.coast(["stop", "dev-1"]).run().assert_code(0);
    events.wait_for("\"activity\":\"absent\"");
    events.wait_for("\"event\":\"records\"");
    daemon.run(&["stop"]).assert_code(0);
    events.wait_for("\"event\":\"stopping\"");
    let (code, shown) = events.wait();
    assert_eq!(code, 0, "{shown}");
}
