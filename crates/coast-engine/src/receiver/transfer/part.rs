//! A part of a directory, as it was offered.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use coast_tree::{LockExt, Name, Record, RelPath};
use coast_wire::limits::MAX_PART_ENTRIES;
use coast_wire::{Part as WirePart, Range};

use super::file_transfer::FileTransfer;
use crate::error::EngineError;
use crate::receiver::offered::OfferedEntry;
use crate::receiver::spill::path_in;
use crate::receiver::target::{Origins, Target};

/// A part of a directory that was offered and is not settled.
pub(super) struct Part {
    pub(super) id: u32,
    /// The directory, relative to the transfer root.
    pub(super) path: RelPath,
    pub(super) range: NameRange,
    pub(super) entries: Box<[OfferedEntry]>,
    /// Of each entry. Each lock guards its own state; none is held while another lock is taken.
    states: Box<[Mutex<FileState>]>,
    /// Entries not settled, plus one while the directory itself is being examined.
    unsettled: AtomicUsize,
    /// What is known of the origin of the directory's entries. Read when the first file is going to be replaced.
    origins: OnceLock<Origins>,
    /// Hashes that the cache will remember, gathered until the part is settled. The lock guards only this list.
    records: Mutex<Vec<Record>>,
}

/// One entry of a part.
#[derive(Clone)]
pub(super) struct PartEntry {
    pub(super) part: Arc<Part>,
    /// Its number in the part.
    pub(super) index: u32,
}

impl PartEntry {
    /// The entry as the source has it.
    pub(super) fn offered(&self) -> &OfferedEntry {
        &self.part.entries[self.index as usize]
    }

    /// The message that is awaited for it.
    pub(super) fn state(&self) -> MutexGuard<'_, FileState> {
        self.part.state(self.index)
    }

    /// Its path, relative to the transfer root.
    pub(super) fn path(&self) -> Vec<u8> {
        path_in(&self.part.path, &self.offered().name)
    }
}

/// The names that a part speaks for.
pub(super) enum NameRange {
    /// Only the listed ones.
    Listed,
    /// The listed ones, and these, which the source lacks, in order.
    Lacks(Vec<Name>),
    /// All names after `after` and up to `up_to`.
    Names { after: Option<Name>, up_to: Option<Name> },
}

impl NameRange {
    /// Whether the part says of a name, offered or not, whether the source has it.
    pub(super) fn speaks_of(&self, name: &Name) -> bool {
        matches!(self, Self::Names { .. }) || self.lacks(name)
    }

    /// Whether the source lacks a name that is not offered.
    pub(super) fn lacks(&self, name: &Name) -> bool {
        match self {
            Self::Listed => false,
            Self::Lacks(names) => names.binary_search(name).is_ok(),
            Self::Names { after, up_to } => {
                after.as_ref().is_none_or(|after| name > after)
                    && up_to.as_ref().is_none_or(|up_to| name <= up_to)
            }
        }
    }
}

/// The message that the receiver waits for, for one file. Any other one breaks the protocol.
pub(super) enum FileState {
    Idle,
    /// The sender's hash.
    Hash,
    /// Content or a delta.
    Transfer(Arc<FileTransfer>),
}

impl Part {
    /// Checks a part as it arrived: every name and path, the order of the names, the limits.
    pub(super) fn check(part: WirePart<'_>, rename: Option<&Name>) -> Result<Self, EngineError> {
        let bad_path = |_| EngineError::Protocol("it sent a path that no file can have");
        let path = RelPath::new(part.path).map_err(bad_path)?;
        if part.entries.len() > MAX_PART_ENTRIES {
            return Err(EngineError::Protocol("it sent too many entries at once"));
        }
        if !part.entries.is_sorted_by(|a, b| a.name < b.name) {
            return Err(EngineError::Protocol("it sent entries out of order"));
        }
        let entries = part.entries.into_iter().map(OfferedEntry::check);
        let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
        let path = match rename {
            Some(rename) => give_new_name(rename, path, &mut entries)?,
            None => path,
        };
        let range = match part.range {
            Range::Listed => NameRange::Listed,
            Range::Lacks(names) => NameRange::Lacks(check_lacking(&names, &entries)?),
            Range::Names { after, last } => NameRange::Names {
                after: after.map(|name| Name::new(name)).transpose().map_err(bad_path)?,
                up_to: if last { None } else { entries.last().map(|entry| entry.name.clone()) },
            },
        };
        Ok(Self::new(part.id, path, range, entries))
    }

