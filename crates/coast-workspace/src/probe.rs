//! Looks at the place where a workspace is or will be: its file system, its room, whether it can be written. Nothing is changed.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use coast_engine::EngineError;
use coast_tree::{DirHandle, PathEnd, PathError, TrustedPath};
use coast_wire::{Answer, Probe, bounded_text};

/// The open directory of a workspace, or the nearest directory above it that exists.
#[derive(Debug)]
pub struct ProbedDirectory {
    directory: PathBuf,
    exists: bool,
    handle: DirHandle,
    max_watches: Option<u64>,
}

/// How many files and directories each user may watch.
const MAX_WATCHES: &str = "/proc/sys/fs/inotify/max_user_watches";

impl ProbedDirectory {
    /// Opens `path`, or the nearest directory above it that exists. An empty path is the process' current directory.
    ///
    /// # Errors
    /// [`EngineError::Destination`] when the path does not lead to a directory, when the directory cannot be opened, or when the
    /// path has a symlink that another user could have put there.
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        let failed = |error: PathError| EngineError::Destination {
            path: path.to_owned(),
            doing: "opening the directory",
            error: error.into(),
        };
        let resolved = TrustedPath::resolve(path).map_err(failed)?;
        if let PathEnd::Other { kind, .. } = *resolved.end() {
            return Err(failed(PathError::NotADirectory { path: resolved.path(), kind }));
        }
        Ok(Self {
            directory: resolved.directory_path(),
            exists: *resolved.end() == PathEnd::Directory,
            handle: resolved.directory().clone(),
            // A confined process cannot read it.
            max_watches: std::fs::read_to_string(MAX_WATCHES).ok().and_then(|text| text.trim().parse().ok()),
        })
    }

    /// The open directory, to which the process can be confined before [`ProbedDirectory::look`].
    pub fn handle(&self) -> DirHandle {
        self.handle.clone()
    }

    /// Looks at the directory, and hands the answer of a helper of `version` to `tell`.
    ///
    /// # Errors
    /// When the file system does not tell its size, and the errors of `tell`.
    pub fn look(
        &self,
        version: &str,
        confined: bool,
        tell: impl FnOnce(&Answer<'_>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let space = self.handle.space().map_err(|error| EngineError::Destination {
            path: self.directory.clone(),
            doing: "asking how much room there is",
            error,
        })?;
        let unwritable = self.handle.check_writable().err().map(|error| bounded_text(&error.to_string()));
        tell(&Answer::Probe(Probe {
            version,
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            uid: rustix::process::geteuid().as_raw(),
            confined,
            directory: self.directory.as_os_str().as_bytes(),
            exists: self.exists,
            total_bytes: space.total_bytes,
            free_bytes: space.free_bytes,
            total_inodes: space.total_inodes,
            free_inodes: space.free_inodes,
            max_watches: self.max_watches,
            unwritable: unwritable.as_deref(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The directory that is looked at for `path`, and whether `path` itself exists.
    fn found(path: &Path) -> (PathBuf, bool) {
        let mut found = None;
        let probed = ProbedDirectory::open(path).unwrap();
        let look = probed.look("1.2.3", true, |answer| {
            let Answer::Probe(probe) = answer else { panic!("{answer:?}") };
            assert_eq!(
                (probe.version, probe.os, probe.arch),
                ("1.2.3", std::env::consts::OS, std::env::consts::ARCH)
            );
            assert!(probe.confined && probe.unwritable.is_none() && probe.total_bytes >= probe.free_bytes);
            assert_eq!(probe.max_watches.is_some(), Path::new(MAX_WATCHES).exists());
            found = Some((PathBuf::from(std::ffi::OsStr::from_bytes(probe.directory)), probe.exists));
            Ok(())
        });
        look.unwrap();
        found.unwrap()
    }

    #[test]
    fn the_nearest_directory_that_exists_is_looked_at_and_nothing_is_made() {
        let scratch = tempfile::tempdir().unwrap();
        let data = scratch.path().canonicalize().unwrap().join("data");
        fs::create_dir(&data).unwrap();
        assert_eq!(found(&data), (data.clone(), true));
        assert_eq!(found(&data.join("workspaces/p/i")), (data.clone(), false));
        assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
    }

    #[test]
    fn a_relative_path_starts_where_the_process_is() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(found(Path::new("no-such-directory/p/i")), (here.clone(), false));
        assert_eq!(found(Path::new("")), (here, true));
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("file"), "").unwrap();
        let error = ProbedDirectory::open(&scratch.path().join("file/p/i")).unwrap_err();
        assert_eq!(error.exit_code(), 3, "{error}");
        assert!(error.to_string().contains("file"), "{error}");
    }
    #[test]
    fn a_symlink_of_another_user_is_not_followed_to_look() {
        assert!(rustix::process::geteuid().is_root(), "needs root, to give a symlink to another user");
        let scratch = tempfile::tempdir().unwrap();
        let link = scratch.path().join("link");
        std::os::unix::fs::symlink("/", &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(12_345), None).unwrap();
        for path in [link.clone(), link.join("etc"), link.join("no-such-directory/p/i")] {
            let error = ProbedDirectory::open(&path).unwrap_err();
            assert_eq!(error.exit_code(), 3);
            assert!(error.to_string().contains("belongs to user 12345"), "{error}");
        }
    }
}
