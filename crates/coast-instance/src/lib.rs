//! Instances: a project's worktree on a remote machine, kept true by two layers - bulk transfers, and a continuous layer that
//! follows every edit. This crate keeps the two in step through the life of an instance.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod coastfile;
mod durable;
mod ignores;
mod lock;
mod name;
mod places;
mod record;
mod remotes;
mod stored_path;
mod words;

pub use coastfile::{Coastfile, CoastfileError, FILE_NAMES, Fault, Strategy};
pub use ignores::{BadPattern, for_mutagen, to_mutagen};
pub use lock::{FileLock, Holder, LockError};
pub use name::{BadName, MAX_NAME_BYTES, Name};
pub use places::{NoHome, Places};
pub use record::{Command, Following, LastTransfer, Record, RecordError, Records, State, Step};
pub use remotes::{DEFAULT_SERVICE_HOME, Remote, Remotes, RemotesEditor, RemotesError};
pub use stored_path::StoredPath;
