//! coastd is killed at any moment of its batches, while edits go on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use coast_tests::{Layer, Project, Snapshot, Tree, noise};

use super::{Daemon, kill};

/// The variable that sets the number of kills.
const VARIABLE: &str = "COAST_TEST_KILLS";

/// The number of kills without the variable.
const KILLS: u64 = 20;

/// A sequence of numbers without a pattern, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// The content of a file, which names its own length: a part of it is no content.
fn content(number: u64, bytes: u64) -> Vec<u8> {
    let bytes = usize::try_from(bytes).expect("it is small");
    let mut content = format!("{number} {bytes}\n").into_bytes();
    content.extend(noise(number, bytes));
    content
}

/// Whether a file has a content of [`content`], as a whole.
fn is_whole(found: &[u8]) -> bool {
    let head = found.iter().position(|byte| *byte == b'\n').map(|end| &found[..end]);
    let head = head.and_then(|head| std::str::from_utf8(head).ok()).and_then(|head| head.split_once(' '));
    let Some((number, bytes)) = head else { return false };
    let (Ok(number), Ok(bytes)) = (number.parse(), bytes.parse()) else { return false };
    found == content(number, bytes)
}

/// Makes, changes, moves and deletes files until it is told to stop.
fn edit(root: &Path, aside: &Path, edits: &AtomicU64, stop: &AtomicBool) {
    // Most editors save so. A file that is written in its place has a part of its content for a moment, and that may be sent.
    let save = |path: &Path, content: Vec<u8>| {
        fs::write(aside, content).expect("the sandbox is ours");
        fs::rename(aside, path).expect("the repository is ours");
    };
    let mut numbers = Numbers(7);
    while !stop.load(Ordering::SeqCst) {
        let number = edits.load(Ordering::SeqCst);
        let path = root.join(format!("d{}/f{}", numbers.below(4), numbers.below(12)));
        match numbers.below(10) {
            0 => drop(fs::remove_file(&path)),
            1 => {
                drop(fs::rename(&path, root.join(format!("d{}/moved{}", numbers.below(4), numbers.below(3)))))
            }
            2 => save(&path, content(number, 1 << 20)),
            _ => save(&path, content(number, numbers.below(20_000))),
        }
        edits.store(number + 1, Ordering::SeqCst);
        // An editor saves now and then. The batches of coastd fall between the saves.
        thread::sleep(Duration::from_millis(numbers.below(8)));
    }
}

/// Checks that every file of the workspace is whole, and that what the remote made is there.
fn check(workspace: &Path, made: &BTreeMap<PathBuf, String>) {
    for directory in 0..4 {
        for entry in fs::read_dir(workspace.join(format!("d{directory}"))).expect("it was sent") {
            let path = entry.expect("it can be listed").path();
            // A file that is replaced or deleted at this moment is no error.
            let Ok(found) = fs::read(&path) else { continue };
            assert!(made.contains_key(&path) || is_whole(&found), "{} is torn", path.display());
        }
    }
    for (path, content) in made {
        let found = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(found, *content, "{}", path.display());
    }
}

#[test]
fn kills_tear_nothing_lose_no_edit_and_delete_nothing_of_the_remote() {
    let kills = std::env::var(VARIABLE).map_or(KILLS, |kills| kills.parse().expect("it is a number"));
    let mut tree = Tree::new();
    for directory in 0..4 {
        tree = tree.file(format!("d{directory}/f0"), content(0, 100));
    }
    let project = Project::on(Layer::Native, &tree);
    let daemon = Daemon::of(project.remote().sandbox());
    project.coast(["run", "dev-1"]).run().assert_code(0);
    let workspace = project.workspace("dev-1");
    let (edits, stop) = (AtomicU64::new(1), AtomicBool::new(false));
    let mut made = BTreeMap::new();
    let mut numbers = Numbers(kills);
    thread::scope(|scope| {
        // A failed check must not leave the other thread at work.
        let stopping = StopWhenDropped(&stop);
        let (root, aside) = (project.root(), project.remote().path("saved"));
        let (edits, stop) = (&edits, &stop);
        scope.spawn(move || edit(&root, &aside, edits, stop));
        for number in 0..kills {
            let path = workspace.join(format!("d{}/made{number}", number % 4));
            let text = format!("made on the remote, {number}");
            fs::write(&path, &text).expect("root may");
            project.remote().account().own(&path);
            made.insert(path, text);
            let pid = daemon.pid();
            // The moment of the kill is the subject of the test. Nothing is waited for.
            let until = Instant::now() + Duration::from_millis(numbers.below(400));
            while Instant::now() < until {
                thread::yield_now();
            }
            kill(pid);
            check(&workspace, &made);
            match numbers.below(4) {
                0 => project.coast(["start", "dev-1"]).run().assert_code(0),
                _ => daemon.run(&["start"]).assert_code(0),
            };
        }
        drop(stopping);
    });
    let flush = project.coast(["flush", "dev-1"]).run();
    flush.assert_code(0);
    check(&workspace, &made);
    let here = Snapshot::of(project.root()).without(|path| path == Path::new(".git"));
    let made_there = |path: &Path| made.contains_key(&workspace.join(path));
    here.assert_same_content(&Snapshot::of(&workspace).without(made_there));
    assert!(edits.load(Ordering::SeqCst) > kills, "edits went on");
}

struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
