//! The private state directory of a receiver, and the locks that keep two runs out of one workspace.
//!
//! Two runs can have different state directories: a run as root uses the one beside the workspace, which a run without `sudo`
//! cannot open. So each run that writes takes two locks, always in this order:
//! 1. It locks the workspace's own directory, which every run can open. A run for a single entry locks the directory around
//!    that entry for sharing, because runs for other entries of the same directory may go on beside it.
//! 2. It locks the file `lock` in the state directory. A single entry needs that lock, and so do file systems that cannot lock
//!    directories.
//!
//! A removal of the workspace takes them in the other order and never waits: if either is held, it fails.
//!
//! The run that holds the lock of a single entry's state directory removes that directory with the lock. Another run that waited
//! for the lock then holds a file without a name, which protects nothing, and starts over.

mod names;
mod private_directory;
mod trash;

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::{
    Attempt, DirHandle, Kind, LockWait, MountId, Name, Patience, Root, TrustedPath, WaitEnded, file_stat,
    remove_entry, try_flock,
};

pub use names::{
    AHEAD, CACHE, CLOCK, JOURNAL, LEDGER, LOCK, MERGED_LEDGER, NEW_CACHE, NEW_JOURNAL, NEW_LEDGER, PARTIAL,
    PLACEMENTS, STAGING_INSIDE, STATE_INSIDE, hidden_name, name, state_owner,
};
pub use private_directory::{keeps_privacy, make_staging, open_existing, open_private};
pub use trash::{Batch, BatchEntry, Trash};

