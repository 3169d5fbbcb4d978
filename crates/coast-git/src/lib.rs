//! What git knows of a worktree, read from git's own files. No git program is needed.
//!
//! - [`Repository`]: the checkouts of a repository and its branches.
//! - [`TrackedContents`]: the contents of tracked files, without reading them.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod attributes;
mod blobs;
mod configuration;
mod head_log;
mod index;
mod index_file;
mod repository;
mod tracked_contents;

pub use repository::{Repository, Worktree, git_dir_above, git_dir_at};
pub use tracked_contents::TrackedContents;
