//! The gap between the transfer and the session's first scan.

use std::fs;
use std::path::Path;

use super::stage::{Stage, TransferFails, dev_1, files};
use super::{position, running};
use crate::continuous::PrivateFile;
use crate::lifecycle::{Insist, RunOptions};
use crate::record::{Following, Step};

/// Edits of every kind, in the gap.
fn edit(worktree: &Path) {
    fs::write(worktree.join("src/a"), "edited in the gap").unwrap();
    fs::write(worktree.join("new [1]*"), "created in the gap").unwrap();
    fs::remove_dir_all(worktree.join("src/deep")).unwrap();
    for only in ["only-main", "only-feature"] {
        fs::remove_file(worktree.join(only)).unwrap_or_default();
    }
}

#[test]
fn edits_made_in_the_gap_are_transferred_afterwards() {
    let stage = Stage::following();
    let root = stage.root();
    *stage.fake.in_the_gap.lock().unwrap() = Some(Box::new(move || edit(&root)));
    stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap();
    let log = stage.log();
    let transferred = position(&log, "transfer src/a only-main src/deep");
    // What the transfer deletes is told, too.
    assert_eq!(position(&log, "told MendDeleted"), transferred + 1, "{log:?}");
    assert_eq!(position(&log, "flush"), transferred + 2, "{log:?}");
    assert!(!stage.workspace().join("src/deep").exists());
    position(&log, "told GapClosed { paths: 3 }");
    stage.assert_follows(&stage.root());

    let feature = stage.feature();
    *stage.fake.in_the_gap.lock().unwrap() = Some(Box::new(move || edit(&feature)));
    stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), Insist::No)).unwrap();
    position(&stage.log(), "told GapClosed { paths: 3 }");
    stage.assert_follows(&stage.feature());
}

#[test]
fn gap_that_reopens_each_time_is_reported_and_given_up() {
    let stage = Stage::following();
    let (file, mut count) = (stage.root().join("src/a"), 0);
    *stage.fake.before_each_look.lock().unwrap() = Some(Box::new(move || {
        count += 1;
        fs::write(&file, format!("save {count}")).unwrap();
    }));
    let record = stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap();
    assert_eq!(record.following, Following::Yes);
    let log = stage.log();
    position(&log, "told GapOpen");
    assert_eq!(log.iter().filter(|line| line.starts_with("told Gap {")).count(), 1, "{log:?}");
    *stage.fake.before_each_look.lock().unwrap() = None;
    stage.command(|coast| coast.start(&dev_1(), Insist::No)).unwrap();
    stage.assert_follows(&stage.root());
}

#[test]
fn a_path_that_cannot_be_written_is_tried_once_in_the_gap_and_not_told_as_edited() {
    let stage = Stage::following();
    *stage.unwritable.lock().unwrap() = vec!["src/a"];
    let (workspace, root) = (stage.workspace(), stage.root());
    *stage.fake.in_the_gap.lock().unwrap() =
        Some(Box::new(move || fs::write(root.join("src/deep/b"), "edited").unwrap()));
    *stage.fake.before_each_look.lock().unwrap() =
        Some(Box::new(move || fs::write(workspace.join("src/a"), "what is there").unwrap()));
    let record = stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap();
    let log = stage.log();
    let told: Vec<&String> = log.iter().filter(|line| line.starts_with("told Gap")).collect();
    assert_eq!(told, [&format!("told Gap {{ changed: [{:?}], vanished: [] }}", b"src/deep/b")]);
    let transfers = log.iter().filter(|line| line.starts_with("transfer ")).count();
    assert_eq!((transfers, position(&log, "transfer src/a src/deep/b")), (2, position(&log, "flush") - 2));
    // What was there is in the trash.
    assert_eq!(position(&log, "told MendDeleted"), position(&log, "flush") - 1);
    let stale = record.stale.unwrap();
    assert_eq!((stale.count, stale.paths[0].reason.as_str()), (1, "cannot write: read-only"));
    assert!(stale.concerns(b"src/a") && stale.concerns(b"src") && !stale.concerns(b"src/ab"));
}

#[test]
fn an_emptied_worktree_deletes_nothing_in_the_gap() {
    let stage = Stage::following();
    let root = stage.root();
    let before = files(&root);
    *stage.fake.in_the_gap.lock().unwrap() = Some(Box::new(move || {
        for entry in fs::read_dir(&root).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
    }));
    stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap();
    position(&stage.log(), "told GapOpen");
    assert_eq!(files(&stage.workspace()), before);
}

#[test]
fn session_ends_when_the_gap_cannot_be_closed() {
    let stage = Stage::following();
    let root = stage.root();
    *stage.fake.in_the_gap.lock().unwrap() = Some(Box::new(move || edit(&root)));
    *stage.fake.fail_at.lock().unwrap() = Some(Step::Gap);
    let record = stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap();
    assert!(matches!(record.following, Following::Failed { .. }), "{record:?}");
    stage.assert_quiet();
}

#[test]
fn an_entry_that_the_second_transfer_of_the_gap_brought_is_not_stale() {
    let stage = Stage::following();
    let root = stage.root();
    // Edited in the gap, so that it is transferred again.
    *stage.fake.in_the_gap.lock().unwrap() = Some(Box::new(move || edit(&root)));
    *stage.unwritable.lock().unwrap() = vec!["src/deep/b"];
    let record = stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap();
    assert_eq!((record.stale.clone(), record.exit_code()), (None, 0), "deleted here and there");
}

#[test]
fn flush_transfers_the_files_that_the_session_leaves_out() {
    let stage = running();
    let private = |path: &str| PrivateFile { path: path.as_bytes().to_vec() };
    *stage.fake.private.lock().unwrap() = vec![private("src/a"), private("gone"), private("none")];
    for path in ["src/a", "gone"] {
        fs::write(stage.root().join(path), "private").unwrap();
    }
    let there = |path: &str| fs::read_to_string(stage.workspace().join(path)).ok();
    let status = stage.command(|coast| coast.flush(&dev_1())).unwrap();
    assert_eq!(status.private, []);
    assert_eq!(["src/a", "gone"].map(there), [Some("private".to_owned()), Some("private".to_owned())]);
    fs::remove_file(stage.root().join("gone")).unwrap();
    stage.command(|coast| coast.flush(&dev_1())).unwrap();
    assert_eq!(there("gone"), None);

    *stage.unwritable.lock().unwrap() = vec!["src/a"];
    fs::write(stage.root().join("src/a"), "edited").unwrap();
    let status = stage.command(|coast| coast.flush(&dev_1())).unwrap();
    assert_eq!(status.private, [private("src/a")]);
    stage.unwritable.lock().unwrap().clear();
    *stage.transfer_fails.lock().unwrap() = Some(TransferFails::ToConnect);
    let status = stage.command(|coast| coast.flush(&dev_1())).unwrap();
    assert_eq!(status.private.len(), 3);
    assert!(stage.log().iter().any(|line| line.starts_with("told GapOpen")), "{:?}", stage.log());
}
