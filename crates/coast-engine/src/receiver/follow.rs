//! Many runs over one stream, for a sender that follows its source.

use std::io::{Read, Write};

use coast_tree::RelPath;
use coast_wire::{Class, FileContents, Frame, FrameReader, ToReceiver, messages};

use super::frames::{End, RunFrames};
use super::{Conversation, Receiver, refuse};
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
    /// Whether nothing was asked for yet.
    is_new: bool,
}

impl<R, W> std::fmt::Debug for Following<R, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Following").field("receiver", &self.receiver).finish_non_exhaustive()
    }
}

impl<R: Read + Send, W: Write + Send> Following<R, W> {
    pub(super) fn new(receiver: Receiver, reader: R, writer: W, confined: bool) -> Self {
        Self { receiver, frames: FrameReader::new(reader), writer, confined, first: None, is_new: true }
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
        if std::mem::take(&mut self.is_new) {
            self.receiver.forget_ahead();
        }
        let request = first.as_ref().map_or(Ok(Request::Run), Request::of);
        let mut frames = RunFrames::new(&mut self.frames, first);
        let run = match request {
            Ok(Request::Run) => Ok(Some(self.receiver.for_another_run())),
            Ok(Request::Staging) => self.receiver.for_staging().map(Some),
            Ok(Request::Fetch(path)) => {
                self.receiver.for_another_run().answer(&path, &mut self.writer, cancel).map(|()| None)
            }
            Err(error) => Err(error),
        };
        let ended = match run {
            Ok(Some(run)) => {
                let writer = &mut self.writer;
                run.converse(&mut frames, writer, self.confined, Conversation::Many, monitor, cancel)
                    .map(drop)
            }
            answered => answered.map(drop).inspect_err(|error| {
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

/// What the first frame after the end of a run asks for.
enum Request {
    Run,
    /// A run that only stages contents ahead.
    Staging,
    /// The entry at this path of the destination.
    Fetch(RelPath),
}

impl Request {
    fn of(frame: &Frame) -> Result<Self, EngineError> {
        // The run says what is wrong with a frame that cannot be read.
        let Ok(payload) = frame.decode() else { return Ok(Self::Run) };
        let mut all = messages(&payload);
        Ok(match (all.next(), all.next()) {
            (Some(Ok(ToReceiver::Fetch { path })), None) => {
                let path = RelPath::new(path);
                let bad_path = |_| EngineError::Protocol("it sent a path that no file can have");
                Self::Fetch(path.map_err(bad_path)?)
            }
            (Some(Ok(ToReceiver::Start(options))), None)
                if options
                    .follow
                    .as_ref()
                    .is_some_and(|follow| follow.contents == FileContents::StageOnly) =>
            {
                Self::Staging
            }
            _ => Self::Run,
        })
    }
}
