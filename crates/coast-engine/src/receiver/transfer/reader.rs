//! Takes frames from the stream: messages whose order matters are decoded here, content goes to the workers.

use std::io::Read;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use coast_wire::{Class, Frame, ToReceiver, ToSender, WireError, messages};

use super::Transfer;
use super::announced::AnnouncedPart;
use super::part::Part;
use super::work::Work;
use crate::error::EngineError;
use crate::receiver::frames::RunFrames;
use crate::receiver::offered::OfferedEntry;

/// The sender is told how long its bytes were waited for whenever this many have arrived.
const TOLD_BYTES: u64 = 1 << 20;

/// How long the bytes of a run were waited for. It says how fast the link is, whatever keeps this side busy.
#[derive(Default)]
struct Wait {
    bytes: u64,
    time: Duration,
}

impl Wait {
    fn next_frame<R: Read>(&mut self, frames: &mut RunFrames<'_, R>) -> Result<Option<Frame>, WireError> {
        let started = Instant::now();
        let frame = frames.next()?;
        self.time += started.elapsed();
        self.bytes += frame.as_ref().map_or(0, |frame| frame.held_bytes() as u64);
        Ok(frame)
    }

    /// The message for the sender, if enough has arrived since the last one.
    fn due_message(&mut self) -> Option<ToSender<'static>> {
        if self.bytes < TOLD_BYTES {
            return None;
        }
        let Self { bytes, time } = std::mem::take(self);
        let waited_micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Some(ToSender::Arrived { bytes, waited_micros })
    }
}

impl Transfer<'_> {
    /// Takes frames until the sender ends the run or closes the stream, which it does when it was told how the run ended.
    pub(in crate::receiver) fn take_in<R: Read>(
        &self,
        frames: &mut RunFrames<'_, R>,
    ) -> Result<(), EngineError> {
        let mut wait = Wait::default();
        while let Some(frame) = wait.next_frame(frames)? {
            match frame.class() {
                Class::Control | Class::End => {
                    let payload = frame.decode()?;
                    for message in messages(&payload) {
                        self.take_message(message?)?;
                    }
                }
                Class::Data => {
                    if self.tells_waits
                        && let Some(message) = wait.due_message()
                        && self.report.tell(&message).is_err()
                    {
                        return Ok(());
                    }
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
