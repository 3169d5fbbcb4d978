//! What a run can know of the contents of source files that are not in the content cache, without reading the files.

use std::fmt;

use coast_tree::{ContentHash, Listed, Name, RelPath, Stat};

/// Names the content of a file, such as git's id of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentName(pub [u8; 20]);

/// What is known of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    Nothing,
    /// The file seems to have the content of this name, whose hash is not known. [`KnownContents::proof`] tells more.
    Named(ContentName),
    Content(ContentHash),
}

/// Knows contents of source files from elsewhere than the cache. Asked for a file that the cache does not know.
pub trait KnownContents: fmt::Debug + Send + Sync {
    /// Takes note of what a directory holds. Called once for a directory, before a file in it or below it is looked up.
    fn enter(&self, directory: &RelPath, listed: &[Listed]);

    /// What is known of the file `name` in a directory, whose status is `stat`.
    fn look_up(&self, directory: &RelPath, name: &Name, stat: &Stat) -> Known;

    /// Begins to check whether a content of `size` bytes, which is being read, has this name.
    fn proof<'a>(&'a self, name: ContentName, size: u64) -> Box<dyn Proof + 'a>;

    /// Keeps for later runs what this run has learned. Called once, at the end of a run.
    fn save(&self);
}

/// The check of a content against its name.
pub trait Proof: Send {
    /// Takes the next bytes of the content.
    fn update(&mut self, bytes: &[u8]);

    /// Takes note of the hash of the content, if the content has the name.
    fn finish(self: Box<Self>, hash: ContentHash);
}
