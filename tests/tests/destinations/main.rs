//! Destinations that are not one plain directory of one file system: mounts, access control lists, directories without rights,
//! holes. Real rsync is the judge wherever it can do the same.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod inheritance;
mod mounts;
mod staging;
mod unprivileged;

use std::path::Path;
use std::process::Command;

use coast_tests::{Snapshot, Tree, noise, require};

/// The name of a staging directory in the workspace. None may be left.
const STAGING: &str = ".coast-staging";

/// Runs a program of the system and gives what it prints.
fn system(program: &str, package: &str, arguments: &[&Path]) -> String {
    let output =
        Command::new(require(program, package)).args(arguments).output().expect("the program starts");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the program prints text")
}

fn assert_nothing_staged(destination: &Path) {
    let left: Vec<_> = Snapshot::of(destination)
        .iter()
        .filter(|(path, _)| path.iter().any(|name| name == STAGING))
        .map(|(path, _)| path.to_owned())
        .collect();
    assert!(left.is_empty(), "left in the workspace: {left:?}");
}

/// A tree that needs every way into place: new files, replaced ones, links, a FIFO, a directory that makes way, a deletion.
fn old_tree() -> Tree {
    Tree::new()
        .file("vol/changed", "the old content")
        .file("vol/deep/large", noise(1, 3 << 20))
        .file("vol/extraneous", "goes")
        .file("vol/was-a-directory/inner", "goes")
        .symlink("vol/link", "old")
        .file("top", "the older one")
}

/// The tree that the old one becomes.
fn new_tree() -> Tree {
    let mut large = noise(1, 3 << 20);
    large.splice(1 << 20..(1 << 20) + 10, noise(2, 5000));
    Tree::new()
        .file("vol/changed", "the new content, longer")
        .file("vol/deep/large", large)
        .file("vol/deep/new", noise(3, 200_000))
        .file("vol/was-a-directory", "a file now")
        .symlink("vol/link", "new")
        .symlink("vol/new-link", "anywhere")
        .fifo("vol/fifo")
        .file("top", "new")
}
