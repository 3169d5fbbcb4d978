//! The ledger of the destination: which entries runs have put there. A repair deletes no other ones.
//!
//! A run about everything writes a new ledger. An entry gets into it
//! - when its directory is examined: if the old ledger has it and it is there, or if it is right as it is;
//! - otherwise when it is put into place, so that an entry of another program that the run did not come to replace is not taken
//!   for one of ours. A run that is killed in between leaves an entry that counts as made at the destination.
//!
//! Entries that are going to be deleted are left out, and so are those that are gone. The new ledger takes the place of the old one
//! when all is deleted. A run that fails or is killed before leaves both, and an entry in either was put there: what an interrupted
//! switch left is deleted by the next run. That run first merges both into one.
//!
//! A run about some paths, and every run that follows others on a stream, notes what it does in the journal
//! ([`Journal`](coast_tree::Journal)). Any other run notes the contents that it puts into place beside the journal
//! ([`Placements`]): if it is interrupted, they are known to the next run.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use coast_tree::state::{LEDGER, NEW_LEDGER, PLACEMENTS, StateDirectory, name};
use coast_tree::{
    ContentHash, DirHandle, DirRecords, FileIdentity, JournaledDirectory, Kind, LedgerWriter, Name,
    Placements, Record, RelPath, Replace, Root, Stat,
};
use coast_wire::Origin;

use super::known::{Known, create};
use super::memory::Memory;
use crate::receiver::report::Report;

/// The entries that runs have put at the destination.
pub(super) struct Ledger {
    known: Arc<Known>,
    /// Entries that the sender says were put there, by directory.
    also: HashMap<RelPath, Vec<Name>>,
    new: Option<NewLedger>,
    /// The state directory, if the run notes in the journal what it does.
    journal: Option<DirHandle>,
    /// The contents that the run puts into place, if it does not note them in the journal.
    placements: Option<Placements>,
}

/// The ledger of this run.
struct NewLedger {
    dir: DirHandle,
    writer: LedgerWriter,
}

/// Where a run notes what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Writes {
    /// In a new ledger, which takes the place of the old one.
    pub(super) ledger: bool,
    /// In the journal.
    pub(super) journal: bool,
}

impl Ledger {
    /// Begins with what is `known`. `also` are entries that the sender says were put there.
    pub(super) fn open(state: &StateDirectory, known: Arc<Known>, also: &[RelPath], writes: Writes) -> Self {
        // Others could write what is in a shared state directory. A single entry's does not outlive the run.
        let lasting = state.is_private() && !state.is_transient();
        let dir = &state.dir;
        let file = (lasting && writes.ledger).then(|| create(dir, NEW_LEDGER).ok()).flatten();
        let new = file.map(|file| NewLedger { dir: dir.clone(), writer: LedgerWriter::create(file) });
        let journal = (lasting && writes.journal).then(|| dir.clone());
        // Where that fails, a later change of what an interrupted run has put there may be taken for a conflict.
        let file =
            (lasting && writes.ledger && !writes.journal).then(|| create(dir, PLACEMENTS).ok()).flatten();
        Self { known, also: by_directory(also), new, journal, placements: file.map(Placements::new) }
    }

    /// What is known, for a run that changes nothing.
    pub(super) fn read(known: Arc<Known>, also: &[RelPath]) -> Self {
        Self { known, also: by_directory(also), new: None, journal: None, placements: None }
    }

