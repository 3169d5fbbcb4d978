//! Files that are read as a whole and may come from a stranger: only regular files of a reasonable size, because reading a pipe waits
//! for ever, and reading a device never ends.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// The flags for opening a file that may not be a regular one: opening a pipe that nobody writes to would wait.
pub const FLAGS: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY);

/// Opens a regular file for reading.
///
/// # Errors
/// When the file cannot be opened, or is not a regular file.
pub fn open(file: &Path) -> io::Result<File> {
    // The look comes first, because opening a device can have effects.
    check_regular(&fs::metadata(file)?)?;
    // The file may be replaced after the look.
    let opened = OpenOptions::new().read(true).custom_flags(FLAGS.bits().cast_signed()).open(file)?;
    check_regular(&opened.metadata()?)?;
    Ok(opened)
}

/// Reads the rest of an open file.
///
/// # Errors
/// When the file cannot be read, or more than `limit` bytes are left.
pub fn read_opened(opened: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    opened.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        let text = format!("it is larger than {} KiB, the most that is read of such a file", limit >> 10);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(content)
}

/// Checks that the metadata belongs to a regular file.
///
/// # Errors
/// When it is of another kind.
pub fn check_regular(metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, and only a regular file is read")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    /// The limit of the test, in bytes.
    const MAX_BYTES: u64 = 1 << 20;

    fn read(file: &Path) -> io::Result<Vec<u8>> {
        read_opened(open(file)?, MAX_BYTES)
    }

    #[test]
    fn only_a_regular_file_of_a_reasonable_size_is_read() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::create_dir(at("directory")).unwrap();
        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        symlink("/dev/zero", at("device")).unwrap();
        let _listener = UnixListener::bind(at("socket")).unwrap();
        File::create(at("large")).unwrap().set_len(MAX_BYTES + 1).unwrap();
        for (name, said) in [
            ("directory", "it is a directory"),
            ("pipe", "it is a pipe"),
            ("device", "it is a device"),
            ("socket", "it is a socket"),
            ("large", "larger than 1024 KiB"),
        ] {
            let error = read(&at(name)).unwrap_err().to_string();
            assert!(error.contains(said), "{name}: {error}");
        }
        File::create(at("large")).unwrap().set_len(MAX_BYTES).unwrap();
        symlink("large", at("link")).unwrap();
        assert_eq!(read(&at("link")).unwrap().len() as u64, MAX_BYTES);
        assert_eq!(read(&at("missing")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
