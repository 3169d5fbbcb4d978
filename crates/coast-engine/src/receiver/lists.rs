//! What is remembered while a run goes on for its end, where no memory is bounded by it: each list spills to a nameless
//! file.

use std::io;

use coast_tree::DirHandle;

use super::extraneous::Extraneous;
use super::finish::LateDirectory;
use super::place::Deferred;
use super::spill::Spill;

/// The lists of a run.
pub(super) struct Lists {
    /// Replaced entries that move into place together.
    pub(super) deferred: Spill<Deferred>,
    /// Entries that wait until a directory has made way for them.
    pub(super) in_the_way: Spill<Deferred>,
    pub(super) extraneous: Spill<Extraneous>,
    /// What is below directories that make way for something else, and they themselves.
    pub(super) making_way: Spill<Extraneous>,
    /// What stays although the source does not have it.
    pub(super) kept: Spill<Vec<u8>>,
    pub(super) late_directories: Spill<LateDirectory>,
}

impl Lists {
    /// Empty ones, in nameless files of `dir`; in memory without one, as in a dry run.
    pub(super) fn new(dir: Option<&DirHandle>) -> io::Result<Self> {
        Ok(Self {
            deferred: Spill::new(dir, "deferred")?,
            in_the_way: Spill::new(dir, "in-the-way")?,
            extraneous: Spill::new(dir, "extraneous")?,
            making_way: Spill::new(dir, "making-way")?,
            kept: Spill::new(dir, "kept")?,
            late_directories: Spill::new(dir, "directories")?,
        })
    }
}
