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

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::{ContentHash, DirHandle, Kind, Name, Root, TrustedPath, file_stat, remove_entry};

/// The state directory's name when it must lie inside the workspace.
pub const STATE_INSIDE: &str = ".coast-state";

/// The name of a staging directory that must lie inside the workspace. No run sends, deletes or takes for content an entry of
/// this name.
pub const STAGING_INSIDE: &str = ".coast-staging";

/// The name of the lock in the state directory.
pub const LOCK: &str = "lock";

/// The name of the content cache in the state directory.
pub const CACHE: &str = "cache";

/// The name of a content cache that is being written.
pub const NEW_CACHE: &str = "cache.new";

/// The name of the file by which the file system's clock is measured.
pub const CLOCK: &str = "clock";

/// The name of the directory of interrupted files.
pub const PARTIAL: &str = "partial";

const STAGING: &str = "staging";

/// The mode bit of a state directory that has been taken over and is not empty yet. No run trusts anything in such a directory,
/// and no run sets the bit for any other reason.
const UNTRUSTED: u32 = 0o1000;

/// The longest name that `.{name}.coast` has room for, in bytes.
const MAX_HIDDEN_BYTES: usize = 255 - ".".len() - ".coast".len();
const HIDDEN_HASH_BYTES: usize = 16;

/// How often a state directory is made again while other runs remove it.
const MAX_OPENINGS: u32 = 1000;

/// How long to wait before a lock that another run holds is tried again.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);

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

/// Says how long a run waits for a lock.
pub trait Patience {
    /// Waits for `time`, and returns early with false when the run ends.
    fn wait(&self, time: Duration) -> bool;
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

/// Who can use a state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Privacy {
    /// Nobody but this user.
    Private,
    /// Everybody who can use the workspace. The file system keeps no modes or no owners.
    Shared,
}

/// The notice for the user where [`StateDirectory::is_private`] is false.
pub const SHARED_NOTICE: &str = "the destination's file system keeps no modes or owners, so nothing can be kept private \
                                 there; the run goes on, and remembers nothing for the next one";

