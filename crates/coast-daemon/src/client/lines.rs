//! Answers of the daemon that have one JSON object per line.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;

use serde::de::DeserializeOwned;

use super::MAX_ANSWER_BYTES;
use crate::exchange::Body;

/// The lines of an answer, one after the other. Any time may pass between two lines.
pub(super) struct JsonLines(BufReader<Body>);

impl JsonLines {
    /// The lines of `body`.
    ///
    /// # Errors
    /// When the time limit of the connection cannot be lifted.
    pub(super) fn of(body: Body) -> io::Result<Self> {
        body.stream().set_read_timeout(None)?;
        Ok(Self(BufReader::new(body)))
    }

    /// The connection on which the lines arrive.
    pub(super) fn stream(&self) -> &UnixStream {
        self.0.get_ref().stream()
    }

    /// The object of the next line. `None` after the last line.
    ///
    /// # Errors
    /// When the connection fails, or the line is not the JSON of a `T`.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut line = Vec::new();
        match self.0.by_ref().take(MAX_ANSWER_BYTES).read_until(b'\n', &mut line)? {
            0 => Ok(None),
            _ => Ok(Some(serde_json::from_slice(&line)?)),
        }
    }
}
