//! Regular files whose content has to be compared, and where the content comes from if it is not right.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use coast_delta::MIN_BASIS;
use coast_tree::{ContentHash, FileIdentity, Kind, Stat};
use coast_wire::{EntryKind, Need, Origin, ToSender, Update, Want};

use super::Transfer;
use super::content;
use super::file_transfer::FileTransfer;
use super::need_batch::NeedBatch;
use super::part::{FileState, PartEntry};
use super::work::Work;
use crate::receiver::failure::{Doing, Failure};
use crate::receiver::offered::Offered;
use crate::receiver::target::{Cloned, DestinationEntry, same_time};
use crate::stop::Stopped;

/// Compares a file with the sender's hash, and settles it if that fails.
pub(super) fn compare_and_settle(
    transfer: &Transfer<'_>,
    file: &PartEntry,
    theirs: ContentHash,
) -> Result<(), Failure> {
    let compared = transfer.revisit(file, |entry| compare(transfer, file, entry, theirs));
    transfer.settle_failed(file, compared)
}

/// Compares a file whose hash the sender told. Ours is computed if there is a file to compare; a missing file may be made from
/// another one.
fn compare(
    transfer: &Transfer<'_>,
    file: &PartEntry,
    entry: &DestinationEntry<'_>,
    theirs: ContentHash,
) -> Result<(), Failure> {
    let Offered::File { size, .. } = entry.offered.what else { return Ok(()) };
    let mut needs = NeedBatch::default();
    let mut known = None;
    match (entry.existing.filter(|existing| existing.kind == Kind::File), entry.directory.handle()) {
        (Some(existing), Some(dir)) if existing.size == size => {
            let origins = file.part.origins(transfer.target);
            let ours = match origins.content_of(&entry.offered.name, &FileIdentity::from(&existing)) {
                Some(ours) => Some(ours),
                None => match entry.hash_existing(dir, &existing, transfer.report) {
                    // As in rsync, a file that cannot be read counts as different.
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
                    ours => ours.doing("cannot read it to compare it")?,
                },
            };
            if ours == Some(theirs) {
                if keep(transfer, file, entry, &existing, ours, &mut needs)? == Kept::Right {
                    transfer.target.note_one_placed(&file.part.path, &entry.offered.name);
                    transfer.settle(&file.part)?;
                }
                return Ok(needs.send(transfer.report, &file.part)?);
            }
            known = ours;
        }
        (None, Some(_)) => {
            if let Cloned::Placed(record) = transfer.target.clone_from_elsewhere(entry, size, theirs)? {
                file.part.remember(record);
                return Ok(transfer.settle(&file.part)?);
            }
        }
        _ => {}
    }
    if transfer.target.is_ahead(entry, size) {
        transfer.target.check_may_replace(entry, file.part.origins(transfer.target), known)?;
        keep_what_is_replaced(transfer, file, entry);
        if let Cloned::Placed(record) = transfer.target.place_ahead(entry, theirs)? {
            file.part.remember(record);
            return Ok(transfer.settle(&file.part)?);
        }
    }
    ask_for_content(transfer, file, entry, known, &mut needs)?;
    Ok(needs.send(transfer.report, &file.part)?)
}

/// Whether a file whose content is right stays.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It stays. The caller notes that for the ledger, and then settles it.
    Right,
    /// It is going to be replaced all the same.
    Replaced,
}

/// Keeps a file whose content is right: only attributes may differ. A file of another user whose attributes this user may not
/// change is replaced if its time differs: rsync takes such a file for another one, while it leaves one of the same size and time.
pub(super) fn keep(
    transfer: &Transfer<'_>,
    file: &PartEntry,
    entry: &DestinationEntry<'_>,
    existing: &Stat,
    ours: Option<ContentHash>,
    needs: &mut NeedBatch,
) -> Result<Kept, Failure> {
    let same_time = |mtime| same_time(mtime, existing.mtime);
    if transfer.target.may_not_fix(entry, existing) && !entry.offered.mtime.is_some_and(same_time) {
        ask_for_content(transfer, file, entry, ours, needs)?;
        return Ok(Kept::Replaced);
    }
    file.part.remember(transfer.target.keep_content(entry, existing, ours)?);
    Ok(Kept::Right)
}

/// Asks the sender for the content of a file, unless that came with the offer: as a delta where there is a useful basis. `ours` is
/// the content of the file that exists, if it is known.
pub(super) fn ask_for_content(
    transfer: &Transfer<'_>,
    file: &PartEntry,
    entry: &DestinationEntry<'_>,
    ours: Option<ContentHash>,
    needs: &mut NeedBatch,
) -> Result<(), Failure> {
    let Offered::File { size, hash, content } = &entry.offered.what else { return Ok(()) };
    let size = *size;
    transfer.target.check_may_replace(entry, file.part.origins(transfer.target), ours)?;
    if size > transfer.defer_above {
        transfer.report.deferred(&entry.path());
        return Ok(transfer.settle(&file.part)?);
    }
    keep_what_is_replaced(transfer, file, entry);
    if transfer.target.is_dry_run() {
        transfer.report.transferred(size, 0, 0);
        transfer.target.report_created(entry, EntryKind::File, Update::Transferred);
        return Ok(transfer.settle(&file.part)?);
    }
    if let (Some(content), Some(hash)) = (content, hash) {
        return content::place_unasked(transfer, file, entry, content, *hash);
    }
    let whole_below = transfer.whole_below.load(Ordering::Relaxed).max(MIN_BASIS);
    let useful = |basis_len: u64| basis_len >= MIN_BASIS && size >= whole_below;
    let existing = entry.existing.filter(|existing| existing.kind == Kind::File);
    if existing.is_some_and(|existing| useful(existing.size)) || transfer.target.bases().has(entry) {
        transfer.enqueue(Work::Sign { file: file.clone(), granted: 0 });
    } else {
        *file.state() = FileState::Transfer(Arc::new(FileTransfer::whole(entry.existing, 0)));
        needs.content(file.index);
    }
    Ok(())
}

/// Keeps a file in the trash that is going to be replaced, unless a run has put it there as it is.
fn keep_what_is_replaced(transfer: &Transfer<'_>, file: &PartEntry, entry: &DestinationEntry<'_>) {
    if let Some(existing) = entry.existing.filter(|existing| existing.kind == Kind::File)
        && transfer.target.has_trash()
        && !transfer.target.guards(&file.part.path, &entry.offered.name)
        && file.part.origins(transfer.target).of(&entry.offered.name, &existing) != Origin::Run
    {
        transfer.target.keep_replaced(entry, &existing);
    }
}

/// Asks for all content after a delta did not lead to it, or could not be asked for. Pieces of tries before `attempt` are of
/// no use.
pub(super) fn ask_for_all(
    transfer: &Transfer<'_>,
    file: &PartEntry,
    existing: Option<Stat>,
    attempt: u32,
) -> Result<(), Stopped> {
    *file.state() = FileState::Transfer(Arc::new(FileTransfer::whole(existing, attempt)));
    let needs = vec![Need { index: file.index, want: Want::Content }];
    transfer.report.tell(&ToSender::Needs { part: file.part.id, needs })
}
