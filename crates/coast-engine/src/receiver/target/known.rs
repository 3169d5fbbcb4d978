//! What earlier runs have left for later ones: the content cache, the ledger and the journal.
//!
//! A process that carries out many runs keeps them open, so that a run does not read what grows with the tree. Each run looks whether
//! the files are still the same, because runs of other processes may have replaced them in between. This is done, as everything with
//! these files, under the lock of the workspace.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex};

use coast_tree::state::{
    CACHE, CLOCK, LEDGER, MERGED_LEDGER, NEW_CACHE, NEW_LEDGER, PLACEMENTS, StateDirectory, name,
};
use coast_tree::{
    CacheReader, CacheWriter, ClockStep, DirHandle, DirRecords, FileIdentity, Journal, JournaledDirectory,
    LedgerReader, LedgerWriter, LockExt, Name, Record, RelPath, Replace,
};

/// What earlier runs have left, kept open between the runs of one stream.
#[derive(Default)]
pub(crate) struct Knowledge {
    /// The lock is held while the files are looked at, and no other lock is taken meanwhile but that of the journal.
    last: Mutex<Option<Arc<Known>>>,
}

/// What earlier runs have left, as one run finds it.
pub(super) struct Known {
    pub(super) cache: Arc<CacheReader>,
    /// The ledger of the last run, and the one that an interrupted run left after it.
    ledgers: Vec<LedgerReader>,
    /// No other lock is taken while it is held but those of a new ledger and a new cache, which this type writes.
    journal: Mutex<Journal>,
    /// None where the clock of the file system could not be measured: then no identity is believed.
    pub(super) clock_step: Option<ClockStep>,
    files: Files,
}

/// The files that were read. None for those that are missing.
type Files = [Option<FileIdentity>; 4];

impl Knowledge {
    /// What earlier runs have left in a state directory, for a run that changes the workspace. `on_target` is a private directory on
    /// the workspace's file system.
    pub(super) fn current(&self, state: &StateDirectory, on_target: &DirHandle) -> Arc<Known> {
        let mut last = self.last.enter();
        if let Some(known) = last.as_ref().filter(|known| known.is_current(&state.dir)) {
            return known.clone();
        }
        let clock_step = match &*last {
            Some(known) => known.clock_step,
            None => ClockStep::measure(on_target, &name(CLOCK)).ok(),
        };
        last.insert(Arc::new(Known::open(state, clock_step))).clone()
    }
}

impl Known {
    fn open(state: &StateDirectory, clock_step: Option<ClockStep>) -> Self {
        let dir = &state.dir;
        // Others could have written what is in a shared state directory.
        if !state.is_private() {
            return Self { clock_step, ..Self::nothing() };
        }
        // What is kept of a single entry does not outlive the run.
        if state.is_transient() {
            return Self { clock_step, cache: read_cache(dir), files: files(dir), ..Self::nothing() };
        }
        if exists(dir, NEW_LEDGER) {
            // Where that fails, this run still knows both, and the next one does not if this one fails, too.
            let _ = merge(dir);
        }
        if exists(dir, PLACEMENTS) {
            // As above.
            let _ = Journal::take_over_placements(dir);
        }
        Self { clock_step, ..Self::read(dir) }
    }

    /// Reads what is in a private state directory, for a run that changes nothing.
    pub(super) fn read(state: &DirHandle) -> Self {
        let ledgers = [LEDGER, NEW_LEDGER].into_iter().filter_map(|file| read_ledger(state, file));
        Self {
            cache: read_cache(state),
            ledgers: ledgers.collect(),
            journal: Mutex::new(Journal::open(state)),
            clock_step: None,
            files: files(state),
        }
    }

    fn nothing() -> Self {
        Self {
            cache: Arc::new(CacheReader::empty()),
            ledgers: Vec::new(),
            journal: Mutex::default(),
            clock_step: None,
            files: Files::default(),
        }
    }

    fn is_current(&self, state: &DirHandle) -> bool {
        files(state) == self.files && self.journal.enter().is_current(state)
    }

    /// The records that runs kept of a directory's files.
    pub(super) fn records(&self, directory: &RelPath) -> Option<DirRecords> {
        self.cache.directory(directory).ok().filter(|records| !records.is_empty())
    }

