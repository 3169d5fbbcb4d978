//! Destinations that are mounts, or have mounts in them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use coast_tests::{Mount, Outcome, Sandbox, Snapshot, Tree};

use super::{assert_nothing_staged, new_tree, old_tree, system};

/// Syncs the new tree into a destination, and again, and checks that it arrived and that nothing is sent twice.
fn assert_arrives(place: &Sandbox, options: &[&str], destination: &Path) {
    new_tree().build(place.path("source"));
    let sync = |extra: &[&str]| -> Outcome {
        let mut arguments: Vec<String> =
            vec!["sync".into(), "-rlD".into(), "--delete-after".into(), "-i".into()];
        arguments.extend(options.iter().chain(extra).map(|option| (*option).to_owned()));
        arguments.push(format!("{}/", place.path("source").display()));
        arguments.push(format!("{}/", destination.display()));
        place.coast(arguments).run()
    };
    sync(&[]).assert_code(0);
    Snapshot::of(place.path("source")).assert_same_content(&Snapshot::of(destination));
    assert_nothing_staged(destination);
    let again = sync(&[]);
    again.assert_code(0);
    assert!(!again.text().contains(">f"), "a second run sends nothing: {again}");
}

#[test]
fn bind_mount_inside_the_destination_is_written_to() {
    for options in [&[][..], &["--delay-updates"], &["-p", "-t", "-o", "-g"]] {
        let place = Sandbox::new();
        old_tree().build(place.path("data"));
        fs::rename(place.path("data/vol"), place.path("elsewhere")).unwrap();
        fs::create_dir(place.path("data/vol")).unwrap();
        let _mount = Mount::bind(place.path("elsewhere"), place.path("data/vol"));
        assert_arrives(&place, options, &place.path("data"));
    }
}

#[test]
fn what_the_trash_cannot_take_stays_and_a_dry_run_says_so() {
    let place = Sandbox::new();
    Tree::new().file("kept", "kept").file("vol/taken", "a file").build(place.path("source"));
    fs::create_dir_all(place.path("data/vol")).unwrap();
    fs::create_dir(place.path("elsewhere")).unwrap();
    let _mount = Mount::bind(place.path("elsewhere"), place.path("data/vol"));
    Tree::new()
        .file("vol/made", "made there")
        .file("vol/deep/made", "made there")
        .symlink("vol/taken", "made there")
        .file("made", "made there")
        .build(place.path("data"));
    let push = |extra: &[&str]| {
        let (source, destination) = (place.path("source"), place.path("data"));
        let paths = [source.to_str().unwrap(), destination.to_str().unwrap()];
        place.coast([&["push"], extra, &paths].concat()).run()
    };
    let lines = |outcome: &Outcome| {
        let mut lines: Vec<String> = outcome
            .text()
            .lines()
            .filter(|line| line.contains("the trash") && line.contains("vol/"))
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    };
    let (foretold, done) = (push(&["-n"]), push(&[]));
    done.assert_code(23);
    assert!(lines(&done).len() >= 3, "{done}");
    assert_eq!(lines(&foretold), lines(&done), "{foretold}");
    for stays in ["vol/made", "vol/deep/made"] {
        assert!(place.path("data").join(stays).exists(), "{stays}: {done}");
    }
    assert!(place.path("data/vol/taken").is_symlink() && !place.path("data/made").exists(), "{done}");
}

#[test]
fn memory_file_system_inside_the_destination_is_written_to() {
    for options in [&[][..], &["--delay-updates"]] {
        let place = Sandbox::new();
        fs::create_dir_all(place.path("data/vol")).unwrap();
        let _mount = Mount::tmpfs(place.path("data/vol"), "size=64m");
        old_tree().build(place.path("old"));
        place.rsync(["-a", "old/", "data/"]).run().assert_code(0);
        assert_arrives(&place, options, &place.path("data"));
    }
}

#[test]
fn destination_that_is_a_bind_mount_of_the_same_file_system_is_written_to() {
    for options in [&[][..], &["--delay-updates"]] {
        let place = Sandbox::new();
        old_tree().build(place.path("elsewhere"));
        fs::create_dir(place.path("data")).unwrap();
        let _mount = Mount::bind(place.path("elsewhere"), place.path("data"));
        assert_arrives(&place, options, &place.path("data"));
    }
}

#[test]
fn subvolumes_inside_the_destination_are_written_to() {
    for options in [&[][..], &["--delay-updates"]] {
        let place = Sandbox::new();
        let _mount = Mount::image(place.path("disk"), "btrfs", "btrfs-progs", 256 << 20);
        fs::create_dir(place.path("disk/data")).unwrap();
        for subvolume in ["disk/data/vol", "disk/data/vol/deep"] {
            let path = place.path(subvolume);
            system("btrfs", "btrfs-progs", &["subvolume".as_ref(), "create".as_ref(), &path]);
        }
        old_tree().build(place.path("old"));
        place.rsync(["-a", "old/", "disk/data/"]).run().assert_code(0);
        assert_arrives(&place, options, &place.path("disk/data"));
    }
}

#[test]
fn quota_projects_inside_the_destination_are_written_to() {
    let place = Sandbox::new();
    let _mount = Mount::image(place.path("disk"), "xfs", "xfsprogs", 400 << 20);
    fs::create_dir_all(place.path("disk/data/vol")).unwrap();
    system("xfs_io", "xfsprogs", &["-c".as_ref(), "chproj -R 42".as_ref(), &place.path("disk/data/vol")]);
    system("xfs_io", "xfsprogs", &["-c".as_ref(), "chattr -R +P".as_ref(), &place.path("disk/data/vol")]);
    old_tree().build(place.path("old"));
    place.rsync(["-a", "old/", "disk/data/"]).run().assert_code(0);
    assert_arrives(&place, &[], &place.path("disk/data"));
}

#[test]
fn top_of_a_mount_gets_its_time_although_files_were_staged_there() {
    let place = Sandbox::new();
    Tree::new().file("vol/f", "f").with_default_mtime(1_000_000_000).build(place.path("source"));
    fs::create_dir_all(place.path("data/vol")).unwrap();
    let _mount = Mount::tmpfs(place.path("data/vol"), "size=1m");
    place.coast(["sync", "-rlt", "source/", "data/"]).run().assert_code(0);
    let times = |of: &str| fs::metadata(place.path(of)).unwrap().mtime();
    assert_eq!(times("data/vol"), times("source/vol"));
}

#[test]
fn read_only_mount_fails_its_own_entries_and_no_others() {
    let place = Sandbox::new();
    Tree::new().file("vol/a", "a").file("vol/b", "b").file("z", "z").build(place.path("source"));
    fs::create_dir_all(place.path("data/vol")).unwrap();
    let _mount = Mount::tmpfs(place.path("data/vol"), "ro");
    let outcome = place.coast(["push", "source", "data"]).run();
    outcome.assert_code(23).assert_says("vol/a").assert_says("vol/b");
    assert_eq!(fs::read(place.path("data/z")).unwrap(), b"z");
}
