//! The transfers that mend conflicts: each of some paths alone.
//!
//! A repair deletes only what transfers have put on the remote. That is not enough for a directory that was deleted here while a session
//! ran: the session may have carried files into it, and no list has their names. In such a directory everything is deleted except the
//! paths that the rules exclude or protect and the paths that the session reports as made on the remote. Each run has a limit on
//! rules, so at most [`MAX_PATHS_A_RUN`] of these paths are protected for a conflict; the others move to the trash.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use coast_sync::{RuleError, RuleList, profile};

use crate::bulk::Deletes;
use crate::continuous::Conflict;

/// The number of paths in one transfer. Each path is several filter rules, and a run has a limit on rules.
const MAX_PATHS_A_RUN: usize = 10_000;

/// A transfer of some paths.
pub(super) struct Mending {
    pub(super) paths: Vec<Vec<u8>>,
    pub(super) rules: RuleList,
    pub(super) deletes: Deletes<'static>,
}

/// The transfers of `paths`, with the settings that the conflicts among them ask for.
///
/// # Errors
/// When the project's rules leave no room for those of the conflicts.
pub(super) fn mendings(
    worktree: &Path,
    rules: &RuleList,
    conflicts: &[Conflict],
    paths: &[Vec<u8>],
) -> Result<Vec<Mending>, RuleError> {
    let is_emptied = |path: &Vec<u8>| {
        conflicts.iter().any(|conflict| conflict.path == *path)
            && is_gone(&worktree.join(OsStr::from_bytes(path)))
    };
    let (emptied, others): (Vec<_>, Vec<_>) = paths.iter().cloned().partition(is_emptied);
    let mut keeping = RuleList::new();
    for conflict in conflicts {
        for path in conflict.made_there.iter().filter(|path| **path != conflict.path).take(MAX_PATHS_A_RUN) {
            profile::protect_path(&mut keeping, path)?;
        }
    }
    keeping.append(rules.clone());
    let everything = Deletes { only_placed: false, ..Deletes::REPAIR };
    let chunks = |paths: Vec<Vec<u8>>, rules: RuleList, deletes| {
        paths
            .chunks(MAX_PATHS_A_RUN)
            .map(|paths| Mending { paths: paths.to_vec(), rules: rules.clone(), deletes })
            .collect::<Vec<_>>()
    };
    let mut mendings = chunks(emptied, keeping, everything);
    mendings.extend(chunks(others, rules.clone(), Deletes::REPAIR));
    Ok(mendings)
}

/// Whether nothing exists at a path.
fn is_gone(path: &Path) -> bool {
    fs::symlink_metadata(path)
        .is_err_and(|error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
}
