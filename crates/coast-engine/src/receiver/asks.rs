//! Questions to the sender that need no signature.

use coast_wire::{Need, ToSender, Want};

use super::parts::LivePart;
use super::{Run, Stopped};

/// Questions about the files of one part, sent together.
#[derive(Default)]
pub(super) struct Asks(Vec<(u32, Question)>);

/// What is asked of the sender, without a signature.
#[derive(Clone, Copy)]
enum Question {
    Hash,
    Content,
}

impl Asks {
    pub(super) fn hash(&mut self, index: u32) {
        self.0.push((index, Question::Hash));
    }

    pub(super) fn content(&mut self, index: u32) {
        self.0.push((index, Question::Content));
    }

    pub(super) fn send(self, run: &Run<'_>, part: &LivePart) -> Result<(), Stopped> {
        if self.0.is_empty() {
            return Ok(());
        }
        let want = |question| match question {
            Question::Hash => Want::Hash,
            Question::Content => Want::Content,
        };
        let needs =
            self.0.into_iter().map(|(index, question)| Need { index, want: want(question) }).collect();
        run.tell(&ToSender::Needs { part: part.id, needs })
    }
}