/// A constant of this module as a name.
pub fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("a constant without a slash")
}

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
                    let (opened, path, _) = inside(name(STATE_INSIDE))?;
                    (opened, path, None)
                }
            }
        };
        Ok(Self { dir, privacy, path, root, transient, login_uid, lock: None })
    }

    /// Whether nobody else can read or write the state directory. Where others can, a cache in it must not be trusted. Files can
    /// still be staged in it: whoever can change them there can also change the finished files.
    pub fn is_private(&self) -> bool {
        self.privacy == Privacy::Private
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
    pub fn lock(&mut self, patience: &impl Patience, waiting: impl FnOnce()) -> Result<(), StateError> {
        let wait = Wait { patience, waiting: Some(waiting) };
        let locked = self.lock_both(wait);
        if let (Err(_), Some(own)) = (&locked, &self.transient) {
            // Fails while another run uses the directory, which is not empty then.
            let _ = self.root.rmdir(own);
        }
        locked
    }

    fn lock_both(&mut self, mut wait: Wait<'_, impl Patience, impl FnOnce()>) -> Result<(), StateError> {
        let operation = match self.transient {
            Some(_) => FlockOperation::NonBlockingLockShared,
            None => FlockOperation::NonBlockingLockExclusive,
        };
        let locked = wait.until(|| try_lock_directory(&self.root, operation));
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
        wait: &mut Wait<'_, impl Patience, impl FnOnce()>,
    ) -> Result<Option<File>, WaitEnded> {
        if !wait.patience.wait(Duration::ZERO) {
            return Err(WaitEnded::Stopped);
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
        wait.until(|| try_lock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from))?;
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

    fn not_locked(&self, ended: WaitEnded) -> StateError {
        match ended {
            WaitEnded::Stopped => StateError::Stopped,
            WaitEnded::Failed(error) => {
                StateError::Unusable { path: self.path.clone(), doing: "locking the workspace", error }
            }
        }
    }

    /// Makes an empty directory for files that are being written.
    pub fn staging(&self) -> io::Result<DirHandle> {
        let staging = name(STAGING);
        remove_entry(&self.dir, &staging)?;
        make_staging(&self.dir, &staging)
    }

    /// Removes the parts of files that interrupted runs left.
    pub fn forget_partials(&self) -> io::Result<()> {
        remove_entry(&self.dir, &name(PARTIAL))
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

    /// The directory for the parts of interrupted files.
    ///
    /// # Errors
    /// The error of the system.
    pub fn partials(&self) -> io::Result<DirHandle> {
        open_private(&self.dir, &name(PARTIAL), None)
    }
}

/// Waits for locks, and tells the user once.
struct Wait<'a, P, F> {
    patience: &'a P,
    waiting: Option<F>,
}

/// Why a lock was not taken.
enum WaitEnded {
    Stopped,
    Failed(io::Error),
}

impl From<io::Error> for WaitEnded {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl<P: Patience, F: FnOnce()> Wait<'_, P, F> {
    fn until(&mut self, mut locked: impl FnMut() -> io::Result<bool>) -> Result<(), WaitEnded> {
        while !locked()? {
            if let Some(waiting) = self.waiting.take() {
                waiting();
            }
            // `flock` has no time limit, and a blocked call would not notice that the peer is gone.
            if !self.patience.wait(LOCK_INTERVAL) {
                return Err(WaitEnded::Stopped);
            }
        }
        Ok(())
    }
}

fn try_lock(file: impl AsFd, operation: FlockOperation) -> Result<bool, Errno> {
    match rustix::io::retry_on_intr(|| rustix::fs::flock(&file, operation)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Locks a directory for as long as it is open. False if somebody else has locked it. True, without a lock, where directories
/// cannot be locked: on NFS an exclusive lock needs a file that is open for writing.
pub fn try_lock_directory(dir: &DirHandle, operation: FlockOperation) -> io::Result<bool> {
    match try_lock(dir, operation) {
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

/// The name `.{name}.coast` of the state directory for the entry `of`. A name that is too long for that is cut, and a hash of
/// the whole name follows.
pub fn hidden_name(of: &Name) -> Name {
    let of = of.as_bytes();
    let (begins, hash) = match of.len() {
        0..=MAX_HIDDEN_BYTES => (of, String::new()),
        _ => (&of[..MAX_HIDDEN_BYTES - HIDDEN_HASH_BYTES], ContentHash::of(of).to_string()),
    };
    let hash = hash.as_bytes().get(..HIDDEN_HASH_BYTES).unwrap_or_default();
    Name::new(&[b".", begins, hash, b".coast"].concat())
        .expect("as short as it has to be, and without a slash")
}

/// The entry that the state directory called `name` belongs to. None if that is no name of a state directory.
pub fn state_owner(name: &Name) -> Option<Name> {
    Name::new(name.as_bytes().strip_prefix(b".")?.strip_suffix(b".coast")?).ok()
}

fn refuse<T>(text: impl Into<String>) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, text.into()))
}

/// Makes a private directory for files in the making.
///
/// # Errors
/// The error of the system; [`io::ErrorKind::AlreadyExists`] when the name is taken.
pub fn make_staging(parent: &DirHandle, own: &Name) -> io::Result<DirHandle> {
    parent.mkdir(own, 0o700)?;
    let staging = parent.child(own)?;
    // A directory hands its default ACL and its set-group bit down. Staged files get them from the directory of their place,
    // and from no other.
    staging.remove_default_acl()?;
    if staging.stat_self()?.mode & 0o2000 != 0 {
        staging.chmod_self(0o700)?;
    }
    Ok(staging)
}

/// Opens a directory that only this user can use, making it if it is missing.
///
/// Root also accepts the state directory that the login user's own runs left, and takes it over once it is locked
/// ([`take_over`]). Any other directory of that name is refused, since its owner could change files that are being written. On a
/// file system that keeps nothing private the directory is accepted: there the same people can change the finished files.
pub fn open_private(parent: &DirHandle, own: &Name, login_uid: Option<u32>) -> io::Result<DirHandle> {
    open_as_private_as_can_be(parent, own, login_uid).map(|(dir, _)| dir)
}

/// [`open_private`], with the answer whether the directory is private.
fn open_as_private_as_can_be(
    parent: &DirHandle,
    own: &Name,
    login_uid: Option<u32>,
) -> io::Result<(DirHandle, Privacy)> {
    for _ in 0..MAX_OPENINGS {
        match parent.mkdir(own, 0o700) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        // The run that a single entry's state directory belongs to may remove it between any two of these steps.
        match parent.stat(own)? {
            None => continue,
            Some(stat) if stat.kind == Kind::Directory => {}
            Some(_) => return refuse("something else has its name; remove that"),
        }
        let dir = match parent.child(own) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            dir => dir?,
        };
        let privacy = check_privacy(parent, &dir, login_uid)?;
        return Ok((dir, privacy));
    }
    refuse("others remove it all the time")
}

/// Opens the state directory `own` in `parent`; none when it does not exist. It is accepted by the same rule as in
/// [`open_private`]. Root gets the login user's directory as it is, so nothing in it can be trusted but its existence. The same
/// is true of a directory that was taken over and is not empty yet.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] when others could change it, so that it may not come from a run; and the error of the system.
pub fn open_existing(
    parent: &DirHandle,
    own: &Name,
    login_uid: Option<u32>,
) -> io::Result<Option<DirHandle>> {
    let dir = match parent.child_within(own, parent.mount()?) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        dir => dir?,
    };
    check_privacy(parent, &dir, login_uid)?;
    Ok(Some(dir))
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
    if !try_lock(&lock, FlockOperation::NonBlockingLockExclusive)? {
        return Ok(TriedLock::Held);
    }
    Ok(if file_stat(&lock)?.nlink == 0 { TriedLock::Removed } else { TriedLock::Locked(lock) })
}