    /// A part whose entries are those that the destination has.
    pub(super) fn of_destination(
        id: u32,
        path: RelPath,
        range: NameRange,
        entries: Vec<OfferedEntry>,
        origins: Origins,
    ) -> Self {
        Self { origins: OnceLock::from(origins), ..Self::new(id, path, range, entries) }
    }

    fn new(id: u32, path: RelPath, range: NameRange, entries: Vec<OfferedEntry>) -> Self {
        Self {
            id,
            path,
            range,
            states: entries.iter().map(|_| Mutex::new(FileState::Idle)).collect(),
            unsettled: AtomicUsize::new(entries.len() + 1),
            entries: entries.into(),
            origins: OnceLock::new(),
            records: Mutex::default(),
        }
    }

    /// The state of an entry.
    fn state(&self, index: u32) -> MutexGuard<'_, FileState> {
        self.states[index as usize].enter()
    }

    /// What is known of the origin of the directory's entries.
    pub(super) fn origins(&self, target: &Target<'_>) -> &Origins {
        self.origins.get_or_init(|| target.origins_in(&self.path))
    }

    /// Settles one entry, or the examination. Returns whether the part has nothing left to settle.
    pub(super) fn settle_one(&self) -> bool {
        self.unsettled.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Its entries.
    pub(super) fn all_entries(self: &Arc<Self>) -> impl Iterator<Item = PartEntry> {
        let indices = (0..).take(self.entries.len());
        indices.map(|index| PartEntry { part: self.clone(), index })
    }

    /// Its share of the sender's window, in entries.
    pub(super) fn weight(&self) -> usize {
        let lacking = if let NameRange::Lacks(names) = &self.range { names.len() } else { 0 };
        self.entries.len() + lacking + 1
    }

    /// Bytes of content that came with the offer.
    pub(super) fn content_bytes(&self) -> usize {
        self.entries.iter().map(OfferedEntry::content_bytes).sum()
    }

    pub(super) fn remember(&self, record: Option<Record>) {
        self.records.enter().extend(record);
    }

    pub(super) fn take_records(&self) -> Vec<Record> {
        std::mem::take(&mut *self.records.enter())
    }
}

/// Checks the names that the source lacks in a directory of which it offers `entries`.
fn check_lacking(names: &[&serde_bytes::Bytes], entries: &[OfferedEntry]) -> Result<Vec<Name>, EngineError> {
    if names.len() + entries.len() > MAX_PART_ENTRIES {
        return Err(EngineError::Protocol("it sent too many entries at once"));
    }
    let offered = |name: &[u8]| entries.binary_search_by(|entry| entry.name.as_bytes().cmp(name)).is_ok();
    if !names.is_sorted_by(|a, b| a < b) || names.iter().any(|name| offered(name)) {
        return Err(EngineError::Protocol("it sent entries out of order"));
    }
    let names = names.iter().map(|name| Name::new(name)).collect::<Result<_, _>>();
    names.map_err(|_| EngineError::Protocol("it sent a name that no file can have"))
}

/// Gives the one entry of a run that sends no more the name that the destination's path ends in. A directory that is the one
/// entry is empty, and is examined under its new name. Answers the path of the part.
fn give_new_name(rename: &Name, path: RelPath, entries: &mut [OfferedEntry]) -> Result<RelPath, EngineError> {
    match entries {
        [only] if path.is_root() => {
            only.name = rename.clone();
            Ok(path)
        }
        [] if path.is_root() => Ok(path),
        [] if path.depth() == 1 => Ok(RelPath::from(rename.clone())),
        _ => Err(EngineError::Protocol("it sent a tree where one entry was announced")),
    }
}
