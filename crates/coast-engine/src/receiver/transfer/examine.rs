//! Examines a directory of the destination, and settles every entry that can be settled at once.

use std::io;
use std::sync::Arc;

use coast_tree::state::STAGING_INSIDE;
use coast_tree::{ContentHash, FileIdentity, Kind, Listed, Name, Stat};

use super::Transfer;
use super::announced::SeenEntry;
use super::compare::{self, Kept};
use super::need_batch::NeedBatch;
use super::part::{FileState, NameRange, Part, PartEntry};
use super::renames;
use super::work::Work;
use crate::receiver::failure::Failure;
use crate::receiver::offered::Offered;
use crate::receiver::target::{
    Brought, DestinationDirectory, DestinationEntry, Origins, same_time, stand_in_record,
};

/// Examines the directory of a part, then lets the parts go on that waited for it.
pub(super) fn examine(transfer: &Transfer<'_>, part: &Arc<Part>) -> Result<(), Failure> {
    let entered = transfer.target.enter(&part.path);
    if let Ok(directory) = &entered {
        renames::carry_out(transfer, part, directory)?;
    }
    match entered.and_then(|directory| Ok((list(part, &directory)?, directory))) {
        Ok((listed, directory)) => {
            Examination::new(transfer, part, &directory).examine(listed, Vec::new())?
        }
        Err(error) => {
            transfer.report_directory_failed(part, &error);
            for _ in &part.entries {
                transfer.settle(part)?;
            }
        }
    }
    examined(transfer, part)
}

/// Examines the directory of a part whose entries are those that were `seen` in it.
pub(super) fn examine_seen(
    transfer: &Transfer<'_>,
    part: &Arc<Part>,
    directory: &DestinationDirectory,
    listed: Vec<Listed>,
    seen: Vec<SeenEntry>,
) -> Result<(), Failure> {
    Examination::new(transfer, part, directory).examine(Some(listed), seen)?;
    examined(transfer, part)
}

/// Lets the parts go on that waited for one that is examined.
fn examined(transfer: &Transfer<'_>, part: &Arc<Part>) -> Result<(), Failure> {
    for waiting in transfer.parts.examined(part.id) {
        transfer.enqueue(Work::from(waiting));
    }
    Ok(transfer.settle(part)?)
}

/// The entries of a directory that a part is about, sorted by name; of one that names all of them that are there.
fn list(part: &Part, directory: &DestinationDirectory) -> io::Result<Option<Vec<Listed>>> {
    let (NameRange::Lacks(lacking), Some(handle)) = (&part.range, directory.handle()) else {
        return directory.list();
    };
    // The directory may be large, and a run for a few of its names reads no more than these.
    let offered = part.entries.iter().map(|entry| &entry.name);
    let mut listed = Vec::with_capacity(part.entries.len() + lacking.len());
    for name in offered.chain(lacking) {
        if let Some(stat) = handle.stat(name)? {
            listed.push(Listed { name: name.clone(), kind: stat.kind, ino: stat.ino });
        }
    }
    listed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(Some(listed))
}

/// The examination of one directory.
struct Examination<'a> {
    transfer: &'a Transfer<'a>,
    part: &'a Arc<Part>,
    directory: &'a DestinationDirectory,
    origins: &'a Origins,
    needs: NeedBatch,
    /// The entries that stay as they are for the ledger, by their numbers in the part, in order.
    staying: Vec<u32>,
}

impl<'a> Examination<'a> {
    fn new(transfer: &'a Transfer<'a>, part: &'a Arc<Part>, directory: &'a DestinationDirectory) -> Self {
        let origins = part.origins(transfer.target);
        Self { transfer, part, directory, origins, needs: NeedBatch::default(), staying: Vec::new() }
    }

