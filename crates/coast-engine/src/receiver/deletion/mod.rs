//! Deletion: entries that the destination has and the source has not are noted while directories are examined, and deleted last.
//!
//! Only an entry that was seen when its directory was examined is ever deleted, and only if it is still the same entry then:
//! an entry that appears while the run goes on stays.
//!
//! [`Deletion`] borrows the target and cannot reach the transfer.

mod extraneous;
mod filter;
mod late;
mod leaving;
mod removal;
mod survey;
mod workspaces;

use std::collections::HashSet;
use std::sync::Mutex;

use coast_filter::DirFilter;
use coast_tree::{LockExt, RelPath, Timestamp};
use coast_wire::{Extent, Options, Origin};

use super::failure::Failure;
use super::report::Report;
use super::spill::Spill;
use super::target::Target;
use crate::error::{EngineError, Updates};
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
    /// Whether entries that no run has put there stay.
    only_placed: bool,
    /// Whether a deletion of most entries is refused.
    no_mass_deletion: bool,
    /// How many entries were there before the runs just before this one.
    there_before: u64,
    /// How many entries make the workspace whole, if fewer than are there.
    whole: u64,
    /// What became of updates if the run is refused before they move into place.
    updates_before_deletion: Updates,
    /// When the run began, by the clock of the destination's file system; none in a dry run.
    began: Option<Timestamp>,
    /// The entries put there by runs. No other lock is taken while it is held.
    placed: Mutex<Placed>,
    extraneous: Spill<Extraneous>,
    /// Directories that make way for entries of another kind, after everything in them.
    making_way: Spill<Extraneous>,
    /// In a dry run, the directories in which an entry stays, so that they could not be removed. No other lock is taken while it
    /// is held.
    occupied: Mutex<HashSet<RelPath>>,
    /// Entries that were renamed away. No other lock is taken while it is held.
    left: Mutex<Vec<RelPath>>,
}

/// The number of entries that the error of a refused run names.
const NAMED: usize = 3;

/// The entries that earlier runs have put there and that this run has seen, each counted once. What the ledger names besides them is
/// gone, or lies in a directory that stays whatever is in it.
#[derive(Default)]
struct Placed {
    seen: u64,
    /// How many entries the source has.
    offered: u64,
    /// How many of them are going to be deleted.
    going: u64,
    /// The first of the files among those.
    first: Vec<Vec<u8>>,
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
        let delete = options.delete.as_ref();
        let some_paths = options.follow.as_ref().is_some_and(|follow| follow.extent == Extent::Paths);
        Self {
            target,
            report,
            filter,
            limit: delete.and_then(|delete| delete.max).unwrap_or(u64::MAX),
            // A run that follows others has a rule of its own.
            only_placed: delete.is_some_and(|delete| delete.only_placed) && options.follow.is_none(),
            // A run about some paths does not see how many there are.
            no_mass_deletion: delete.is_some_and(|delete| delete.no_mass_deletion) && !some_paths,
            there_before: delete.map_or(0, |delete| delete.there_before),
            whole: delete.map_or(0, |delete| delete.whole),
            updates_before_deletion: if options.delay_updates { Updates::Dropped } else { Updates::InPlace },
            began: target.began(),
            placed: Mutex::default(),
            extraneous: list_for(target, "extraneous"),
            making_way: list_for(target, "making-way"),
            occupied: Mutex::default(),
            left: Mutex::default(),
        }
    }

    /// Records that the sender offers the transfer root itself, so that rule files in it count. This message precedes
    /// every part.
    pub(super) fn root_is_sent(&self) {
        if let Some(filter) = &self.filter {
            filter.root_is_sent();
        }
    }

    /// Reports that nothing is deleted: an entry that could not be read at the source looks extraneous here.
    pub(super) fn skip(&self) -> Result<(), EngineError> {
        if self.filter.is_some() {
            self.report.deletion_skipped();
        }
        self.remember_all(&self.making_way)?;
        self.remember_all(&self.extraneous)
    }

    /// Notes for the ledger that all entries of a list stay, and empties the list.
    fn remember_all(&self, list: &Spill<Extraneous>) -> Result<(), EngineError> {
        for item in list.drain()? {
            let item = item?;
            self.remember_placed(&item, &item.path.to_path()?);
        }
        Ok(())
    }

    /// Counts entries of one directory that earlier runs have put there and that this run has seen.
    pub(super) fn count_placed(&self, entries: usize) {
        self.placed.enter().seen += entries as u64;
    }

    /// Counts entries of one directory that the source has.
    pub(super) fn count_offered(&self, entries: usize) {
        self.placed.enter().offered += entries as u64;
    }

    /// Counts an entry that is going to be deleted.
    fn count_going(&self, item: &Extraneous) {
        if item.origin == Origin::Destination || item.only_counted {
            return;
        }
        let mut placed = self.placed.enter();
        placed.going += 1;
        if placed.first.len() < NAMED && !item.directory {
            placed.first.push(item.path.as_bytes().to_vec());
        }
    }

    /// Notes for the ledger that an entry stays that was to be deleted.
    fn remember_placed(&self, item: &Extraneous, path: &RelPath) {
        // One that is only counted was noted when its directory was examined.
        if item.origin != Origin::Destination
            && !item.only_counted
            && let (Some(parent), Some(name)) = (path.parent(), path.file_name())
        {
            self.target.note_placed(&parent, [&name]);
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
