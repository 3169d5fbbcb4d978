//! What a run tells while it goes on and when it has ended.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use coast_sync::{BatchReport, Event, Monitor, ProblemKind, Progress, RelPath};
use coast_tree::{LockExt, LockResultExt};

use super::shared::Shared;
use super::status::{FollowerState, LastBatch, MAX_LISTED, Side};
use super::trouble::Left;

/// What there is to tell of a run that changed something.
pub(super) fn last_batch(report: &BatchReport, elapsed: Duration) -> Option<LastBatch> {
    let there = &report.run.receiver;
    let files = there.transferred_files + there.cloned_files;
    if files + there.created + there.deleted + there.attributes == 0 {
        return None;
    }
    let bytes = there.transferred_bytes + there.cloned_bytes;
    Some(LastBatch { files, bytes, deleted: there.deleted, elapsed, at: SystemTime::now() })
}

/// Watches a run: how far it is, and which entries it leaves because something else is at work there.
pub(super) struct Notices<'a> {
    shared: &'a Shared,
    left: Mutex<Vec<Left>>,
}

impl<'a> Notices<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self { shared, left: Mutex::default() }
    }

    /// The entries that the run has left for the moment.
    pub(super) fn left(self) -> Vec<Left> {
        self.left.into_inner().even_poisoned()
    }
}

impl Monitor for Notices<'_> {
    fn event(&self, event: &Event<'_>) {
        let (path, text) = match event {
            Event::Problem { path, kind: ProblemKind::DestinationChanged, text } => {
                (path, Some((*text).to_owned()))
            }
            Event::Problem { path, kind: ProblemKind::Kept, .. } => (path, None),
            Event::Notice { text } => {
                return self.shared.tell(|told| told.notice = Some((*text).to_owned()));
            }
            _ => return,
        };
        let mut left = self.left.enter();
        if let Ok(path) = RelPath::new(path)
            && left.len() < MAX_LISTED
        {
            left.push(Left { path, side: Side::Remote, text });
        }
    }

    fn started(&self, progress: &Arc<Progress>) {
        self.shared.tell(|told| {
            told.state = FollowerState::Sending;
            told.progress = Some(Arc::clone(progress));
        });
    }
}
