//! Takes frames from the stream: messages whose order matters are decoded here, content goes to the workers.

use std::io::Read;
use std::sync::atomic::Ordering;

use coast_wire::{Class, ToReceiver, messages};

use super::Transfer;
use super::announced::AnnouncedPart;
use super::part::Part;
use super::work::Work;
use crate::error::EngineError;
use crate::receiver::frames::RunFrames;
use crate::receiver::offered::OfferedEntry;

impl Transfer<'_> {
    /// Takes frames until the sender ends the run or closes the stream, which it does when it was told how the run ended.
    pub(in crate::receiver) fn take_in<R: Read>(
        &self,
        frames: &mut RunFrames<'_, R>,
    ) -> Result<(), EngineError> {
        while let Some(frame) = frames.next()? {
            match frame.class() {
                Class::Control | Class::End => {
                    let payload = frame.decode()?;
                    for message in messages(&payload) {
                        self.take_message(message?)?;
                    }
                }
                Class::Data => {
                    crossbeam_channel::select! {
                        send(self.content.sender, frame) -> _ => {}
                        recv(self.stop.stopped()) -> _ => return Ok(()),
                    }
                }
            }
        }
        if self.stop.is_stopped() { Ok(()) } else { Err(EngineError::Disconnected) }
    }

    fn take_message(&self, message: ToReceiver<'_>) -> Result<(), EngineError> {
        match message {
            ToReceiver::Root(entry) => {
                self.deletion.root_is_sent();
                self.target.fix_root(&OfferedEntry::root(entry)?)?;
            }
            ToReceiver::Owners { users, groups } => self.target.learn_owners(&users, &groups)?,
            ToReceiver::Part(part) => {
                let parent = part.parent;
                let part = Part::check(part, self.rename.as_ref())?;
                if let Some(arrived) = self.parts.arrive(part, parent)? {
                    self.enqueue(Work::from(arrived));
                }
            }
            ToReceiver::Digest(part) => {
                let announced = AnnouncedPart::check(&part)?;
                if let Some(arrived) = self.parts.announce(announced, part.parent)? {
                    self.enqueue(Work::from(arrived));
                }
            }
            ToReceiver::WalkDone { source_errors } => {
                if source_errors {
                    self.note_source_errors();
                }
                if self.parts.walk_done() {
                    self.all_settled();
                }
            }
            ToReceiver::WholeBelow(bytes) => self.whole_below.store(bytes, Ordering::Relaxed),
            ToReceiver::Alive => {}
            _ => return Err(EngineError::Protocol("it sent content out of place")),
        }
        Ok(())
    }
}
