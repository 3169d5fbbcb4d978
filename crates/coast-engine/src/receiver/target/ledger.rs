//! The ledger of the destination: which entries runs have put there. A repair deletes no other ones.
//!
//! A run writes a new ledger. An entry gets into it
//! - when its directory is examined: if the old ledger has it and it is there, or if it is right as it is;
//! - otherwise when it is put into place, so that an entry of another program that the run did not come to replace is not taken
//!   for one of ours. A run that is killed in between leaves an entry that counts as made at the destination.
//!
//! Entries that are going to be deleted are left out, and so are those that are gone. The new ledger takes the place of the old one
//! when all is deleted. A run that fails or is killed before leaves both, and an entry in either was put there: what an interrupted
//! switch left is deleted by the next run. That run first merges both into one.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;

use coast_tree::state::{LEDGER, MERGED_LEDGER, NEW_LEDGER, StateDirectory, name};
use coast_tree::{
    DirHandle, DirRecords, FileIdentity, Kind, LedgerReader, LedgerWriter, Name, RelPath, Replace, Root, Stat,
};
use coast_wire::Origin;

use crate::receiver::report::Report;

/// The entries that runs have put at the destination.
pub(super) struct Ledger {
    /// The ledger of the last run, and the one that an interrupted run left after it.
    known: Vec<LedgerReader>,
    /// Entries that the sender says were put there, by directory.
    also: HashMap<RelPath, Vec<Name>>,
    new: Option<NewLedger>,
}

/// The ledger of this run.
struct NewLedger {
    dir: DirHandle,
    writer: LedgerWriter,
}

impl Ledger {
    /// Reads the ledger of a private state directory and begins a new one. `also` are entries that the sender says were put there.
    pub(super) fn open(state: &StateDirectory, also: &[RelPath]) -> Self {
        // Others could have written the ledger of a shared state directory. A single entry's does not outlive the run.
        if !state.is_private() || state.is_transient() {
            return Self { known: Vec::new(), also: by_directory(also), new: None };
        }
        let dir = &state.dir;
        if exists(dir, NEW_LEDGER) {
            // Where that fails, this run still knows both, and the next one does not if this one fails, too.
            let _ = merge(dir);
        }
        let mut ledger = Self::read(dir, also);
        // One that could not be merged stays open without its name.
        ledger.new = create(dir, NEW_LEDGER)
            .ok()
            .map(|file| NewLedger { dir: dir.clone(), writer: LedgerWriter::create(file) });
        ledger
    }

    /// Reads the ledger of a private state directory, for a run that changes nothing.
    pub(super) fn read(state: &DirHandle, also: &[RelPath]) -> Self {
        Self {
            known: [LEDGER, NEW_LEDGER].into_iter().filter_map(|file| read_ledger(state, file)).collect(),
            also: by_directory(also),
            new: None,
        }
    }

    /// The names in a directory that were put there. What cannot be read counts as made at the destination.
    pub(super) fn names_in(&self, directory: &RelPath) -> HashSet<Name> {
        let mut names: HashSet<Name> = HashSet::new();
        for known in &self.known {
            names.extend(known.directory(directory).unwrap_or_default());
        }
        names.extend(self.also.get(directory).into_iter().flatten().cloned());
        names
    }

    /// Notes entries that stay in a directory. Without a name it notes that the directory was examined.
    pub(super) fn note<'n>(&self, directory: &RelPath, names: impl IntoIterator<Item = &'n Name>) {
        if let Some(new) = &self.new {
            // After an error the writer refuses to be flushed, and `settle` tells that.
            let _ = new.writer.append(directory, names);
        }
    }

    /// Notes an entry that has been put into place.
    pub(super) fn placed(&self, directory: &RelPath, name: &Name) {
        if let Some(new) = &self.new {
            // As in `note`.
            let _ = new.writer.add(directory, name);
        }
    }

    /// Puts the new ledger in the place of the old one. What this run did not examine is taken over from the old one, if it is
    /// still there.
    pub(super) fn settle(&self, root: &Root, report: &Report<'_>) {
        let Some(new) = &self.new else { return };
        let exists = |directory: &RelPath| root.dir(directory).is_ok();
        let settle = || -> io::Result<()> {
            new.writer.flush()?;
            for known in &self.known {
                known.carry_over(&new.writer, exists)?;
            }
            new.writer.flush()?;
            new.dir.rename_to(&name(NEW_LEDGER), &new.dir, &name(LEDGER), Replace::Any)
        };
        if let Err(error) = settle() {
            new.give_up(report, &error);
        }
    }

    /// Hands the last notes of a run that did not settle to the system.
    pub(super) fn finish(&self) {
        if let Some(new) = &self.new {
            // What cannot be written counts as made at the destination.
            let _ = new.writer.flush();
        }
    }
}

impl NewLedger {
    /// Without a ledger every entry counts as made at the destination.
    fn give_up(&self, report: &Report<'_>, error: &io::Error) {
        for file in [NEW_LEDGER, LEDGER] {
            let _ = self.dir.unlink(&name(file));
        }
        report.notice(&format!(
            "cannot note which entries were put there, so the next run takes all for made there: {error}"
        ));
    }
}

fn exists(state: &DirHandle, file: &str) -> bool {
    state.stat(&name(file)).is_ok_and(|stat| stat.is_some())
}

/// Makes an empty file in the place of another one.
fn create(state: &DirHandle, file: &str) -> io::Result<File> {
    if exists(state, file) {
        state.unlink(&name(file))?;
    }
    state.create_file(&name(file), 0o600)
}

/// Merges the ledger that an interrupted run left into the one before it. A process that is killed meanwhile leaves both.
fn merge(state: &DirHandle) -> io::Result<()> {
    let known: Vec<LedgerReader> =
        [LEDGER, NEW_LEDGER].into_iter().filter_map(|file| read_ledger(state, file)).collect();
    LedgerReader::merge(&known, &LedgerWriter::create(create(state, MERGED_LEDGER)?))?;
    state.rename_to(&name(MERGED_LEDGER), state, &name(LEDGER), Replace::Any)?;
    state.unlink(&name(NEW_LEDGER))
}

fn read_ledger(state: &DirHandle, file: &str) -> Option<LedgerReader> {
    LedgerReader::open(state.open_file(&name(file)).ok()?.0).ok()
}

fn by_directory(paths: &[RelPath]) -> HashMap<RelPath, Vec<Name>> {
    let mut directories: HashMap<RelPath, Vec<Name>> = HashMap::new();
    for path in paths {
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            directories.entry(parent).or_default().push(name);
        }
    }
    directories
}

/// What is known of the origin of the entries of one directory.
pub(crate) struct Origins {
    placed: HashSet<Name>,
    cached: Option<DirRecords>,
}

impl Origins {
    pub(super) fn new(placed: HashSet<Name>, cached: Option<DirRecords>) -> Self {
        Self { placed, cached }
    }

    /// Whether an entry was put there, whatever became of it since.
    pub(crate) fn has(&self, name: &Name) -> bool {
        self.placed.contains(name)
    }

    /// The origin of an entry with this status. Only the identity of a file in the cache tells that it was not changed.
    pub(crate) fn of(&self, name: &Name, stat: &Stat) -> Origin {
        if !self.has(name) {
            return Origin::Destination;
        }
        let known = self.cached.as_ref();
        let unchanged = match stat.kind {
            Kind::Directory => true,
            Kind::File => known.is_some_and(|known| known.get(name, &FileIdentity::from(stat)).is_some()),
            _ => false,
        };
        if unchanged { Origin::Run } else { Origin::Changed }
    }
}
