//! The answers of a helper to questions that are no transfer: to look at a place, to remove a workspace, to list its trash or to
//! restore from it, to list workspaces, and to list or remove the leftovers in an account. The question itself is its command line;
//! nothing is sent to it.

use serde::{Deserialize, Serialize};

use crate::{EntryKind, Event, FailureKind};

/// From a helper that was asked something. The last message is a [`Answer::Probe`], a [`Answer::Removal`], a [`Answer::Trash`], a
/// [`Answer::Restoration`], a [`Answer::Survey`], [`Answer::Leftovers`], [`Answer::Swept`] or a [`Answer::Failed`].
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Answer<'a> {
    /// The state of the place that was asked about.
    Probe(#[serde(borrow)] Probe<'a>),
    /// Something to tell the user meanwhile. Paths are relative to the workspace.
    Event(#[serde(borrow)] Event<'a>),
    /// How many entries a removal has removed until now.
    Removing { removed_entries: u64 },
    /// The end of a removal.
    Removal(Removal),
    /// An entry in the trash.
    Trashed(#[serde(borrow)] Trashed<'a>),
    /// The end of a list of the trash.
    Trash(TrashTotals),
    /// The end of a restoration.
    Restoration(Restoration),
    /// A workspace that was recognized.
    Surveyed(#[serde(borrow)] Surveyed<'a>),
    /// The end of a list of workspaces.
    Survey(SurveyTotals),
    /// A file or directory that coast or mutagen has left in the account.
    Leftover(#[serde(borrow)] Leftover<'a>),
    /// The end of a list of leftovers.
    Leftovers,
    /// The end of a removal of leftovers.
    Swept { removed: u64 },
    /// The helper gives up; nothing more comes.
    Failed {
        kind: FailureKind,
        #[serde(borrow)]
        text: &'a str,
    },
}

/// The state of the place where a workspace is or shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe<'a> {
    /// The helper's own version.
    pub version: &'a str,
    /// Its operating system, as in `linux`.
    pub os: &'a str,
    /// Its processor, as in `x86_64`.
    pub arch: &'a str,
    /// The number of its effective user.
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
    /// Bytes that a user without privileges may still write there.
    pub free_bytes: u64,
    /// How many entries its file system can have; 0 where it has no limit.
    pub total_inodes: u64,
    /// How many more entries a user without privileges may make there.
    pub free_inodes: u64,
    /// How many files and directories a user of that system may watch, where the system has such a limit.
    pub max_watches: Option<u64>,
    /// Why nothing can be written there, if so.
    pub unwritable: Option<&'a str>,
}

/// The result of removing a workspace.
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

/// An entry in the trash that is no directory, or an empty directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trashed<'a> {
    /// When the run that deleted it began, in seconds since the epoch.
    pub at: u64,
    /// Its path in the workspace.
    #[serde(borrow, with = "serde_bytes")]
    pub path: &'a [u8],
    pub kind: EntryKind,
    /// The size of a file, in bytes; 0 for other entries.
    pub size: u64,
}

/// The counts of a trash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrashTotals {
    /// Entries that are no directories, and empty directories.
    pub entries: u64,
    /// The size of all files, in bytes.
    pub bytes: u64,
    /// Directories that could not be read; the first of them are told as events.
    pub unreadable: u64,
    /// Whether the helper confined itself before.
    pub confined: bool,
}

/// The result of restoring entries from the trash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restoration {
    /// Entries that are back: those that are no directories, and empty directories.
    pub restored_entries: u64,
    /// The size of the files among them, in bytes.
    pub restored_bytes: u64,
    /// Entries that could not be restored, and paths that are not in the trash; the first of them are told as events.
    pub left_entries: u64,
    /// Whether the helper confined itself before.
    pub confined: bool,
}

/// A workspace, recognized by the private state directory beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surveyed<'a> {
    /// The name of the directory that holds it.
    pub project: &'a str,
    /// Its own name. Empty for a directory of a project that has nothing in it.
    pub instance: &'a str,
    /// Whether the workspace exists, and not only its state directory.
    pub exists: bool,
    /// Whether it or its state directory cannot be looked into: something is mounted there, it is no directory, it may not be read, or
    /// the state directory has an entry of a kind that no run makes. What cannot be read is not counted.
    pub unreadable: bool,
    /// The entries in it.
    pub entries: u64,
    /// The size of its files, in bytes.
    pub bytes: u64,
    /// When a run last worked on it, in seconds since the epoch.
    pub used_at: u64,
    /// The size of its trash, in bytes, unless that is empty.
    pub trash_bytes: Option<u64>,
    /// Whether a run holds its lock.
    pub is_busy: bool,
}

/// The count of workspaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SurveyTotals {
    /// All workspaces, also those that were not told.
    pub workspaces: u64,
    /// Whether the helper confined itself before.
    pub confined: bool,
}

/// A file or directory that coast or mutagen has left in the account that logs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover<'a> {
    /// `helper-HASH` in the directory of helpers, or a path below `.mutagen` in the home directory.
    pub path: &'a str,
    /// Its size, in bytes.
    pub bytes: u64,
    /// When it was last changed, in seconds since the epoch.
    pub used_at: u64,
    /// Whether a process of the account may use it.
    pub in_use: bool,
}
