//! The exit codes of the program: rsync's codes, or the code of the most similar failure of rsync. The errors of the libraries have
//! their own, by the same table: see [`coast_sync::SyncError::exit_code`] and [`coast_instance::LifecycleError::exit_code`].

/// The command line was not understood.
pub(crate) const USAGE: u8 = 1;

/// The user was asked for a confirmation and did not give it, or could not be asked.
pub(crate) const NOT_CONFIRMED: u8 = 1;

/// A remote, key, image, path or log that the command needs is not there or cannot be used. `coast daemon status` ends with it when no
/// daemon runs, as `systemctl status` does, and `coast daemon run` when one runs already.
pub(crate) const UNUSABLE: u8 = 3;

/// The Docker engine cannot be reached.
pub(crate) const NO_CONNECTION: u8 = 10;

/// A file on this machine cannot be read or written.
pub(crate) const FILE_IO: u8 = 11;

/// A signal ended the command.
pub(crate) const INTERRUPTED: u8 = 20;

/// Some entries did not arrive, or could not be removed.
pub(crate) const PARTIAL: u8 = 23;

/// The time for the command is over.
pub(crate) const TIMED_OUT: u8 = 30;
