//! Directories that only this user can use.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

/// Whether the parents of a directory are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parents {
    /// Those that are missing, with mode 0700.
    Made,
    /// They must exist.
    Needed,
}

/// Makes the directory with mode 0700 if it is missing, and checks that only this user can use it.
///
/// # Errors
/// [`io::ErrorKind::PermissionDenied`] if it is a symlink, or if another user owns it or can use it; and the error of the system.
pub(crate) fn make_private(directory: &Path, parents: Parents) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700);
    if let (Parents::Made, Some(parent)) = (parents, directory.parent()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    match builder.create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    check_private(directory)
}

/// Checks that only this user can use the directory.
///
/// # Errors
/// As [`make_private`].
pub(crate) fn check_private(directory: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(directory)?;
    let me = rustix::process::geteuid().as_raw();
    let problem = if found.file_type().is_symlink() {
        "it is a symlink; remove it".to_owned()
    } else if !found.is_dir() {
        "it is no directory; remove it".to_owned()
    } else if found.uid() != me {
        format!("it belongs to user {}; remove it", found.uid())
    } else if found.mode() & 0o077 != 0 {
        format!("others can use it; chmod 700 {} keeps them out", directory.display())
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn only_a_directory_of_this_user_alone_is_taken() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("a/b");
        assert_eq!(make_private(&path, Parents::Needed).unwrap_err().kind(), io::ErrorKind::NotFound);
        make_private(&path, Parents::Made).unwrap();
        make_private(&path, Parents::Needed).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        let open = make_private(&path, Parents::Needed).unwrap_err().to_string();
        assert!(open.contains("chmod 700"), "{open}");

        let link = scratch.path().join("link");
        symlink(scratch.path().join("a"), &link).unwrap();
        assert!(make_private(&link, Parents::Needed).unwrap_err().to_string().contains("symlink"));
        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(make_private(&file, Parents::Needed).unwrap_err().to_string().contains("no directory"));
    }
}
