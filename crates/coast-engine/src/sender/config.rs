//! The configuration of a sender.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use coast_filter::{Filter, FilterError, NoMergeFiles, RuleList, Side};
use coast_tree::{ContentHash, FileIdentity, Kind, Listed, Record, RelPath, Root};
use coast_wire::Options;

use super::source::{Located, Selection, Source};
use crate::error::EngineError;
use crate::filter_kind;
use crate::merge::{TreeMergeFiles, Whose};

/// Tells [`send`](crate::send) which entries to send, and how.
#[derive(Debug)]
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
    /// Whether the rules restrict the run to some paths: then the cache is used and left as it is, since what was not
    /// looked at would be forgotten.
    pub some_paths: bool,
    /// The paths that are offered, with the directories above them; none for the whole source. A path that the source lacks is deleted
    /// at the destination if the run deletes. The rules hold as for the whole source.
    pub paths: Option<Vec<BatchPath>>,
    /// Contents of files that are known although no cache has them.
    pub known: KnownContents,
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
            some_paths: false,
            paths: None,
            known: KnownContents::default(),
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

/// Contents of files, with the states of the files that have them. A [`FollowSender`](crate::FollowSender) fills it.
#[derive(Debug, Clone, Default)]
pub struct KnownContents(HashMap<RelPath, (FileIdentity, ContentHash)>);

impl KnownContents {
    /// The content of a file in this state.
    pub(super) fn get(&self, path: &RelPath, identity: &FileIdentity) -> Option<ContentHash> {
        self.0.get(path).filter(|(known, _)| known == identity).map(|(_, hash)| *hash)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the contents of files of a directory.
    pub(super) fn add(&mut self, directory: &RelPath, records: Vec<Record>) {
        let path = |record: Record| Some((directory.join(&record.name).ok()?, (record.stat, record.hash)));
        self.0.extend(records.into_iter().filter_map(path));
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
