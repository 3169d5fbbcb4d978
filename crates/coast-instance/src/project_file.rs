//! Opening and reading the files of a project, and those that coast keeps on this machine. They may come from a stranger, so only
//! regular files of a reasonable size are read: reading a pipe waits for ever, and reading a device never ends.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// The size of the largest file of a project that is read: far more than its settings need.
pub(crate) const MAX_BYTES: u64 = 1 << 20;

/// The size of the largest file of coast that is read. A record names thousands of paths at most.
pub(crate) const MAX_KEPT_BYTES: u64 = 64 << 20;

/// The flags for opening a file that may be none: opening a pipe that nobody writes to would wait.
pub(crate) const FLAGS: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY);

/// Opens a regular file for reading.
///
/// # Errors
/// When the file cannot be opened, or is not a regular file.
pub(crate) fn open(file: &Path) -> io::Result<File> {
    // The look comes first, because opening a device can have effects.
    check_regular(&fs::metadata(file)?)?;
    // The file may be replaced after the look.
    let opened = OpenOptions::new().read(true).custom_flags(FLAGS.bits().cast_signed()).open(file)?;
    check_regular(&opened.metadata()?)?;
    Ok(opened)
}

/// Reads a regular file of at most [`MAX_BYTES`].
///
/// # Errors
/// When the file cannot be read, is not a regular file, or is larger.
pub(crate) fn read(file: &Path) -> io::Result<Vec<u8>> {
    read_opened(open(file)?, MAX_BYTES)
}

/// Reads a regular file that coast keeps, of at most [`MAX_KEPT_BYTES`].
///
/// # Errors
/// When the file cannot be read, is not a regular file, or is larger.
pub(crate) fn read_kept(file: &Path) -> io::Result<Vec<u8>> {
    read_opened(open(file)?, MAX_KEPT_BYTES)
}

/// Reads the rest of an open file.
///
/// # Errors
/// When the file cannot be read, or more than `limit` bytes are left.
pub(crate) fn read_opened(opened: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    opened.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        let text = format!("it is larger than {} KiB, the most that is read of such a file", limit >> 10);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(content)
}

/// # Errors
/// When the file is not a regular file.
pub(crate) fn check_regular(metadata: &Metadata) -> io::Result<()> {
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

    use coast_sync::RuleList;

    use super::*;
    use crate::carried::Carried;
    use crate::lock::FileLock;
    use crate::trust::TrustStore;
    use crate::{Name, Places, Records, Remotes};

    /// Each reader answers at once, with an error that names the file.
    #[test]
    fn a_pipe_in_the_place_of_a_file_of_coast_is_an_error() {
        let scratch = tempfile::tempdir().unwrap();
        let places = Places::below(scratch.path());
        let name = |text: &str| text.parse::<Name>().unwrap();
        let pipe = |file: &Path| {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            mknodat(CWD, file, FileType::Fifo, Mode::RWXU, 0).unwrap();
        };
        let records = Records::new(places.clone());
        let record = records.file(&name("p"), &name("a"));
        pipe(&record);
        let error = records.load(&name("p"), &name("a")).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "cannot read the record {}: it is a pipe, and only a regular file is read",
                record.display()
            )
        );
        let lock = records.lock_file(&name("p"), &name("a"));
        pipe(&lock);
        assert_eq!(FileLock::holder(&lock), None);
        let error = FileLock::wait(&lock, "stop").unwrap_err().to_string();
        assert!(error.contains("a.lock: it is a pipe"), "{error}");

        pipe(&places.remotes());
        let error = Remotes::load(&places).unwrap_err().to_string();
        assert!(error.contains("remotes.toml: it is a pipe"), "{error}");

        let carried = Carried::beside(&record);
        for extension in ["carried", "brought"] {
            pipe(&record.with_extension(extension));
        }
        assert!(carried.paths().unwrap_err().to_string().contains("it is a pipe"));
        let noted = carried.note(scratch.path(), &RuleList::new(), || Ok(Vec::new()));
        assert!(noted.unwrap_err().to_string().contains("it is a pipe"));

        let trust = TrustStore::new(&places);
        pipe(&trust.file(Path::new("/p"), None));
        let error = trust.of(Path::new("/p"), None).unwrap_err().to_string();
        assert!(error.contains(".json: it is a pipe"), "{error}");
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
