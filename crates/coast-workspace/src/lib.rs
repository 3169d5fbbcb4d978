//! Operations on a workspace other than syncing it.
//!
//! - [`ProbedDirectory`] tells what there is where a workspace is, or shall be.
//! - [`DoomedWorkspace`] removes a workspace.
//! - [`TrashedWorkspace`] lists the trash of a workspace and restores entries from it.
//! - [`WorkspacesDirectory`] lists the workspaces on a machine, and [`AccountDirectories`] what is left in an account.
//! - [`say`], [`decline`] and [`take_answer`] carry the answers of all from the helper to the client.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod leftovers;
mod probe;
mod removal;
mod state;
mod survey;
mod trash;

pub use answer::{decline, say, take_answer};
pub use leftovers::{AccountDirectories, LeftoverPath};
pub use probe::ProbedDirectory;
pub use removal::{DoomedWorkspace, RemovalNews, RemovalReach};
pub use survey::WorkspacesDirectory;
pub use trash::TrashedWorkspace;
