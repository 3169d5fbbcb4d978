//! A coastd whose program was replaced by another one is taken over, and no edit is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use coast_tests::{Layer, Program, Project, Snapshot, Tree};

use super::Daemon;

/// A project whose `coast` is installed at a path of its own.
struct Installed {
    project: Project,
    program: PathBuf,
}

impl Installed {
    fn new() -> Self {
        let project = Project::on(Layer::Native, &Tree::new().file("src/main.rs", "1"));
        let program = project.remote().path("bin/coast");
        fs::create_dir(project.remote().path("bin")).expect("the sandbox is ours");
        let installed = Self { project, program };
        installed.install();
        installed
    }

    /// Puts the program in its place, as package managers do: a running process keeps the file that it has.
    fn install(&self) {
        for name in ["coast-helper", "coast"] {
            let (place, new) = (self.program.with_file_name(name), self.program.with_file_name("new"));
            fs::copy(coast_tests::coast().with_file_name(name), &new).expect("it was built");
            fs::rename(new, place).expect("the sandbox is ours");
        }
    }

    fn coast(&self, arguments: &[&str]) -> Program {
        let program = self.project.remote().sandbox().program(&self.program).args(arguments);
        program.directory(&self.project.root()).env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    }
}

/// Saves one file after the other until it is told to stop.
fn save(root: &Path, saved: &AtomicU32, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let number = saved.load(Ordering::SeqCst);
        Tree::new().file(format!("edits/{}/{number}", number % 7), number.to_string()).build(root);
        fs::write(root.join("src/main.rs"), number.to_string()).expect("the repository is ours");
        saved.store(number + 1, Ordering::SeqCst);
    }
}

#[test]
fn edits_go_on_while_a_new_program_takes_an_older_coastd_over() {
    let installed = Installed::new();
    let project = &installed.project;
    installed.coast(&["run", "dev-1"]).run().assert_code(0);
    let daemon = Daemon::of(project.remote().sandbox());
    let mut last = daemon.pid();
    let (saved, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    let until_more = |number: u32| {
        let until = saved.load(Ordering::SeqCst) + number;
        while saved.load(Ordering::SeqCst) < until {
            thread::yield_now();
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| save(&project.root(), &saved, &stop));
        for taking_over in [&["flush", "dev-1"][..], &["daemon", "start"], &["start", "dev-1"]] {
            until_more(50);
            // The same program does not take it over.
            installed.coast(taking_over).run().assert_code(0);
            assert_eq!(daemon.pid(), last, "{taking_over:?}");
            installed.install();
            installed
                .coast(&["daemon", "status"])
                .run()
                .assert_code(0)
                .assert_says("older than this program");
            until_more(50);
            installed.coast(taking_over).run().assert_code(0);
            assert_ne!(daemon.pid(), last, "{taking_over:?}");
            last = daemon.pid();
        }
        stop.store(true, Ordering::SeqCst);
    });
    installed.coast(&["flush", "dev-1"]).run().assert_code(0);
    let here = Snapshot::of(project.root()).without(|path| path == Path::new(".git"));
    here.assert_same_content(&Snapshot::of(project.workspace("dev-1")));
    daemon.run(&["logs"]).assert_says("ending on request");
}
