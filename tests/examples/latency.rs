//! Measures the time from a local save to the changed remote file, with `coast run`: 20 saves of one file, and one save each
//! of 20 files that were not saved before. mutagen comes from `COAST_TEST_MUTAGEN`, or is the stand-in.
//!
//! ```sh
//! cargo run --package coast-tests --example latency -- [FILES]
//! ```

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use coast_tests::{Project, Tree, Watch};

const SAVES: u32 = 20;

/// The time between two scans of the real program for files that were not saved lately.
const POLLS_EVERY: Duration = Duration::from_secs(10);

fn main() {
    let files = std::env::args().nth(1).map_or(800, |files| files.parse().expect("a number of files"));
    let mut tree = Tree::new();
    for number in 0..files {
        tree = tree.file(path(number), format!("{number}\n"));
    }
    let project = Project::of(&tree);
    project.coast(["run", "dev-1"]).run().assert_code(0).assert_does_not_say("warning");
    let (root, workspace) = (project.root(), project.workspace("dev-1"));
    // After this save the file counts as saved lately.
    save(&root, &workspace, &path(0), 0);
    let again = (1..=SAVES).map(|round| save(&root, &workspace, &path(0), round)).collect();
    report(files, "a file saved again and again", again);
    let first = (1..=SAVES).map(|number| {
        // A scan has just ended. Without a pause every save would wait for a whole period.
        thread::sleep(POLLS_EVERY * number / SAVES);
        save(&root, &workspace, &path(number), number)
    });
    let first = first.collect();
    report(files, "files not saved before", first);
}

fn path(number: u32) -> String {
    format!("src/{}/{number}.ts", number % 40)
}

/// Saves a file and returns the time until the remote file has the content.
fn save(root: &Path, workspace: &Path, path: &str, round: u32) -> Duration {
    let (content, there) = (format!("saved in round {round}\n"), workspace.join(path));
    let directory = there.parent().expect("it lies in a directory");
    let watch = Watch::below(directory).within(Duration::from_secs(30));
    let started = Instant::now();
    fs::write(root.join(path), &content).expect("the repository is ours");
    watch.until(path, || fs::read(&there).is_ok_and(|found| found == content.as_bytes()));
    started.elapsed()
}

fn report(files: u32, what: &str, mut took: Vec<Duration>) {
    took.sort();
    let (least, most) = (took[0], took[took.len() - 1]);
    let median = (took[took.len() / 2 - 1] + took[took.len() / 2]) / 2;
    println!("{files} files, {what}: median of {SAVES} {median:.2?}, from {least:.2?} to {most:.2?}");
}