    /// Walks the offered entries and the listed ones side by side. An entry that is only listed is extraneous. Without a list
    /// every offered entry is looked for. Entries that were `seen` already, all of them or none, are not looked at again.
    fn examine(mut self, listed: Option<Vec<Listed>>, seen: Vec<SeenEntry>) -> Result<(), Failure> {
        let has_list = listed.is_some();
        let listed = listed.unwrap_or_default();
        if let Some(dir) = self.directory.handle()
            && listed.iter().any(|listed| listed.name.as_bytes() == STAGING_INSIDE.as_bytes())
        {
            self.transfer.target.sweep(&self.part.path, dir);
        }
        let mut listed = listed.into_iter().peekable();
        let mut seen = seen.into_iter();
        let mut extraneous = Vec::new();
        let mut placed = 0;
        for file in self.part.all_entries() {
            let offered = file.offered();
            while let Some(other) = listed.next_if(|other| other.name < offered.name) {
                extraneous.push(other);
            }
            let found = listed.next_if(|other| other.name == offered.name).is_some() || !has_list;
            let entry = match seen.next() {
                Some(SeenEntry { stat, observed_at }) => Ok(self.directory.seen(offered, stat, observed_at)),
                None => self.directory.entry(offered, found),
            };
            let decided = entry.and_then(|entry| {
                if entry.existing.is_some() && self.origins.has(&offered.name) {
                    self.staying.push(file.index);
                    placed += 1;
                }
                self.decide(&file, &entry)
            });
            self.transfer.settle_failed(&file, decided)?;
        }
        extraneous.extend(listed);
        self.transfer.deletion.count_placed(placed);
        self.transfer.deletion.count_offered(self.part.entries.len());
        self.note_placed(&extraneous);
        self.needs.send(self.transfer.report, self.part)?;
        let Some(dir) = self.directory.handle() else { return Ok(()) };
        extraneous.retain(|other| {
            self.part.range.lacks(&other.name)
                && !self.transfer.target.is_reserved(&self.part.path, &other.name)
        });
        self.transfer.deletion.note_extraneous(&self.part.path, dir, extraneous)
    }

    /// Notes for the ledger the entries that were put there before or are right as they are. The others follow when they are in
    /// place. A part that speaks for its own names alone leaves the `others` of the directory as they were.
    fn note_placed(&self, others: &[Listed]) {
        let names = self.staying.iter().map(|&index| &self.part.entries[index as usize].name);
        let stays = |name: &&Name| !self.part.range.speaks_of(name) && self.origins.has(name);
        let others = || others.iter().map(|other| &other.name).filter(stays);
        self.transfer.target.note_placed(&self.part.path, names.chain(others()));
        self.transfer.target.remember_contents(&self.part.path, others(), self.origins);
    }

    /// Notes that an entry is right as it is.
    fn stays(&mut self, file: &PartEntry) {
        if self.staying.last() != Some(&file.index) {
            self.staying.push(file.index);
        }
    }

    /// Settles an entry, or begins what it takes to settle it.
    fn decide(&mut self, file: &PartEntry, entry: &DestinationEntry<'_>) -> Result<(), Failure> {
        let Transfer { target, deletion, report, taken, .. } = self.transfer;
        if target.is_reserved(&self.part.path, &entry.offered.name) {
            let text = "the name is reserved for this program's directories at the destination, so it was not transferred";
            report.failed(&entry.path(), text);
            return Ok(self.transfer.settle(self.part)?);
        }
        let make_way = || {
            target.check_may_replace(entry, self.origins, None)?;
            deletion.note_in_the_way(entry)
        };
        let brought = match &entry.offered.what {
            Offered::File { size, hash, .. } => return self.decide_file(file, entry, *size, *hash),
            Offered::Directory => {
                if entry.existing.is_some_and(|existing| existing.kind != Kind::Directory) {
                    target.check_may_replace(entry, self.origins, None)?;
                }
                let brought = target.bring_directory(entry)?;
                if brought == Brought::Kept && !self.origins.has(&entry.offered.name) {
                    target.note_directory_placed(&self.part.path, &entry.offered.name);
                }
                Some(brought)
            }
            Offered::Symlink(_) if !taken.links => {
                report.skipped(&entry.path(), "skipping a symlink: -l is not given");
                None
            }
            Offered::Symlink(link_target) => Some(target.bring_symlink(entry, link_target, make_way)?),
            Offered::Special(kind, _) if !taken.takes_special(*kind) => {
                report.skipped(&entry.path(), "skipping a non-regular file");
                None
            }
            Offered::Special(kind, rdev) => Some(target.bring_special(entry, *kind, *rdev, make_way)?),
        };
        if brought.is_some() {
            file.part.remember(stand_in_record(entry.offered));
        }
        if brought == Some(Brought::Kept) {
            self.stays(file);
        }
        Ok(self.transfer.settle(self.part)?)
    }