    /// The notes of the journal.
    pub(super) fn journal(&self) -> std::sync::MutexGuard<'_, Journal> {
        self.journal.enter()
    }

    /// The names in a directory that runs have put there. What cannot be read counts as made at the destination.
    pub(super) fn names_in(&self, directory: &RelPath) -> HashSet<Name> {
        let journaled = self.journal().directory(directory);
        let mut names = self.names_in_ledgers(directory);
        for (name, entry) in journaled.iter().flat_map(|entries| entries.iter()) {
            match entry.is_placed() {
                Some(true) => drop(names.insert(name.clone())),
                Some(false) => drop(names.remove(name)),
                None => {}
            }
        }
        names
    }

    fn names_in_ledgers(&self, directory: &RelPath) -> HashSet<Name> {
        let mut names = HashSet::new();
        for ledger in &self.ledgers {
            names.extend(ledger.directory(directory).unwrap_or_default());
        }
        names
    }

    /// Copies what is known of the directories that a new ledger has nothing of, and that are wanted, to it and to a new cache. Without
    /// a new cache only the names are copied.
    pub(super) fn carry_over(
        &self,
        ledger: &LedgerWriter,
        cache: Option<&CacheWriter>,
        wanted: impl Fn(&RelPath) -> bool,
    ) -> io::Result<()> {
        for (directory, entries) in self.journal.enter().directories() {
            if !ledger.speaks_of(directory) && wanted(directory) {
                self.merge_directory(directory, entries, ledger, cache)?;
            }
        }
        if let Some(cache) = cache {
            self.cache.carry_over(cache, ledger, &wanted)?;
        }
        self.ledgers.iter().try_for_each(|old| old.carry_over(ledger, &wanted))
    }

    /// Writes what is known of a directory, with what the journal says of its `entries`, to a new ledger and to a new cache.
    fn merge_directory(
        &self,
        directory: &RelPath,
        entries: &JournaledDirectory,
        ledger: &LedgerWriter,
        cache: Option<&CacheWriter>,
    ) -> io::Result<()> {
        let mut names = self.names_in_ledgers(directory);
        let known =
            self.records(directory).into_iter().flat_map(|records| records.records().collect::<Vec<_>>());
        let outdated = |name: &Name| entries.get(name).is_some_and(coast_tree::JournalEntry::is_certain);
        let mut records: Vec<Record> = known.filter(|record| !outdated(&record.name)).collect();
        let mut others: Vec<Record> = Vec::new();
        for (name, entry) in entries {
            match entry.is_placed() {
                Some(true) => drop(names.insert(name.clone())),
                Some(false) => drop(names.remove(name)),
                None => {}
            }
            let placed = entry.placed();
            records.extend(placed.map(|(stat, hash)| Record { name: name.clone(), stat, hash }));
            let intended = entry.contents().filter(|hash| placed.is_none_or(|(_, placed)| placed != *hash));
            others.extend(intended.map(|hash| Record {
                name: name.clone(),
                stat: FileIdentity::unsettled(u64::MAX),
                hash,
            }));
        }
        ledger.append(directory, &names)?;
        let Some(cache) = cache else { return Ok(()) };
        cache.append(directory, &records)?;
        // A part of the cache has each name once.
        others.iter().try_for_each(|other| cache.append(directory, std::slice::from_ref(other)))
    }

    /// Writes cache and ledger anew, with all that the journal says, and removes the journal. A process that is killed meanwhile leaves
    /// a journal that says nothing wrong of the new files.
    pub(super) fn absorb_journal(&self, state: &DirHandle) -> io::Result<()> {
        let cache = CacheWriter::create(create(state, NEW_CACHE)?)?;
        let ledger = LedgerWriter::create(create(state, MERGED_LEDGER)?);
        self.carry_over(&ledger, Some(&cache), |_| true)?;
        ledger.flush()?;
        cache.finish()?;
        state.rename_to(&name(MERGED_LEDGER), state, &name(LEDGER), Replace::Any)?;
        state.rename_to(&name(NEW_CACHE), state, &name(CACHE), Replace::Any)?;
        self.journal.enter().clear(state)
    }
}

