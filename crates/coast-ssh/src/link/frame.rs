//! The frames of a channel that one process passes on to another: a byte for the kind, the length of the payload in four bytes, the
//! highest first, and the payload.

use crate::link::pipe::ExitStatus;
use std::io::{self, Read, Write};

/// The most bytes of a payload. A frame that claims more ends the channel before memory is taken for it.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 256 << 10;

/// A payload of at most this many bytes is copied behind its head, so that one call to the system sends both.
const SMALL_BYTES: usize = 8 << 10;

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Data for the command's standard input.
    Stdin(Vec<u8>),
    /// The end of standard input.
    StdinEnd,
    Stdout(Vec<u8>),
    /// The end of standard output.
    StdoutEnd,
    Stderr(Vec<u8>),
    /// The command has ended, and this is the last frame.
    Exit(ExitStatus),
    /// The server did not run the command. This is the last frame.
    Refused,
    /// The connection is lost, with the reason. This is the last frame.
    Lost(String),
}

/// Writes one frame. `payload` must not be larger than [`MAX_PAYLOAD_BYTES`].
fn write(out: &mut impl Write, kind: u8, payload: &[u8]) -> io::Result<()> {
    let len = u32::try_from(payload.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut head = [kind, 0, 0, 0, 0];
    head[1..].copy_from_slice(&len.to_be_bytes());
    if payload.len() <= SMALL_BYTES {
        return out.write_all(&[&head, payload].concat());
    }
    out.write_all(&head)?;
    out.write_all(payload)
}

/// Writes one frame.
///
/// # Errors
/// The error of `out`.
pub(crate) fn write_frame(out: &mut impl Write, frame: &Frame) -> io::Result<()> {
    match frame {
        Frame::Stdin(data) => write(out, b'i', data),
        Frame::StdinEnd => write(out, b'I', b""),
        Frame::Stdout(data) => write(out, b'o', data),
        Frame::StdoutEnd => write(out, b'O', b""),
        Frame::Stderr(data) => write(out, b'e', data),
        Frame::Exit(ExitStatus::Code(code)) => write(out, b'c', &code.to_be_bytes()),
        Frame::Exit(ExitStatus::Signal(name)) => write(out, b's', shortened(name)),
        Frame::Exit(ExitStatus::Unknown) => write(out, b'u', b""),
        Frame::Refused => write(out, b'r', b""),
        Frame::Lost(reason) => write(out, b'l', shortened(reason)),
    }
}

/// As much of a text as a payload can hold.
fn shortened(text: &str) -> &[u8] {
    &text.as_bytes()[..text.len().min(MAX_PAYLOAD_BYTES)]
}

/// Reads frames.
pub(crate) struct FrameReader<R> {
    from: R,
}

impl<R: Read> FrameReader<R> {
    pub(crate) fn new(from: R) -> FrameReader<R> {
        FrameReader { from }
    }

    /// Reads one frame. `None` at the end of the stream.
    ///
    /// # Errors
    /// When the stream ends within a frame, or the frame is malformed.
    pub(crate) fn read(&mut self) -> io::Result<Option<Frame>> {
        let mut head = [0; 5];
        if self.from.read(&mut head[..1])? == 0 {
            return Ok(None);
        }
        self.from.read_exact(&mut head[1..])?;
        let [kind, len @ ..] = head;
        let len = u32::from_be_bytes(len) as usize;
        if len > MAX_PAYLOAD_BYTES {
            return Err(malformed());
        }
        let mut payload = vec![0; len];
        self.from.read_exact(&mut payload)?;
        let text = |payload: &[u8]| String::from_utf8_lossy(payload).into_owned();
        Ok(Some(match (kind, payload.as_slice()) {
            (b'i', _) => Frame::Stdin(payload),
            (b'I', []) => Frame::StdinEnd,
            (b'o', _) => Frame::Stdout(payload),
            (b'O', []) => Frame::StdoutEnd,
            (b'e', _) => Frame::Stderr(payload),
            (b'c', &[a, b, c, d]) => Frame::Exit(ExitStatus::Code(u32::from_be_bytes([a, b, c, d]))),
            (b's', name) => Frame::Exit(ExitStatus::Signal(text(name))),
            (b'u', []) => Frame::Exit(ExitStatus::Unknown),
            (b'r', []) => Frame::Refused,
            (b'l', reason) => Frame::Lost(text(reason)),
            _ => return Err(malformed()),
        }))
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a frame of a passed on channel is malformed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_is_read_as_it_was_written() {
        let frames = [
            Frame::Stdin(vec![0; MAX_PAYLOAD_BYTES]),
            Frame::StdinEnd,
            Frame::Stdout(b"out".to_vec()),
            Frame::StdoutEnd,
            Frame::Stderr(Vec::new()),
            Frame::Exit(ExitStatus::Code(256)),
            Frame::Exit(ExitStatus::Signal("KILL".to_owned())),
            Frame::Exit(ExitStatus::Unknown),
            Frame::Refused,
            Frame::Lost("the server closed it".to_owned()),
        ];
        let mut bytes = Vec::new();
        for frame in &frames {
            write_frame(&mut bytes, frame).unwrap();
        }
        let mut reader = FrameReader::new(bytes.as_slice());
        for frame in frames {
            assert_eq!(reader.read().unwrap(), Some(frame));
        }
        assert_eq!(reader.read().unwrap(), None);
    }

    #[test]
    fn frames_that_are_too_long_or_broken_are_errors() {
        for broken in
            [b"o\xff\xff\xff\xff".as_slice(), b"o\0\0\0\x05ab", b"o\0", b"x\0\0\0\0", b"c\0\0\0\x01a"]
        {
            assert!(FrameReader::new(broken).read().is_err(), "{}", broken.escape_ascii());
        }
    }
}
