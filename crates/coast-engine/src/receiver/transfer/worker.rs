//! One worker's loop.

use std::sync::Arc;

use coast_tree::ContentHash;

use super::content::ContentWorker;
use super::part::Part;
use super::{Transfer, compare, examine, signing};
use crate::error::EngineError;
use crate::receiver::failure::Failure;
use crate::stop::Stopped;

/// Work beside applying content.
pub(super) enum Work {
    /// Examine a directory.
    Examine(Arc<Part>),
    /// Compare a file with the sender's hash.
    Compare(Arc<Part>, u32, ContentHash),
    /// Make a signature of a file's basis.
    Sign {
        part: Arc<Part>,
        index: u32,
        /// Bytes of the signature window that it has been given.
        granted: usize,
    },
}

impl Transfer<'_> {
    /// Takes what there is to do until the run stops.
    pub(in crate::receiver) fn work(&self) {
        let mut content = ContentWorker::new(self);
        while let Ok(()) = self.work_once(&mut content) {}
    }

    fn work_once(&self, content: &mut ContentWorker<'_>) -> Result<(), Stopped> {
        // Content first: it holds memory.
        let done = if let Ok(frame) = self.content.receiver.try_recv() {
            content.apply(&frame)
        } else {
            crossbeam_channel::select! {
                recv(self.content.receiver) -> frame => content.apply(&frame.map_err(|_| Stopped)?),
                recv(self.work.receiver) -> work => self.do_work(work.map_err(|_| Stopped)?),
                recv(self.stop.stopped()) -> _ => return Err(Stopped),
            }
        };
        done.map_err(|error| {
            self.stop.fail(error);
            Stopped
        })
    }

    /// Does one piece of work. A failure of one entry is told, and ends nothing else.
    fn do_work(&self, work: Work) -> Result<(), EngineError> {
        let done = match work {
            Work::Examine(part) => examine::examine(self, &part),
            Work::Compare(part, index, theirs) => compare::compare_again(self, &part, index, theirs),
            Work::Sign { part, index, granted } => signing::sign_again(self, &part, index, granted),
        };
        done.or_else(Failure::of_run)
    }
}