fn files(state: &DirHandle) -> Files {
    [CACHE, LEDGER, NEW_LEDGER, PLACEMENTS].map(|file| {
        let stat = state.stat(&name(file)).ok().flatten();
        stat.map(|stat| FileIdentity::from(&stat))
    })
}

pub(super) fn exists(state: &DirHandle, file: &str) -> bool {
    state.stat(&name(file)).is_ok_and(|stat| stat.is_some())
}

/// Makes an empty file in the place of another one.
pub(super) fn create(state: &DirHandle, file: &str) -> io::Result<File> {
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

fn read_cache(state: &DirHandle) -> Arc<CacheReader> {
    let open = || CacheReader::open(state.open_file(&name(CACHE)).ok()?.0).ok();
    Arc::new(open().unwrap_or_else(CacheReader::empty))
}

#[cfg(test)]
mod tests {
    use coast_tree::{ContentHash, Root, Timestamp};

    use super::*;

    fn named(text: &str) -> Name {
        Name::new(text.as_bytes()).unwrap()
    }

    fn rel(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    fn record(file: &str, content: &str) -> Record {
        let time = Timestamp::new(1, 2);
        let stat = FileIdentity { ino: 1, size: content.len() as u64, mtime: time, ctime: time };
        Record { name: named(file), stat, hash: ContentHash::of(content.as_bytes()) }
    }

    /// A directory's names that were put there, and the contents that are known of `file`.
    fn said(known: &Known, directory: &str, file: &str) -> (Vec<Name>, Vec<ContentHash>) {
        let mut names: Vec<Name> = known.names_in(&rel(directory)).into_iter().collect();
        names.sort();
        let records = known.records(&rel(directory)).unwrap_or_default();
        let mut contents: Vec<ContentHash> = records.contents_of(&named(file)).collect();
        contents.sort();
        (names, contents)
    }

    #[test]
    fn ledger_and_cache_say_what_the_journal_said_before_it_was_absorbed() {
        let scratch = tempfile::tempdir().unwrap();
        let state = Root::open(scratch.path()).unwrap().handle();
        let ledger = LedgerWriter::create(create(&state, LEDGER).unwrap());
        ledger.append(&rel("d"), &["kept", "edited", "deleted", "killed"].map(named)).unwrap();
        ledger.append(&rel("other"), &[named("x")]).unwrap();
        ledger.flush().unwrap();
        let cache = CacheWriter::create(create(&state, CACHE).unwrap()).unwrap();
        let files = ["kept", "edited", "deleted", "killed"].map(|file| record(file, "old"));
        cache.append(&rel("d"), &files).unwrap();
        cache.append(&rel("other"), &[record("x", "x")]).unwrap();
        cache.finish().unwrap();
        let known = Known::read(&state);
        {
            let mut journal = known.journal();
            journal.note_placed(&rel("d"), &record("edited", "new"));
            journal.note_gone(&rel("d"), &named("deleted"));
            journal.note_intended(&rel("d"), &named("killed"), ContentHash::of(b"new"));
            journal.note_placed(&rel("new"), &record("file", "new"));
            journal.note_named(&RelPath::root(), &named("new"));
            journal.write(&state).unwrap();
        }
        assert!(known.is_current(&state));
        known.absorb_journal(&state).unwrap();
        assert!(!known.is_current(&state));
        let known = Known::read(&state);
        assert!(known.journal().is_empty());
        let [old, new] = [&b"old"[..], b"new"].map(ContentHash::of);
        let names = ["edited", "kept", "killed"].map(named).to_vec();
        assert_eq!(said(&known, "d", "kept"), (names.clone(), vec![old]));
        assert_eq!(said(&known, "d", "edited"), (names.clone(), vec![new]));
        let mut both = vec![old, new];
        both.sort();
        assert_eq!(said(&known, "d", "killed"), (names, both));
        assert_eq!(said(&known, "new", "file"), (vec![named("file")], vec![new]));
        assert_eq!(said(&known, "", "new"), (vec![named("new")], vec![]));
        assert_eq!(said(&known, "other", "x"), (vec![named("x")], vec![ContentHash::of(b"x")]));
        let edited = known.records(&rel("d")).unwrap().get(&named("edited"), &record("edited", "new").stat);
        assert_eq!(edited, Some(new), "a settled identity stays one");
    }
}
