//! Questions to the sender that need no signature.

use coast_wire::{Need, ToSender, Want};

use super::part::Part;
use crate::receiver::report::Report;
use crate::stop::Stopped;

/// Questions about the files of one part, sent together.
#[derive(Default)]
pub(super) struct NeedBatch {
    needs: Vec<Need<'static>>,
}

impl NeedBatch {
    /// Asks for the hash of a file.
    pub(super) fn hash(&mut self, index: u32) {
        self.needs.push(Need { index, want: Want::Hash });
    }

    /// Asks for all content of a file.
    pub(super) fn content(&mut self, index: u32) {
        self.needs.push(Need { index, want: Want::Content });
    }

    pub(super) fn send(self, report: &Report<'_>, part: &Part) -> Result<(), Stopped> {
        if self.needs.is_empty() {
            return Ok(());
        }
        report.tell(&ToSender::Needs { part: part.id, needs: self.needs })
    }
}