use names::{MAX_HIDDEN_BYTES, STAGING};
use private_directory::{Privacy, open_as_private_as_can_be, take_over};

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum StateError {
    /// The state directory cannot be made, opened, trusted or locked.
    #[error("{}: {doing}: {error}", path.display())]
    Unusable { path: PathBuf, doing: &'static str, error: io::Error },
    /// The run ended while it waited for the lock.
    #[error("interrupted while waiting for another run to end")]
    Stopped,
}

/// The holder of a state directory's lock, which has no name.
#[derive(PartialEq, Eq)]
struct AnotherRun;

/// The wait for the locks of a state directory.
type StateWait<'a, P, F> = LockWait<'a, P, AnotherRun, F>;

fn attempt(locked: bool) -> Attempt<(), AnotherRun> {
    if locked { Attempt::Acquired(()) } else { Attempt::Held(Some(AnotherRun)) }
}

/// The private directory of the receiver: cache, staging area, lock.
#[derive(Debug)]
pub struct StateDirectory {
    /// The open directory.
    pub dir: DirHandle,
    privacy: Privacy,
    path: PathBuf,
    /// The transfer root.
    root: DirHandle,
    /// The name of a single entry's state directory in the transfer root. Such a directory is removed after the run.
    transient: Option<Name>,
    login_uid: Option<u32>,
    /// The locked file; none before [`StateDirectory::lock`].
    lock: Option<File>,
}

/// The state directory of a workspace, for a run that changes nothing.
#[derive(Debug, Default)]
pub struct Peeked {
    /// The directory, if it exists and is this user's.
    pub dir: Option<DirHandle>,
    /// The mount that the state directory of a run lies on. None if that cannot be told.
    pub mount: Option<MountId>,
}

/// The notice for the user where [`StateDirectory::is_private`] is false.
pub const SHARED_NOTICE: &str = "the destination's file system keeps no modes or owners, so nothing can be kept private \
                                 there; the run goes on, and remembers nothing for the next one";

impl StateDirectory {
    /// Opens the state directory of the workspace `place`, which is open as `root`: `.{name}.coast` beside the workspace, or,
    /// when that cannot be (another file system, no permission to write there), [`STATE_INSIDE`] the workspace. A run for the
    /// single entry `single` of `place` has a state directory of its own there. Where this process is root for the user
    /// `login_uid`, the state directory that their own runs left will do.
    ///
    /// On a file system without modes or owners the state directory is open to others; see
    /// [`StateDirectory::is_private`].
    ///
    /// # Errors
    /// [`StateError::Unusable`] when it cannot be made, or others could read or write it.
    pub fn open(
        place: TrustedPath,
        root: &Root,
        single: Option<&Name>,
        login_uid: Option<u32>,
    ) -> Result<Self, StateError> {
        let failed = |path: &Path, error| StateError::Unusable {
            path: path.to_owned(),
            doing: "opening the private state directory",
            error,
        };
        let root = root.handle();
        let directory = place.path();
        let inside = |own: Name| {
            let path = directory.join(std::ffi::OsStr::from_bytes(own.as_bytes()));
            match open_as_private_as_can_be(&root, &own, login_uid) {
                Ok(opened) => Ok((opened, path, own)),
                Err(error) => Err(failed(&path, error)),
            }
        };
        let ((dir, privacy), path, transient) = if let Some(single) = single {
            let (opened, path, own) = inside(hidden_name(single))?;
            (opened, path, Some(own))
        } else {
            match beside(place, &root, login_uid) {
                Ok((opened, path)) => (opened, path, None),
                Err(Beside::Unsafe(path, error)) => return Err(failed(&path, error)),
                Err(Beside::Impossible) => {
                    let (opened, path, _) = inside(name(STATE_INSIDE)).map_err(|error| match error {
                        // The user knows the workspace, and not the name of a directory that cannot be made in it.
                        StateError::Unusable { error, .. } if is_not_writable(&error) => {
                            StateError::Unusable { path: directory.clone(), doing: "writing to it", error }
                        }
                        error => error,
                    })?;
                    (opened, path, None)
                }
            }
        };
        Ok(Self { dir, privacy, path, root, transient, login_uid, lock: None })
    }

    /// The same state directory for another run of this process. It is not locked.
    pub fn for_another_run(&self) -> Self {
        Self {
            dir: self.dir.clone(),
            privacy: self.privacy,
            path: self.path.clone(),
            root: self.root.clone(),
            transient: self.transient.clone(),
            login_uid: self.login_uid,
            lock: None,
        }
    }

    /// The place where contents are staged ahead of the run that puts them into place: a directory in this one, with a state directory
    /// and a lock of its own.
    ///
    /// # Errors
    /// When it cannot be made, or others could read or write it.
    pub fn ahead(&self) -> io::Result<(Root, Self)> {
        if !self.is_private() || self.is_transient() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "nothing lasts there"));
        }
        let root = open_private(&self.dir, &name(AHEAD), None)?;
        let dir = open_private(&root, &name(STATE_INSIDE), None)?;
        let ahead = Self {
            dir,
            privacy: self.privacy,
            path: self.path.join(AHEAD),
            root: root.clone(),
            transient: None,
            login_uid: None,
            lock: None,
        };
        Ok((Root::from_dir(root), ahead))
    }

    /// Removes the contents that were staged ahead, unless a run stages one at the moment.
    pub fn remove_ahead(&self) -> io::Result<()> {
        let dir = match self.dir.child(&name(AHEAD)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            dir => dir?,
        };
        match try_lock_directory(&dir, FlockOperation::NonBlockingLockExclusive)? {
            true => remove_entry(&self.dir, &name(AHEAD)),
            false => Ok(()),
        }
    }

    /// Where the state directory is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks for an existing state directory of this user, to be read without a lock. `place` and `root` are those of
    /// [`StateDirectory::open`]. Nothing is made or changed.
    pub fn peek(place: TrustedPath, root: &Root) -> Peeked {
        let own = |dir: &DirHandle| {
            dir.stat_self().is_ok_and(|stat| {
                stat.uid == rustix::process::geteuid().as_raw()
                    && stat.mode & private_directory::UNTRUSTED == 0
            })
        };
        let existing = |parent: &DirHandle, name: &Name| open_existing(parent, name, None).ok().flatten();
        let root = root.handle();
        let around = place.into_parent().ok().flatten();
        let beside =
            around.as_ref().and_then(|(parent, name)| existing(parent.directory(), &hidden_name(name)));
        let would_be_beside = || {
            let (parent, name) = around.as_ref()?;
            let above = parent.directory();
            let possible = name.as_bytes().len() <= MAX_HIDDEN_BYTES
                && above.stat_self().ok()?.dev == root.stat_self().ok()?.dev
                && above.may_change();
            possible.then_some(above)
        };
        let mount = beside.as_ref().or_else(would_be_beside).unwrap_or(&root).mount().ok();
        let dir = beside.or_else(|| existing(&root, &name(STATE_INSIDE))).filter(own);
        Peeked { dir, mount }
    }

    /// Whether nobody else can read or write the state directory. Where others can, a cache in it must not be trusted. Files can
    /// still be staged in it: whoever can change them there can also change the finished files.
    pub fn is_private(&self) -> bool {
        self.privacy == Privacy::Private
    }

    /// Whether this is the state directory of a single entry, which does not outlive the run.
    pub fn is_transient(&self) -> bool {
        self.transient.is_some()
    }

    /// Whether an entry of the transfer root is this state directory.
    pub fn is_called(&self, name: &Name) -> bool {
        self.transient.as_ref() == Some(name)
    }

    /// Waits until no other run works on this workspace. Calls `waiting` once before it waits.
    ///
    /// # Errors
    /// [`StateError::Stopped`] when `patience` ended, and [`StateError::Unusable`] when the workspace was removed meanwhile or
    /// the lock cannot be used.
    pub fn lock(&mut self, patience: &impl Patience, mut waiting: impl FnMut()) -> Result<(), StateError> {
        let locked = self.lock_both(LockWait::new(patience, |AnotherRun| waiting()));
        if let (Err(_), Some(own)) = (&locked, &self.transient) {
            // Fails while another run uses the directory, which is not empty then.
            let _ = self.root.rmdir(own);
        }
        locked
    }

    /// Frees both locks, although the directories stay open.
    pub fn unlock(&self) {
        // The system frees them at the latest when the process ends.
        let _ = self.lock.as_ref().map(|lock| try_flock(lock, FlockOperation::Unlock));
        let _ = try_flock(&self.root, FlockOperation::Unlock);
    }

    fn lock_both(
        &mut self,
        mut wait: StateWait<'_, impl Patience, impl FnMut(&AnotherRun)>,
    ) -> Result<(), StateError> {
        let operation = match self.transient {
            Some(_) => FlockOperation::NonBlockingLockShared,
            None => FlockOperation::NonBlockingLockExclusive,
        };
        let locked = wait.until(|| try_lock_directory(&self.root, operation).map(attempt));
        locked.map_err(|ended| self.not_locked(ended))?;
        loop {
            let locked = self.try_lock_state(&mut wait).map_err(|ended| self.not_locked(ended))?;
            if let Some(lock) = locked {
                self.lock = Some(lock);
                return Ok(());
            }
        }
    }

    /// Locks the state directory. None when the directory or its lock was replaced in the meantime.
    fn try_lock_state(
        &mut self,
        wait: &mut StateWait<'_, impl Patience, impl FnMut(&AnotherRun)>,
    ) -> Result<Option<File>, WaitEnded<io::Error>> {
        if wait.is_given_up() {
            return Err(WaitEnded::GivenUp);
        }
        let gone = |dir: &DirHandle| Ok::<_, io::Error>(dir.stat_self()?.nlink == 0);
        if gone(&self.root)? || (self.transient.is_none() && gone(&self.dir)?) {
            return Err(WaitEnded::Failed(io::Error::new(
                io::ErrorKind::NotFound,
                "the workspace was removed meanwhile; run it again to make it anew",
            )));
        }
        if let Some(own) = &self.transient {
            let named = self.root.stat(own)?.is_some_and(|stat| stat.kind == Kind::Directory);
            if !named || gone(&self.dir)? {
                (self.dir, self.privacy) = open_as_private_as_can_be(&self.root, own, self.login_uid)?;
            }
        }
        let lock = match open_lock(&self.dir) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // The login user may have put something else there. Taking the directory over removes it.
            Err(error) => return if self.take_over()? { Ok(None) } else { Err(error.into()) },
        };
        wait.until(|| Ok(attempt(try_flock(&lock, FlockOperation::NonBlockingLockExclusive)?)))?;
        // The last holder may have removed the lock, and taking the directory over removes it too.
        let current = file_stat(&lock)?.nlink > 0 && !self.take_over()?;
        Ok(current.then_some(lock))
    }

    /// Takes a private state directory over; see [`take_over`].
    fn take_over(&self) -> io::Result<bool> {
        match self.privacy {
            Privacy::Private => take_over(&self.dir),
            Privacy::Shared => Ok(false),
        }
    }

    fn not_locked(&self, ended: WaitEnded<io::Error>) -> StateError {
        match ended {
            WaitEnded::GivenUp => StateError::Stopped,
            WaitEnded::Failed(error) => {
                StateError::Unusable { path: self.path.clone(), doing: "locking the workspace", error }
            }
        }
    }

    /// Moves the trash of an earlier state directory [`STATE_INSIDE`] the workspace to this one beside it, so that deleted entries are
    /// found in one place, and go after their time. Called with the locks held: whoever else uses the other directory waits.
    ///
    /// # Errors
    /// When the other state directory cannot be trusted or used. Its trash then stays.
    pub fn take_in_trash_inside(&self) -> io::Result<()> {
        let is_inside = self.path.file_name().is_some_and(|own| own.as_bytes() == STATE_INSIDE.as_bytes());
        if is_inside || self.transient.is_some() {
            return Ok(());
        }
        let Some(inside) = open_existing(&self.root, &name(STATE_INSIDE), self.login_uid)? else {
            return Ok(());
        };
        match Trash::open(&inside)? {
            Some(other) if !other.batches()?.is_empty() => Trash::make(&self.dir)?.take_in(&other),
            _ => Ok(()),
        }
    }

    /// Makes an empty directory for files that are being written.
    pub fn staging(&self) -> io::Result<DirHandle> {
        let staging = name(STAGING);
        remove_entry(&self.dir, &staging)?;
        make_staging(&self.dir, &staging)
    }

    /// Removes the staging directory. Of a single entry's state directory it removes everything that runs make there, except the
    /// parts of interrupted files, and then the directory itself if it is empty.
    pub fn clean_up(&self) -> io::Result<()> {
        let staging_removed = remove_entry(&self.dir, &name(STAGING));
        let Some(own) = &self.transient else { return staging_removed };
        for made in [CACHE, NEW_CACHE, CLOCK] {
            // Anything but a file was made by somebody else, and stays with the directory.
            let _ = self.dir.unlink(&name(made));
        }
        // Fails while it holds parts of files.
        let _ = self.dir.rmdir(&name(PARTIAL));
        // The lock goes last, while it is held: from here on another run may use the directory.
        self.dir.unlink(&name(LOCK))?;
        match self.root.rmdir(own) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) =>
            {
                Ok(())
            }
            removed => removed,
        }
    }
}

