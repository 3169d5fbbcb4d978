//! The ledger of the destination: which entries runs have put there. A repair deletes no other ones.
//!
//! A run writes a new ledger while it examines directories, and leaves out the entries that are going to be deleted. The new one
//! takes the place of the old one when all is deleted. A run that is killed before leaves both, and an entry in either was put
//! there: what an interrupted switch left is deleted by the next run.

use std::collections::{HashMap, HashSet};
use std::io;

use coast_tree::state::{LEDGER, NEW_LEDGER, StateDirectory, name};
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
        let mut ledger = Self::read(&state.dir, also);
        let leftover = read_ledger(&state.dir, NEW_LEDGER);
        // The leftover stays open without its name.
        let _ = state.dir.unlink(&name(NEW_LEDGER));
        let file = state.dir.create_file(&name(NEW_LEDGER), 0o600).ok();
        ledger.new = file.and_then(|file| {
            let writer = LedgerWriter::create(file);
            // If this run fails, too, the entries of the other one are not forgotten.
            leftover.map_or(Ok(()), |leftover| leftover.carry_over(&writer, |_| true)).ok()?;
            writer.flush().ok()?;
            Some(NewLedger { dir: state.dir.clone(), writer })
        });
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

    /// The number of entries that runs have put there. Those that only an interrupted run put there are not counted.
    pub(super) fn count(&self) -> u64 {
        self.known.iter().map(LedgerReader::names).max().unwrap_or(0)
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

    /// Notes entries of a directory that this run puts or finds there. Without a name it notes that the directory was examined.
    pub(super) fn note<'n>(&self, directory: &RelPath, names: impl IntoIterator<Item = &'n Name>) {
        if let Some(new) = &self.new {
            // After an error the writer refuses to be flushed, and `settle` tells that.
            let _ = new.writer.append(directory, names);
        }
    }

    /// Puts the new ledger in the place of the old one. What this run did not examine is taken over from the old one, if it is
    /// still there.
    pub(super) fn settle(&self, root: &Root, report: &Report<'_>) {
        let Some(new) = &self.new else { return };
        let exists = |directory: &RelPath| root.dir(directory).is_ok();
        let settle = || -> io::Result<()> {
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

    /// All names that were put there. Some may be gone.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Name> {
        self.placed.iter()
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
