//! Replacing a file so that it survives a power cut: the content is written to a temporary file beside it, flushed to the disk, and
//! renamed; the rename is flushed, too. A reader sees the old content or the new content.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The longest chain of symlinks, as in Linux.
const MAX_LINKS: usize = 40;

/// Replaces `path` by a file of mode 0600. A missing directory is made with mode 0700.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    make_directory(directory)?;
    // No name begins with a dot, so the temporary file of a killed command is never taken for a record.
    let mut staged = tempfile::Builder::new()
        .prefix(".new-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(directory)?;
    staged.write_all(content)?;
    staged.as_file().sync_all()?;
    staged.persist(path).map_err(|error| error.error)?;
    flush_directory(directory)
}

/// The end of a chain of symlinks. The file at the end need not exist. Replacing it keeps the symlinks.
pub(crate) fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..=MAX_LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            // The path is no symlink, or does not exist.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => {
                return Ok(path);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("the chain of symbolic links is too long"))
}

/// Removes `path` and flushes the removal. A missing file is no error.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => path.parent().map_or(Ok(()), flush_directory),
    }
}

/// Makes a directory and its missing parents with mode 0700.
pub(crate) fn make_directory(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

fn flush_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_private() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("made/on/the/way/file");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn links_lead_to_the_file_to_replace() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        std::os::unix::fs::symlink("two", at("one")).unwrap();
        std::os::unix::fs::symlink(at("three"), at("two")).unwrap();
        assert_eq!(behind_links(&at("one")).unwrap(), at("three"), "not there yet");
        fs::write(at("three"), "").unwrap();
        assert_eq!(behind_links(&at("one")).unwrap(), at("three"));
        fs::remove_file(at("three")).unwrap();
        std::os::unix::fs::symlink("one", at("three")).unwrap();
        assert!(behind_links(&at("one")).unwrap_err().to_string().contains("symbolic links"));
    }
}