/// Says who can use the directory `dir` in `parent`.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] when others could change it, and the error of the system.
fn check_privacy(parent: &DirHandle, dir: &DirHandle, login_uid: Option<u32>) -> io::Result<Privacy> {
    let stat = dir.stat_self()?;
    let me = rustix::process::geteuid().as_raw();
    let refusal = if stat.uid != me && (me != 0 || Some(stat.uid) != login_uid) {
        format!("it belongs to user {}; remove it, or run as that user", stat.uid)
    } else if stat.mode & 0o077 != 0 {
        "others may write or read it; remove it, or give it mode 0700".to_owned()
    } else {
        return Ok(Privacy::Private);
    };
    if matches!(keeps_privacy(parent), Ok(false)) { Ok(Privacy::Shared) } else { refuse(refusal) }
}

/// Whether the file system of `dir` keeps the owner and the mode of a new file. A file is made to find out, and its descriptor is
/// looked at: a user who can write in `dir` can exchange the file's name, but not the file.
///
/// # Errors
/// When no file can be made in `dir`.
pub fn keeps_privacy(dir: &DirHandle) -> io::Result<bool> {
    for number in 0..MAX_OPENINGS {
        let name = Name::new(format!(".coast-privacy-{}-{number}", std::process::id()).as_bytes())
            .expect("it holds no slash");
        let file = match dir.create_file(&name, 0o600) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            file => file?,
        };
        let stat = file_stat(&file)?;
        // Another process may have removed the file already.
        let _ = dir.unlink(&name);
        return Ok(stat.uid == rustix::process::geteuid().as_raw() && stat.mode & 0o077 == 0);
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Makes the state directory that another user left this user's own, and empties it. False if it is this user's already.
///
/// The owner changes first, so that nobody adds entries while the directory is emptied. The bit [`UNTRUSTED`] stays on a
/// directory that cannot be emptied, so that no later run trusts it either.
fn take_over(dir: &DirHandle) -> io::Result<bool> {
    let stat = dir.stat_self()?;
    let me = rustix::process::geteuid().as_raw();
    if stat.uid == me && stat.mode & UNTRUSTED == 0 {
        return Ok(false);
    }
    let made = [LOCK, CACHE, NEW_CACHE, CLOCK, PARTIAL, STAGING];
    let foreign = |listed: &crate::Listed| made.iter().all(|made| listed.name != name(made));
    let listed = dir.list()?;
    if let Some(listed) = listed.iter().find(|listed| foreign(listed)) {
        return refuse(format!(
            "it belongs to another user and holds {}, which no run has put there; move that elsewhere",
            listed.name
        ));
    }
    dir.chmod_self(0o700 | UNTRUSTED)?;
    dir.chown_self(Some(me), Some(rustix::process::getegid().as_raw()))?;
    // Until now its owner could change the mode again.
    dir.chmod_self(0o700 | UNTRUSTED)?;
    for listed in dir.list()? {
        remove_entry(dir, &listed.name)?;
    }
    dir.chmod_self(0o700)?;
    Ok(true)
}
