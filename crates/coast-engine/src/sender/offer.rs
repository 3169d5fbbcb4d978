//! The parts that were offered, remembered until they are settled.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use coast_tree::{ClockStep, ContentHash, FileIdentity, LockExt, Name, Record, RelPath, Timestamp};

use coast_wire::Pack;

use super::config::StagedContent;
use crate::error::EngineError;
use crate::known_contents::ContentName;

/// The clock step assumed of the source's file system, whose real one cannot be measured without writing there: the
/// coarsest in use. A file changed within it before the run is only hashed once more in the next.
const SOURCE_CLOCK_STEP: Duration = Duration::from_secs(2);

/// A part that was offered and is not settled.
pub(super) struct OfferedPart {
    pub(super) id: u32,
    pub(super) path: RelPath,
    pub(super) entries: Box<[OfferedEntry]>,
    /// The number of names that the part says the source lacks.
    pub(super) lacking: usize,
    /// Bytes of content that go with the offer.
    pub(super) unasked_bytes: usize,
    /// The message with the entries, as long as only their digest was sent.
    pub(super) unsent: Mutex<Option<Pack>>,
}

/// An entry of an offered part.
pub(super) struct OfferedEntry {
    pub(super) name: Name,
    /// Only a regular file can be asked for.
    pub(super) file: Option<OfferedFile>,
}

/// A regular file that was offered.
pub(super) struct OfferedFile {
    pub(super) identity: FileIdentity,
    /// From an earlier run's cache, or known without reading.
    pub(super) known_hash: Option<ContentHash>,
    /// A name that its content seems to have.
    pub(super) content_name: Option<ContentName>,
    /// Found in this run, with the identity it belongs to, if that tells it apart from later states.
    pub(super) found_hash: OnceLock<(FileIdentity, ContentHash)>,
    /// The content that the receiver was told last.
    pub(super) told: Mutex<Option<StagedContent>>,
    /// Whether the receiver waits for an answer. It may ask again only then.
    pub(super) asked: AtomicBool,
    /// How often it was begun to be sent in pieces. Never the same number twice, so that pieces of an earlier try which
    /// come late are known.
    pub(super) attempts: AtomicU32,
}

impl OfferedFile {
    /// Notes the content that the receiver is told: itself or its hash.
    pub(super) fn tell(&self, content: StagedContent) {
        *self.told.enter() = Some(content);
    }

    /// Free for the next question.
    pub(super) fn answered(&self) {
        self.asked.store(false, Ordering::Release);
    }
}

impl OfferedPart {
    /// The room that the part takes in the window, in entries.
    pub(super) fn weight(&self) -> usize {
        self.entries.len() + self.lacking + 1
    }

    /// The size of its files, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.entries.iter().filter_map(|entry| entry.file.as_ref()).map(|file| file.identity.size).sum()
    }

    /// The records of its files for the cache.
    pub(super) fn records(&self) -> Vec<Record> {
        let record = |entry: &OfferedEntry| {
            let file = entry.file.as_ref()?;
            let known = file.known_hash.map(|hash| (file.identity, hash));
            let (stat, hash) = file.found_hash.get().copied().or(known)?;
            Some(Record { name: entry.name.clone(), stat, hash })
        };
        self.entries.iter().filter_map(record).collect()
    }

    /// The contents of its files that the receiver was told.
    pub(super) fn told(&self) -> impl Iterator<Item = (&Name, StagedContent)> {
        let told = |entry: &OfferedEntry| *entry.file.as_ref()?.told.enter();
        self.entries.iter().filter_map(move |entry| Some((&entry.name, told(entry)?)))
    }
}

impl OfferedFile {
    /// Whether no later change leaves the state `identity`, looked at after `observed_at`, as it is.
    pub(super) fn is_settled(identity: &FileIdentity, observed_at: Timestamp) -> bool {
        ClockStep::from_duration(SOURCE_CLOCK_STEP).settled(identity, observed_at)
    }

    /// Remembers a hash that was computed of the state `identity`, looked at after `observed_at`.
    pub(super) fn found(&self, identity: FileIdentity, hash: ContentHash, observed_at: Timestamp) {
        if Self::is_settled(&identity, observed_at) {
            let _ = self.found_hash.set((identity, hash));
        }
    }
}

/// The parts that are offered and not settled.
pub(super) struct Offers {
    /// By number. The lock is held for one look-up or change only.
    live: Mutex<HashMap<u32, Arc<OfferedPart>>>,
    next: AtomicU32,
}

impl Offers {
    pub(super) fn new() -> Self {
        Self { live: Mutex::default(), next: AtomicU32::new(0) }
    }

    pub(super) fn get(&self, id: u32) -> Result<Arc<OfferedPart>, EngineError> {
        let live = self.live.enter();
        live.get(&id).cloned().ok_or(EngineError::Protocol("it asked for a file that was not offered"))
    }

    pub(super) fn settle(&self, id: u32) -> Result<Arc<OfferedPart>, EngineError> {
        let mut live = self.live.enter();
        live.remove(&id).ok_or(EngineError::Protocol("it settled a directory that was not offered"))
    }

    /// The number for the next part.
    pub(super) fn new_id(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Remembers a part. This must precede the sending of the part, because the answer may come at once.
    pub(super) fn insert(&self, part: OfferedPart) {
        self.live.enter().insert(part.id, Arc::new(part));
    }
}
