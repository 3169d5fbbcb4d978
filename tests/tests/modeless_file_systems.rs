//! Destinations on a file system that keeps neither modes nor owners: NTFS as ntfs-3g mounts it. Nothing can be private there,
//! and a run does what rsync's does.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use coast_tests::{Aspects, Outcome, Sandbox, Snapshot, Tree, require, require_root};

/// An NTFS of the test's own, unmounted when dropped.
struct Ntfs {
    place: Sandbox,
    at: PathBuf,
}

impl Ntfs {
    /// Mounted with these options, such as `uid=1234`.
    fn mount(options: &str) -> Self {
        require_root();
        let place = Sandbox::new();
        let (image, at) = (place.path("image"), place.path("disk"));
        File::create(&image).and_then(|file| file.set_len(32 << 20)).expect("the place is new");
        fs::create_dir(&at).expect("the place is new");
        must(Command::new(require("mkfs.ntfs", "ntfs-3g")).args(["--quick", "--force"]).arg(&image));
        must(Command::new(require("ntfs-3g", "ntfs-3g")).args(["-o", options]).arg(&image).arg(&at));
        Tree::sample().symlink("a link", "package.json").build(place.path("src"));
        Self { place, at }
    }

    fn run(&self, line: &str) -> Outcome {
        self.place.coast(line.split(' ')).run()
    }

    fn names(&self, directory: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(self.at.join(directory)).expect("it is there");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("root may").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Ntfs {
    fn drop(&mut self) {
        // A failure here must not hide the test's own.
        let _ = Command::new("umount").arg(&self.at).status();
    }
}

#[track_caller]
fn must(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Everything is everybody's; everything is another user's; everything is root's, and others may only read it.
const MOUNTS: [&str; 3] = ["umask=000", "uid=1234,gid=1234,umask=022", "umask=022"];

#[test]
fn a_run_ends_as_that_of_rsync_does() {
    for mount in MOUNTS {
        let ntfs = Ntfs::mount(mount);
        for options in ["-r", "-rlDz", "-rlpt", "-rlog", "-a", "-rl --delete-after"] {
            for round in 0..2 {
                let theirs = ntfs.place.rsync(options.split(' ')).args(["src/", "disk/theirs/"]).run();
                let ours = ntfs.run(&format!("sync {options} src/ disk/ours/"));
                assert_eq!(ours.code(), theirs.code(), "{mount} {options} {round}\n{ours}{theirs}");
                let told = ours.text().matches("keeps no modes").count();
                assert_eq!(told, 1, "{mount} {options} {round}\n{ours}");
            }
            let (theirs, ours) = (ntfs.at.join("theirs"), ntfs.at.join("ours"));
            Snapshot::of(theirs).assert_same(&Snapshot::of(ours), Aspects::CONTENT.with_modes());
            let state = ntfs.names(".ours.coast");
            assert!(
                !state.contains(&"cache".to_owned()),
                "a cache that others can write is not trusted: {state:?}"
            );
        }
    }
}

#[test]
fn a_push_writes_a_whole_disk_and_leaves_a_right_file_untouched() {
    let ntfs = Ntfs::mount("umask=000");
    for _ in 0..2 {
        ntfs.run("push src disk").assert_code(0);
    }
    assert!(ntfs.names("").contains(&".coast-state".to_owned()), "nothing can be made beside a disk's top");
    let again = ntfs.run("push --json src disk");
    again.assert_code(0).assert_says("\"transferred_files\":0");
}

#[test]
fn a_single_file_arrives_and_leaves_nothing_beside_it() {
    let ntfs = Ntfs::mount("uid=1234,gid=1234,umask=022");
    fs::create_dir(ntfs.at.join("dst")).expect("root may");
    ntfs.run("sync src/package.json disk/dst/new").assert_code(0);
    assert_eq!(ntfs.names("dst"), ["new"]);
}

#[test]
fn a_run_waits_for_another_on_the_same_directory() {
    let ntfs = Ntfs::mount("umask=000");
    fs::create_dir(ntfs.at.join("dst")).expect("root may");
    let other = File::open(ntfs.at.join("dst")).expect("root may");
    other.lock().expect("nobody else holds it");
    ntfs.run("sync -r --timeout=1 src/ disk/dst/").assert_code(30).assert_says("another run");
    assert!(ntfs.names("dst").is_empty());
    drop(other);
    ntfs.run("sync -r src/ disk/dst/").assert_code(0);
    assert!(ntfs.at.join("dst/package.json").exists());
}
