//! Makes a directory, on this or on another machine, equal to a local directory. This is the library that other programs embed.
//!
//! A [`SyncRequest`] has the source, the destination and the options; [`SyncRequest::run`] carries it out and returns a
//! [`SyncReport`]. A [`Monitor`] gets the events of the run, a [`Prompt`] gets the questions that only a person can answer, and a
//! [`Cancel`] stops the run. The library prints nothing.
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
//! // `push` uses the rules and options of `profile`. A thread of this process writes to a local destination. A destination on
//! // another machine is `RemoteDestination::new(target, path)`.
//! let push = || {
//!     SyncRequest::push(&workspace, Destination::local(&copy))
//!         .map(|request| request.cache(CachePlace::Nowhere))
//! };
//! let report = push()?.run(&VoidMonitor, &NoPrompt, &Cancel::new())?;
//! assert_eq!((report.exit_code(), report.run.receiver.transferred_files), (0, 1));
//! assert_eq!(std::fs::read_to_string(copy.join("src/main.rs"))?, "fn main() {}");
//!
//! // The second run finds that every entry is right, and touches nothing.
//! let report = push()?.run(&VoidMonitor, &NoPrompt, &Cancel::new())?;
//! assert_eq!(report.run.receiver.transferred_files, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`ProbeRequest`] asks about another machine, and a [`RemoveRequest`] removes a workspace. A [`TrashRequest`] lists what runs
//! deleted that no run had put there, and a [`RestoreRequest`] brings it back.
//!
//! # Two promises
//! An entry with the right content, kind and mode is not touched: it keeps its inode and its modification time, and no file
//! watcher gets an event. A run deletes nothing that appeared at the destination during the run.
//!
//! # Results
//! A run that came to its end may have left entries out of date. [`SyncReport::exit_code`] is then 23 or 24, the [`Monitor`] got
//! an event for each path, and [`SyncReport::failures`] has the entries whose problem was not benign. A run that did not come to
//! its end is a [`SyncError`]; its [`exit_code`](SyncError::exit_code) is rsync's.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod account;
mod cache_place;
mod conflicts;
mod deferred;
mod deletions;
mod destination;
mod error;
mod failures;
mod follow;
mod helper_store;
mod key_request;
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
mod streams;
mod survey;
mod trash;
mod watchdog;

pub use account::{AccountReport, AccountRequest};
pub use cache_place::CachePlace;
pub use conflicts::{Conflict, Conflicts};
pub use deferred::Deferred;
pub use deletions::{DeletedEntries, Deletions};
#[doc(hidden)]
pub use destination::Relay;
pub use destination::{Destination, LocalDestination, LocalReceiver, RemoteDestination, RemoteHelper};
pub use error::SyncError;
pub use failures::{Failure, Failures};
pub use follow::{BatchExtent, BatchReport, FollowBatch, FollowRequest, FollowSession, SessionEnd};
pub use helper_store::{HelperStore, Platform};
pub use key_request::KeyRequest;
pub use probe::{ProbeReport, ProbeRequest};
pub use remote::ConnectionReport;
pub use removal::{KeptEntry, RemoveReport, RemoveRequest};
pub use report::SyncReport;
pub use request::SyncRequest;
pub use source::transfer_root;
pub use streams::StreamCount;
pub use survey::{
    LeftoverFile, LeftoverRequest, SurveyReport, SurveyRequest, SurveyedWorkspace, SweepReport,
};
pub use trash::{RestoreReport, RestoreRequest, TrashReport, TrashRequest, TrashedEntry};

pub use coast_engine::{
    BatchPath, Cancel, CancelHook, Claim, EngineError, FetchedEntry, Monitor, Progress, RunReport,
    VoidMonitor,
};
pub use coast_filter::{MAX_MERGE_FILE_BYTES, MergeFiles, NoMergeFiles, RuleError, RuleList};
pub use coast_ssh::{
    AcceptedKey, AuthorizedKeys, ConnectOptions, Connector, DedicatedKey, Direct, Environment, HostAnswer,
    HostKey, IdentityUsed, NoPrompt, Peer, PresentedKey, Prompt, RunsAs, ServerLimits, SshError, Sudo,
    SudoRefusal, Target, Zeroizing,
};
pub use coast_tree::{BadPath, RelPath};
pub use coast_wire::{
    Change, ConflictKind, Delete, EntryKind, Event, FileContents, Itemize, MASS_DELETION, Options, Origin,
    Own, Ownership, ProblemKind, Ready, ReceiverStats, SenderStats, TimeChange, Update, WORKSPACE_COMMANDS,
};
