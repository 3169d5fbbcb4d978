//! Deletion: entries that the destination has and the source has not are noted while directories are examined, and deleted last.
//!
//! Only an entry that was seen when its directory was examined is ever deleted, and only if it is still the same entry then:
//! an entry that appears while the run goes on stays.
//!
//! [`Deletion`] borrows the target and cannot reach the transfer.

mod extraneous;
mod filter;
mod late;
mod removal;
mod survey;
mod workspaces;

use std::collections::HashSet;
use std::sync::Mutex;

use coast_filter::DirFilter;
use coast_tree::{LockExt, RelPath, Timestamp};
use coast_wire::Options;

use super::failure::Failure;
use super::report::Report;
use super::spill::Spill;
use super::target::Target;
use extraneous::Extraneous;
use filter::unreadable_rules;

pub(super) use filter::DeletionFilter;

/// The deletions of a run.
pub(super) struct Deletion<'a> {
    target: &'a Target<'a>,
    report: &'a Report<'a>,
    /// The rules that say what may be deleted; none when nothing is.
    filter: Option<DeletionFilter>,
    /// The most entries that are deleted (`--max-delete`).
    limit: u64,
    /// When the run began, by the clock of the destination's file system; none in a dry run.
    began: Option<Timestamp>,
    extraneous: Spill<Extraneous>,
    /// Directories that make way for entries of another kind, after everything in them.
    making_way: Spill<Extraneous>,
    /// In a dry run, the directories in which an entry stays, so that they could not be removed. No other lock is taken while it
    /// is held.
    occupied: Mutex<HashSet<RelPath>>,
}

/// The rules of a directory when it is examined.
enum Rules {
    Ask(DirFilter),
    /// They are asked at the end.
    Later,
    /// Nothing in the directory is deleted.
    NoDeletion,
}

impl<'a> Deletion<'a> {
    /// Begins with nothing noted.
    pub(super) fn new(
        filter: Option<DeletionFilter>,
        options: &Options,
        target: &'a Target<'a>,
        report: &'a Report<'a>,
    ) -> Self {
        let limit = options.delete.as_ref().and_then(|delete| delete.max).unwrap_or(u64::MAX);
        Self {
            target,
            report,
            filter,
            limit,
            began: target.began(),
            extraneous: list_for(target, "extraneous"),
            making_way: list_for(target, "making-way"),
            occupied: Mutex::default(),
        }
    }

    /// Records that the sender offers the transfer root itself, so that rule files in it count. This message precedes
    /// every part.
    pub(super) fn root_is_sent(&self) {
        if let Some(filter) = &self.filter {
            filter.root_is_sent();
        }
    }

    /// Tells that nothing is deleted: an entry that could not be read at the source looks extraneous here.
    pub(super) fn skip(&self) {
        if self.filter.is_some() {
            self.report.deletion_skipped();
            self.report.notice("nothing is deleted, because the source was not read without errors");
        }
    }

    /// In a dry run, notes that an entry stays: the directories above it could not be removed.
    fn note_stays(&self, path: &RelPath) {
        if !self.target.is_dry_run() {
            return;
        }
        let mut occupied = self.occupied.enter();
        let mut above = path.parent();
        while let Some(directory) = above.filter(|directory| !occupied.contains(directory)) {
            above = directory.parent();
            occupied.insert(directory);
        }
    }

    /// The rules of a directory.
    fn rules_of(&self, path: &RelPath) -> Result<Rules, Failure> {
        let (Some(filter), Some(root)) = (&self.filter, self.target.root()) else {
            return Ok(Rules::NoDeletion);
        };
        if filter.is_late() {
            return Ok(Rules::Later);
        }
        match filter.directory(root, path) {
            Ok(filter) => Ok(Rules::Ask(filter)),
            Err(error) => {
                let error = unreadable_rules(error)?;
                self.report.problem(path.as_bytes(), "cannot read its filter rules", &error);
                Ok(Rules::NoDeletion)
            }
        }
    }
}

/// An empty list of entries.
fn list_for(target: &Target<'_>, name: &'static str) -> Spill<Extraneous> {
    Spill::new(target.list_directory(), name)
}
