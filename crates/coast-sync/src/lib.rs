//! Keeps a directory, here or on another machine, equal to a local one: the library that others embed.
//!
//! A [`SyncRequest`] says what to bring where; [`SyncRequest::run`] does it and gives a [`SyncReport`]. What happens
//! meanwhile is told to a [`Monitor`], what only a person can answer is asked of a [`Prompt`], and a [`Cancel`] stops
//! it. Nothing is printed.
//!
//! ```
//! use coast_sync::{Cancel, CachePlace, Destination, NoPrompt, SyncRequest, VoidMonitor};
//!
//! let scratch = tempfile::tempdir()?;
//! let workspace = scratch.path().join("workspace");
//! std::fs::create_dir_all(workspace.join("src"))?;
//! std::fs::write(workspace.join("src/main.rs"), "fn main() {}")?;
//! let copy = scratch.path().join("made/on/the/way/copy");
//!
//! // What a workspace is pushed with: the rules and options of `profile`. A destination of this machine is written by a
//! // thread; one of another machine is `RemoteDestination::new(target, path)`.
//! let push = || {
//!     SyncRequest::push(&workspace, Destination::local(&copy))
//!         .map(|request| request.cache(CachePlace::Nowhere))
//! };
//! let report = push()?.run(&VoidMonitor, &NoPrompt, &Cancel::new())?;
//! assert_eq!((report.exit_code(), report.run.receiver.transferred_files), (0, 1));
//! assert_eq!(std::fs::read_to_string(copy.join("src/main.rs"))?, "fn main() {}");
//!
//! // Again: all is right, so nothing is touched.
//! let report = push()?.run(&VoidMonitor, &NoPrompt, &Cancel::new())?;
//! assert_eq!(report.run.receiver.transferred_files, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Beside that, a [`ProbeRequest`] asks what there is on another machine, and a [`RemoveRequest`] takes a workspace away.
//!
//! # Two promises
//! An entry whose content, kind and mode are right is not touched at all: same inode, same modification time, no event for
//! whoever watches. And nothing is deleted that appeared at the destination while the run went on.
//!
//! # Ends
//! A run that came to its end may still have missed something: [`SyncReport::exit_code`] is 23 or 24 then, and the
//! [`Monitor`] was told of each path. A run that did not is a [`SyncError`]; its [`exit_code`](SyncError::exit_code) is
//! rsync's.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cache_place;
mod destination;
mod error;
mod failures;
mod helper_store;
mod local;
mod only;
mod probe;
pub mod profile;
mod receiver_arguments;
mod remote;
mod removal;
mod report;
mod request;
mod source;
mod watchdog;

pub use cache_place::CachePlace;
pub use destination::{Destination, LocalDestination, LocalReceiver, RemoteDestination, RemoteHelper};
pub use error::SyncError;
pub use failures::{Failure, Failures};
pub use helper_store::{HelperStore, Platform};
pub use probe::{ProbeReport, ProbeRequest};
pub use remote::ConnectionReport;
pub use removal::{KeptEntry, RemoveReport, RemoveRequest};
pub use report::SyncReport;
pub use request::SyncRequest;
pub use source::transfer_root;

pub use coast_engine::{Cancel, CancelHook, Claim, EngineError, Monitor, Progress, RunReport, VoidMonitor};
pub use coast_filter::{MAX_MERGE_FILE_BYTES, MergeFiles, NoMergeFiles, RuleError, RuleList};
pub use coast_ssh::{
    ConnectOptions, Environment, HostKey, IdentityUsed, NoPrompt, Peer, Prompt, RunsAs, SshError, Sudo,
    SudoRefusal, Target, Zeroizing,
};
pub use coast_wire::{
    Change, Delete, EntryKind, Event, Itemize, Options, Ownership, ProblemKind, Ready, ReceiverStats,
    SenderStats, TimeChange, Update,
};