    /// Decides on a regular file of `size` bytes. `theirs` is its hash, if the sender knows it.
    fn decide_file(
        &mut self,
        file: &PartEntry,
        entry: &DestinationEntry<'_>,
        size: u64,
        theirs: Option<ContentHash>,
    ) -> Result<(), Failure> {
        let Transfer { target, deletion, quick_check, .. } = self.transfer;
        let existing = entry.existing.filter(|existing| existing.kind == Kind::File);
        let Some(existing) = existing else {
            target.check_may_replace(entry, self.origins, None)?;
            deletion.note_in_the_way(entry)?;
            // Maybe the destination has the content elsewhere.
            if size > 0 && entry.offered.content_bytes() == 0 && target.may_have_content_of(size) {
                return self.compare_later(file, entry, size, theirs);
            }
            return self.bring_content(file, entry, size, theirs);
        };
        if existing.size != size {
            return self.bring_content(file, entry, size, theirs);
        }
        let ours = self.origins.content_of(&entry.offered.name, &FileIdentity::from(&existing));
        if *quick_check && entry.offered.mtime.is_some_and(|mtime| same_time(mtime, existing.mtime)) {
            return self.keep(file, entry, &existing, ours);
        }
        match (ours, theirs) {
            (Some(ours), Some(theirs)) if ours == theirs => self.keep(file, entry, &existing, Some(ours)),
            (Some(_), Some(_)) => self.bring_content(file, entry, size, theirs),
            _ => self.compare_later(file, entry, size, theirs),
        }
    }

    /// Has the file compared by its hash; asks the sender for that first if it is not known. A large file is left for another run, but
    /// not one in conflict: the comparison may settle that. And a run about everything compares a file that is there: it is probably
    /// right, and the sender's cache knows it from then on.
    fn compare_later(
        &mut self,
        file: &PartEntry,
        entry: &DestinationEntry<'_>,
        size: u64,
        theirs: Option<ContentHash>,
    ) -> Result<(), Failure> {
        let Transfer { target, report, defer_above, .. } = self.transfer;
        let is_there =
            entry.existing.is_some_and(|existing| existing.kind == Kind::File && existing.size == size);
        if size > *defer_above
            && (self.transfer.some_paths || !is_there)
            && !target.is_ahead(entry, size)
            && target.check_may_replace(entry, self.origins, None).is_ok()
        {
            report.deferred(&entry.path());
            return Ok(self.transfer.settle(self.part)?);
        }
        match theirs {
            Some(theirs) => self.transfer.enqueue(Work::Compare(file.clone(), theirs)),
            None => {
                *file.state() = FileState::Hash;
                self.needs.hash(file.index);
            }
        }
        Ok(())
    }

    fn keep(
        &mut self,
        file: &PartEntry,
        entry: &DestinationEntry<'_>,
        existing: &Stat,
        ours: Option<ContentHash>,
    ) -> Result<(), Failure> {
        if compare::keep(self.transfer, file, entry, existing, ours, &mut self.needs)? == Kept::Right {
            self.stays(file);
            self.transfer.settle(self.part)?;
        }
        Ok(())
    }

    /// Brings a content that the file does not have: from where it was staged ahead, or else from the sender.
    fn bring_content(
        &mut self,
        file: &PartEntry,
        entry: &DestinationEntry<'_>,
        size: u64,
        theirs: Option<ContentHash>,
    ) -> Result<(), Failure> {
        if self.transfer.target.is_ahead(entry, size) {
            return self.compare_later(file, entry, size, theirs);
        }
        self.ask_for_content(file, entry)
    }

    fn ask_for_content(&mut self, file: &PartEntry, entry: &DestinationEntry<'_>) -> Result<(), Failure> {
        compare::ask_for_content(self.transfer, file, entry, None, &mut self.needs)
    }
}
