//! Whether an extraneous entry may be deleted: the receiver's side of the filter rules.
//!
//! Rules that are the same everywhere are applied when a directory is examined, so that protected directories are not even
//! listed. Rule files in the tree count as they are after the transfer, as with rsync's `--delete-after`: then all extraneous
//! entries are noted first and judged at the end, before the first deletion.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use coast_filter::{DirFilter, Filter, FilterError, NoMergeFiles, RuleList, Side};
use coast_tree::{Kind, Name, RelPath, Root};
use coast_wire::Options;

use crate::error::EngineError;
use crate::filter_kind;
use crate::merge::{TreeMergeFiles, Whose};

/// The rules of a run.
pub(in crate::receiver) struct DeletionFilter {
    filter: Filter,
    late: bool,
    /// Whether the root is sent, and its rule files count. As in rsync, the rule files around a directory that is sent by its
    /// name do not.
    root_is_sent: AtomicBool,
}

/// Where an entry is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    /// A directory that stays.
    Kept,
    /// A directory that is extraneous itself.
    Removed,
}

impl DeletionFilter {
    /// The rules of a run; none if it deletes nothing. `root` is the absolute path of the transfer root, which some rules match
    /// against.
    pub(in crate::receiver) fn of(options: &Options, root: &Path) -> Result<Option<Self>, EngineError> {
        options.delete.as_ref().map(|_| Self::new(&options.rules, root)).transpose()
    }

    fn new(rules: &[serde_bytes::ByteBuf], root: &Path) -> Result<Self, EngineError> {
        let failed = |error: coast_filter::RuleError| EngineError::Rule(error.to_string());
        let rules = RuleList::from_lines(rules.iter().map(|rule| rule.as_slice())).map_err(failed)?;
        let late = rules.has_directory_files();
        let filter = Filter::compile_at(&rules, Side::Receiver, root.as_os_str().as_encoded_bytes());
        Ok(Self { filter: filter.map_err(failed)?, late, root_is_sent: AtomicBool::new(false) })
    }

    /// The sender has told of the root. It does before anything in it.
    pub(super) fn root_is_sent(&self) {
        self.root_is_sent.store(true, Ordering::Release);
    }

    /// Whether entries are judged at the end.
    pub(super) fn is_late(&self) -> bool {
        self.late
    }

    /// The rules in a directory. Made from the root anew: only directories with something extraneous need them, and
    /// without rule files this only joins names.
    pub(super) fn directory(&self, root: &Root, path: &RelPath) -> Result<DirFilter, FilterError> {
        let files = files(root);
        let above = match self.root_is_sent.load(Ordering::Acquire) {
            true => self.filter.root(&files)?,
            false => self.filter.root(&NoMergeFiles)?,
        };
        path.components().try_fold(above, |filter, name| filter.enter(name, &files))
    }

    /// The rules in a subdirectory.
    pub(super) fn enter(filter: &DirFilter, root: &Root, name: &Name) -> Result<DirFilter, FilterError> {
        filter.enter(name.as_bytes(), &files(root))
    }

    /// Whether an entry stays.
    pub(super) fn protects(filter: &DirFilter, name: &Name, kind: Kind, within: Within) -> bool {
        let kind = filter_kind(kind);
        match within {
            Within::Kept => filter.excludes(name.as_bytes(), kind),
            Within::Removed => filter.excludes_in_removed_dir(name.as_bytes(), kind),
        }
    }
}

fn files(root: &Root) -> TreeMergeFiles {
    TreeMergeFiles::new(root.clone(), Whose::Receiver)
}

/// Rules that are wrong end the run; a file of them that cannot be read is a problem of its directory.
pub(super) fn unreadable_rules(error: FilterError) -> Result<io::Error, EngineError> {
    match error {
        FilterError::Read { source, .. } => Ok(source),
        error => Err(EngineError::Rule(error.to_string())),
    }
}
