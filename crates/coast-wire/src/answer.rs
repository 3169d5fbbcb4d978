//! What a helper answers to a question that is no transfer: what there is at a place, or that a workspace is to go. The
//! question itself is its command line; nothing is sent to it.

use serde::{Deserialize, Serialize};

use crate::{Event, FailureKind};

/// From a helper that was asked something. The last message is a [`Answer::Probe`], a [`Answer::Removal`] or a
/// [`Answer::Failed`].
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Answer<'a> {
    /// What there is.
    Probe(#[serde(borrow)] Probe<'a>),
    /// Something to tell the user meanwhile. Paths are relative to the workspace.
    Event(#[serde(borrow)] Event<'a>),
    /// What was removed.
    Removal(Removal),
    /// The helper gives up; nothing more comes.
    Failed {
        /// What kind of failure.
        kind: FailureKind,
        /// What happened, for people.
        #[serde(borrow)]
        text: &'a str,
    },
}

/// What a helper finds where a workspace is or shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe<'a> {
    /// The helper's own version.
    pub version: &'a str,
    /// Its operating system, as in `linux`.
    pub os: &'a str,
    /// Its processor, as in `x86_64`.
    pub arch: &'a str,
    /// Its effective user.
    pub uid: u32,
    /// Whether it could confine itself.
    pub confined: bool,
    /// The directory that was looked at: the workspace, or the nearest one above it that exists.
    #[serde(borrow, with = "serde_bytes")]
    pub directory: &'a [u8],
    /// Whether that is the workspace itself.
    pub exists: bool,
    /// Size of its file system, in bytes.
    pub total_bytes: u64,
    /// What may still be written there, in bytes.
    pub free_bytes: u64,
    /// Why nothing can be written there, if so.
    pub unwritable: Option<&'a str>,
}

/// What became of a workspace that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// Whether there was anything to remove.
    pub existed: bool,
    /// Entries of the workspace that were removed, its own directory included.
    pub removed_entries: u64,
    /// Entries that could not be; the first of them are told as events.
    pub kept_entries: u64,
    /// Whether the helper confined itself before.
    pub confined: bool,
}