impl Drop for StateDirectory {
    /// Frees the lock. On a file system that keeps the name of an open file until it is closed (FUSE), the state directory of a
    /// single entry is empty only now.
    fn drop(&mut self) {
        self.lock = None;
        if let Some(own) = &self.transient {
            // A directory that is not empty stays: another run may use it.
            let _ = self.root.rmdir(own);
        }
    }
}

fn is_not_writable(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Locks a directory for as long as it is open. False if somebody else has locked it. True, without a lock, where directories
/// cannot be locked: on NFS an exclusive lock needs a file that is open for writing.
pub fn try_lock_directory(dir: &DirHandle, operation: FlockOperation) -> io::Result<bool> {
    match try_flock(dir, operation) {
        Err(Errno::BADF | Errno::NOLCK | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => Ok(true),
        locked => Ok(locked?),
    }
}

fn open_lock(dir: &DirHandle) -> io::Result<File> {
    match dir.create_file(&name(LOCK), 0o600) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            dir.open_file(&name(LOCK)).map(|(file, _)| file)
        }
        created => created,
    }
}

enum Beside {
    Impossible,
    Unsafe(PathBuf, io::Error),
}

fn beside(
    place: TrustedPath,
    root: &DirHandle,
    login_uid: Option<u32>,
) -> Result<((DirHandle, Privacy), PathBuf), Beside> {
    let impossible = |_: io::Error| Beside::Impossible;
    let Some((parent, own)) = place.into_parent().map_err(impossible)? else {
        return Err(Beside::Impossible);
    };
    if own.as_bytes().len() > MAX_HIDDEN_BYTES {
        // The shortened name would not tell a run into the directory above whose state directory this is, and that run would
        // delete it.
        return Err(Beside::Impossible);
    }
    let own = hidden_name(&own);
    let above = parent.directory();
    let same_device = || Ok(above.stat_self()?.dev == root.stat_self()?.dev);
    if !same_device().map_err(impossible)? {
        return Err(Beside::Impossible);
    }
    let path = parent.path().join(std::ffi::OsStr::from_bytes(own.as_bytes()));
    match open_as_private_as_can_be(above, &own, login_uid) {
        Ok(opened) => Ok((opened, path)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Beside::Unsafe(path, error)),
        Err(_) => Err(Beside::Impossible),
    }
}

/// The result of [`try_lock_existing`].
#[derive(Debug)]
pub enum TriedLock {
    /// The state directory stays locked while this file is open.
    Locked(File),
    /// Another run holds the lock.
    Held,
    /// Another process removed the state directory or its lock meanwhile.
    Removed,
}

/// Locks a state directory that [`open_existing`] opened, without waiting.
///
/// # Errors
/// When the lock cannot be opened or used.
pub fn try_lock_existing(dir: &DirHandle) -> io::Result<TriedLock> {
    let lock = match open_lock(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(TriedLock::Removed),
        // A run that ended early can have made the directory without the lock.
        lock => lock?,
    };
    if !try_flock(&lock, FlockOperation::NonBlockingLockExclusive)? {
        return Ok(TriedLock::Held);
    }
    Ok(if file_stat(&lock)?.nlink == 0 { TriedLock::Removed } else { TriedLock::Locked(lock) })
}
