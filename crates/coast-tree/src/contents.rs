//! Copying a file's content by the cheapest way the system has. Shared extents where the file system can, a copy
//! inside the kernel where it cannot, and a buffer of ours where neither works. Holes stay holes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::{Segment, segment_at};

/// Bytes of the buffer for the plain copy.
const COPY_BUFFER_BYTES: usize = 256 * 1024;

/// Size up to which a file is copied without asking for its holes, in bytes.
const SMALL_BYTES: u64 = 64 * 1024;

/// Makes the first `len` bytes of `to`, a new empty file, the first `len` of `from`, and returns how many there were:
/// less than `len` when `from` is shorter. The positions of both files do not matter; that of `from` may move.
pub fn clone_contents(from: &File, to: &File, len: u64) -> io::Result<u64> {
    #[cfg(target_os = "linux")]
    if let Some(cloned) = share_extents(from, to, len)? {
        return Ok(cloned);
    }
    if len <= SMALL_BYTES {
        return copy_range(from, to, 0, len);
    }
    let end = from.metadata()?.len().min(len);
    let mut done = 0;
    let mut ends_in_hole = false;
    while done < end {
        let segment = segment_at(from, done, end)?;
        ends_in_hole = matches!(segment, Segment::Hole(_));
        match segment {
            Segment::Hole(length) => done += length,
            Segment::Data(length) => {
                let data_end = done + length;
                done = copy_range(from, to, done, data_end)?;
                if done < data_end {
                    // The file was cut meanwhile.
                    return Ok(done);
                }
            }
        }
    }
    if ends_in_hole {
        to.set_len(end)?;
    }
    Ok(done)
}

/// Copies the bytes from `start` to `end` to the same place and returns how far it came: less than `end` when `from` is shorter.
fn copy_range(from: &File, to: &File, start: u64, end: u64) -> io::Result<u64> {
    #[cfg(target_os = "linux")]
    let start = copy_in_kernel(from, to, start, end)?;
    copy_by_buffer(from, to, start, end)
}

/// Clones the whole file (btrfs, XFS, bcachefs), then cuts it. None where that cannot be, for whatever reason: the
/// copy that follows meets every real one again.
#[cfg(target_os = "linux")]
fn share_extents(from: &File, to: &File, len: u64) -> io::Result<Option<u64>> {
    if rustix::fs::ioctl_ficlone(to, from).is_err() {
        return Ok(None);
    }
    let size = to.metadata()?.len();
    if size > len {
        to.set_len(len)?;
    }
    Ok(Some(size.min(len)))
}

/// Copies until all is there, the source ends, or the kernel does not want to: how far it came.
#[cfg(target_os = "linux")]
fn copy_in_kernel(from: &File, to: &File, start: u64, end: u64) -> io::Result<u64> {
    use rustix::io::Errno;

    /// Bytes asked of one call, which cannot be interrupted well.
    const CALL_BYTES: u64 = 64 * 1024 * 1024;

    let (mut source, mut target) = (start, start);
    while target < end {
        let wanted = usize::try_from((end - target).min(CALL_BYTES)).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(from, Some(&mut source), to, Some(&mut target), wanted) {
            // The end, or a file system that claims it; reading tells which.
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::NOSPC) => return Err(Errno::NOSPC.into()),
            Err(Errno::DQUOT) => return Err(Errno::DQUOT.into()),
            // Across file systems, not implemented, filtered out: reading and writing tells, if it is something else.
            Err(_) => break,
        }
    }
    Ok(target)
}

fn copy_by_buffer(from: &File, to: &File, start: u64, end: u64) -> io::Result<u64> {
    let mut done = start;
    if done >= end {
        return Ok(done);
    }
    let length = usize::try_from(end - done).unwrap_or(usize::MAX).min(COPY_BUFFER_BYTES);
    let mut buffer = vec![0; length];
    while done < end {
        let wanted = usize::try_from(end - done).unwrap_or(usize::MAX).min(buffer.len());
        match from.read_at(&mut buffer[..wanted], done) {
            Ok(0) => break,
            Ok(read) => {
                to.write_all_at(&buffer[..read], done)?;
                done += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::scratch::{Scratch, name};

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect()
    }

    /// Copies a file of `length` bytes, asking for `asked`, and compares.
    fn copies(length: usize, asked: u64, copy: impl Fn(&File, &File, u64) -> io::Result<u64>) {
        let expected = &content(length)[..length.min(usize::try_from(asked).unwrap())];
        let scratch = Scratch::new().file("from", content(length));
        let dir = scratch.root().handle();
        let (from, _) = dir.open_file(&name("from")).unwrap();
        let to = dir.create_file(&name("to"), 0o644).unwrap();
        assert_eq!(copy(&from, &to, asked).unwrap(), expected.len() as u64);
        assert!(fs::read(scratch.path("to")).unwrap() == expected, "{length} bytes, asked for {asked}");
    }

    #[test]
    fn copy_holds_what_was_asked_for_and_is_there() {
        for length in [0, 1, 4096, COPY_BUFFER_BYTES, 3 * COPY_BUFFER_BYTES + 17] {
            for asked in [0, 1, length, length + 1000, 300_000] {
                copies(length, asked as u64, clone_contents);
                copies(length, asked as u64, |from, to, len| copy_by_buffer(from, to, 0, len));
            }
        }
    }

    #[test]
    fn buffer_goes_on_where_the_kernel_stopped() {
        copies(700_000, 700_000, |from, to, len| {
            to.write_all_at(&content(700_000)[..123_456], 0)?;
            copy_by_buffer(from, to, 123_456, len)
        });
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn holes_are_not_copied() {
        use std::os::unix::fs::MetadataExt;

        const LENGTH: u64 = 1 << 30;
        let scratch = Scratch::new().file("from", content(100_000));
        let dir = scratch.root().handle();
        let writable = fs::OpenOptions::new().write(true).open(scratch.path("from")).unwrap();
        writable.set_len(LENGTH).unwrap();
        writable.write_all_at(b"middle", LENGTH / 2).unwrap();
        let (from, _) = dir.open_file(&name("from")).unwrap();
        for asked in [LENGTH, LENGTH / 2 + 3, LENGTH / 4, 2 * LENGTH] {
            let to = dir.create_file(&name("to"), 0o644).unwrap();
            let copied = clone_contents(&from, &to, asked).unwrap();
            let status = to.metadata().unwrap();
            assert_eq!((copied, status.len()), (asked.min(LENGTH), asked.min(LENGTH)));
            assert!(status.blocks() * 512 < 1 << 20, "{} blocks", status.blocks());
            let mut middle = [9; 6];
            let read = to.read_at(&mut middle, LENGTH / 2).unwrap();
            assert_eq!(&middle[..read], &b"middle"[..read]);
            let mut start = vec![0; 100_000];
            to.read_exact_at(&mut start, 0).unwrap();
            assert!(start == content(100_000));
            dir.unlink(&name("to")).unwrap();
        }
    }

    #[test]
    fn copy_into_a_file_not_open_for_writing_is_an_error() {
        let scratch = Scratch::new().file("from", "abc").file("to", "");
        let dir = scratch.root().handle();
        let (from, _) = dir.open_file(&name("from")).unwrap();
        let (to, _) = dir.open_file(&name("to")).unwrap();
        assert!(clone_contents(&from, &to, 3).is_err());
    }
}
