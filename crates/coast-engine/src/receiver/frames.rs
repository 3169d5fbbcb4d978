//! The frames of one run, of a stream that may carry the frames of others before and after them.

use std::io::Read;

use coast_wire::{Class, Frame, FrameReader, WireError};

/// Reads the frames of one run.
pub(super) struct RunFrames<'s, R> {
    stream: &'s mut FrameReader<R>,
    /// A frame that was read before.
    first: Option<Frame>,
    end: Option<End>,
}

/// How the frames of a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The sender says that the run is over.
    OfRun,
    /// The stream ended.
    OfStream,
}

impl<'s, R: Read> RunFrames<'s, R> {
    /// The frames that come next, after the frame `first` if there is one.
    pub(super) fn new(stream: &'s mut FrameReader<R>, first: Option<Frame>) -> Self {
        Self { stream, first, end: None }
    }

    /// The next frame, or none after the last one.
    ///
    /// # Errors
    /// See [`FrameReader::next_frame`].
    pub(super) fn next(&mut self) -> Result<Option<Frame>, WireError> {
        if self.end.is_some() {
            return Ok(None);
        }
        let frame = match self.first.take() {
            None => self.stream.next_frame()?,
            first => first,
        };
        self.end = match &frame {
            None => Some(End::OfStream),
            Some(frame) if frame.class() == Class::End => Some(End::OfRun),
            Some(_) => None,
        };
        Ok(frame.filter(|_| self.end.is_none()))
    }

    /// Passes over what the sender still sends for a run that is over, and answers how it ended.
    pub(super) fn skip(&mut self) -> Result<End, WireError> {
        while self.next()?.is_some() {}
        Ok(self.end.unwrap_or(End::OfStream))
    }
}
