//! Directories that give access control lists, flags or their group to the entries that are made in them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use coast_tests::{Aspects, Mount, Sandbox, Snapshot, Tree, require};

use super::system;

/// The access control lists of everything in a directory, as text.
fn lists(of: &Path) -> String {
    let output = Command::new(require("getfacl", "acl"))
        .args(["--recursive", "--numeric", "--omit-header", "--absolute-names", "."])
        .current_dir(of)
        .output()
        .expect("getfacl starts");
    let mut lists: Vec<String> =
        String::from_utf8_lossy(&output.stdout).split("\n\n").map(str::to_owned).collect();
    lists.sort();
    lists.join("\n\n")
}

#[test]
fn default_list_of_a_directory_reaches_new_and_replaced_entries_as_with_rsync() {
    for options in [&["-rlD"][..], &["-rlptD"], &["-a"], &["-rlD", "--delay-updates"]] {
        let place = Sandbox::new();
        let tree = Tree::new()
            .file("shared/new", "new")
            .file("shared/run.sh", "#!/bin/sh")
            .mode(0o755)
            .file("shared/private", "p")
            .mode(0o600)
            .file("shared/old", "the new content")
            .file("shared/sub/deeper", "d")
            .fifo("shared/fifo")
            .file("plain/file", "f");
        tree.build(place.path("source"));
        for side in ["by-rsync", "by-coast"] {
            Tree::new().file("shared/old", "old").file("plain/old", "o").build(place.path(side));
            let shared = place.path(side).join("shared");
            system(
                "setfacl",
                "acl",
                &["-d".as_ref(), "-m".as_ref(), "u:1234:rwx,g:4321:r-x,m:rwx".as_ref(), &shared],
            );
        }
        let arguments = |side: &str| {
            let mut all: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
            all.extend(["source/".to_owned(), format!("{side}/")]);
            all
        };
        place.rsync(arguments("by-rsync")).run().assert_code(0);
        let mut sync = vec!["sync".to_owned()];
        sync.extend(arguments("by-coast"));
        place.coast(sync).run().assert_code(0);
        assert_eq!(lists(&place.path("by-coast")), lists(&place.path("by-rsync")), "{options:?}");
    }
}

#[test]
fn list_of_the_directory_around_the_destination_reaches_nothing_in_it() {
    let place = Sandbox::new();
    Tree::new().file("dir/file", "f").build(place.path("source"));
    for side in ["by-rsync", "by-coast"] {
        fs::create_dir_all(place.path(side).join("data")).unwrap();
        system("setfacl", "acl", &["-d".as_ref(), "-m".as_ref(), "u:1234:rwx".as_ref(), &place.path(side)]);
    }
    place.rsync(["-rlD", "source/", "by-rsync/data/"]).run().assert_code(0);
    place.coast(["sync", "-rlD", "source/", "by-coast/data/"]).run().assert_code(0);
    assert_eq!(lists(&place.path("by-coast/data")), lists(&place.path("by-rsync/data")));
}

#[test]
fn flags_of_a_directory_reach_new_files() {
    let place = Sandbox::new();
    let _mount = Mount::image(place.path("disk"), "ext4", "e2fsprogs", 64 << 20);
    fs::create_dir_all(place.path("disk/data/dir")).unwrap();
    system("chattr", "e2fsprogs", &["+A".as_ref(), &place.path("disk/data/dir")]);
    Tree::new().file("dir/file", "f").build(place.path("source"));
    place.coast(["sync", "-rlD", "source/", "disk/data/"]).run().assert_code(0);
    let shown = system("lsattr", "e2fsprogs", &[&place.path("disk/data/dir/file")]);
    let flags = shown.split_whitespace().next().unwrap();
    assert!(flags.contains('A'), "{shown}");
}

#[test]
fn group_of_a_set_group_directory_reaches_new_and_replaced_files_as_with_rsync() {
    for options in [&["-rlD"][..], &["-rlptD"], &["-rltD", "--delay-updates"]] {
        let place = Sandbox::new();
        Tree::new()
            .file("dir/new", "n")
            .file("dir/old", "the new one")
            .file("dir/sub/x", "x")
            .build(place.path("source"));
        for side in ["by-rsync", "by-coast"] {
            Tree::new().file("dir/old", "old").build(place.path(side));
            chown(place.path(side).join("dir"), None, Some(4321)).unwrap();
            fs::set_permissions(place.path(side).join("dir"), Permissions::from_mode(0o2775)).unwrap();
        }
        let arguments = |side: &str| -> Vec<String> {
            options
                .iter()
                .map(|option| (*option).to_owned())
                .chain(["source/".to_owned(), format!("{side}/")])
                .collect()
        };
        place.rsync(arguments("by-rsync")).run().assert_code(0);
        place.coast(["sync".to_owned()].into_iter().chain(arguments("by-coast"))).run().assert_code(0);
        let aspects = Aspects::CONTENT.with_modes().with_users().with_groups();
        Snapshot::of(place.path("by-coast")).assert_same(&Snapshot::of(place.path("by-rsync")), aspects);
    }
}
