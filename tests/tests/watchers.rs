//! File watchers of other projects, on a workspace into which a worktree is followed: each of them reports every edit that arrives
//! there. The script `fixtures/watchers/install` installs them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use coast_follow::{First, FlushOutcome, Follower, FollowerSettings};
use coast_sync::{CachePlace, Cancel, Destination, FollowRequest, NoPrompt, profile};
use coast_tests::Tree;
use serde_json::Value;

/// The time within which a watcher must be ready, and within which it must report a change.
const PATIENCE: Duration = Duration::from_secs(60);

/// The scripts that start watchers which are libraries, and the libraries.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/watchers");

/// A change of the worktree, and what a watcher of the workspace must report about it.
struct Change {
    what: &'static str,
    make: fn(&Path),
    /// The paths of new and changed files.
    there: &'static [&'static str],
    /// The paths that had a file before. A watcher may report the directory that was renamed in place of the files in it.
    gone: &'static [&'static str],
    /// A file that arrives in a new directory. A watcher that does not watch the directory yet may miss it, and must report the
    /// next save of it.
    in_new_directory: Option<&'static str>,
    /// The outer one of two new directories.
    outer_directory: Option<&'static str>,
}

const CHANGES: [Change; 8] = [
    Change {
        what: "a new file",
        make: |root| write(root, "src/new.js", "1"),
        there: &["src/new.js"],
        gone: &[],
        in_new_directory: None,
        outer_directory: None,
    },
    Change {
        what: "a changed file",
        make: |root| write(root, "src/deep/changed.js", "2"),
        there: &["src/deep/changed.js"],
        gone: &[],
        in_new_directory: None,
        outer_directory: None,
    },
    Change {
        what: "an atomic save",
        make: |root| {
            write(root, "src/.saved.js.swp", "2");
            rename(root, "src/.saved.js.swp", "src/saved.js");
        },
        there: &["src/saved.js"],
        gone: &[],
        in_new_directory: None,
        outer_directory: None,
    },
    Change {
        what: "a new file in a new directory of a new directory",
        make: |root| {
            fs::create_dir_all(root.join("src/made/here")).expect("the worktree is ours");
            write(root, "src/made/here/new.js", "1");
        },
        there: &["src/made/here/new.js"],
        gone: &[],
        in_new_directory: Some("src/made/here/new.js"),
        outer_directory: Some("src/made"),
    },
    Change {
        what: "a rename",
        make: |root| rename(root, "src/before.js", "src/after.js"),
        there: &["src/after.js"],
        gone: &["src/before.js"],
        in_new_directory: None,
        outer_directory: None,
    },
    Change {
        what: "a file moved into a directory",
        make: |root| rename(root, "src/moved.js", "src/deep/er/moved.js"),
        there: &["src/deep/er/moved.js"],
        gone: &["src/moved.js"],
        in_new_directory: None,
        outer_directory: None,
    },
    Change {
        what: "a renamed directory",
        make: |root| rename(root, "src/folder", "src/deep/folder"),
        there: &["src/deep/folder/inside.js"],
        gone: &["src/folder/inside.js"],
        in_new_directory: Some("src/deep/folder/inside.js"),
        outer_directory: None,
    },
    Change {
        what: "a deletion",
        make: |root| fs::remove_file(root.join("src/deep/doomed.js")).expect("the worktree is ours"),
        there: &[],
        gone: &["src/deep/doomed.js"],
        in_new_directory: None,
        outer_directory: None,
    },
];

fn write(root: &Path, path: &str, version: &str) {
    fs::write(root.join(path), module(path, version)).expect("the worktree is ours");
}

/// The text of a module. No two files have the same.
fn module(path: &str, version: &str) -> String {
    format!("export default \"{path} {version}\";\n")
}

fn rename(root: &Path, from: &str, to: &str) {
    fs::rename(root.join(from), root.join(to)).expect("the worktree is ours");
}

/// A worktree, and the workspace that it is followed into.
struct Place {
    scratch: tempfile::TempDir,
    follower: Follower,
}

