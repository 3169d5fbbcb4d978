//! Regular files: whether the content that is there is right, and where it comes from if not.

use std::io;
use std::sync::Arc;

use coast_delta::MIN_BASIS;
use coast_tree::{ContentHash, DirRecords, FileIdentity, Kind, Stat};
use coast_wire::{EntryKind, Need, ToSender, Update, Want};

use super::Transfer;
use super::file_transfer::FileTransfer;
use super::need_batch::NeedBatch;
use super::part::{FileState, Part};
use super::work::Work;
use crate::receiver::failure::{Doing, Failure};
use crate::receiver::offered::Offered;
use crate::receiver::target::{Cloned, DestinationEntry, same_time};
use crate::stop::Stopped;

/// Decides on a file when its directory is examined. `offered` is its size and, if the sender knows it, its hash.
pub(super) fn decide_file(
    transfer: &Transfer<'_>,
    (part, index): (&Arc<Part>, u32),
    entry: &DestinationEntry<'_>,
    offered: (u64, Option<ContentHash>),
    cached: Option<&DirRecords>,
    needs: &mut NeedBatch,
) -> Result<(), Failure> {
    let (size, theirs) = offered;
    let existing = entry.existing.filter(|existing| existing.kind == Kind::File);
    let Some(existing) = existing else {
        // Maybe the destination has the content elsewhere.
        transfer.deletion.note_in_the_way(entry)?;
        if size > 0 && transfer.target.may_have_content_of(size) {
            compare_later(transfer, part, index, theirs, needs);
            return Ok(());
        }
        return ask_for_content(transfer, part, index, entry, needs);
    };
    if existing.size != size {
        return ask_for_content(transfer, part, index, entry, needs);
    }
    let ours = cached.and_then(|cached| cached.get(&entry.offered.name, &FileIdentity::from(&existing)));
    if transfer.quick_check && entry.offered.mtime.is_some_and(|mtime| same_time(mtime, existing.mtime)) {
        return keep(transfer, part, entry, &existing, ours);
    }
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours == theirs => keep(transfer, part, entry, &existing, Some(ours)),
        (Some(_), Some(_)) => ask_for_content(transfer, part, index, entry, needs),
        _ => {
            compare_later(transfer, part, index, theirs, needs);
            Ok(())
        }
    }
}

/// Has the file compared by its hash; asks the sender for that first if it is not known.
fn compare_later(
    transfer: &Transfer<'_>,
    part: &Arc<Part>,
    index: u32,
    theirs: Option<ContentHash>,
    needs: &mut NeedBatch,
) {
    match theirs {
        Some(theirs) => transfer.enqueue(Work::Compare(part.clone(), index, theirs)),
        None => {
            *part.state(index) = FileState::Hash;
            needs.hash(index);
        }
    }
}

/// Compares a file with the sender's hash, and settles it if that fails.
pub(super) fn compare_again(
    transfer: &Transfer<'_>,
    part: &Arc<Part>,
    index: u32,
    theirs: ContentHash,
) -> Result<(), Failure> {
    let compared = transfer.revisit(part, index, |entry| compare(transfer, part, index, entry, theirs));
    transfer.settle_failed(part, index, compared)
}

/// Compares a file whose hash the sender told. Ours is computed if there is a file to compare; a missing file may be made from
/// another one.
fn compare(
    transfer: &Transfer<'_>,
    part: &Arc<Part>,
    index: u32,
    entry: &DestinationEntry<'_>,
    theirs: ContentHash,
) -> Result<(), Failure> {
    let Offered::File { size, .. } = entry.offered.what else { return Ok(()) };
    match (entry.existing.filter(|existing| existing.kind == Kind::File), entry.directory.handle()) {
        (Some(existing), Some(dir)) if existing.size == size => {
            let ours = match transfer.target.hash_existing(entry, dir, &existing) {
                // As in rsync, a file that cannot be read counts as different.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
                ours => ours.doing("cannot read it to compare it")?,
            };
            if ours == Some(theirs) {
                return keep(transfer, part, entry, &existing, ours);
            }
        }
        (None, Some(_)) => {
            if let Cloned::Placed(record) = transfer.target.clone_from_elsewhere(entry, size, theirs)? {
                part.remember(record);
                return Ok(transfer.settle(part)?);
            }
        }
        _ => {}
    }
    let mut needs = NeedBatch::default();
    ask_for_content(transfer, part, index, entry, &mut needs)?;
    Ok(needs.send(transfer.report, part)?)
}

/// Settles a file whose content is right: only attributes may differ.
fn keep(
    transfer: &Transfer<'_>,
    part: &Part,
    entry: &DestinationEntry<'_>,
    existing: &Stat,
    ours: Option<ContentHash>,
) -> Result<(), Failure> {
    part.remember(transfer.target.keep_content(entry, existing, ours)?);
    Ok(transfer.settle(part)?)
}

/// Asks the sender for the content of a file: as a delta where there is a useful basis.
fn ask_for_content(
    transfer: &Transfer<'_>,
    part: &Arc<Part>,
    index: u32,
    entry: &DestinationEntry<'_>,
    needs: &mut NeedBatch,
) -> Result<(), Failure> {
    let Offered::File { size, .. } = entry.offered.what else { return Ok(()) };
    if transfer.target.is_dry_run() {
        transfer.report.transferred(size, 0, 0);
        transfer.target.report_created(entry, EntryKind::File, Update::Transferred);
        return Ok(transfer.settle(part)?);
    }
    let useful = |basis_len: u64| basis_len >= MIN_BASIS && size >= MIN_BASIS;
    let existing = entry.existing.filter(|existing| existing.kind == Kind::File);
    if existing.is_some_and(|existing| useful(existing.size)) || transfer.target.has_partial(entry) {
        transfer.enqueue(Work::Sign { part: part.clone(), index, granted: 0 });
    } else {
        *part.state(index) = FileState::Transfer(Arc::new(FileTransfer::whole(entry.existing, 0)));
        needs.content(index);
    }
    Ok(())
}

/// Asks for all content after a delta did not lead to it, or could not be asked for. Pieces of tries before `attempt` are of
/// no use.
pub(super) fn ask_for_all(
    transfer: &Transfer<'_>,
    part: &Part,
    index: u32,
    existing: Option<Stat>,
    attempt: u32,
) -> Result<(), Stopped> {
    *part.state(index) = FileState::Transfer(Arc::new(FileTransfer::whole(existing, attempt)));
    let needs = vec![Need { index, want: Want::Content }];
    transfer.report.tell(&ToSender::Needs { part: part.id, needs })
}
