//! A disk that is full at the destination.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use coast_testkit::{SmallDisk, noise};

use super::*;

#[test]
fn a_full_disk_is_told_by_path_and_the_rest_arrives_and_the_next_batch_works() {
    let scratch = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(scratch.path().join("disk"));
    let (worktree, workspace) = (scratch.path().join("worktree"), disk.path().join("workspace"));
    Tree::new()
        .file("d/edited", "1")
        .file("mode", "1")
        .file("gone", "1")
        .file("gone-later", "1")
        .build(&worktree);
    let request = FollowRequest::push(&worktree, Destination::local(&workspace)).unwrap();
    let mut session = request.cache(CachePlace::Nowhere).connect(&NoPrompt, &Cancel::new()).unwrap();
    let mut send = |batch: &FollowBatch| session.send(batch, &VoidMonitor, &Cancel::new()).unwrap();
    send(&FollowBatch::everything());

    fs::write(worktree.join("d/large"), noise(1, 2 << 20)).unwrap();
    // These need no block of this file system.
    fs::write(worktree.join("d/empty"), "").unwrap();
    symlink("d", worktree.join("link")).unwrap();
    fs::create_dir(worktree.join("made")).unwrap();
    fs::set_permissions(worktree.join("mode"), Permissions::from_mode(0o700)).unwrap();
    fs::remove_file(worktree.join("gone")).unwrap();
    let paths = ["d/large", "d/empty", "link", "made", "mode", "gone"];
    let assert_large_failed = |report: BatchReport| {
        let failed: Vec<&[u8]> = report.failures.first.iter().map(|failure| &failure.path[..]).collect();
        assert_eq!(failed, [b"d/large"], "{:?}", report.failures);
        assert!(report.failures.first[0].text.contains("No space"), "{:?}", report.failures);
        assert!(report.conflicts.count == 0 && !workspace.join("d/large").exists());
    };
    assert_large_failed(send(&batch(&paths, false)));
    assert!(workspace.join("d/empty").exists() && workspace.join("made").is_dir());
    assert!(workspace.join("link").is_symlink() && !workspace.join("gone").exists());
    assert_eq!(fs::metadata(workspace.join("mode")).unwrap().permissions().mode() & 0o100, 0o100);
    assert_large_failed(send(&FollowBatch::everything()));

    fs::write(worktree.join("d/large"), "no longer large").unwrap();
    fs::write(worktree.join("d/edited"), "2").unwrap();
    fs::remove_file(worktree.join("gone-later")).unwrap();
    let report = send(&batch(&["d/large", "d/edited", "gone-later"], false));
    assert!(report.failures.is_empty() && report.conflicts.count == 0, "{report:?}");
    Snapshot::of(&workspace).assert_same_content(&Snapshot::of(&worktree));
}
