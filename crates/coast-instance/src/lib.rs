//! Instances: a project's worktree on a remote machine. Two layers keep the remote directory equal to the worktree: bulk transfers
//! ([`Bulk`]) and a continuous layer that carries every edit ([`Continuous`]). [`Lifecycle`] runs the commands that keep both in
//! step.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod addressed;
mod bulk;
mod carried;
mod coastfile;
mod continuous;
mod draft;
mod durable;
mod event;
mod file_error;
mod followers;
mod ignores;
mod layers;
mod lifecycle;
mod listing;
mod lock;
mod mutagen_layer;
mod name;
mod native_layer;
mod occupant;
mod places;
mod private;
mod project;
mod project_file;
mod project_instances;
mod prune;
mod record;
mod records;
mod remote;
mod remotes;
mod scope;
mod session_key;
mod stale;
mod stored_path;
mod sudoers;
mod trust;
mod words;
mod worktree;
mod worktree_dirs;

pub use addressed::Addressed;
pub use bulk::{Bulk, Checked, ContentSources, Deletes, Helpers, RemoteBulk, Removed, Transfer, Transferred};
pub use coastfile::{BadType, Coastfile, CoastfileChoice, CoastfileType};
pub use continuous::{
    Access, Activity, AfterTransfer, BeginStep, Conflict, Continuous, ContinuousError, ContinuousStart,
    ContinuousStatus, Extent, Failure, InstanceId, LastBatch, PrivateFile, Problem, Remains, Retry,
    RunnerChange, RunnerState, Side, Staging, Started, WatchSession, Watches,
};
pub use draft::Draft;
pub use event::{LifecycleEvent, Observer, VoidObserver};
pub use file_error::FileError;
pub use followers::{FirstBatch, FollowSpec, Followers, Prepared};
pub use layers::{Layer, Layers};
pub use lifecycle::{
    Check, Edits, Explanation, FollowOptions, Insist, InstanceStatus, Lifecycle, LifecycleError, Listed,
    Questions, Resolution, Resumed, RmOptions, RunOptions, Trust, Unfinished, list,
};
pub use lock::Holder;
pub use mutagen_layer::MutagenLayer;
pub use name::Name;
pub use native_layer::NativeLayer;
pub use occupant::occupant;
pub use places::Places;
pub use project::{Directories, Project, ProjectError, ResolvedWorktree};
pub use project_instances::ProjectInstance;
pub use prune::{KeptPath, LeftWorkspace, Leftovers, Pruning};
pub use record::{Command, Following, LastTransfer, Record, State, Step, Unended};
pub use records::{RecordError, Records};
pub use remote::Remote;
pub use remotes::{Remotes, RemotesEditor, RemotesError};
pub use scope::Scope;
pub use session_key::{KeyRemoved, SessionKey};
pub use stale::{Stale, StalePath};
pub use stored_path::StoredPath;
pub use sudoers::{UnwritablePath, sudoers};
pub use trust::{Demand, TrustQuestion, TrustStore, Trusted};
pub use words::shell_word;
pub use worktree::{WorktreeIdentity, WorktreeState};
pub use worktree_dirs::WorktreeDir;
