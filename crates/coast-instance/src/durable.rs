//! A file that is replaced as a whole and survives a power cut: written beside its place, flushed to the disk, renamed, and the
//! rename flushed too. A reader sees the old content or the new, never a part.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// How many links may follow each other, as in Linux.
const MAX_LINKS: usize = 40;

/// Replaces `path`, readable by the user alone, and makes its directory if it is missing (for the user alone, too).
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    make_directory(directory)?;
    // Begins with a dot, as no name does: a file left by a kill is never taken for a record.
    let mut staged = tempfile::Builder::new()
        .prefix(".new-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(directory)?;
    staged.write_all(content)?;
    staged.as_file().sync_all()?;
    staged.persist(path).map_err(|error| error.error)?;
    flush_directory(directory)
}

/// The file that a path stands for through symbolic links, which may not be there yet: what is to be replaced where people link the
/// file to one that they keep elsewhere.
pub(crate) fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..=MAX_LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            // No link, or nothing.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => {
                return Ok(path);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many symbolic links follow each other"))
}

/// Removes `path` for good; one that is not there is as good.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => path.parent().map_or(Ok(()), flush_directory),
    }
}

/// Makes a directory and its parents, for the user alone.
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
