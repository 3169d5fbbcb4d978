//! Takes frames from the stream: what must be in order is decoded here, content goes to the workers.

use std::io::Read;
use std::sync::atomic::Ordering;

use coast_tree::Name;
use coast_tree::state::STATE_INSIDE;
use coast_wire::{Class, FrameReader, ToReceiver, messages};

use super::parts::{LivePart, WantedEntry};
use super::work::Work;
use super::{Run, Stopped};
use crate::error::EngineError;

impl Run<'_> {
    /// Takes frames until the sender closes the stream, which it does when it was told how the run ended.
    pub(super) fn take_in<R: Read>(&self, frames: &mut FrameReader<R>) -> Result<(), EngineError> {
        while let Some(frame) = frames.next_frame()? {
            match frame.class() {
                Class::Control => {
                    let payload = frame.decode()?;
                    for message in messages(&payload) {
                        self.take_message(message?)?;
                    }
                }
                Class::Data => crossbeam_channel::select! {
                    send(self.content.0, frame) -> _ => {}
                    recv(self.stop.stopped()) -> _ => return Ok(()),
                },
            }
        }
        if self.stop.is_stopped() { Ok(()) } else { Err(EngineError::Disconnected) }
    }

    fn take_message(&self, message: ToReceiver<'_>) -> Result<(), EngineError> {
        match message {
            ToReceiver::Root(entry) => {
                if let Some(judge) = &self.judge {
                    judge.root_is_sent();
                }
                self.look_at_root(&WantedEntry::root(entry)?)?;
            }
            ToReceiver::Owners { users, groups } => self.attributes.learn(&users, &groups)?,
            ToReceiver::Part(part) => {
                let parent = part.parent;
                let part = LivePart::check(part, self.rename.as_ref())?;
                if let Some(part) = self.parts.arrive(part, parent)? {
                    self.enqueue(Work::LookAt(part));
                }
            }
            ToReceiver::WalkDone { source_errors } => {
                if source_errors {
                    self.source_errors.store(true, Ordering::Release);
                }
                if self.parts.walk_done() {
                    self.all_settled();
                }
            }
            ToReceiver::Alive => {}
            _ => return Err(EngineError::Protocol("it sent content out of place")),
        }
        Ok(())
    }

    pub(super) fn enqueue(&self, work: Work) {
        // The queue's other end lives as long as the run.
        let _ = self.work.0.send(work);
    }

    /// Wakes who waits for the end of the transfer.
    pub(super) fn all_settled(&self) {
        let _ = self.settled.0.try_send(());
    }

    /// One worker's life: takes what there is until the run stops. Content first: it holds memory.
    pub(super) fn work(&self) {
        let mut hands = super::apply::Hands::default();
        while let Ok(()) = self.work_once(&mut hands) {}
    }

    fn work_once(&self, hands: &mut super::apply::Hands) -> Result<(), Stopped> {
        let done = if let Ok(frame) = self.content.1.try_recv() {
            self.apply(&frame, hands)
        } else {
            crossbeam_channel::select! {
                recv(self.content.1) -> frame => self.apply(&frame.map_err(|_| Stopped)?, hands),
                recv(self.work.1) -> work => self.do_work(work.map_err(|_| Stopped)?),
                recv(self.stop.stopped()) -> _ => return Err(Stopped),
            }
        };
        done.map_err(|error| {
            self.stop.fail(error);
            Stopped
        })
    }

    /// Whether an entry is a state directory in the workspace: this run's, or that of a run by another user, who may
    /// find no place for it beside the workspace.
    pub(super) fn reserved(&self, path_is_root: bool, name: &Name) -> bool {
        path_is_root
            && (name.as_bytes() == STATE_INSIDE.as_bytes()
                || self.state.as_ref().is_some_and(|state| state.is_called(name)))
    }
}
