//! The records of a journal's file. The first one that is not whole ends the file. All numbers are little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | bytes of what follows the checksum |
//! | 8 | the first 8 bytes of the blake3 hash of what follows |
//! | 1 | kind of the record: intended, placed, placed without known content, gone |
//! | 32 | content hash, if intended or placed |
//! | 8, 8 | inode number, size in bytes, if placed |
//! | 8, 4, 8, 4 | mtime and ctime, if placed: seconds and nanoseconds since the epoch |
//! | n | path of the entry |

use std::io::{self, Read};

use super::{Note, State};
use crate::path::MAX_PATH_BYTES;
use crate::{ContentHash, FileIdentity, RelPath, Timestamp};

const CHECKSUM_BYTES: usize = 8;
const HEADER_BYTES: usize = 4 + CHECKSUM_BYTES;

/// Bytes of a record after its header at most: what a reader allocates for one.
const MAX_BODY_BYTES: usize = 1 + 32 + 8 + 8 + 2 * (8 + 4) + MAX_PATH_BYTES;

pub(super) const INTENDED: u8 = 0;
const PLACED: u8 = 1;
const NAMED: u8 = 2;
pub(super) const GONE: u8 = 3;

#[allow(clippy::cast_possible_truncation)] // A record is within limits that fit its length field.
pub(super) fn encode(path: &RelPath, note: &Note, buffer: &mut Vec<u8>) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER_BYTES]);
    match note {
        Note::Intended(hash) => {
            buffer.push(INTENDED);
            buffer.extend_from_slice(hash.as_bytes());
        }
        Note::Certain(State::Placed(stat, hash)) => {
            buffer.push(PLACED);
            buffer.extend_from_slice(hash.as_bytes());
            buffer.extend_from_slice(&stat.ino.to_le_bytes());
            buffer.extend_from_slice(&stat.size.to_le_bytes());
            for time in [stat.mtime, stat.ctime] {
                buffer.extend_from_slice(&time.secs().to_le_bytes());
                buffer.extend_from_slice(&time.nanos().to_le_bytes());
            }
        }
        Note::Certain(State::Named) => buffer.push(NAMED),
        Note::Certain(State::Gone) => buffer.push(GONE),
    }
    buffer.extend_from_slice(path.as_bytes());
    let body = start + HEADER_BYTES;
    let length = (buffer.len() - body) as u32;
    let checksum = ContentHash::of(&buffer[body..]);
    buffer[start..start + 4].copy_from_slice(&length.to_le_bytes());
    buffer[start + 4..body].copy_from_slice(&checksum.as_bytes()[..CHECKSUM_BYTES]);
}

/// Reads a record. None at the end, and when what follows is no record.
pub(super) fn read_record(reader: &mut impl Read) -> io::Result<Option<(RelPath, Note)>> {
    let mut header = [0; HEADER_BYTES];
    if !read_whole(reader, &mut header)? {
        return Ok(None);
    }
    let [a, b, c, d, sum @ ..] = header;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if length > MAX_BODY_BYTES {
        return Ok(None);
    }
    let mut body = vec![0; length];
    if !read_whole(reader, &mut body)? || ContentHash::of(&body).as_bytes()[..CHECKSUM_BYTES] != sum {
        return Ok(None);
    }
    Ok(parse(&body))
}

pub(super) fn parse(mut rest: &[u8]) -> Option<(RelPath, Note)> {
    let [kind] = *take(&mut rest)?;
    let note = match kind {
        INTENDED => Note::Intended(ContentHash::from_bytes(*take(&mut rest)?)),
        PLACED => {
            let hash = ContentHash::from_bytes(*take(&mut rest)?);
            let ino = u64::from_le_bytes(*take(&mut rest)?);
            let size = u64::from_le_bytes(*take(&mut rest)?);
            let mtime = take_time(&mut rest)?;
            let ctime = take_time(&mut rest)?;
            Note::Certain(State::Placed(FileIdentity { ino, size, mtime, ctime }, hash))
        }
        NAMED => Note::Certain(State::Named),
        GONE => Note::Certain(State::Gone),
        _ => return None,
    };
    Some((RelPath::new(rest).ok()?, note))
}

/// Fills the buffer; false if the file ends before.
fn read_whole(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn take_time(rest: &mut &[u8]) -> Option<Timestamp> {
    let secs = i64::from_le_bytes(*take(rest)?);
    let nanos = u32::from_le_bytes(*take(rest)?);
    (nanos < 1_000_000_000).then(|| Timestamp::new(secs, nanos))
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, remaining) = rest.split_first_chunk()?;
    *rest = remaining;
    Some(taken)
}
