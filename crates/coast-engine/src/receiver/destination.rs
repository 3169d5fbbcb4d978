//! The destination before a run: the workspace's directory, the private state directory beside it, and the lock.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coast_tree::{DirHandle, Kind, Name, Replace, Root, file_stat};
use rustix::fs::FlockOperation;

use crate::error::EngineError;
use crate::stop::Stop;

/// The state directory's name when it must lie inside the workspace.
pub const STATE_INSIDE: &str = ".coast-state";

/// The name of the lock in the state directory.
pub(crate) const LOCK: &str = "lock";

/// What the destination's path means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationIs {
    /// A directory that shall hold what is sent.
    Directory,
    /// That if it exists and is one, else the new name of the one entry that is sent.
    FileOrDirectory,
    /// A directory if anything is there, else the new name of the one, empty, directory that is sent.
    DirectoryOrNewName,
}

/// An opened destination.
pub(super) struct Destination {
    /// None only in a dry run, when it does not exist.
    pub(super) root: Option<Root>,
    /// The root's absolute path, which some rules match against.
    pub(super) absolute: PathBuf,
    /// The new name of the one entry that is sent.
    pub(super) rename: Option<Name>,
    /// Whether the root was made by this run.
    pub(super) created: bool,
    /// None only in a dry run.
    pub(super) state: Option<State>,
}

/// The private directory of the receiver: cache, staging area, lock.
pub(super) struct State {
    pub(super) dir: DirHandle,
    pub(super) path: PathBuf,
    /// Its name, if it lies in the workspace and must be neither listed nor written there.
    pub(super) inside: Option<Name>,
    /// Whether it is of no use after the run: that of a single file.
    transient: Option<(DirHandle, Name)>,
    lock: File,
}

/// What of a destination's preparation depends on the run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Preparation {
    pub(super) is: DestinationIs,
    pub(super) make_parents: bool,
    pub(super) dry_run: bool,
    pub(super) umask: u32,
    pub(super) login_uid: Option<u32>,
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("a constant without a slash")
}

impl Destination {
    pub(super) fn prepare(path: &Path, how: Preparation) -> Result<Self, EngineError> {
        let failed = |doing| move |error| EngineError::Destination { path: path.to_owned(), doing, error };
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let ends_in_slash = path.as_os_str().as_bytes().ends_with(b"/");
        let is_directory = match std::fs::metadata(path) {
            Ok(found) => Some(found.is_dir()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("looking at it")(error)),
        };
        let as_directory = match (how.is, is_directory) {
            (_, Some(true)) => true,
            (DestinationIs::Directory | DestinationIs::DirectoryOrNewName, Some(false)) => {
                return Err(failed("a directory is needed here")(io::ErrorKind::NotADirectory.into()));
            }
            (DestinationIs::Directory, None) => true,
            (DestinationIs::FileOrDirectory | DestinationIs::DirectoryOrNewName, _) => ends_in_slash,
        };
        let (directory, rename) = if as_directory {
            (path.to_owned(), None)
        } else {
            let parent = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            let file_name = path.file_name().map_or(&b""[..], OsStrExt::as_bytes);
            let file_name = Name::new(file_name)
                .map_err(|error| failed("taking its last part as a name")(io::Error::other(error)))?;
            (parent.to_owned(), Some(file_name))
        };
        let missing =
            std::fs::metadata(&directory).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        // As in rsync, a new name is not given in a directory that does not exist.
        if missing && rename.is_some() && !how.make_parents {
            return Err(failed("looking for the directory to put it in")(io::ErrorKind::NotFound.into()));
        }
        if missing && how.dry_run {
            return Ok(Self { root: None, absolute: directory, rename, created: true, state: None });
        }
        if missing {
            // The process' own umask may be none.
            let mode = 0o777 & !how.umask;
            let made = DirBuilder::new().recursive(how.make_parents).mode(mode).create(&directory);
            match made {
                // Another run made it between.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made.map_err(failed("making the directory"))?,
            }
        }
        let root = Root::open(&directory).map_err(failed("opening the directory"))?;
        let state = if how.dry_run {
            None
        } else {
            Some(State::open(&directory, &root, rename.as_ref(), how.login_uid)?)
        };
        let absolute = std::fs::canonicalize(&directory).unwrap_or(directory);
        Ok(Self { root: Some(root), absolute, rename, created: missing, state })
    }
}

