//! The journal: what runs have put at a destination, and deleted there, since its ledger and its content cache were written.
//!
//! A run that is about some paths only appends to the journal, so that what it costs does not grow with the tree. Every later run
//! reads the journal together with ledger and cache. A run about everything writes those two anew and removes the journal. What
//! such a run puts there before it is interrupted is in a file beside the journal ([`Placements`]), which the next run takes over.
//!
//! Before an entry moves into place its content is noted as intended, and afterwards as placed. Between the two notes a run may be
//! killed: then the entry has either the old content or the new one, and both are known as put there.

mod placements;
mod record;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::state::{JOURNAL, NEW_JOURNAL, PLACEMENTS, name};
use crate::{ContentHash, DirHandle, FileIdentity, Name, Record, RelPath, Replace};
pub use placements::Placements;
use record::{encode, read_record};

/// Entries of a journal that has to be absorbed.
const MANY_ENTRIES: usize = 32 << 10;

/// Bytes of a journal that has to be absorbed.
const MANY_BYTES: u64 = 16 << 20;

/// Bytes of a journal that are read. What is beyond counts as not noted.
const MAX_BYTES: u64 = 256 << 20;

/// Contents of one entry that are kept as intended: as many killed runs leave a trace.
const MAX_INTENDED: usize = 4;

/// The entries of one directory that a journal has notes of.
pub type JournaledDirectory = HashMap<Name, JournalEntry>;

/// What the journal says of one entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JournalEntry {
    /// The last certain note. Without one, what ledger and cache say of the entry is still true.
    state: Option<State>,
    /// Contents that were going to be put there after that.
    intended: Vec<ContentHash>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Placed(FileIdentity, ContentHash),
    Named,
    Gone,
}

impl JournalEntry {
    /// Whether a run has put the entry there. None if ledger and cache have to be asked.
    pub fn is_placed(&self) -> Option<bool> {
        match self.state {
            _ if !self.intended.is_empty() => Some(true),
            Some(State::Gone) => Some(false),
            Some(_) => Some(true),
            None => None,
        }
    }

    /// Whether what the cache says of the entry is out of date.
    pub fn is_certain(&self) -> bool {
        self.state.is_some()
    }

    /// The contents that runs have put there last, or may have.
    pub fn contents(&self) -> impl Iterator<Item = ContentHash> {
        let placed = match self.state {
            Some(State::Placed(_, hash)) => Some(hash),
            _ => None,
        };
        placed.into_iter().chain(self.intended.iter().copied())
    }

    /// The content that a run has put there, if the entry still has the identity that it had then.
    pub fn content_of(&self, identity: &FileIdentity) -> Option<ContentHash> {
        match &self.state {
            Some(State::Placed(known, hash)) => (known == identity).then_some(*hash),
            _ => None,
        }
    }

    /// The identity and the content that a run has put there.
    pub fn placed(&self) -> Option<(FileIdentity, ContentHash)> {
        match self.state {
            Some(State::Placed(identity, hash)) => Some((identity, hash)),
            _ => None,
        }
    }

    fn take(&mut self, note: Note) {
        match note {
            Note::Intended(hash) => {
                self.intended.retain(|intended| *intended != hash);
                if self.intended.len() == MAX_INTENDED {
                    self.intended.remove(0);
                }
                self.intended.push(hash);
            }
            Note::Certain(state) => *self = Self { state: Some(state), intended: Vec::new() },
        }
    }

    fn notes(&self) -> impl Iterator<Item = Note> {
        let certain = self.state.clone().map(Note::Certain);
        certain.into_iter().chain(self.intended.iter().copied().map(Note::Intended))
    }
}

enum Note {
    Intended(ContentHash),
    Certain(State),
}

/// A journal, read and being written.
#[derive(Debug, Default)]
pub struct Journal {
    directories: HashMap<RelPath, Arc<JournaledDirectory>>,
    entries: usize,
    /// The file that this process appends to. None before it has written one, since it does not append to a file of another process.
    file: Option<File>,
    /// The inode number and the length of the file that holds all but `unwritten`. None if there is no file.
    seen: Option<(u64, u64)>,
    unwritten: Vec<u8>,
}

