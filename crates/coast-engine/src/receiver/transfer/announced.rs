//! Parts of which only the digest was sent: compared with what the destination has.

use coast_tree::{DirHandle, FileIdentity, Kind, Listed, Name, RelPath, Stat, Timestamp};
use coast_wire::limits::MAX_PART_ENTRIES;
use coast_wire::{Entry, PartDigest, ToSender, What};

use super::Transfer;
use super::examine;
use super::part::{NameRange, Part};
use crate::digest::EntryDigester;
use crate::error::EngineError;
use crate::receiver::failure::Failure;
use crate::receiver::offered::OfferedEntry;
use crate::receiver::target::Origins;
use crate::wire_time;

/// A part of which the digest arrived, checked.
pub(super) struct AnnouncedPart {
    pub(super) id: u32,
    path: RelPath,
    range: NameRange,
    entries: usize,
    digest: [u8; 16],
}

/// An entry of the destination as it was looked at.
pub(super) struct SeenEntry {
    pub(super) stat: Stat,
    /// The system's time from before that.
    pub(super) observed_at: Timestamp,
}

impl AnnouncedPart {
    /// Checks a digest as it arrived.
    pub(super) fn check(part: &PartDigest<'_>) -> Result<Self, EngineError> {
        let bad_path = |_| EngineError::Protocol("it sent a path that no file can have");
        let name = |name: &serde_bytes::Bytes| Name::new(name).map_err(bad_path);
        let entries = part.entries as usize;
        if entries > MAX_PART_ENTRIES {
            return Err(EngineError::Protocol("it sent too many entries at once"));
        }
        Ok(Self {
            id: part.id,
            path: RelPath::new(part.path).map_err(bad_path)?,
            range: NameRange::Names {
                after: part.after.map(name).transpose()?,
                up_to: part.up_to.map(name).transpose()?,
            },
            entries,
            digest: part.digest,
        })
    }

    /// Its share of the sender's window, in entries.
    pub(super) fn weight(&self) -> usize {
        self.entries + 1
    }
}

/// Compares a part with the destination. If the destination has exactly its entries, the part is examined as if it had arrived;
/// otherwise the sender is asked for it.
pub(super) fn compare(transfer: &Transfer<'_>, announced: AnnouncedPart) -> Result<(), Failure> {
    let Some(digester) = &transfer.digester else { return ask(transfer, &announced) };
    // A failure is told when the part itself is examined.
    let Ok(directory) = transfer.target.enter(&announced.path) else { return ask(transfer, &announced) };
    let (Some(handle), Ok(Some(listed))) = (directory.handle(), directory.list()) else {
        return ask(transfer, &announced);
    };
    let origins = transfer.target.origins_in(&announced.path);
    let Some((entries, seen)) = own_entries(transfer, digester, &announced, &origins, handle, &listed) else {
        return ask(transfer, &announced);
    };
    let part = Part::of_destination(announced.id, announced.path, announced.range, entries, origins);
    let part = transfer.parts.compared(part);
    examine::examine_seen(transfer, &part, &directory, listed, seen)
}

fn ask(transfer: &Transfer<'_>, announced: &AnnouncedPart) -> Result<(), Failure> {
    transfer.parts.ask_for(announced.id);
    Ok(transfer.report.tell(&ToSender::Differs { part: announced.id })?)
}

/// The entries of the destination that runs have put there, as a sender that has the same would offer them. None if their digest is not
/// that of the part.
fn own_entries(
    transfer: &Transfer<'_>,
    digester: &EntryDigester,
    announced: &AnnouncedPart,
    origins: &Origins,
    dir: &DirHandle,
    listed: &[Listed],
) -> Option<(Vec<OfferedEntry>, Vec<SeenEntry>)> {
    // The source lacks every name of the range that is not among the entries, so a name of the range is one that it would lack.
    let is_own = |listed: &&Listed| {
        announced.range.lacks(&listed.name)
            && origins.has(&listed.name)
            && !transfer.target.is_reserved(&announced.path, &listed.name)
    };
    let own: Vec<&Listed> = listed.iter().filter(is_own).collect();
    if own.len() != announced.entries {
        return None;
    }
    let mut seen = Vec::with_capacity(own.len());
    let mut targets = Vec::with_capacity(own.len());
    for Listed { name, .. } in &own {
        let observed_at = Timestamp::now();
        let stat = dir.stat(name).ok()??;
        let reads_target = stat.kind == Kind::Symlink && transfer.taken.links;
        targets.push(if reads_target { dir.read_link(name).ok()? } else { Vec::new() });
        seen.push(SeenEntry { stat, observed_at });
    }
    let mut entries = Vec::with_capacity(own.len());
    for ((Listed { name, .. }, SeenEntry { stat, .. }), target) in own.iter().zip(&seen).zip(&targets) {
        let what = match stat.kind {
            Kind::File => {
                let hash = origins.content_of(name, &FileIdentity::from(stat))?;
                What::File { size: stat.size, hash: Some(*hash.as_bytes()), content: None }
            }
            Kind::Directory => What::Directory,
            Kind::Symlink => What::Symlink(target),
            Kind::Fifo => What::Fifo,
            Kind::Socket => What::Socket,
            Kind::CharDevice => What::CharDevice(stat.rdev),
            Kind::BlockDevice => What::BlockDevice(stat.rdev),
        };
        let mode = u16::try_from(stat.mode & 0o7777).ok()?;
        let mtime = digester.has_times().then(|| wire_time(stat.mtime));
        entries.push(Entry { name: name.as_bytes(), what, mode, mtime, owner: None });
    }
    if digester.digest(&entries)? != announced.digest {
        return None;
    }
    let offered = entries.into_iter().map(OfferedEntry::check).collect::<Result<_, _>>().ok()?;
    Some((offered, seen))
}
