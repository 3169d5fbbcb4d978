//! Copying a file's content by the cheapest way the system has. Shared extents where the file system can, a copy
//! inside the kernel where it cannot, and a buffer of ours where neither works.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes of the buffer for the plain copy.
const COPY_BUFFER_BYTES: usize = 256 * 1024;

/// Makes the first `len` bytes of `to`, a new empty file, the first `len` of `from`, and returns how many there were:
/// less than `len` when `from` is shorter. File positions neither matter nor, where the system allows, move.
pub fn clone_contents(from: &File, to: &File, len: u64) -> io::Result<u64> {
    #[cfg(target_os = "linux")]
    {
        if let Some(cloned) = share_extents(from, to, len)? {
            return Ok(cloned);
        }
        let copied = copy_in_kernel(from, to, len)?;
        copy_by_buffer(from, to, copied, len)
    }
    #[cfg(not(target_os = "linux"))]
    copy_by_buffer(from, to, 0, len)
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
fn copy_in_kernel(from: &File, to: &File, len: u64) -> io::Result<u64> {
    use rustix::io::Errno;

    /// Bytes asked of one call, which cannot be interrupted well.
    const CALL_BYTES: u64 = 64 * 1024 * 1024;

    let (mut source, mut target) = (0, 0);
    while target < len {
        let wanted = usize::try_from((len - target).min(CALL_BYTES)).unwrap_or(usize::MAX);
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

fn copy_by_buffer(from: &File, to: &File, start: u64, len: u64) -> io::Result<u64> {
    let mut done = start;
    if done >= len {
        return Ok(done);
    }
    let length = usize::try_from(len - done).unwrap_or(usize::MAX).min(COPY_BUFFER_BYTES);
    let mut buffer = vec![0; length];
    while done < len {
        let wanted = usize::try_from(len - done).unwrap_or(usize::MAX).min(buffer.len());
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
