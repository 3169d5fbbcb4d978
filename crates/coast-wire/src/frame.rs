//! Frames as they arrive: a bounded header, a payload that is decoded when someone has time for it, and the
//! messages in it.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::marker::PhantomData;

use serde::Deserialize;

use crate::WireError;
use crate::limits::MAX_FRAME_BYTES;

pub(crate) const HEADER_BYTES: usize = 8;
const FLAG_ZSTD: u8 = 1;
const FLAG_DATA: u8 = 2;
const FLAG_END: u8 = 4;
/// Not a frame of the run: it says how the bytes after it are spread over streams. The field for the decompressed size holds a
/// [`StreamSet`](crate::StreamSet).
pub(crate) const FLAG_STREAMS: u8 = 8;
const LENGTH_MAX: usize = 0xff_ffff;
const _: () = assert!(MAX_FRAME_BYTES < LENGTH_MAX);

/// Whether a frame's place among the others matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Decoded in the order it came.
    Control,
    /// Decoded by anyone at any time.
    Data,
    /// The last frame of a run, where a stream carries several. It is empty.
    End,
}

/// One frame, not yet decoded.
#[derive(Debug)]
pub struct Frame {
    class: Class,
    raw_len: usize,
    compressed: bool,
    payload: Vec<u8>,
}

impl Frame {
    /// Whether its order matters.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Bytes of memory it holds now.
    pub fn held_bytes(&self) -> usize {
        self.payload.len()
    }

    /// The payload's bytes: messages, one after the other.
    ///
    /// # Errors
    /// When the payload does not decompress to exactly the size its header says.
    pub fn decode(&self) -> Result<Cow<'_, [u8]>, WireError> {
        if !self.compressed {
            return Ok(Cow::Borrowed(&self.payload));
        }
        let raw = zrip::decompress_with_limit(&self.payload, self.raw_len)
            .map_err(|error| WireError::Compression(error.to_string()))?;
        if raw.len() != self.raw_len {
            return Err(WireError::Compression(format!(
                "it holds {} bytes, its header says {}",
                raw.len(),
                self.raw_len
            )));
        }
        Ok(Cow::Owned(raw))
    }
}

/// The frame that ends a run on a stream that stays open for the next run.
pub fn end_of_run() -> Vec<u8> {
    let mut header = vec![0; HEADER_BYTES];
    header[0] = FLAG_END;
    header
}

/// Writes a header in front of a payload that was put behind [`HEADER_BYTES`] bytes of room.
pub(crate) fn write_header(buffer: &mut [u8], class: Class, compressed: bool, raw_len: usize) {
    let flags = if compressed { FLAG_ZSTD } else { 0 } | if class == Class::Data { FLAG_DATA } else { 0 };
    let payload_len = buffer.len() - HEADER_BYTES;
    debug_assert!(payload_len <= LENGTH_MAX && raw_len <= LENGTH_MAX);
    buffer[0] = flags;
    buffer[1..4].copy_from_slice(&payload_len.to_le_bytes()[..3]);
    buffer[4..8].copy_from_slice(&raw_len.to_le_bytes()[..4]);
}

/// Bytes of the payload after a header, which may be more than a frame may have.
pub(crate) fn payload_len(header: &[u8; HEADER_BYTES]) -> usize {
    u32::from_le_bytes([header[1], header[2], header[3], 0]) as usize
}

/// Bytes that are read ahead. Many small frames take one read, and most of a large frame passes the buffer by.
pub(crate) const READ_AHEAD_BYTES: usize = 16 << 10;

/// Reads frames from a stream, and may read ahead of the frame that it answers.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: BufReader<R>,
    wire_bytes: u64,
}

impl<R: Read> FrameReader<R> {
    /// Reads frames from `stream`, which needs no buffer of its own.
    pub fn new(stream: R) -> Self {
        Self { stream: BufReader::with_capacity(READ_AHEAD_BYTES, stream), wire_bytes: 0 }
    }

    /// Bytes read so far.
    pub fn wire_bytes(&self) -> u64 {
        self.wire_bytes
    }

    /// The stream that the frames are read from.
    pub fn get_mut(&mut self) -> &mut R {
        self.stream.get_mut()
    }

    /// The next frame, or none at the end of the stream.
    ///
    /// # Errors
    /// When the stream fails, ends within a frame, or a header exceeds a limit. Nothing is allocated for a frame
    /// before its header was checked.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, WireError> {
        if self.is_at_end()? {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES];
        self.fill(&mut header)?;
        let flags = header[0];
        // A frame with `FLAG_STREAMS` is for the layer below, and an error here.
        if flags & !(FLAG_ZSTD | FLAG_DATA) != 0 && flags != FLAG_END {
            return Err(WireError::Header { byte: flags });
        }
        let compressed = flags & FLAG_ZSTD != 0;
        let length = payload_len(&header);
        let raw_len = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        for bytes in [length, raw_len] {
            if bytes > MAX_FRAME_BYTES {
                return Err(WireError::TooLarge { bytes, limit: MAX_FRAME_BYTES });
            }
        }
        if !compressed && length != raw_len || flags == FLAG_END && length != 0 {
            return Err(WireError::Header { byte: flags });
        }
        let mut payload = vec![0; length];
        self.fill(&mut payload)?;
        self.wire_bytes += (HEADER_BYTES + length) as u64;
        let class = match flags {
            FLAG_END => Class::End,
            _ if flags & FLAG_DATA != 0 => Class::Data,
            _ => Class::Control,
        };
        Ok(Some(Frame { class, raw_len, compressed, payload }))
    }

    fn is_at_end(&mut self) -> Result<bool, WireError> {
        loop {
            match self.stream.fill_buf() {
                Ok(bytes) => return Ok(bytes.is_empty()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), WireError> {
        self.stream.read_exact(buffer).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => WireError::Truncated,
            _ => error.into(),
        })
    }
}

/// The messages of a decoded payload, see [`messages`].
#[derive(Debug)]
pub struct Messages<'a, M> {
    rest: &'a [u8],
    message: PhantomData<fn() -> M>,
}

/// Iterates over the messages of a decoded payload. After an error there is no next one.
pub fn messages<'a, M: Deserialize<'a>>(payload: &'a [u8]) -> Messages<'a, M> {
    Messages { rest: payload, message: PhantomData }
}

impl<'a, M: Deserialize<'a>> Iterator for Messages<'a, M> {
    type Item = Result<M, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match postcard::take_from_bytes(self.rest) {
            Ok((message, rest)) => {
                self.rest = rest;
                Some(Ok(message))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(WireError::Message(error)))
            }
        }
    }
}