impl Place {
    fn new() -> Self {
        let scratch = tempfile::tempdir().expect("a scratch directory can be made");
        let (worktree, workspace) = (scratch.path().join("worktree"), scratch.path().join("workspace"));
        let mut tree = Tree::new().file("src/main.js", "export default import.meta.glob(\"./**/*.js\");\n");
        for path in ["before", "moved", "saved", "deep/changed", "deep/doomed", "deep/er/x", "folder/inside"]
        {
            let path = format!("src/{path}.js");
            tree = tree.file(&path, module(&path, "1"));
        }
        tree.build(&worktree);
        let rules = profile::rules(&[""; 0], &[""; 0], true).expect("the default rules can be read");
        let request = FollowRequest::push(&worktree, Destination::local(&workspace))
            .expect("the default rules can be read")
            .rules(rules.clone())
            .cache(CachePlace::Nowhere);
        let settings = FollowerSettings::new(&worktree, request, rules, Arc::new(NoPrompt));
        let follower = Follower::start(settings).expect("the worktree can be watched");
        follower.follow(First::Everything);
        let place = Self { scratch, follower };
        place.arrive();
        place
    }

    fn worktree(&self) -> PathBuf {
        self.scratch.path().join("worktree")
    }

    fn workspace(&self) -> PathBuf {
        self.scratch.path().join("workspace")
    }

    /// Waits until the changes of the worktree have arrived in the workspace.
    #[track_caller]
    fn arrive(&self) {
        let arrived = self.follower.flush(Some(PATIENCE), &Cancel::new());
        assert_eq!(arrived.expect("the private directory is ours"), FlushOutcome::Arrived);
    }
}

/// An event that a watcher prints in one line. A path that ends in a slash is a renamed directory with everything in it.
enum WatcherEvent {
    /// It has begun to watch everything.
    Ready,
    There(String),
    Gone(String),
}

/// A running watcher. It is killed when dropped.
struct Watcher {
    child: Child,
    lines: Receiver<String>,
    /// Reads a line of the watcher. The first argument is the workspace.
    read: fn(&Path, &str) -> Vec<WatcherEvent>,
    workspace: PathBuf,
    said: Vec<String>,
}

impl Watcher {
    fn start(place: &Place, words: &[&str], read: fn(&Path, &str) -> Vec<WatcherEvent>) -> Self {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env("HOME", place.scratch.path());
        command.env("PYTHONPATH", format!("{SCRIPTS}/python"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!("start {}: {error}: fixtures/watchers/install installs it", words[0])
        });
        let (tell, lines) = channel();
        forward(child.stdout.take().expect("stdout is piped"), tell.clone());
        forward(child.stderr.take().expect("stderr is piped"), tell);
        Self { child, lines, read, workspace: place.workspace(), said: Vec::new() }
    }

    /// Waits for a line that says that the watcher is ready.
    #[track_caller]
    fn wait_until_ready(&mut self) {
        let started = Instant::now();
        while !self
            .next(started, "the watcher is not ready; fixtures/watchers/install installs it")
            .iter()
            .any(|told| matches!(told, WatcherEvent::Ready))
        {}
    }

    /// Waits until the kernel has a watch of this watcher for every directory of the workspace.
    #[track_caller]
    fn wait_until_it_watches_all_directories(&mut self) {
        let started = Instant::now();
        let directories = directories(&self.workspace);
        let descriptors = PathBuf::from(format!("/proc/{}/fdinfo", self.child.id()));
        while !directories.is_subset(&watched_inodes(&descriptors)) {
            assert!(started.elapsed() < PATIENCE, "it does not watch all directories of the workspace");
            thread::yield_now();
        }
    }

