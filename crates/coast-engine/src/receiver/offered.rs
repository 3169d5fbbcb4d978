//! An entry as the source has it, checked.

use coast_tree::{ContentHash, Kind, Name, Timestamp};
use coast_wire::limits::{MAX_TARGET_BYTES, MAX_UNASKED_BYTES};
use coast_wire::{Entry, Time, What};

use crate::error::EngineError;

/// An entry that the sender offered.
pub(super) struct OfferedEntry {
    pub(super) name: Name,
    pub(super) what: Offered,
    /// Permission bits, `0o7777`.
    pub(super) mode: u32,
    pub(super) mtime: Option<Timestamp>,
    /// User and group number on the sender's side.
    pub(super) owner: Option<(u32, u32)>,
}

/// The kind of an offered entry, with its content where that is small.
pub(super) enum Offered {
    File {
        size: u64,
        hash: Option<ContentHash>,
        /// As it came with the offer. That it has the hash is not checked yet.
        content: Option<Box<[u8]>>,
    },
    Directory,
    Symlink(Box<[u8]>),
    /// A device, with its number, or a FIFO or socket.
    Special(Kind, u64),
}

impl OfferedEntry {
    /// Checks an entry of a directory.
    pub(super) fn check(entry: Entry<'_>) -> Result<Self, EngineError> {
        let name = Name::new(entry.name)
            .map_err(|_| EngineError::Protocol("it sent a name that no file can have"))?;
        Self::with_name(name, entry)
    }

    /// Checks the transfer root's own entry, which has no name.
    pub(super) fn root(entry: Entry<'_>) -> Result<Self, EngineError> {
        let unnamed = Name::new(b"root").expect("a constant without a slash");
        Self::with_name(unnamed, entry)
    }

    fn with_name(name: Name, entry: Entry<'_>) -> Result<Self, EngineError> {
        let what = match entry.what {
            What::File { size, hash, content } => {
                let is_sound = |content: &[u8]| {
                    size <= MAX_UNASKED_BYTES && content.len() as u64 == size && hash.is_some()
                };
                if content.is_some_and(|content| !is_sound(content)) {
                    return Err(EngineError::Protocol("it offered a file with content that it cannot have"));
                }
                let content = content.map(|content| Box::from(content.as_ref()));
                Offered::File { size, hash: hash.map(ContentHash::from_bytes), content }
            }
            What::Directory => Offered::Directory,
            What::Symlink(target) if target.len() < MAX_TARGET_BYTES && !target.contains(&0) => {
                Offered::Symlink(target.into())
            }
            What::Symlink(_) => {
                return Err(EngineError::Protocol("it sent a link target that no link can have"));
            }
            What::Fifo => Offered::Special(Kind::Fifo, 0),
            What::Socket => Offered::Special(Kind::Socket, 0),
            What::CharDevice(device) => Offered::Special(Kind::CharDevice, device),
            What::BlockDevice(device) => Offered::Special(Kind::BlockDevice, device),
        };
        let mtime = entry.mtime.map(checked_time).transpose()?;
        Ok(Self { name, what, mode: u32::from(entry.mode) & 0o7777, mtime, owner: entry.owner })
    }

    /// Bytes of content that came with the offer.
    pub(super) fn content_bytes(&self) -> usize {
        match &self.what {
            Offered::File { content: Some(content), .. } => content.len(),
            _ => 0,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self.what {
            Offered::File { .. } => Kind::File,
            Offered::Directory => Kind::Directory,
            Offered::Symlink(_) => Kind::Symlink,
            Offered::Special(kind, _) => kind,
        }
    }
}

/// Checks a time that the sender sent.
pub(super) fn checked_time(time: Time) -> Result<Timestamp, EngineError> {
    if time.nanos >= 1_000_000_000 {
        return Err(EngineError::Protocol("it sent a time that does not exist"));
    }
    Ok(Timestamp::new(time.secs, time.nanos))
}