    /// What is known of the origin of the entries of a directory. What cannot be read counts as made at the destination.
    pub(super) fn origins_in(&self, directory: &RelPath) -> Origins {
        let mut placed = self.known.names_in(directory);
        placed.extend(self.also.get(directory).into_iter().flatten().cloned());
        let journal = self.known.journal().directory(directory);
        Origins { placed, cached: self.known.records(directory), journal }
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

    /// Notes a directory that the run has made or found right.
    pub(super) fn directory_placed(&self, directory: &RelPath, name: &Name) {
        self.placed(directory, name);
        if self.journal.is_some() {
            self.known.journal().note_named(directory, name);
        }
    }

    /// Notes in the journal a directory that is about to be made. The note is with the system when this returns: a directory that a
    /// killed run has made without a note would stay for ever.
    pub(super) fn directory_intended(&self, directory: &RelPath, name: &Name) {
        if let Some(state) = &self.journal {
            let mut journal = self.known.journal();
            journal.note_named(directory, name);
            // As in `intended`.
            let _ = journal.write(state);
        }
    }

    /// Notes the content that is about to be put at a place. A note in the journal is with the system when this returns.
    pub(super) fn intended(&self, directory: &RelPath, name: &Name, content: ContentHash) {
        if let Some(placements) = &self.placements {
            placements.note(directory, name, content);
        }
        if let Some(state) = &self.journal {
            let mut journal = self.known.journal();
            journal.note_intended(directory, name, content);
            // `settle_journal` tries again, and tells.
            let _ = journal.write(state);
        }
    }

    /// Notes contents that the run has put into place or found right, unless that is `known` already.
    pub(super) fn contents_placed(&self, directory: &RelPath, records: &[Record], known: &Origins) {
        let new = records.iter().filter(|record| !known.has_record(record));
        if self.journal.is_some() {
            let mut journal = self.known.journal();
            new.for_each(|record| journal.note_placed(directory, record));
        } else if let Some(placements) = &self.placements {
            // Those that the run has put there are noted already, but those that it has found right are not.
            new.for_each(|record| placements.note(directory, &record.name, record.hash));
        }
    }

    /// Notes an entry that the run has deleted.
    pub(super) fn gone(&self, directory: &RelPath, name: &Name) {
        if self.journal.is_some() {
            self.known.journal().note_gone(directory, name);
        }
    }

    /// Puts the new ledger in the place of the old one. What is known of directories that this run did not examine is taken over, if
    /// they are still there: the names, and the contents into the new cache. Answers whether the new ledger is in place.
    pub(super) fn settle(&self, root: &Root, memory: &Memory, report: &Report<'_>) -> bool {
        let Some(new) = &self.new else { return false };
        let exists = |directory: &RelPath| root.dir(directory).is_ok();
        let settle = || -> io::Result<()> {
            new.writer.flush()?;
            memory.with_writer(|cache| self.known.carry_over(&new.writer, cache, exists))?;
            new.writer.flush()?;
            new.dir.rename_to(&name(NEW_LEDGER), &new.dir, &name(LEDGER), Replace::Any)
        };
        let settled = settle();
        match &settled {
            // The old ledger and the journal say all that the new one would have said.
            Err(_) if self.journal.is_some() => drop(new.dir.unlink(&name(NEW_LEDGER))),
            Err(error) => new.give_up(report, error),
            Ok(()) => {}
        }
        settled.is_ok()
    }

    /// Removes the journal if a new ledger and a new cache have `absorbed` it. Otherwise hands its last notes to the system; a journal
    /// that has grown large is absorbed then.
    pub(super) fn settle_journal(&self, state: &DirHandle, absorbed: bool, report: &Report<'_>) {
        let settled = match &self.journal {
            _ if absorbed => self.known.journal().clear(state),
            Some(state) => self.write_journal(state),
            None => Ok(()),
        };
        if let Err(error) = settled {
            report.notice(&format!(
                "cannot note what was put there, so a later change of it may be taken for one that was made there: {error}"
            ));
        }
    }

    fn write_journal(&self, state: &DirHandle) -> io::Result<()> {
        let is_large = {
            let mut journal = self.known.journal();
            journal.write(state)?;
            journal.is_large()
        };
        if is_large { self.known.absorb_journal(state) } else { Ok(()) }
    }

    /// Hands the last notes of a run that did not settle to the system.
    pub(super) fn finish(&self) {
        // What cannot be written counts as made at the destination.
        if let Some(new) = &self.new {
            let _ = new.writer.flush();
        }
        if let Some(placements) = &self.placements {
            placements.flush();
        }
        if let Some(state) = &self.journal {
            let _ = self.known.journal().write(state);
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

fn by_directory(paths: &[RelPath]) -> HashMap<RelPath, Vec<Name>> {
    let mut directories: HashMap<RelPath, Vec<Name>> = HashMap::new();
    for path in paths {
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            directories.entry(parent).or_default().push(name);
        }
    }
    directories
}

/// The size in records of contents whose size was not noted.
const UNKNOWN_SIZE: u64 = u64::MAX;

/// What is known of the origin of the entries of one directory.
#[derive(Default)]
pub(crate) struct Origins {
    placed: HashSet<Name>,
    cached: Option<DirRecords>,
    journal: Option<Arc<JournaledDirectory>>,
}

impl Origins {
    /// Whether an entry was put there, whatever became of it since.
    pub(crate) fn has(&self, name: &Name) -> bool {
        self.placed.contains(name)
    }

    /// The content of a file that still has the identity that it had when a run knew its content.
    pub(crate) fn content_of(&self, name: &Name, identity: &FileIdentity) -> Option<ContentHash> {
        let noted = self.journal.as_ref().and_then(|entries| entries.get(name));
        match noted {
            Some(entry) if entry.is_certain() => entry.content_of(identity),
            _ => self.cached.as_ref()?.get(name, identity),
        }
    }

    /// The contents that runs have put at a name last, or may have: several if a run was killed.
    pub(crate) fn contents(&self, name: &Name) -> Vec<ContentHash> {
        let noted = self.journal.as_ref().and_then(|entries| entries.get(name));
        let mut contents: Vec<ContentHash> = noted.iter().flat_map(|entry| entry.contents()).collect();
        if noted.is_none_or(|entry| !entry.is_certain()) {
            contents.extend(self.cached.iter().flat_map(|cached| cached.contents_of(name)));
        }
        contents
    }

    /// Whether a file of this size may have a content that runs have put at a name last.
    pub(crate) fn may_have_size(&self, name: &Name, size: u64) -> bool {
        let is_of_size = |known: u64| known == size || known == UNKNOWN_SIZE;
        match self.journal.as_ref().and_then(|entries| entries.get(name)) {
            // The size of a content that was only intended is not noted.
            Some(entry) if entry.contents().count() > usize::from(entry.placed().is_some()) => true,
            Some(entry) if entry.is_certain() => {
                entry.placed().is_some_and(|(identity, _)| is_of_size(identity.size))
            }
            _ => self.cached.as_ref().is_some_and(|cached| cached.sizes_of(name).any(is_of_size)),
        }
    }

    /// Whether a record says nothing new.
    fn has_record(&self, record: &Record) -> bool {
        self.content_of(&record.name, &record.stat) == Some(record.hash) && self.has(&record.name)
    }

    /// The origin of an entry with this status. Only the identity of a file that a run knew tells that it was not changed.
    pub(crate) fn of(&self, name: &Name, stat: &Stat) -> Origin {
        if !self.has(name) {
            return Origin::Destination;
        }
        let unchanged = match stat.kind {
            Kind::Directory => true,
            Kind::File => self.content_of(name, &FileIdentity::from(stat)).is_some(),
            _ => false,
        };
        if unchanged { Origin::Run } else { Origin::Changed }
    }
}
