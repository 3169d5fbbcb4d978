//! Examines a directory of the destination, and settles every entry that can be settled at once.

use std::sync::Arc;

use coast_tree::state::STAGING_INSIDE;
use coast_tree::{DirRecords, Listed};

use super::Transfer;
use super::compare;
use super::need_batch::NeedBatch;
use super::part::{NameRange, Part};
use super::work::Work;
use crate::receiver::failure::Failure;
use crate::receiver::offered::Offered;
use crate::receiver::target::{DestinationDirectory, DestinationEntry};

/// Examines the directory of a part, then lets the parts go on that waited for it.
pub(super) fn examine(transfer: &Transfer<'_>, part: &Arc<Part>) -> Result<(), Failure> {
    let entered = transfer.target.enter(&part.path);
    match entered.and_then(|directory| Ok((directory.list()?, directory))) {
        Ok((listed, directory)) => Examination::new(transfer, part, &directory).examine(listed)?,
        Err(error) => {
            transfer.report_directory_failed(part, &error);
            for _ in &part.entries {
                transfer.settle(part)?;
            }
        }
    }
    for waiting in transfer.parts.examined(part.id) {
        transfer.enqueue(Work::Examine(waiting));
    }
    Ok(transfer.settle(part)?)
}

/// The examination of one directory.
struct Examination<'a> {
    transfer: &'a Transfer<'a>,
    part: &'a Arc<Part>,
    directory: &'a DestinationDirectory,
    cached: Option<DirRecords>,
    needs: NeedBatch,
}

impl<'a> Examination<'a> {
    fn new(transfer: &'a Transfer<'a>, part: &'a Arc<Part>, directory: &'a DestinationDirectory) -> Self {
        let cached = transfer.target.known_in(&part.path);
        Self { transfer, part, directory, cached, needs: NeedBatch::default() }
    }

    /// Walks the offered entries and the listed ones side by side. An entry that is only listed is extraneous. Without a list
    /// every offered entry is looked for.
    fn examine(mut self, listed: Option<Vec<Listed>>) -> Result<(), Failure> {
        let is_listed = listed.is_some();
        let listed = listed.unwrap_or_default();
        if let Some(dir) = self.directory.handle()
            && listed.iter().any(|listed| listed.name.as_bytes() == STAGING_INSIDE.as_bytes())
        {
            self.transfer.target.sweep(&self.part.path, dir);
        }
        let mut listed = listed.into_iter().peekable();
        let mut extraneous = Vec::new();
        for (index, offered) in (0..).zip(&self.part.entries) {
            while let Some(other) = listed.next_if(|other| other.name < offered.name) {
                extraneous.push(other);
            }
            let found = listed.next_if(|other| other.name == offered.name).is_some() || !is_listed;
            let decided = self.directory.entry(offered, found).and_then(|entry| self.decide(index, &entry));
            self.transfer.settle_failed(self.part, index, decided)?;
        }
        extraneous.extend(listed);
        self.needs.send(self.transfer.report, self.part)?;
        let Some(dir) = self.directory.handle() else { return Ok(()) };
        if let NameRange::Names { after, up_to } = &self.part.range {
            extraneous.retain(|other| {
                after.as_ref().is_none_or(|after| other.name > *after)
                    && up_to.as_ref().is_none_or(|up_to| other.name <= *up_to)
                    && !self.transfer.target.is_reserved(&self.part.path, &other.name)
            });
            self.transfer.deletion.note_extraneous(&self.part.path, dir, extraneous)?;
        }
        Ok(())
    }

    /// Settles an entry, or begins what it takes to settle it.
    fn decide(&mut self, index: u32, entry: &DestinationEntry<'_>) -> Result<(), Failure> {
        let Transfer { target, deletion, report, taken, .. } = self.transfer;
        if target.is_reserved(&self.part.path, &entry.offered.name) {
            let text = "the name is reserved for this program's directories at the destination, so it was not transferred";
            report.failed(&entry.path(), text);
            return Ok(self.transfer.settle(self.part)?);
        }
        let make_way = || deletion.note_in_the_way(entry);
        match &entry.offered.what {
            Offered::File { size, hash } => {
                return compare::decide_file(
                    self.transfer,
                    (self.part, index),
                    entry,
                    (*size, *hash),
                    self.cached.as_ref(),
                    &mut self.needs,
                );
            }
            Offered::Directory => target.bring_directory(entry)?,
            Offered::Symlink(_) if !taken.links => {
                report.skipped(&entry.path(), "skipping a symlink: -l is not given");
            }
            Offered::Symlink(link_target) => target.bring_symlink(entry, link_target, make_way)?,
            Offered::Special(kind, _) if !taken.takes_special(*kind) => {
                report.skipped(&entry.path(), "skipping a non-regular file");
            }
            Offered::Special(kind, rdev) => target.bring_special(entry, *kind, *rdev, make_way)?,
        }
        Ok(self.transfer.settle(self.part)?)
    }
}
