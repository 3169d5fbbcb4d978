//! The configuration of a sender.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use coast_filter::{Filter, FilterError, NoMergeFiles, RuleList, Side};
use coast_tree::{ContentHash, Kind, Listed, Name, RelPath, Root, Timestamp};
use coast_wire::Options;

use super::source::{Located, Selection, Source};
use crate::error::EngineError;
use crate::filter_kind;
use crate::known_contents::KnownContents;
use crate::merge::{TreeMergeFiles, Whose};

/// Tells [`send`](crate::send) which entries to send, and how.
#[derive(Debug, Clone)]
pub struct SenderConfig {
    /// The directory or the single entry that is sent.
    pub source: Source,
    /// The directory of [`Source::Contents`], if the caller has opened it already: another directory may be at its path by now.
    pub opened: Option<Root>,
    /// Travels to the receiver.
    pub options: Options,
    /// Filter rules of the run; they travel in `options` too, this is the parsed form.
    pub rules: RuleList,
    /// File of the content cache; none to work without.
    pub cache: Option<PathBuf>,
    /// Knows contents that the cache does not know.
    pub known: Option<Arc<dyn KnownContents>>,
    /// Whether the rules restrict the run to some paths: then the cache is used and left as it is, since what was not
    /// looked at would be forgotten.
    pub some_paths: bool,
    /// The paths that are offered, with the directories above them; none for the whole source. A path that the source lacks is deleted
    /// at the destination if the run deletes. The rules hold as for the whole source.
    pub paths: Option<Vec<BatchPath>>,
    /// The contents that the run before has staged.
    pub staged: StagedContents,
    /// Whether frames are compressed, as `-z` asks.
    pub compress: bool,
    /// Bytes per second that may be written, if limited.
    pub bytes_per_second: Option<u64>,
    /// Whether nothing is offered before the receiver is ready and [`Monitor::ready`](crate::Monitor::ready) has returned: for
    /// whoever has to remember what the destination was taken for before anything changes there. Costs a round trip.
    pub await_ready: bool,
    /// Worker threads; by default as many as there are processors, from 2 to 8.
    pub threads: Option<NonZeroUsize>,
}

impl SenderConfig {
    /// Sends `source` with no options and no rules.
    pub fn new(source: Source) -> Self {
        Self {
            source,
            opened: None,
            options: Options::default(),
            rules: RuleList::new(),
            cache: None,
            known: None,
            some_paths: false,
            paths: None,
            staged: StagedContents::default(),
            compress: false,
            bytes_per_second: None,
            await_ready: false,
            threads: None,
        }
    }

    /// Whether just one entry is sent: one that is no directory, or a directory of which the rules leave nothing. Then,
    /// as in rsync, the destination may be its new name.
    ///
    /// # Errors
    /// When the source cannot be looked at, or a rule is wrong.
    pub fn sends_one_entry(&self) -> Result<bool, EngineError> {
        let located = self.source.locate(self.opened.as_ref())?;
        let Selection::Only(name) = &located.selection else { return Ok(false) };
        let Ok(dir) = located.root.handle().child(name) else { return Ok(true) };
        let files = TreeMergeFiles::new(located.root.clone(), Whose::Sender(located.absolute.clone()));
        let rules = |error: FilterError| EngineError::Rule(error.to_string());
        let filter = compile(&self.rules, &located)?.root(&NoMergeFiles).map_err(rules)?;
        let filter = filter.enter(name.as_bytes(), &files).map_err(rules)?;
        let Ok(listed) = dir.list() else { return Ok(false) };
        let sent = |entry: &Listed| !filter.excludes(entry.name.as_bytes(), filter_kind(entry.kind));
        Ok(!listed.iter().any(sent))
    }

    /// Why the options and rules leave nothing to send at all, if they do. Then rsync does not even make the destination.
    ///
    /// # Errors
    /// When the source cannot be looked at, or a rule is wrong.
    pub fn sends_nothing(&self) -> Result<Option<NothingSent>, EngineError> {
        let located = self.source.locate(self.opened.as_ref())?;
        let filter = compile(&self.rules, &located)?;
        let not_recursive = (!self.options.recursive).then_some(NothingSent::NotRecursive);
        Ok(match &located.selection {
            Selection::All => not_recursive,
            Selection::Only(name) => {
                let stat = located.root.handle().stat(name);
                let Ok(Some(stat)) = stat else { return Ok(None) };
                let directory = stat.kind == Kind::Directory;
                let rules =
                    filter.root(&NoMergeFiles).map_err(|error| EngineError::Rule(error.to_string()))?;
                if rules.excludes(name.as_bytes(), filter_kind(stat.kind)) {
                    return Ok(Some(NothingSent::Excluded));
                }
                not_recursive.filter(|_| directory)
            }
        })
    }
}

/// Contents of files that a run has staged at the destination. A [`FollowSender`](crate::FollowSender) fills it.
#[derive(Debug, Clone, Default)]
pub struct StagedContents(HashMap<RelPath, StagedContent>);

/// The content of a file as it was when it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct StagedContent {
    /// In bytes.
    pub(super) size: u64,
    pub(super) hash: ContentHash,
    pub(super) mtime: Timestamp,
}

impl StagedContents {
    pub(super) fn get(&self, path: &RelPath) -> Option<StagedContent> {
        self.0.get(path).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds contents of files of a directory.
    pub(super) fn add<'n>(
        &mut self,
        directory: &RelPath,
        contents: impl Iterator<Item = (&'n Name, StagedContent)>,
    ) {
        let path = |(name, content): (&Name, _)| Some((directory.join(name).ok()?, content));
        self.0.extend(contents.filter_map(path));
    }
}

/// A path of a run that is about some paths of the source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchPath {
    /// Relative to the source.
    pub path: RelPath,
    /// Whether everything below a directory is offered. Otherwise only the directory itself is.
    pub deep: bool,
}

/// Why a run sends nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NothingSent {
    /// The source is a directory, and the run is not recursive.
    NotRecursive,
    /// The rules exclude the source.
    Excluded,
}

pub(super) fn compile(rules: &RuleList, located: &Located) -> Result<Filter, EngineError> {
    Filter::compile_at(rules, Side::Sender, located.absolute.as_os_str().as_encoded_bytes())
        .map_err(|error| EngineError::Rule(error.to_string()))
}
