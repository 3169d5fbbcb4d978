//! The transfers that mend conflicts: each of some paths alone.
//!
//! A repair deletes only what transfers have put on the remote. That is not enough for a directory that was deleted here while a
//! session ran: the session may have carried files into it, and no list has their names. In such a directory everything is deleted
//! except the paths that the rules exclude or protect and the paths that the session reports as made on the remote. If it cannot
//! name these, or they are too many, the transfer is a repair like any other.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use coast_sync::{RuleError, RuleList, profile};

use crate::bulk::Deletes;
use crate::continuous::Conflict;
use crate::lifecycle::gap::exact;

/// The number of paths in one transfer. Each path is several filter rules, and a run has a limit on rules.
const MAX_PATHS_A_RUN: usize = 10_000;

/// The number of paths made below a conflict that are protected. Each is two filter rules.
const MAX_MADE_THERE: usize = 1000;

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
        conflicts.iter().any(|conflict| conflict.path == *path && can_be_kept(conflict))
            && is_gone(&worktree.join(OsStr::from_bytes(path)))
    };
    let (emptied, others): (Vec<_>, Vec<_>) = paths.iter().cloned().partition(is_emptied);
    let mut keeping = RuleList::new();
    for conflict in conflicts.iter().filter(|conflict| can_be_kept(conflict)) {
        for path in made_below(conflict) {
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

/// The paths below a conflict that were made there, as far as the layer can name them.
fn made_below(conflict: &Conflict) -> impl Iterator<Item = &[u8]> {
    conflict.made_there.iter().map(|path| exact(path)).filter(|path| *path != conflict.path)
}

/// Whether rules can protect all that was made below a conflict. If not, the transfer is a repair like any other.
fn can_be_kept(conflict: &Conflict) -> bool {
    let unnamed =
        conflict.made_there.iter().any(|path| *path != conflict.path && exact(path) == conflict.path);
    !unnamed && conflict.made_there.len() <= MAX_MADE_THERE
}

/// Whether nothing exists at a path.
fn is_gone(path: &Path) -> bool {
    fs::symlink_metadata(path)
        .is_err_and(|error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
}