impl State {
    /// Opens the state directory: `.{name}.coast` beside the workspace, or, when that cannot be (another file system,
    /// no permission to write there), [`STATE_INSIDE`] the workspace.
    fn open(
        directory: &Path,
        root: &Root,
        file: Option<&Name>,
        login_uid: Option<u32>,
    ) -> Result<Self, EngineError> {
        let failed = |path: &Path, error| EngineError::Destination {
            path: path.to_owned(),
            doing: "opening the private state directory",
            error,
        };
        if let Some(file) = file {
            let own = hidden_name(file.as_bytes()).map_err(|error| failed(directory, error))?;
            let path = directory.join(std::ffi::OsStr::from_bytes(own.as_bytes()));
            let dir = open_private(&root.handle(), &own, login_uid).map_err(|error| failed(&path, error))?;
            let transient = Some((root.handle(), own.clone()));
            return Self::with(dir, path, Some(own), transient);
        }
        match Self::beside(directory, root, login_uid) {
            Ok((dir, path)) => Self::with(dir, path, None, None),
            Err(Beside::Unsafe(path, error)) => Err(failed(&path, error)),
            Err(Beside::Impossible) => {
                let own = name(STATE_INSIDE);
                let path = directory.join(STATE_INSIDE);
                let dir =
                    open_private(&root.handle(), &own, login_uid).map_err(|error| failed(&path, error))?;
                Self::with(dir, path, Some(own), None)
            }
        }
    }

    fn beside(directory: &Path, root: &Root, login_uid: Option<u32>) -> Result<(DirHandle, PathBuf), Beside> {
        let impossible = |_: io::Error| Beside::Impossible;
        let absolute = std::fs::canonicalize(directory).map_err(impossible)?;
        let (Some(parent), Some(own)) = (absolute.parent(), absolute.file_name()) else {
            return Err(Beside::Impossible);
        };
        let own = hidden_name(own.as_bytes()).map_err(impossible)?;
        let above = Root::open(parent).map_err(impossible)?.handle();
        let same_device = || Ok(above.stat_self()?.dev == root.handle().stat_self()?.dev);
        if !same_device().map_err(impossible)? {
            return Err(Beside::Impossible);
        }
        let path = parent.join(std::ffi::OsStr::from_bytes(own.as_bytes()));
        match open_private(&above, &own, login_uid) {
            Ok(dir) => Ok((dir, path)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Beside::Unsafe(path, error)),
            Err(_) => Err(Beside::Impossible),
        }
    }

