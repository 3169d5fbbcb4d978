//! What workers do beside applying content.

use std::sync::Arc;

use coast_tree::ContentHash;

use super::Run;
use super::parts::LivePart;
use super::site::Failure;
use crate::error::EngineError;

/// One piece of work.
pub(super) enum Work {
    /// Look at a directory.
    LookAt(Arc<LivePart>),
    /// Compare a file with the sender's hash.
    Compare(Arc<LivePart>, u32, ContentHash),
    /// Make a signature of a file's basis.
    Sign {
        part: Arc<LivePart>,
        index: u32,
        /// Bytes of the signature window that it has been given.
        granted: usize,
    },
}

impl Run<'_> {
    /// Does it; what fails for one entry is told and ends nothing else.
    pub(super) fn do_work(&self, work: Work) -> Result<(), EngineError> {
        let done = match work {
            Work::LookAt(part) => self.look_at(&part),
            Work::Compare(part, index, theirs) => {
                let compared = self.revisit(&part, index, |site| self.compare(site, theirs));
                self.or_fail(&part, index, compared)
            }
            Work::Sign { part, index, mut granted } => {
                let signed = self.revisit(&part, index, |site| self.sign(site, &mut granted));
                self.release_signature(granted);
                self.or_fail(&part, index, signed)
            }
        };
        match done {
            Ok(()) | Err(Failure::Stopped) => Ok(()),
            Err(Failure::Run(error)) => Err(error),
            Err(Failure::Entry(doing, error)) => Err(EngineError::FileIo { doing: doing.to_owned(), error }),
        }
    }
}
