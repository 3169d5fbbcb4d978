//! A lock file that says who holds it. The lock itself is `flock`, so the kernel frees it whatever becomes of the holder; the text
//! in the file is only for the message to those who wait.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use coast_sync::Cancel;
use rustix::fs::{FlockOperation, flock};

use crate::durable;

/// How often somebody who waits looks again. The wait must notice a cancellation, which a blocking `flock` does not.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How much of the file is believed.
const MAX_HOLDER_BYTES: u64 = 512;

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct FileLock {
    path: PathBuf,
    /// Closing it frees the lock.
    _file: File,
}

/// Who holds a lock, as its file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// The command it carries out.
    pub command: String,
}

/// Why a lock was not had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The file cannot be used.
    #[error("cannot lock {}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        error: io::Error,
    },
    /// The wait was cancelled.
    #[error("interrupted while waiting for another command")]
    Interrupted,
}

impl FileLock {
    /// Takes the lock for `command`, after whoever holds it now.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn wait(path: &Path, command: &str) -> Result<Self, LockError> {
        Self::wait_telling(path, command, &Cancel::new(), |_| {})
    }

    /// Takes the lock for `command`. When somebody else holds it, `told` hears who (once for each), and this waits until it is free
    /// or `cancel` says otherwise.
    ///
    /// # Errors
    /// When the file cannot be used or the wait was cancelled.
    pub fn wait_telling(
        path: &Path,
        command: &str,
        cancel: &Cancel,
        mut told: impl FnMut(&Holder),
    ) -> Result<Self, LockError> {
        let mut last = None;
        loop {
            match Self::attempt(path, command)
                .map_err(|error| LockError::File { path: path.to_owned(), error })?
            {
                Ok(lock) => return Ok(lock),
                Err(holder) => {
                    if holder.is_some() && holder != last {
                        holder.iter().for_each(&mut told);
                        last = holder;
                    }
                }
            }
            if cancel.is_cancelled() {
                return Err(LockError::Interrupted);
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Who holds the lock now; none when nobody does.
    pub fn holder(path: &Path) -> Option<Holder> {
        let mut file = File::open(path).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => None,
            Err(_) => Some(Holder::read(&mut file)?),
        }
    }

    /// One try: the lock, or who holds it.
    fn attempt(path: &Path, command: &str) -> io::Result<Result<Self, Option<Holder>>> {
        if let Some(directory) = path.parent() {
            durable::make_directory(directory)?;
        }
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Err(Holder::read(&mut file))),
            Err(error) => return Err(error.into()),
        }
        // The holder before may have removed the file: then this is a lock that nobody else will ever see.
        let locked = file.metadata()?;
        match fs::metadata(path) {
            Ok(there) if (there.dev(), there.ino()) == (locked.dev(), locked.ino()) => {}
            Ok(_) => return Ok(Err(None)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err(None)),
            Err(error) => return Err(error),
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{} {command}", std::process::id())?;
        Ok(Ok(Self { path: path.to_owned(), _file: file }))
    }

    /// Frees the lock and removes its file.
    pub fn remove(self) {
        // While it is held, so that whoever waits notices. A file that stays is no harm.
        let _ = fs::remove_file(&self.path);
    }
}

impl Holder {
    fn read(file: &mut File) -> Option<Self> {
        let mut text = String::new();
        file.rewind().ok()?;
        file.take(MAX_HOLDER_BYTES).read_to_string(&mut text).ok()?;
        let (pid, command) = text.trim_end().split_once(' ')?;
        Some(Self { pid: pid.parse().ok()?, command: command.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn the_second_hears_who_works_and_comes_after() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("p/dev-1.lock");
        assert_eq!(FileLock::holder(&path), None);
        let first = FileLock::wait(&path, "run dev-1").unwrap();
        let holder = Holder { pid: std::process::id(), command: "run dev-1".to_owned() };
        assert_eq!(FileLock::holder(&path), Some(holder.clone()));
        let (told, hears) = mpsc::channel();
        thread::scope(|scope| {
            let path = &path;
            let second = scope.spawn(move || {
                FileLock::wait_telling(path, "stop dev-1", &Cancel::new(), |holder| {
                    told.send(holder.clone()).unwrap();
                })
                .unwrap()
            });
            assert_eq!(hears.recv().unwrap(), holder);
            drop(first);
            let second = second.join().unwrap();
            assert_eq!(FileLock::holder(path).unwrap().command, "stop dev-1");
            second.remove();
        });
        assert!(!path.exists());
        assert!(hears.recv().is_err(), "told once");
    }

    #[test]
    fn a_lock_whose_file_was_removed_is_not_believed() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("lock");
        let first = FileLock::wait(&path, "rm").unwrap();
        let waiting = thread::scope(|scope| {
            let (told, hears) = mpsc::channel();
            let path = &path;
            let second = scope.spawn(move || {
                FileLock::wait_telling(path, "run", &Cancel::new(), |_| told.send(()).unwrap()).unwrap()
            });
            hears.recv().unwrap();
            first.remove();
            second.join().unwrap()
        });
        assert_eq!(FileLock::holder(&path).unwrap().command, "run");
        drop(waiting);
    }

    #[test]
    fn a_wait_can_be_cancelled() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("lock");
        let _first = FileLock::wait(&path, "run").unwrap();
        let cancel = Cancel::new();
        let ended = FileLock::wait_telling(&path, "stop", &cancel, |_| cancel.cancel());
        assert!(matches!(ended, Err(LockError::Interrupted)));
    }
}