impl Journal {
    /// Reads the journal of a state directory. A missing or unreadable one is empty.
    pub fn open(state: &DirHandle) -> Self {
        let mut journal = Self::default();
        if let Ok((file, stat)) = state.open_file(&name(JOURNAL)) {
            journal.seen = Some((stat.ino, stat.size));
            // What cannot be read counts as not noted.
            let _ = journal.read(&file);
        }
        if let Ok((file, _)) = state.open_file(&name(PLACEMENTS)) {
            let _ =
                placements::read(&file, |directory, name, hash| journal.note_intended(directory, name, hash));
        }
        journal
    }

    /// Takes over what an interrupted run about everything has put there.
    ///
    /// # Errors
    /// When the journal cannot be written. Then nothing is lost.
    pub fn take_over_placements(state: &DirHandle) -> io::Result<()> {
        Self::open(state).write(state)?;
        remove(state, PLACEMENTS)
    }

    fn read(&mut self, file: &File) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(256 << 10, file.take(MAX_BYTES));
        while let Some((path, note)) = read_record(&mut reader)? {
            if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
                self.entry(&parent, &name).take(note);
            }
        }
        Ok(())
    }

    /// Whether the state directory still has the file that was read or written last.
    pub fn is_current(&self, state: &DirHandle) -> bool {
        let stat = state.stat(&name(JOURNAL)).ok().flatten();
        stat.map(|stat| (stat.ino, stat.size)) == self.seen
    }

    /// What is noted of the entries of a directory.
    pub fn directory(&self, path: &RelPath) -> Option<Arc<JournaledDirectory>> {
        self.directories.get(path).cloned()
    }

    /// All that is noted, directory by directory.
    pub fn directories(&self) -> impl Iterator<Item = (&RelPath, &JournaledDirectory)> {
        self.directories.iter().map(|(path, entries)| (path, &**entries))
    }

    /// Whether nothing is noted.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Whether the journal has grown so large that ledger and cache have to absorb it.
    pub fn is_large(&self) -> bool {
        self.entries > MANY_ENTRIES || self.seen.is_some_and(|(_, bytes)| bytes > MANY_BYTES)
    }

    /// Notes a content that an entry is about to get.
    pub fn note_intended(&mut self, directory: &RelPath, name: &Name, hash: ContentHash) {
        self.note(directory, name, Note::Intended(hash));
    }

    /// Notes an entry with its content, which a run has put there or found right.
    pub fn note_placed(&mut self, directory: &RelPath, record: &Record) {
        self.note(directory, &record.name, Note::Certain(State::Placed(record.stat, record.hash)));
    }

    /// Notes an entry without content, such as a directory.
    pub fn note_named(&mut self, directory: &RelPath, name: &Name) {
        self.note(directory, name, Note::Certain(State::Named));
    }

    /// Notes that a run has deleted an entry.
    pub fn note_gone(&mut self, directory: &RelPath, name: &Name) {
        self.note(directory, name, Note::Certain(State::Gone));
    }

    fn note(&mut self, directory: &RelPath, name: &Name, note: Note) {
        if let Ok(path) = directory.join(name) {
            encode(&path, &note, &mut self.unwritten);
            self.entry(directory, name).take(note);
        }
    }

    fn entry(&mut self, directory: &RelPath, name: &Name) -> &mut JournalEntry {
        let entries = self.directories.entry(directory.clone()).or_default();
        let entries = Arc::make_mut(entries);
        self.entries += usize::from(!entries.contains_key(name));
        entries.entry(name.clone()).or_default()
    }

    /// Hands all notes to the system. Nothing is synced to the disk.
    ///
    /// # Errors
    /// When they cannot be written. They are kept for the next call.
    pub fn write(&mut self, state: &DirHandle) -> io::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        if let (Some(file), Some((_, end))) = (&self.file, &mut self.seen) {
            file.write_all_at(&self.unwritten, *end)?;
            *end += self.unwritten.len() as u64;
        } else {
            let mut bytes = Vec::new();
            for (directory, entries) in self.directories() {
                for (name, entry) in entries {
                    let Ok(path) = directory.join(name) else { continue };
                    entry.notes().for_each(|note| encode(&path, &note, &mut bytes));
                }
            }
            let new = name(NEW_JOURNAL);
            remove(state, NEW_JOURNAL)?;
            let file = state.create_file(&new, 0o600)?;
            file.write_all_at(&bytes, 0)?;
            state.rename_to(&new, state, &name(JOURNAL), Replace::Any)?;
            self.seen = Some((crate::file_stat(&file)?.ino, bytes.len() as u64));
            self.file = Some(file);
        }
        self.unwritten = Vec::new();
        Ok(())
    }

    /// Forgets everything, and removes the files: ledger and cache have absorbed the journal.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn clear(&mut self, state: &DirHandle) -> io::Result<()> {
        *self = Self::default();
        remove(state, PLACEMENTS)?;
        remove(state, JOURNAL)
    }
}

