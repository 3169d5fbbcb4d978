//! Workspaces that are recognized below a directory, and what is none.

#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use coast_engine::Cancel;
use coast_wire::Answer;
use coast_workspace::WorkspacesDirectory;
use rustix::fs::{CWD, FileType, Mode, mknodat};

/// A workspace with a private state directory beside it.
fn make(top: &Path, project: &str, instance: &str) {
    let (workspace, state) =
        (top.join(project).join(instance), top.join(project).join(format!(".{instance}.coast")));
    fs::create_dir_all(workspace.join("src/deep")).unwrap();
    fs::write(workspace.join("src/deep/file"), "content").unwrap();
    fs::create_dir_all(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(state.join("lock"), "").unwrap();
}

/// `project/instance entries bytes` of each, and more words for what is special.
fn survey(top: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let directory = WorkspacesDirectory::open(top, None).unwrap().unwrap();
    let totals = directory
        .survey(false, &Cancel::new(), &mut |answer| {
            let Answer::Surveyed(surveyed) = answer else { panic!("{answer:?}") };
            assert_eq!(surveyed.used_at > 0, !surveyed.instance.is_empty());
            let mut words =
                format!("{}/{} {} {}", surveyed.project, surveyed.instance, surveyed.entries, surveyed.bytes);
            words.push_str(if surveyed.exists { "" } else { " absent" });
            words.push_str(if surveyed.unreadable { " unreadable" } else { "" });
            words.push_str(if surveyed.is_busy { " busy" } else { "" });
            words.push_str(&surveyed.trash_bytes.map(|bytes| format!(" trash {bytes}")).unwrap_or_default());
            found.push(words);
            Ok(())
        })
        .unwrap();
    assert_eq!(totals.workspaces, u64::try_from(found.len()).unwrap());
    found.sort();
    found
}

#[test]
fn only_what_has_a_private_state_directory_beside_it_is_a_workspace() {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().canonicalize().unwrap();
    for instance in ["plain", "busy", "trashed"] {
        make(&top, "shop", instance);
    }
    fs::create_dir_all(top.join("shop/.trashed.coast/trash/1000.7/a")).unwrap();
    fs::write(top.join("shop/.trashed.coast/trash/1000.7/a/b"), "content").unwrap();
    make(&top, "shop", "state-only");
    fs::remove_dir_all(top.join("shop/state-only")).unwrap();
    make(&top, "shop", "replaced");
    fs::remove_dir_all(top.join("shop/replaced")).unwrap();
    symlink("plain", top.join("shop/replaced")).unwrap();
    fs::create_dir(top.join("empty")).unwrap();
    // None of these is a workspace.
    fs::create_dir(top.join("shop/no-state")).unwrap();
    make(&top, "shop", "open-to-others");
    fs::set_permissions(top.join("shop/.open-to-others.coast"), fs::Permissions::from_mode(0o777)).unwrap();
    fs::create_dir(top.join("shop/linked")).unwrap();
    symlink(top.join("shop/.plain.coast"), top.join("shop/.linked.coast")).unwrap();
    symlink(top.join("shop"), top.join("link")).unwrap();
    fs::write(top.join("file"), "").unwrap();

    // A state directory with entries that no run makes does not hide the others.
    for instance in ["trash-pipe", "trash-link", "lock-pipe", "lock-link"] {
        make(&top, "shop", instance);
        let (entry, kind) = instance.split_once('-').unwrap();
        let entry = top.join(format!("shop/.{instance}.coast/{entry}"));
        let _ = fs::remove_file(&entry);
        if kind == "pipe" {
            mknodat(CWD, &entry, FileType::Fifo, Mode::RWXU, 0).unwrap();
        } else {
            symlink("/dev/zero", &entry).unwrap();
        }
    }

    let lock = File::open(top.join("shop/.busy.coast/lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(
        survey(&top),
        [
            "empty/ 0 0 absent",
            "shop/busy 3 7 busy",
            "shop/lock-link 3 7 unreadable",
            "shop/lock-pipe 3 7 unreadable",
            "shop/plain 3 7",
            "shop/replaced 0 0 unreadable",
            "shop/state-only 0 0 absent",
            "shop/trash-link 3 7 unreadable",
            "shop/trash-pipe 3 7 unreadable",
            "shop/trashed 3 7 trash 7",
        ]
    );
    assert!(WorkspacesDirectory::open(&top.join("nowhere"), None).unwrap().is_none());
    assert!(WorkspacesDirectory::open(&top.join("file"), None).is_err());
}
