//! Reading the files of a project, and those that coast keeps on this machine. They may come from a stranger.

use std::io;
use std::path::Path;

pub(crate) use coast_tree::regular_file::{FLAGS, check_regular, open, read_opened};

/// The size of the largest file of a project that is read: far more than its settings need.
pub(crate) const MAX_BYTES: u64 = 1 << 20;

/// The size of the largest file of coast that is read. A record names thousands of paths at most.
pub(crate) const MAX_KEPT_BYTES: u64 = 64 << 20;

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

#[cfg(test)]
mod tests {
    use std::fs;

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
}
