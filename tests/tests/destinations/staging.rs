//! What a run keeps in the workspace and beside it while it is under way, and what an interrupted run leaves.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use coast_tests::{Sandbox, Snapshot, Tree, Watch, noise};

use super::{STAGING, assert_nothing_staged, new_tree};

#[test]
fn staging_directory_that_an_interrupted_run_left_is_swept_and_never_content() {
    let place = Sandbox::new();
    new_tree().build(place.path("source"));
    for at in ["source", "data", "data/vol", "data/extraneous"] {
        let staging = place.path(at).join(STAGING);
        fs::create_dir_all(staging.join("run-0")).unwrap();
        fs::write(staging.join("run-0/7"), "half a file").unwrap();
        for private in [staging.join("run-0"), staging] {
            fs::set_permissions(&private, Permissions::from_mode(0o700)).unwrap();
        }
    }
    place.coast(["sync", "-rlD", "--delete-after", "source/", "data/"]).run().assert_code(0);
    assert_nothing_staged(&place.path("data"));
    assert!(!place.path("data/extraneous").exists());
    assert!(place.path("source").join(STAGING).join("run-0/7").exists(), "a source is only read");
}

#[test]
fn directory_of_the_reserved_name_that_no_run_made_is_kept_and_told() {
    let place = Sandbox::new();
    Tree::new().file("x/f", "f").build(place.path("source"));
    for (number, inner) in ["precious", "1/1259", "run-0/name", "run-0/1/2"].iter().enumerate() {
        let destination = place.path(format!("data{number}"));
        for at in ["x", "extraneous"] {
            let staging = destination.join(at).join(STAGING);
            let file = staging.join(inner);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "precious").unwrap();
            for private in [file.parent().unwrap(), &staging] {
                fs::set_permissions(private, Permissions::from_mode(0o700)).unwrap();
            }
        }
        let to = format!("{}/", destination.display());
        let outcome = place.coast(["sync", "-r", "-v", "--delete", "source/", &to]).run();
        outcome.assert_says(".coast-staging");
        for at in ["x", "extraneous"] {
            let file = destination.join(at).join(STAGING).join(inner);
            assert_eq!(fs::read(file).unwrap(), b"precious", "{outcome}");
        }
    }
}

#[test]
fn signal_to_the_whole_process_group_keeps_the_part_that_arrived() {
    let place = Sandbox::new();
    Tree::new().file("large", noise(1, 60_000_000)).build(place.path("source"));
    let sync = ["sync", "-r", "--partial", "--bwlimit=4m", "source/", "copy/"];
    // `timeout` signals its child, and then the process group of the child.
    let group = ["timeout", "--preserve-status", "--signal=INT", "3"];
    place.coast(sync).by(group.map(PathBuf::from)).run().assert_code(20);
    let state = Snapshot::of(place.path(".copy.coast"));
    assert_eq!(
        state.iter().filter(|(path, _)| path.parent() == Some(Path::new("partial"))).count(),
        1,
        "{}",
        state.listing()
    );
    assert!(!state.holds("staging"), "{}", state.listing());
}

#[test]
fn directory_that_becomes_private_is_private_before_its_files_arrive() {
    for mode in [0o700, 0o500] {
        let place = Sandbox::new();
        Tree::new().file("sub/secret", noise(1, 8 << 20)).build(place.path("source"));
        fs::set_permissions(place.path("source/sub"), Permissions::from_mode(mode)).unwrap();
        fs::create_dir_all(place.path("data/sub")).unwrap();
        fs::set_permissions(place.path("data/sub"), Permissions::from_mode(0o777)).unwrap();
        let secret = place.path("data/sub/secret");
        let seen = std::thread::scope(|scope| {
            let run = place.coast(["sync", "-rp", "source/", "data/"]).start();
            let watcher = scope.spawn(|| {
                Watch::below(place.path("data")).until("the file", || secret.exists());
                fs::metadata(place.path("data/sub")).unwrap().mode() & 0o077
            });
            run.wait().assert_code(0);
            watcher.join().unwrap()
        });
        assert_eq!(seen, 0, "{mode:o}");
    }
}
