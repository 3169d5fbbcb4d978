//! An entry at its place in the destination: what is there, how its work may fail, and when it is done with.

use std::io;
use std::sync::{Arc, PoisonError};

use coast_tree::{DirHandle, Name, Stat, Timestamp};
use coast_wire::ToSender;

use super::parts::{LivePart, WantedEntry};
use super::{Run, Stopped};
use crate::error::EngineError;

/// An entry, and what is at its place now.
pub(super) struct Site<'a> {
    pub(super) part: &'a Arc<LivePart>,
    pub(super) index: u32,
    pub(super) entry: &'a WantedEntry,
    /// The directory it is in; none only in a dry run that would have made it.
    pub(super) dir: Option<&'a DirHandle>,
    pub(super) existing: Option<Stat>,
    /// The system's time from before that was looked at.
    pub(super) observed_at: Timestamp,
}

impl Site<'_> {
    pub(super) fn path(&self) -> Vec<u8> {
        full_path(self.part, &self.entry.name)
    }
}

pub(super) fn full_path(part: &LivePart, name: &Name) -> Vec<u8> {
    if part.path.is_root() {
        name.as_bytes().to_vec()
    } else {
        [part.path.as_bytes(), b"/", name.as_bytes()].concat()
    }
}

/// Why an entry's work did not end well.
pub(super) enum Failure {
    Stopped,
    /// It cannot be done for this entry: what was being done, and what the system answered.
    Entry(&'static str, io::Error),
    /// The run cannot go on.
    Run(EngineError),
}

impl From<Stopped> for Failure {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// What every kind of work on an entry does.
impl Run<'_> {
    /// Opens an entry's directory again, for work that was put off.
    pub(super) fn revisit<T>(
        &self,
        part: &Arc<LivePart>,
        index: u32,
        work: impl FnOnce(&Site<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let observed_at = Timestamp::now();
        let entry = &part.entries[index as usize];
        let dir =
            self.directory(&part.path).map_err(|error| Failure::Entry("cannot open its directory", error))?;
        let existing = match &dir {
            Some(dir) => {
                dir.stat(&entry.name).map_err(|error| Failure::Entry("cannot read its attributes", error))?
            }
            None => None,
        };
        work(&Site { part, index, entry, dir: dir.as_ref(), existing, observed_at })
    }

    /// Settles an entry that failed, unless what failed it would fail everything.
    pub(super) fn or_fail(
        &self,
        part: &Arc<LivePart>,
        index: u32,
        done: Result<(), Failure>,
    ) -> Result<(), Failure> {
        match done {
            Err(Failure::Entry(doing, error)) => {
                self.report(part, index, doing, error)?;
                Ok(self.settle(part)?)
            }
            done => done,
        }
    }

    /// Tells of an entry that failed; ends the run when the reason would fail every entry to come.
    pub(super) fn report(
        &self,
        part: &LivePart,
        index: u32,
        doing: &'static str,
        error: io::Error,
    ) -> Result<(), Failure> {
        if error.kind() == io::ErrorKind::NotFound {
            self.check_still_there().map_err(Failure::Run)?;
        }
        let path = full_path(part, &part.entries[index as usize].name);
        if Self::is_fatal(&error) {
            let doing = format!("{}: {doing}", path.escape_ascii());
            return Err(Failure::Run(EngineError::FileIo { doing, error }));
        }
        self.problem(&path, doing, &error);
        Ok(())
    }

    /// One entry is done with; forgets the part with its last one.
    pub(super) fn settle(&self, part: &Arc<LivePart>) -> Result<(), Stopped> {
        if !part.settle_one() {
            return Ok(());
        }
        let records = std::mem::take(&mut *part.records.lock().unwrap_or_else(PoisonError::into_inner));
        self.cache.append(&part.path, records);
        // Counted out before the sender is told that it has room again, and told before the run can end.
        let last = self.parts.settle(part);
        self.tell(&ToSender::Settled { part: part.id })?;
        if last {
            self.all_settled();
        }
        Ok(())
    }
}
