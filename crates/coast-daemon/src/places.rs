//! The files of the daemon.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use coast_instance::Places;

use crate::log::KEPT_FILES;

/// The name of the socket.
const SOCKET: &str = "coastd.sock";

/// The files of one user's daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonPlaces {
    /// `$XDG_RUNTIME_DIR/coast`, if the variable is set.
    runtime: Option<PathBuf>,
    /// A directory for the daemon's own files below coast's state directory. No project has a name that begins with a dot.
    state: PathBuf,
}

impl DaemonPlaces {
    /// The socket is below `$XDG_RUNTIME_DIR/coast`, everything else below the state directory of `places`. The socket is there, too,
    /// if the variable is not set or names a directory that this user cannot use.
    pub fn from_process(places: &Places) -> Self {
        Self::of(std::env::var_os("XDG_RUNTIME_DIR"), places.projects())
    }

    /// All files below one directory, for tests and embedding programs.
    pub fn below(directory: &Path) -> Self {
        Self { runtime: None, state: directory.join(".daemon") }
    }

    fn of(runtime: Option<OsString>, state: &Path) -> Self {
        // The specification demands that a relative path is ignored.
        let runtime = runtime.map(PathBuf::from).filter(|path| path.is_absolute());
        Self { runtime: runtime.map(|runtime| runtime.join("coast")), state: state.join(".daemon") }
    }

    /// The directories that the socket may be in, the best one first.
    pub(crate) fn socket_directories(&self) -> impl Iterator<Item = &Path> {
        self.runtime.as_deref().into_iter().chain([self.state.as_path()])
    }

    /// The socket in one of these directories.
    pub(crate) fn socket_in(directory: &Path) -> PathBuf {
        directory.join(SOCKET)
    }

    /// The directory of the lock and of the log.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// The lock of the running daemon.
    pub(crate) fn lock(&self) -> PathBuf {
        self.state.join("lock")
    }

    /// The lock of a command that starts a daemon.
    pub(crate) fn start_lock(&self) -> PathBuf {
        self.state.join("start-lock")
    }

    /// The log that is written to.
    pub fn log(&self) -> PathBuf {
        self.state.join("coastd.log")
    }

    /// A log that is full: 1 is the newest.
    pub(crate) fn old_log(&self, number: usize) -> PathBuf {
        self.state.join(format!("coastd.log.{number}"))
    }

    /// All logs, the oldest first. Some of them may not exist.
    pub fn logs(&self) -> Vec<PathBuf> {
        (1..KEPT_FILES).rev().map(|number| self.old_log(number)).chain([self.log()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_in_the_runtime_directory_where_there_is_one() {
        let sockets = |runtime: Option<&str>| {
            let places = DaemonPlaces::of(runtime.map(OsString::from), Path::new("/s/coast"));
            let all = places.socket_directories().map(DaemonPlaces::socket_in).collect::<Vec<_>>();
            (all, places.lock())
        };
        let state = PathBuf::from("/s/coast/.daemon/coastd.sock");
        let lock = PathBuf::from("/s/coast/.daemon/lock");
        let runtime = PathBuf::from("/run/user/7/coast/coastd.sock");
        assert_eq!(sockets(Some("/run/user/7")), (vec![runtime, state.clone()], lock.clone()));
        for none in [None, Some("run"), Some("")] {
            assert_eq!(sockets(none), (vec![state.clone()], lock.clone()));
        }
    }
}
