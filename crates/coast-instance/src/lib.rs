//! Instances: a project's worktree on a remote machine, kept true by two layers - bulk transfers, and a continuous layer that
//! follows every edit. This crate keeps the two in step through the life of an instance.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bulk;
mod coastfile;
mod continuous;
mod durable;
mod event;
mod ignores;
mod lifecycle;
mod listing;
mod lock;
mod mutagen_layer;
mod name;
mod places;
mod project;
mod record;
mod remotes;
mod repository;
mod stored_path;
mod words;

pub use bulk::{Bulk, RemoteBulk, Removed, Transfer, Transferred, request};
pub use coastfile::{Coastfile, CoastfileError, FILE_NAMES, Fault, Strategy};
pub use continuous::{
    Access, Activity, BeginStep, Conflict, ContainerChange, Continuous, ContinuousError, ContinuousStart,
    ContinuousStatus, Extent, Failure, InstanceId, Problem, Remains, Side, Started, container_name,
};
pub use event::{Happening, Observer};
pub use ignores::{BadPattern, for_mutagen, to_mutagen};
pub use lifecycle::{Insist, InstanceStatus, Lifecycle, LifecycleError, Listed, RmOptions, RunOptions, list};
pub use lock::{FileLock, Holder, LockError};
pub use mutagen_layer::MutagenLayer;
pub use name::{BadName, MAX_NAME_BYTES, Name};
pub use places::{NoHome, Places};
pub use project::{Project, ProjectError};
pub use record::{Command, Following, LastTransfer, Record, RecordError, Records, State, Step, Unended};
pub use remotes::{BadAddress, DEFAULT_SERVICE_HOME, Remote, Remotes, RemotesEditor, RemotesError};
pub use stored_path::StoredPath;
