//! The parts of directories that were offered and are not settled, and the order in which they may be worked on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coast_tree::{ContentHash, Kind, Name, Record, RelPath, Timestamp};
use coast_wire::limits::{MAX_PART_ENTRIES, MAX_TARGET_BYTES, WINDOW_ENTRIES};
use coast_wire::{Entry, Part, Range, What};

use super::lane::Lane;
use crate::error::EngineError;

/// A part of a directory, checked.
pub(super) struct LivePart {
    pub(super) id: u32,
    pub(super) path: RelPath,
    pub(super) range: NameRange,
    pub(super) entries: Box<[WantedEntry]>,
    /// Entries not settled, plus one while the directory itself is being looked at.
    unsettled: AtomicUsize,
    /// What the cache shall remember.
    pub(super) records: Mutex<Vec<Record>>,
}

/// The names a part speaks for.
pub(super) enum NameRange {
    Listed,
    Names { after: Option<Name>, up_to: Option<Name> },
}

/// An entry as the source has it.
pub(super) struct WantedEntry {
    pub(super) name: Name,
    pub(super) what: WantedWhat,
    /// Permission bits, `0o7777`.
    pub(super) mode: u32,
    pub(super) mtime: Option<Timestamp>,
    /// Numbers on the sender's side.
    pub(super) owner: Option<(u32, u32)>,
    pub(super) state: Mutex<FileState>,
}

/// What an entry is at the source.
pub(super) enum WantedWhat {
    File { size: u64, hash: Option<ContentHash> },
    Directory,
    Symlink(Box<[u8]>),
    Special(Kind, u64),
}

/// What the receiver waits for, for one file. Anything else that arrives breaks the protocol.
pub(super) enum FileState {
    /// Nothing.
    Idle,
    /// The sender's hash.
    Hash,
    /// Content or a delta.
    Transfer(Arc<Lane>),
}

impl LivePart {
    /// One entry is done; true when the part is.
    pub(super) fn settle_one(&self) -> bool {
        self.unsettled.fetch_sub(1, Ordering::AcqRel) == 1
    }

    pub(super) fn weight(&self) -> usize {
        self.entries.len() + 1
    }

    pub(super) fn remember(&self, record: Record) {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }

    /// Checks a part as it arrived: every name and path, the order of the names, the limits.
    pub(super) fn check(part: Part<'_>, rename: Option<&Name>) -> Result<Self, EngineError> {
        let bad_path = |_| EngineError::Protocol("it sent a path that no file can have");
        let path = RelPath::new(part.path).map_err(bad_path)?;
        if part.entries.len() > MAX_PART_ENTRIES {
            return Err(EngineError::Protocol("it sent too many entries at once"));
        }
        if !part.entries.is_sorted_by(|a, b| a.name < b.name) {
            return Err(EngineError::Protocol("it sent entries out of order"));
        }
        let mut entries = Vec::with_capacity(part.entries.len());
        for entry in part.entries {
            entries.push(WantedEntry::check(entry)?);
        }
        // The one entry of a run that sends no more gets the name that the destination's path ends in; a directory that
        // is the one entry is empty, and is looked at under its new name.
        let mut path = path;
        if let Some(rename) = rename {
            match entries.as_mut_slice() {
                [only] if path.is_root() => only.name = rename.clone(),
                [] if path.depth() <= 1 => {
                    if !path.is_root() {
                        path = RelPath::from(rename.clone());
                    }
                }
                _ => return Err(EngineError::Protocol("it sent a tree where one entry was announced")),
            }
        }
        let range = match part.range {
            Range::Listed => NameRange::Listed,
            Range::Names { after, last } => NameRange::Names {
                after: after.map(|name| Name::new(name)).transpose().map_err(bad_path)?,
                up_to: if last { None } else { entries.last().map(|entry| entry.name.clone()) },
            },
        };
        let unsettled = AtomicUsize::new(entries.len() + 1);
        Ok(Self { id: part.id, path, range, entries: entries.into(), unsettled, records: Mutex::default() })
    }
}

impl WantedEntry {
    pub(super) fn check(entry: Entry<'_>) -> Result<Self, EngineError> {
        let name = Name::new(entry.name)
            .map_err(|_| EngineError::Protocol("it sent a name that no file can have"))?;
        Self::with_name(name, entry)
    }

