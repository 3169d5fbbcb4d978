//! The lock of the running daemon. It is `flock`, so the kernel frees it when the daemon ends or is killed. The text in the file says
//! where the daemon listens; it counts only while the lock is held.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use coast_instance::StoredPath;
use coast_tree::{Attempt, LockWait, Patience, try_flock};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

/// The number of bytes that are read of the file.
const MAX_TEXT_BYTES: u64 = 16 << 10;

/// The daemon that holds the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Running {
    /// The process id.
    pub pid: u32,
    /// The name of the machine. A home directory may be shared by several.
    pub machine: String,
    /// The socket that the daemon listens on.
    pub socket: StoredPath,
}

impl Running {
    /// This process, which listens on `socket`.
    pub(crate) fn this_process(socket: &Path) -> Self {
        Self { pid: std::process::id(), machine: machine(), socket: StoredPath::from(socket) }
    }

    /// Whether the daemon runs on this machine.
    pub fn is_here(&self) -> bool {
        self.machine == machine()
    }
}

fn machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Whether a daemon holds the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LockState {
    /// No daemon holds it.
    Free,
    /// A daemon holds it. `None` if the daemon has not written its name, as on a full disk.
    Held(Option<Running>),
}

impl LockState {
    /// The daemon that holds the lock, if it has written its name.
    pub(crate) fn holder(self) -> Option<Running> {
        match self {
            Self::Free => None,
            Self::Held(running) => running,
        }
    }
}

/// A lock, held until this is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Tries once to acquire the lock.
    ///
    /// # Errors
    /// When the file cannot be made or locked.
    pub(crate) fn attempt(path: &Path) -> io::Result<Attempt<Self, Running>> {
        let mut file = open(path, true)?;
        if try_flock(&file, FlockOperation::NonBlockingLockExclusive)? {
            file.set_len(0)?;
            return Ok(Attempt::Acquired(Self { file }));
        }
        Ok(Attempt::Held(read(&mut file)))
    }

    /// Writes into the file who holds the lock.
    pub(crate) fn announce(&mut self, holder: &Running) -> io::Result<()> {
        let text = serde_json::to_vec(holder)?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&text)
    }

    /// What the file says. It is true only if the lock is held.
    pub(crate) fn text(path: &Path) -> Option<Running> {
        read(&mut open(path, false).ok()?)
    }

    /// The present state of the lock.
    pub(crate) fn state(path: &Path) -> LockState {
        let Ok(mut file) = open(path, false) else { return LockState::Free };
        match try_flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(false) => LockState::Held(read(&mut file)),
            // A lock whose state is not known counts as free: a process that needs it gets the error of the system.
            Ok(true) | Err(_) => LockState::Free,
        }
    }

    /// Waits until nobody else holds the lock, and acquires it. `Ok(None)` when `limit` has passed.
    ///
    /// # Errors
    /// When the file cannot be made or locked.
    pub(crate) fn wait(path: &Path, limit: Duration) -> io::Result<Option<Self>> {
        let until = Until(std::time::Instant::now() + limit);
        match LockWait::new(&until, |_: &Running| {}).until(|| Self::attempt(path)) {
            Ok(lock) => Ok(Some(lock)),
            Err(coast_tree::WaitEnded::GivenUp) => Ok(None),
            Err(coast_tree::WaitEnded::Failed(error)) => Err(error),
        }
    }
}

/// A wait that ends at this moment.
struct Until(std::time::Instant);

impl Patience for Until {
    fn wait(&self, time: Duration) -> bool {
        let left = self.0.saturating_duration_since(std::time::Instant::now());
        std::thread::sleep(time.min(left));
        !left.is_zero()
    }
}

fn open(path: &Path, make: bool) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(make).truncate(false).mode(0o600);
    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    options.open(path)
}

fn read(file: &mut File) -> Option<Running> {
    let mut text = Vec::new();
    file.take(MAX_TEXT_BYTES).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_names_its_holder_until_it_is_freed() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("lock");
        assert_eq!(Lock::state(&path), LockState::Free);
        let Attempt::Acquired(mut lock) = Lock::attempt(&path).unwrap() else { panic!("it was free") };
        assert_eq!(Lock::state(&path), LockState::Held(None));
        let holder = Running::this_process(Path::new("/s"));
        lock.announce(&holder).unwrap();
        assert_eq!(Lock::state(&path), LockState::Held(Some(holder.clone())));
        assert!(matches!(Lock::attempt(&path).unwrap(), Attempt::Held(Some(held)) if held == holder));
        drop(lock);
        assert_eq!(Lock::state(&path), LockState::Free);
    }
}
