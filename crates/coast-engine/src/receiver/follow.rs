//! Many runs over one stream, for a sender that follows its source.

use std::io::{Read, Write};

use coast_wire::{Class, Frame, FrameReader};

use super::frames::{End, RunFrames};
use super::{Conversation, Receiver, fetch, refuse};
use crate::Cancel;
use crate::error::EngineError;
use crate::monitor::Monitor;

/// The receiving end of a stream that carries many runs into one workspace. Each run takes the lock of the workspace and frees it,
/// so that others can work in the workspace between two runs. The other end is a [`FollowSender`](crate::FollowSender).
pub struct Following<R, W> {
    receiver: Receiver,
    frames: FrameReader<R>,
    writer: W,
    confined: bool,
    /// The first frame of the next run.
    first: Option<Frame>,
}

impl<R, W> std::fmt::Debug for Following<R, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Following").field("receiver", &self.receiver).finish_non_exhaustive()
    }
}

impl<R: Read + Send, W: Write + Send> Following<R, W> {
    pub(super) fn new(receiver: Receiver, reader: R, writer: W, confined: bool) -> Self {
        Self { receiver, frames: FrameReader::new(reader), writer, confined, first: None }
    }

    /// Waits for the next run, however long that takes. False when the sender has closed the stream.
    ///
    /// # Errors
    /// When the stream fails.
    pub fn wait(&mut self) -> Result<bool, EngineError> {
        loop {
            match self.frames.next_frame()? {
                // The end of a run that was over before.
                Some(frame) if frame.class() == Class::End => {}
                frame => {
                    self.first = frame;
                    return Ok(self.first.is_some());
                }
            }
        }
    }

    /// Carries out the run that [`Following::wait`] has found, or answers with the entry that the sender asks for in place of one. What
    /// fails is told to the sender, and is no error if the next run may succeed.
    ///
    /// # Errors
    /// When no other run is possible: the stream failed, the sender broke the protocol, or the workspace was removed or replaced.
    pub fn serve(&mut self, monitor: &dyn Monitor, cancel: &Cancel) -> Result<(), EngineError> {
        let first = self.first.take();
        let asked = first.as_ref().map_or(Ok(None), fetch::asked_path);
        let mut frames = RunFrames::new(&mut self.frames, first);
        let run = self.receiver.for_another_run();
        let ended = match asked {
            Ok(None) => {
                let writer = &mut self.writer;
                run.converse(&mut frames, writer, self.confined, Conversation::Many, monitor, cancel)
                    .map(drop)
            }
            asked => asked
                .and_then(|path| path.map_or(Ok(()), |path| run.answer(&path, &mut self.writer, cancel)))
                .inspect_err(|error| {
                    // A sender that cannot be told notices the end of the stream.
                    let _ = refuse(error, &mut self.writer);
                }),
        };
        if let Err(
            error @ (EngineError::Wire(_)
            | EngineError::Protocol(_)
            | EngineError::Removed { .. }
            | EngineError::Interrupted),
        ) = ended
        {
            return Err(error);
        }
        match frames.skip()? {
            End::OfRun => Ok(()),
            End::OfStream => Err(EngineError::Disconnected),
        }
    }
}
