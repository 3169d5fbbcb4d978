//! One worker's loop.

use super::content::ContentWorker;
use super::work::Work;
use super::{Transfer, announced, compare, examine, signing};
use crate::error::EngineError;
use crate::receiver::failure::Failure;
use crate::stop::Stopped;

impl Transfer<'_> {
    /// Processes work and content until the run stops.
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
            Work::CompareDigest(part) => announced::compare(self, part),
            Work::Compare(file, theirs) => compare::compare_and_settle(self, &file, theirs),
            Work::Sign { file, granted } => signing::sign_and_settle(self, &file, granted),
        };
        done.or_else(Failure::of_run)
    }
}