fn remove(state: &DirHandle, file: &str) -> io::Result<()> {
    match state.unlink(&name(file)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::record::{GONE, INTENDED, parse};
    use super::*;
    use crate::Timestamp;
    use crate::scratch::{Scratch, name as named, rel};

    fn record(file: &str, content: &str) -> Record {
        let time = Timestamp::new(-5, 6);
        let stat = FileIdentity { ino: 1, size: content.len() as u64, mtime: time, ctime: time };
        Record { name: named(file), stat, hash: ContentHash::of(content.as_bytes()) }
    }

    fn hash(content: &str) -> ContentHash {
        ContentHash::of(content.as_bytes())
    }

    /// What a journal says of an entry: whether it was put there, and the contents.
    fn says(journal: &Journal, directory: &str, file: &str) -> (Option<bool>, Vec<ContentHash>) {
        let entries = journal.directory(&rel(directory)).unwrap_or_default();
        let entry = entries.get(&named(file)).cloned().unwrap_or_default();
        (entry.is_placed(), entry.contents().collect())
    }

    #[test]
    fn the_last_notes_count_and_come_back() {
        let scratch = Scratch::new();
        let state = scratch.root().handle();
        let mut journal = Journal::open(&state);
        assert!(journal.is_empty() && journal.is_current(&state));
        journal.note_intended(&rel("d"), &named("f"), hash("1"));
        journal.write(&state).unwrap();
        journal.note_placed(&rel("d"), &record("f", "1"));
        journal.note_named(&RelPath::root(), &named("d"));
        journal.note_placed(&RelPath::root(), &record("gone", "x"));
        journal.note_gone(&RelPath::root(), &named("gone"));
        journal.note_intended(&rel("d"), &named("new"), hash("2"));
        journal.write(&state).unwrap();
        assert!(journal.is_current(&state));
        for journal in [journal, Journal::open(&state)] {
            assert!(journal.is_current(&state));
            assert_eq!(says(&journal, "d", "f"), (Some(true), vec![hash("1")]));
            assert_eq!(says(&journal, "", "d"), (Some(true), vec![]));
            assert_eq!(says(&journal, "", "gone"), (Some(false), vec![]));
            assert_eq!(says(&journal, "d", "new"), (Some(true), vec![hash("2")]));
            assert_eq!(says(&journal, "d", "other"), (None, vec![]));
            let entries = journal.directory(&rel("d")).unwrap();
            assert_eq!(entries[&named("f")].content_of(&record("f", "1").stat), Some(hash("1")));
            assert_eq!(entries[&named("f")].content_of(&record("f", "other").stat), None);
        }
    }

    #[test]
    fn a_content_that_was_intended_counts_beside_the_one_before() {
        let mut journal = Journal::default();
        journal.note_placed(&rel("d"), &record("f", "1"));
        for content in ["2", "3", "2"] {
            journal.note_intended(&rel("d"), &named("f"), hash(content));
        }
        assert_eq!(says(&journal, "d", "f").1, [hash("1"), hash("3"), hash("2")]);
        journal.note_placed(&rel("d"), &record("f", "3"));
        assert_eq!(says(&journal, "d", "f").1, [hash("3")]);
        for content in 0..10 {
            journal.note_intended(&rel("d"), &named("f"), hash(&content.to_string()));
        }
        assert_eq!(says(&journal, "d", "f").1.len(), 1 + MAX_INTENDED);
    }

    #[test]
    fn another_process_that_writes_is_noticed_and_loses_nothing() {
        let scratch = Scratch::new();
        let state = scratch.root().handle();
        let mut first = Journal::open(&state);
        first.note_placed(&rel("d"), &record("f", "1"));
        first.write(&state).unwrap();
        let mut second = Journal::open(&state);
        second.note_placed(&rel("d"), &record("g", "2"));
        second.write(&state).unwrap();
        assert!(!first.is_current(&state) && second.is_current(&state));
        let third = Journal::open(&state);
        assert_eq!(says(&third, "d", "f").1, [hash("1")]);
        assert_eq!(says(&third, "d", "g").1, [hash("2")]);
        second.clear(&state).unwrap();
        assert!(second.is_current(&state) && !third.is_current(&state) && Journal::open(&state).is_empty());
    }

    #[test]
    fn a_journal_that_is_cut_or_damaged_keeps_what_is_before_the_damage() {
        let scratch = Scratch::new();
        let state = scratch.root().handle();
        let mut journal = Journal::open(&state);
        journal.note_placed(&rel("d"), &record("f", "1"));
        journal.write(&state).unwrap();
        let whole = fs::read(scratch.path("journal")).unwrap();
        journal.note_placed(&rel("d"), &record("f", "2"));
        journal.write(&state).unwrap();
        let both = fs::read(scratch.path("journal")).unwrap();
        for length in whole.len()..both.len() {
            fs::write(scratch.path("journal"), &both[..length]).unwrap();
            assert_eq!(says(&Journal::open(&state), "d", "f").1, [hash("1")]);
        }
        for at in whole.len()..both.len() {
            let mut damaged = both.clone();
            damaged[at] ^= 1;
            fs::write(scratch.path("journal"), &damaged).unwrap();
            // What follows the damage is not read, and what is written next is.
            let mut journal = Journal::open(&state);
            assert_eq!(says(&journal, "d", "f").1, [hash("1")]);
            journal.note_placed(&rel("d"), &record("f", "3"));
            journal.write(&state).unwrap();
            assert_eq!(says(&Journal::open(&state), "d", "f").1, [hash("3")]);
        }
    }

    #[test]
    fn well_signed_nonsense_is_no_record() {
        for body in [&b""[..], &[GONE], &[9, b'a'], &[GONE, b'.', b'.'], &[GONE, b'/'], &[INTENDED, b'a']] {
            assert!(parse(body).is_none_or(|(path, _)| path.is_root()), "{body:?}");
        }
    }

    #[test]
    fn what_an_interrupted_run_has_put_there_is_taken_over() {
        let scratch = Scratch::new();
        let state = scratch.root().handle();
        let mut journal = Journal::open(&state);
        journal.note_placed(&rel("d"), &record("f", "1"));
        journal.write(&state).unwrap();
        let placements = Placements::new(state.create_file(&name(PLACEMENTS), 0o600).unwrap());
        placements.note(&rel("d"), &named("f"), hash("2"));
        placements.note(&RelPath::root(), &named("new"), hash("3"));
        placements.flush();
        let check = |journal: &Journal| {
            assert_eq!(says(journal, "d", "f"), (Some(true), vec![hash("1"), hash("2")]));
            assert_eq!(says(journal, "", "new"), (Some(true), vec![hash("3")]));
        };
        check(&Journal::open(&state));
        Journal::take_over_placements(&state).unwrap();
        assert!(!scratch.path(PLACEMENTS).exists());
        check(&Journal::open(&state));
        fs::write(scratch.path(PLACEMENTS), "nonsense").unwrap();
        let mut journal = Journal::open(&state);
        check(&journal);
        journal.clear(&state).unwrap();
        assert!(!scratch.path(PLACEMENTS).exists() && !scratch.path(JOURNAL).exists());
    }

    #[test]
    fn notes_that_cannot_be_written_are_written_later() {
        let scratch = Scratch::new().dir("journal.new");
        let state = scratch.root().handle();
        let mut journal = Journal::open(&state);
        journal.note_placed(&rel("d"), &record("f", "1"));
        assert!(journal.write(&state).is_err());
        assert_eq!(says(&journal, "d", "f").1, [hash("1")]);
        fs::remove_dir(scratch.path("journal.new")).unwrap();
        journal.write(&state).unwrap();
        assert_eq!(says(&Journal::open(&state), "d", "f").1, [hash("1")]);
    }
}