    fn with(
        dir: DirHandle,
        path: PathBuf,
        inside: Option<Name>,
        transient: Option<(DirHandle, Name)>,
    ) -> Result<Self, EngineError> {
        let failed =
            |error| EngineError::Destination { path: path.clone(), doing: "opening its lock file", error };
        let lock_name = name(LOCK);
        let lock = match dir.create_file(&lock_name, 0o600) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                dir.open_file(&lock_name).map(|(file, _)| file).map_err(failed)?
            }
            created => created.map_err(failed)?,
        };
        Ok(Self { dir, path, inside, transient, lock })
    }

    /// Waits until no other run works on this workspace. `waiting` is called once, if it has to wait.
    pub(super) fn lock(&self, stop: &Stop, waiting: impl FnOnce()) -> Result<(), EngineError> {
        let mut waiting = Some(waiting);
        loop {
            match rustix::fs::flock(&self.lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return self.check_still_there(),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(error) => {
                    let path = self.path.join(LOCK);
                    return Err(EngineError::Destination {
                        path,
                        doing: "locking the workspace",
                        error: error.into(),
                    });
                }
            }
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            // `flock` has no time limit, and a blocked call would not notice that the peer is gone.
            if stop.stopped().recv_timeout(Duration::from_millis(50))
                == Err(crossbeam_channel::RecvTimeoutError::Disconnected)
            {
                return Err(EngineError::Interrupted);
            }
        }
    }

    /// Whoever held the lock may have removed it, and the workspace with it.
    fn check_still_there(&self) -> Result<(), EngineError> {
        let failed = |error| EngineError::Destination {
            path: self.path.clone(),
            doing: "locking the workspace",
            error,
        };
        if file_stat(&self.lock).map_err(failed)?.nlink == 0 {
            return Err(failed(io::Error::new(
                io::ErrorKind::NotFound,
                "the workspace was removed meanwhile; run it again to make it anew",
            )));
        }
        Ok(())
    }

    /// A fresh, empty directory for files in the making.
    pub(super) fn staging(&self) -> io::Result<DirHandle> {
        let staging = name("staging");
        remove_tree(&self.dir, &staging)?;
        self.dir.mkdir(&staging, 0o700)?;
        self.dir.child(&staging)
    }

    /// Removes what interrupted runs left.
    pub(super) fn forget_partials(&self) -> io::Result<()> {
        remove_tree(&self.dir, &name("partial"))
    }

    /// Removes what only this run needed.
    pub(super) fn clean_up(&self) -> io::Result<()> {
        remove_tree(&self.dir, &name("staging"))?;
        if let Some((parent, own)) = &self.transient {
            remove_tree(parent, own)?;
        }
        Ok(())
    }
}

enum Beside {
    Impossible,
    Unsafe(PathBuf, io::Error),
}

/// `.{name}.coast`, for the state directory of what is called `name`.
pub(crate) fn hidden_name(of: &[u8]) -> io::Result<Name> {
    Name::new(&[b".", of, b".coast"].concat()).map_err(io::Error::other)
}

/// Opens a directory that only this user can use, making it if it is missing.
///
/// Where a root receiver meets the state directory that the login user's own runs left, it takes it over and trusts
/// nothing in it. Whatever else is there under that name is refused: someone else could change files in the making.
fn open_private(parent: &DirHandle, own: &Name, login_uid: Option<u32>) -> io::Result<DirHandle> {
    let refuse = |text: &str| Err(io::Error::new(io::ErrorKind::InvalidData, text));
    match parent.mkdir(own, 0o700) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    if parent.stat(own)?.is_none_or(|stat| stat.kind != Kind::Directory) {
        return refuse("something else has its name; remove that");
    }
    let dir = parent.child(own)?;
    let stat = dir.stat_self()?;
    let me = rustix::process::geteuid().as_raw();
    if stat.uid != me {
        if me != 0 || Some(stat.uid) != login_uid {
            return refuse("it belongs to another user; remove it, or run as that user");
        }
        dir.chown_self(Some(me), Some(rustix::process::getegid().as_raw()))?;
        dir.chmod_self(0o700)?;
        for listed in dir.list()? {
            remove_tree(&dir, &listed.name)?;
        }
    } else if stat.mode & 0o077 != 0 {
        return refuse("others may write or read it; remove it, or give it mode 0700");
    }
    Ok(dir)
}

/// Removes an entry of a private directory and all below it.
fn remove_tree(parent: &DirHandle, own: &Name) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    };
    match parent.stat(own)? {
        None => Ok(()),
        Some(stat) if stat.kind != Kind::Directory => gone(parent.unlink(own)),
        Some(_) => {
            let dir = parent.child(own)?;
            for listed in dir.list()? {
                remove_tree(&dir, &listed.name)?;
            }
            gone(parent.rmdir(own))
        }
    }
}

/// Keeps what arrived of a file for the next run.
pub(super) fn keep_partial(state: &State, staging: &DirHandle, staged: &Name, key: &Name) -> io::Result<()> {
    let partial = open_private(&state.dir, &name("partial"), None)?;
    staging.rename_to(staged, &partial, key, Replace::Any)
}