    fn with_name(name: Name, entry: Entry<'_>) -> Result<Self, EngineError> {
        let what = match entry.what {
            What::File { size, hash } => WantedWhat::File { size, hash: hash.map(ContentHash::from_bytes) },
            What::Directory => WantedWhat::Directory,
            What::Symlink(target) if target.len() < MAX_TARGET_BYTES && !target.contains(&0) => {
                WantedWhat::Symlink(target.into())
            }
            What::Symlink(_) => {
                return Err(EngineError::Protocol("it sent a link target that no link can have"));
            }
            What::Fifo => WantedWhat::Special(Kind::Fifo, 0),
            What::Socket => WantedWhat::Special(Kind::Socket, 0),
            What::CharDevice(device) => WantedWhat::Special(Kind::CharDevice, device),
            What::BlockDevice(device) => WantedWhat::Special(Kind::BlockDevice, device),
        };
        let mtime = entry.mtime.map(checked_time).transpose()?;
        let mode = u32::from(entry.mode) & 0o7777;
        Ok(Self { name, what, mode, mtime, owner: entry.owner, state: Mutex::new(FileState::Idle) })
    }

    /// The transfer root's own entry, which has no name.
    pub(super) fn root(entry: Entry<'_>) -> Result<Self, EngineError> {
        let unnamed = Name::new(b"root").expect("a constant without a slash");
        Self::with_name(unnamed, entry)
    }

    pub(super) fn kind(&self) -> Kind {
        match self.what {
            WantedWhat::File { .. } => Kind::File,
            WantedWhat::Directory => Kind::Directory,
            WantedWhat::Symlink(_) => Kind::Symlink,
            WantedWhat::Special(kind, _) => kind,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, FileState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn checked_time(time: coast_wire::Time) -> Result<Timestamp, EngineError> {
    if time.nanos >= 1_000_000_000 {
        return Err(EngineError::Protocol("it sent a time that is none"));
    }
    Ok(Timestamp::new(time.secs, time.nanos))
}

/// The parts of a run.
///
/// Invariant: a directory is looked at only after the part that holds it as an entry was, since that is where it is
/// made. A part that is neither live nor waiting for its turn has been looked at.
#[derive(Default)]
pub(super) struct Parts {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    live: HashMap<u32, Arc<LivePart>>,
    /// Parts not looked at yet, with those that wait for them.
    ahead: HashMap<u32, Vec<Arc<LivePart>>>,
    /// The highest number that arrived.
    last: Option<u32>,
    weight: usize,
    walk_done: bool,
}

impl Parts {
    /// Takes in a part; gives it back if it can be looked at now.
    pub(super) fn arrive(
        &self,
        part: LivePart,
        parent: Option<u32>,
    ) -> Result<Option<Arc<LivePart>>, EngineError> {
        let mut state = self.lock();
        if state.walk_done {
            return Err(EngineError::Protocol("it offered more after it said that this was all"));
        }
        state.weight += part.weight();
        if state.weight > WINDOW_ENTRIES {
            return Err(EngineError::Protocol("it offered more entries than it may"));
        }
        let part = Arc::new(part);
        if state.live.insert(part.id, part.clone()).is_some() {
            return Err(EngineError::Protocol("it used a number twice"));
        }
        state.last = state.last.max(Some(part.id));
        state.ahead.insert(part.id, Vec::new());
        match parent.and_then(|parent| state.ahead.get_mut(&parent)) {
            Some(waiting) => {
                waiting.push(part);
                Ok(None)
            }
            None => Ok(Some(part)),
        }
    }

    /// A part was looked at; gives those that waited for it.
    pub(super) fn looked_at(&self, id: u32) -> Vec<Arc<LivePart>> {
        self.lock().ahead.remove(&id).unwrap_or_default()
    }

    /// Whether a part has been here and is done with.
    pub(super) fn was_settled(&self, id: u32) -> bool {
        let state = self.lock();
        Some(id) <= state.last && !state.live.contains_key(&id)
    }

    pub(super) fn get(&self, id: u32) -> Option<Arc<LivePart>> {
        self.lock().live.get(&id).cloned()
    }

    /// Forgets a part; true when that was the last one.
    pub(super) fn settle(&self, part: &LivePart) -> bool {
        let mut state = self.lock();
        if state.live.remove(&part.id).is_some() {
            state.weight -= part.weight();
        }
        state.walk_done && state.live.is_empty()
    }

    /// No more parts will come; true when none is left.
    pub(super) fn walk_done(&self) -> bool {
        let mut state = self.lock();
        state.walk_done = true;
        state.live.is_empty()
    }

    /// The parts that are left when a run ends early.
    pub(super) fn abandon(&self) -> Vec<Arc<LivePart>> {
        let mut state = self.lock();
        state.ahead.clear();
        state.live.drain().map(|(_, part)| part).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