    /// Waits until the watcher has reported all that `change` makes.
    #[track_caller]
    fn wait_for(&mut self, change: &Change) {
        let started = Instant::now();
        let mut there: BTreeSet<_> = change.there.iter().map(|path| (*path).to_owned()).collect();
        let mut gone: BTreeSet<_> = change.gone.iter().map(|path| (*path).to_owned()).collect();
        while !(there.is_empty() && gone.is_empty()) {
            let missing = format!("{} is not reported: {there:?} there, {gone:?} gone", change.what);
            for told in self.next(started, &missing) {
                match told {
                    WatcherEvent::Ready => {}
                    WatcherEvent::There(path) => there.retain(|awaited| !is_about(&path, awaited)),
                    WatcherEvent::Gone(path) => gone.retain(|awaited| !is_about(&path, awaited)),
                }
            }
        }
    }

    /// The next line.
    #[track_caller]
    fn next(&mut self, started: Instant, missing: &str) -> Vec<WatcherEvent> {
        let left = PATIENCE.saturating_sub(started.elapsed());
        let line = self.lines.recv_timeout(left);
        let line = line.unwrap_or_else(|error| panic!("{missing}, {error}:\n{}", self.said.join("\n")));
        let told = (self.read)(&self.workspace, &line);
        self.said.push(line);
        told
    }
}

