//! What there is where a workspace is, or shall be. Nothing is made or changed to find out.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use coast_engine::EngineError;
use coast_tree::{DirHandle, Root};
use coast_wire::{Answer, Probe, bounded_text};

/// A directory that a workspace is or would be in, opened to be looked at.
#[derive(Debug)]
pub struct ProbedDirectory {
    asked: PathBuf,
    directory: PathBuf,
    handle: DirHandle,
}

impl ProbedDirectory {
    /// Opens `path`, or the nearest directory above it that exists.
    ///
    /// # Errors
    /// [`EngineError::Destination`] when there is something else than a directory, or it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        let asked = if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() };
        let mut directory = asked.clone();
        loop {
            match Root::open(&directory) {
                Ok(root) => return Ok(Self { asked, directory, handle: root.handle() }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(EngineError::Destination {
                        path: directory,
                        doing: "opening the directory",
                        error,
                    });
                }
            }
            directory = match directory.parent() {
                Some(above) if !above.as_os_str().is_empty() => above.to_owned(),
                // A relative path starts at the directory that the process is in.
                _ if directory != Path::new(".") && !directory.has_root() => PathBuf::from("."),
                _ => {
                    let error = io::ErrorKind::NotFound.into();
                    return Err(EngineError::Destination {
                        path: asked,
                        doing: "looking for a directory above it",
                        error,
                    });
                }
            };
        }
    }

    /// The open directory, which the process may be confined to before [`ProbedDirectory::look`].
    pub fn handle(&self) -> DirHandle {
        self.handle.clone()
    }

    /// Looks, and hands to `tell` what a helper of `version` answers.
    ///
    /// # Errors
    /// When the file system does not say how large it is, and what `tell` says.
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
        let directory = std::path::absolute(&self.directory).unwrap_or_else(|_| self.directory.clone());
        tell(&Answer::Probe(Probe {
            version,
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            uid: rustix::process::geteuid().as_raw(),
            confined,
            directory: directory.as_os_str().as_bytes(),
            exists: self.directory == self.asked,
            total_bytes: space.total_bytes,
            free_bytes: space.free_bytes,
            unwritable: unwritable.as_deref(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The directory that is looked at for `path`, and whether it is that.
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
            found = Some((PathBuf::from(std::ffi::OsStr::from_bytes(probe.directory)), probe.exists));
            Ok(())
        });
        look.unwrap();
        found.unwrap()
    }

    #[test]
    fn the_nearest_directory_that_exists_is_looked_at_and_nothing_is_made() {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("data")).unwrap();
        let data = scratch.path().join("data");
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
}
