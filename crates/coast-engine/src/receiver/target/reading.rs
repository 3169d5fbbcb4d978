//! Reads files of the destination to know their contents. Others may write to such a file, or make it huge, while it is read.

use std::fs::File;
use std::io::{self, Read};

use coast_tree::{ContentHash, ContentHasher};

use crate::receiver::report::Report;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// The hash of a file that had `size` bytes. None if it has another size by now, or if the run is over.
pub(super) fn hash_of_size(
    mut file: &File,
    size: u64,
    report: &Report<'_>,
) -> io::Result<Option<ContentHash>> {
    let mut hasher = ContentHasher::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut bytes = 0;
    while !report.is_stopped() && bytes <= size {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((bytes == size).then(|| hasher.finish())),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                bytes += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