/// Whether a report about `path` is one about the file that is awaited.
fn is_about(path: &str, awaited: &str) -> bool {
    path == awaited || path.ends_with('/') && awaited.starts_with(path)
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Fails when the watcher has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward(from: impl Read + Send + 'static, tell: Sender<String>) {
    thread::spawn(move || {
        // The watcher is being killed when the reading or the sending fails.
        let _ = BufReader::new(from).lines().map_while(Result::ok).try_for_each(|line| tell.send(line));
    });
}

/// The inode numbers of a directory and of all directories below it.
fn directories(root: &Path) -> BTreeSet<u64> {
    let children = fs::read_dir(root).expect("the workspace can be listed").flatten();
    let below = children.filter(|child| child.path().is_dir()).flat_map(|child| directories(&child.path()));
    below.chain([fs::metadata(root).expect("the workspace can be read").ino()]).collect()
}

/// The inode numbers that a process has inotify watches for, from the directory `fdinfo` of the process.
fn watched_inodes(descriptors: &Path) -> BTreeSet<u64> {
    let files = fs::read_dir(descriptors).into_iter().flatten().flatten();
    // A descriptor that was closed meanwhile has no text.
    let text: String = files.map(|file| fs::read_to_string(file.path()).unwrap_or_default()).collect();
    let watches = text.lines().filter(|line| line.starts_with("inotify "));
    let inodes = watches.filter_map(|line| line.split(' ').find_map(|word| word.strip_prefix("ino:")));
    inodes.map(|inode| u64::from_str_radix(inode, 16).expect("it is hexadecimal")).collect()
}

/// The line of a script in `fixtures/watchers`.
fn line_of_a_script(_: &Path, line: &str) -> Vec<WatcherEvent> {
    let told = match line.split_once(' ') {
        None if line == "ready" => Some(WatcherEvent::Ready),
        Some(("there", path)) => Some(WatcherEvent::There(path.to_owned())),
        Some(("gone", path)) => Some(WatcherEvent::Gone(path.to_owned())),
        _ => None,
    };
    told.into_iter().collect()
}

/// The line of `inotifywait --format '%e %w%f'`.
fn line_of_inotifywait(workspace: &Path, line: &str) -> Vec<WatcherEvent> {
    if line == "Watches established." {
        return vec![WatcherEvent::Ready];
    }
    let Some((event, path)) = line.split_once(' ') else { return Vec::new() };
    let path = below(workspace, path);
    match event {
        "MOVED_TO,ISDIR" => vec![WatcherEvent::There(path + "/")],
        "MOVED_FROM,ISDIR" => vec![WatcherEvent::Gone(path + "/")],
        "CREATE" | "MODIFY" | "MOVED_TO" => vec![WatcherEvent::There(path)],
        "DELETE" | "MOVED_FROM" => vec![WatcherEvent::Gone(path)],
        _ => Vec::new(),
    }
}

/// The line of `watchexec --emit-events-to=json-stdio`.
fn line_of_watchexec(workspace: &Path, line: &str) -> Vec<WatcherEvent> {
    let Ok(event) = serde_json::from_str::<Value>(line) else { return Vec::new() };
    let tags = event["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
    let kinds: Vec<_> = tags.iter().filter_map(|tag| tag["full"].as_str()).collect();
    let paths = tags.iter().filter_map(|tag| tag["absolute"].as_str());
    let paths: Vec<_> = paths.map(|path| below(workspace, path)).collect();
    // It does not say whether the path of a rename was a directory.
    if let ["Modify(Name(From))"] | ["Modify(Name(To))"] = kinds.as_slice() {
        let told = if kinds[0].contains("From") { WatcherEvent::Gone } else { WatcherEvent::There };
        return paths.iter().flat_map(|path| [told(path.clone()), told(format!("{path}/"))]).collect();
    }
    let told = |path: &String| match kinds.as_slice() {
        [kind] if kind.starts_with("Remove") => Some(WatcherEvent::Gone(path.clone())),
        // It has both paths. Events of their own report them, too.
        ["Modify(Name(Both))"] => None,
        [kind] if kind.starts_with("Create") || kind.starts_with("Modify") => {
            Some(WatcherEvent::There(path.clone()))
        }
        _ => None,
    };
    paths.iter().filter_map(told).collect()
}

/// The path as it is below the workspace.
fn below(workspace: &Path, path: &str) -> String {
    let path = Path::new(path);
    path.strip_prefix(workspace).unwrap_or(path).display().to_string()
}

/// How a watcher finds the directories in a new directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Finds {
    All,
    /// It lists a new directory before it watches it, and never finds what is made in between.
    Listed,
}

/// Makes one change after the other arrive, and waits for the report of each.
#[track_caller]
fn reports_every_change(place: &Place, watcher: &mut Watcher, finds: Finds) {
    for change in &CHANGES {
        if let (Finds::Listed, Some(directory)) = (finds, change.outer_directory) {
            fs::create_dir(place.worktree().join(directory)).expect("the worktree is ours");
            place.arrive();
            watcher.wait_until_it_watches_all_directories();
        }
        (change.make)(&place.worktree());
        place.arrive();
        if let Some(path) = change.in_new_directory {
            watcher.wait_until_it_watches_all_directories();
            write(&place.worktree(), path, "3");
            place.arrive();
        }
        watcher.wait_for(change);
    }
}

#[test]
fn inotifywait_reports_every_change() {
    let place = Place::new();
    let workspace = place.workspace();
    let workspace = workspace.to_str().expect("paths of tests are text");
    let words = ["inotifywait", "--monitor", "--recursive", "--format", "%e %w%f", workspace];
    let mut watcher = Watcher::start(&place, &words, line_of_inotifywait);
    watcher.wait_until_ready();
    reports_every_change(&place, &mut watcher, Finds::Listed);
}

#[test]
fn watchexec_reports_every_change() {
    let place = Place::new();
    let workspace = place.workspace();
    let workspace = workspace.to_str().expect("paths of tests are text");
    let words = ["watchexec", "--emit-events-to=json-stdio", "--only-emit-events", "--watch", workspace];
    let mut watcher = Watcher::start(&place, &words, line_of_watchexec);
    // It does not say when it is ready.
    watcher.wait_until_it_watches_all_directories();
    reports_every_change(&place, &mut watcher, Finds::All);
}

#[test]
fn chokidar_reports_every_change() {
    reports_every_change_to_a_script("node", "chokidar.mjs");
}

#[test]
fn a_vite_dev_server_serves_every_change() {
    reports_every_change_to_a_script("node", "vite.mjs");
}

#[test]
fn watchdog_reports_every_change() {
    reports_every_change_to_a_script("python3", "print_events.py");
}

#[track_caller]
fn reports_every_change_to_a_script(interpreter: &str, script: &str) {
    let place = Place::new();
    let (script, workspace) = (format!("{SCRIPTS}/{script}"), place.workspace());
    let words = [interpreter, &script, workspace.to_str().expect("paths of tests are text")];
    let mut watcher = Watcher::start(&place, &words, line_of_a_script);
    watcher.wait_until_ready();
    reports_every_change(&place, &mut watcher, Finds::All);
}
