//! A lock file that names its holder. The lock is `flock`, so the kernel frees it when the holder ends or is killed. The text in the
//! file is only for the message to a command that waits.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use coast_sync::Cancel;
use coast_tree::{Attempt, LockWait, WaitEnded, try_flock};
use rustix::fs::FlockOperation;

use crate::file_error::{Doing, FileError};
use crate::{durable, project_file};

/// The number of bytes that are read of the file.
const MAX_HOLDER_BYTES: u64 = 512;

/// How often a directory is made again that other processes remove.
const MAX_ATTEMPTS: u32 = 100;

/// A lock, held until this is dropped.
#[derive(Debug)]
pub(crate) struct FileLock {
    path: PathBuf,
    /// Closing the file frees the lock.
    file: File,
}

impl Drop for FileLock {
    /// Takes the holder's name away, so that no later command is told of it. A name that stays only spoils that message.
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
    }
}

/// The holder of a lock, as the lock file names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The process id.
    pub pid: u32,
    /// The command of that process.
    pub command: String,
}

/// Why a lock was not acquired.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The lock file cannot be created, written or locked.
    #[error(transparent)]
    File(#[from] FileError),
    /// The wait was cancelled.
    #[error("interrupted while waiting for another command")]
    Interrupted,
}

impl FileLock {
    /// Acquires the lock for `command`. Waits until the present holder frees it.
    ///
    /// # Errors
    /// When the lock file cannot be used.
    pub(crate) fn wait(path: &Path, command: &str) -> Result<Self, LockError> {
        Self::wait_telling(path, command, &Cancel::new(), |_| {})
    }

    /// Acquires the lock for `command`. Waits while another process holds it, and calls `told` once for each holder.
    ///
    /// # Errors
    /// When the lock file cannot be used, or `cancel` ended the wait.
    pub(crate) fn wait_telling(
        path: &Path,
        command: &str,
        cancel: &Cancel,
        told: impl FnMut(&Holder),
    ) -> Result<Self, LockError> {
        let mut wait = LockWait::new(cancel, told);
        wait.until(|| Self::attempt(path, command).doing("lock", path)).map_err(|ended| match ended {
            WaitEnded::GivenUp => LockError::Interrupted,
            WaitEnded::Failed(error) => error.into(),
        })
    }

    /// The present holder of the lock; `None` if the lock is free.
    pub(crate) fn holder(path: &Path) -> Option<Holder> {
        let mut file = project_file::open(path).ok()?;
        match try_flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(true) => None,
            Ok(false) => Holder::read(&mut file),
            // Nothing is known of a holder. A command that needs the lock gets the error of the system.
            Err(_) => None,
        }
    }

    /// Acquires the lock for `command` if nobody holds it and its file can be used.
    pub(crate) fn at_once(path: &Path, command: &str) -> Option<Self> {
        match Self::attempt(path, command) {
            Ok(Attempt::Acquired(lock)) => Some(lock),
            Ok(Attempt::Held(_)) | Err(_) => None,
        }
    }

    /// Tries once to acquire the lock.
    fn attempt(path: &Path, command: &str) -> io::Result<Attempt<Self, Holder>> {
        let mut file = Self::open(path)?;
        if !try_flock(&file, FlockOperation::NonBlockingLockExclusive)? {
            // Until the holder has written its name: none, or the name of a holder that was killed.
            return Ok(Attempt::Held(Holder::read(&mut file)));
        }
        // The last holder may have removed the file. Then other processes would lock a new file, and this lock is worthless.
        let locked = file.metadata()?;
        match fs::metadata(path) {
            Ok(there) if (there.dev(), there.ino()) == (locked.dev(), locked.ino()) => {}
            Ok(_) => return Ok(Attempt::Held(None)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Attempt::Held(None)),
            Err(error) => return Err(error),
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{} {command}", std::process::id())?;
        Ok(Attempt::Acquired(Self { path: path.to_owned(), file }))
    }

    /// Opens the file of a lock. Makes the file and its directory if they are missing.
    fn open(path: &Path) -> io::Result<File> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags(project_file::FLAGS.bits().cast_signed());
        let mut attempts = 0;
        loop {
            let made = path.parent().map_or(Ok(()), durable::make_directory);
            match made.and_then(|()| options.open(path)) {
                // Another process has removed the directory, which was empty.
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < MAX_ATTEMPTS => {
                    attempts += 1;
                }
                opened => {
                    let opened = opened?;
                    project_file::check_regular(&opened.metadata()?)?;
                    return Ok(opened);
                }
            }
        }
    }

    /// Frees the lock and removes its file.
    pub(crate) fn remove(self) {
        // The lock is still held, so that a process that waits notices the removal. A file that stays does no harm.
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
    use std::thread;

    use super::*;

    #[test]
    fn a_second_process_is_told_the_holder_and_waits_for_it() {
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
        assert!(hears.recv().is_err(), "each holder is told once");
    }

    #[test]
    fn a_lock_on_a_removed_file_is_acquired_again() {
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
