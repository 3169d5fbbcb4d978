//! Many runs to one destination, over one connection to a receiver that stays: for a program that watches a directory and
//! transfers what changes.

use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use coast_engine::{
    BatchPath, Cancel, Claim, DestinationIs, EngineError, FetchedEntry, FollowSender, Monitor, RunReport,
    SenderConfig, Source,
};
use coast_filter::{RuleError, RuleList};
use coast_ssh::Prompt;
use coast_tree::{RelPath, Root};
use coast_wire::limits::MAX_RENAMES;
use coast_wire::{FailureKind, FileContents, Follow, Options, Own, Ownership, Renamed};

use crate::destination::{Destination, LocalReceiver};
use crate::failures::{Gathered, Gathering};
use crate::local::{ChildProgram, FollowedChild, FollowedThread};
use crate::receiver_arguments::ReceiverArguments;
use crate::remote::{ConnectionReport, FollowedRemote};
use crate::{CachePlace, Conflicts, Deferred, Deletions, Failures, SyncError, profile};

/// The reading and writing ends of a stream to a receiver that stays.
pub(crate) type Sender = FollowSender<Box<dyn Read + Send>, Box<dyn Write + Send>>;

/// Describes a directory that is followed: source, destination, options and rules. See [`FollowSession`] for an example.
#[derive(Debug, Clone)]
pub struct FollowRequest {
    worktree: PathBuf,
    destination: Destination,
    options: Options,
    rules: RuleList,
    claim: Claim,
    compress: bool,
    threads: Option<NonZeroUsize>,
    cache: CachePlace,
}

impl FollowRequest {
    /// Follows the content of the directory `worktree` with the options and rules of [`profile`]. On another machine the workspace
    /// must exist. To give rules that win over the default rules, build a list that ends with [`profile::add_default_rules`].
    ///
    /// # Errors
    /// None in practice: the default rules fit into an empty list.
    pub fn push(
        worktree: impl Into<PathBuf>,
        destination: impl Into<Destination>,
    ) -> Result<Self, RuleError> {
        let mut rules = RuleList::new();
        profile::add_default_rules(&mut rules)?;
        let destination = destination.into();
        // On this machine the destination may hold the directory that the program was started in.
        let claim = if destination.is_remote() { Claim::ExistingWorkspace } else { Claim::Anything };
        Ok(Self {
            worktree: worktree.into(),
            destination,
            // What a service keeps at the destination is not given to anybody by an edit.
            options: Options { ownership: Ownership::LoginUser { own: Own::None }, ..profile::options() },
            rules,
            claim,
            compress: true,
            threads: None,
            cache: CachePlace::Default,
        })
    }

    /// Sets the options. The fields [`Options::rules`] and [`Options::follow`] are ignored.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Sets the filter rules, in place of those set so far.
    #[must_use]
    pub fn rules(mut self, rules: RuleList) -> Self {
        self.rules = rules;
        self
    }

    /// Sets how the destination is treated.
    #[must_use]
    pub fn claim(mut self, claim: Claim) -> Self {
        self.claim = claim;
        self
    }

    /// Sets whether data for another machine is compressed.
    #[must_use]
    pub fn compress(mut self, compress: bool) -> Self {
        self.compress = compress;
        self
    }

    /// Sets the number of worker threads on this side. The default is the number of processors, but from 2 to 8.
    #[must_use]
    pub fn threads(mut self, threads: Option<NonZeroUsize>) -> Self {
        self.threads = threads;
        self
    }

    /// Sets the place of the content cache of the source.
    #[must_use]
    pub fn cache(mut self, place: CachePlace) -> Self {
        self.cache = place;
        self
    }

    /// Connects, and starts the receiver. Nothing is changed at the destination yet. `cancel` stops the attempt.
    ///
    /// # Errors
    /// When the destination cannot be reached. A destination that cannot be used may be told by the first
    /// [`FollowSession::send`] only.
    pub fn connect(&self, prompt: &dyn Prompt, cancel: &Cancel) -> Result<FollowSession, SyncError> {
        let arguments = ReceiverArguments {
            root: self.destination.path().to_owned(),
            make_parents: false,
            dry_run: false,
            some_paths: false,
            destination_is: DestinationIs::Directory,
            claim: self.claim,
            timeout: None,
            run: None,
        };
        let receiver = match &self.destination {
            Destination::Remote(remote) => {
                let reached = FollowedRemote::reach(remote, arguments.follow_words(), prompt, cancel);
                match reached {
                    // Closing the connection causes various errors, but the reason is the cancellation.
                    Err(_) if cancel.is_cancelled() => return Err(SyncError::Interrupted),
                    reached => FollowedReceiver::Remote(Box::new(reached?)),
                }
            }
            Destination::Local(local) => match local.receiver() {
                LocalReceiver::InProcess => {
                    FollowedReceiver::Thread(FollowedThread::start(arguments, local.relay())?)
                }
                LocalReceiver::Program { program, arguments: own } => {
                    let helper = ChildProgram { program, arguments: own };
                    FollowedReceiver::Child(FollowedChild::start(helper, arguments.follow_words(), cancel)?)
                }
            },
        };
        let source = Source::Contents(self.worktree.clone());
        let cache = self.cache.file(&source);
        Ok(FollowSession { request: self.clone(), source, cache, receiver, has_staged: false })
    }
}

/// A receiver that stays, and the stream to it.
enum FollowedReceiver {
    Remote(Box<FollowedRemote>),
    Thread(FollowedThread),
    Child(FollowedChild),
}

impl FollowedReceiver {
    fn sender(&mut self) -> &mut Sender {
        match self {
            Self::Remote(remote) => remote.sender(),
            Self::Thread(thread) => thread.sender(),
            Self::Child(child) => child.sender(),
        }
    }

    /// Has `talk` use the stream. `cancel` ends it.
    fn talk<T>(
        &mut self,
        cancel: &Cancel,
        talk: impl FnOnce(&mut Sender) -> Result<T, EngineError>,
    ) -> Result<T, SyncError> {
        let talked = match self {
            Self::Remote(remote) => remote.talk(cancel, talk),
            Self::Thread(thread) => thread.talk(cancel, talk),
            Self::Child(child) => child.talk(cancel, talk),
        };
        match talked {
            // Ending the stream causes various errors, but the reason is the cancellation.
            Err(_) if cancel.is_cancelled() => Err(SyncError::Interrupted),
            talked => talked,
        }
    }
}

/// A connection to a receiver that stays, for one batch after the other. Dropping it ends the receiver.
///
/// ```
/// use coast_sync::{
///     BatchPath, CachePlace, Cancel, Destination, FollowBatch, FollowRequest, NoPrompt, RelPath, VoidMonitor,
/// };
///
/// let scratch = tempfile::tempdir()?;
/// let (worktree, copy) = (scratch.path().join("worktree"), scratch.path().join("copy"));
/// std::fs::create_dir_all(worktree.join("src"))?;
/// std::fs::write(worktree.join("src/main.rs"), "fn main() {}")?;
///
/// let request = FollowRequest::push(&worktree, Destination::local(&copy))?.cache(CachePlace::Nowhere);
/// let mut session = request.connect(&NoPrompt, &Cancel::new())?;
/// session.send(&FollowBatch::everything(), &VoidMonitor, &Cancel::new())?;
///
/// std::fs::write(worktree.join("src/main.rs"), "fn main() { todo!() }")?;
/// let saved = BatchPath { path: RelPath::new(b"src/main.rs")?, deep: false };
/// let report = session.send(&FollowBatch::paths([saved]), &VoidMonitor, &Cancel::new())?;
/// assert_eq!(report.run.receiver.transferred_files, 1);
/// assert_eq!(std::fs::read_to_string(copy.join("src/main.rs"))?, "fn main() { todo!() }");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FollowSession {
    request: FollowRequest,
    source: Source,
    cache: Option<PathBuf>,
    receiver: FollowedReceiver,
    /// Whether a batch has only staged contents. Then other batches go over another session.
    has_staged: bool,
}

impl std::fmt::Debug for FollowSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FollowSession").field("request", &self.request).finish_non_exhaustive()
    }
}

impl FollowSession {
    /// How the other machine was reached. `None` for a local destination.
    pub fn connection(&self) -> Option<&ConnectionReport> {
        match &self.receiver {
            FollowedReceiver::Remote(remote) => Some(remote.report()),
            FollowedReceiver::Thread(_) | FollowedReceiver::Child(_) => None,
        }
    }

    /// Brings the destination up to date as far as the batch goes. Blocks until the receiver has finished, or the run failed. `cancel`
    /// ends the session.
    ///
    /// # Errors
    /// When the batch did not come to its end; [`FollowSession::is_usable`] says whether the next one can. Entries that could not be
    /// transferred are no error, see [`BatchReport::failures`].
    pub fn send(
        &mut self,
        batch: &FollowBatch,
        monitor: &dyn Monitor,
        cancel: &Cancel,
    ) -> Result<BatchReport, SyncError> {
        self.run(batch, None, monitor, cancel)
    }

    /// Does the same as [`FollowSession::send`] with a worktree that the caller has opened, whatever is at its path by now: then
    /// nothing is deleted because another directory took its place, or another file system was mounted over it.
    ///
    /// # Errors
    /// As [`FollowSession::send`].
    pub fn send_opened(
        &mut self,
        batch: &FollowBatch,
        worktree: Root,
        monitor: &dyn Monitor,
        cancel: &Cancel,
    ) -> Result<BatchReport, SyncError> {
        self.run(batch, Some(worktree), monitor, cancel)
    }

    fn run(
        &mut self,
        batch: &FollowBatch,
        opened: Option<Root>,
        monitor: &dyn Monitor,
        cancel: &Cancel,
    ) -> Result<BatchReport, SyncError> {
        let started = Instant::now();
        let mut sender = SenderConfig::new(self.source.clone());
        sender.opened = opened;
        sender.options = self.request.options.clone();
        sender.rules = self.request.rules.clone();
        sender.threads = self.request.threads;
        // Compression would slow down a run on this machine.
        sender.compress = self.request.compress && self.request.destination.is_remote();
        let bytes = |path: &RelPath| path.as_bytes().to_vec().into();
        let renamed = batch.renamed.iter().take(MAX_RENAMES);
        sender.options.follow = Some(Follow {
            take_source: batch.take_source.iter().map(bytes).collect(),
            renamed: renamed.map(|(from, to)| Renamed { from: bytes(from), to: bytes(to) }).collect(),
            contents: batch.contents,
            ..Follow::default()
        });
        let stages = batch.contents == FileContents::StageOnly;
        if stages {
            sender.options.delete = None;
        } else if let Some(delete) = &mut sender.options.delete {
            delete.there_before = batch.there_before;
            delete.whole = batch.whole;
        }
        // Another session may have brought a later state of the file meanwhile: the file is looked at under the lock.
        sender.await_ready = self.has_staged && !stages;
        self.has_staged |= stages;
        match &batch.extent {
            BatchExtent::Everything => sender.cache.clone_from(&self.cache),
            BatchExtent::Paths(paths) => {
                // A single file was just written, so no cache knows it.
                sender.cache = self.cache.clone().filter(|_| paths.iter().any(|path| path.deep));
                sender.paths = Some(paths.clone());
                // The limit compares with what a run sees, and this run sees little besides what goes.
                if let Some(delete) = &mut sender.options.delete {
                    delete.no_mass_deletion = false;
                }
            }
        }
        let gathering = Gathering::new(monitor);
        let run = self.receiver.talk(cancel, |stream| stream.run(sender, &gathering, cancel))?;
        let Gathered { failures, mut deletions, conflicts, deferred, .. } = gathering.into_gathered();
        deletions.to_trash = self.request.options.trash;
        Ok(BatchReport { run, elapsed: started.elapsed(), failures, conflicts, deferred, deletions })
    }

    /// Reads the file or the symlink at a path of the destination, as it is there now. The content of a file is written to `into`
    /// piece by piece, and is whole and verified only when this returns without an error. `cancel` ends the session.
    ///
    /// # Errors
    /// When nothing is at the path, or an entry of another kind, which the error names; when the entry cannot be read, or is changed
    /// meanwhile; and when `into` fails.
    pub fn fetch(
        &mut self,
        path: &RelPath,
        into: &mut dyn Write,
        cancel: &Cancel,
    ) -> Result<FetchedEntry, SyncError> {
        self.receiver.talk(cancel, |stream| stream.fetch(path, into))
    }

    /// Whether the session can send another batch. False after the connection was lost, or the receiver ended.
    pub fn is_usable(&mut self) -> bool {
        self.receiver.sender().is_usable()
    }

    /// A handle to wait for the end of the receiver, on another thread.
    pub fn end(&self) -> SessionEnd {
        SessionEnd(match &self.receiver {
            FollowedReceiver::Remote(remote) => remote.end(),
            FollowedReceiver::Thread(thread) => thread.end(),
            FollowedReceiver::Child(child) => child.end(),
        })
    }
}

/// The end of a receiver that stays: it died, or the connection to it was lost, or its session was dropped.
#[derive(Clone)]
pub struct SessionEnd(pub(crate) std::sync::Arc<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for SessionEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionEnd").finish_non_exhaustive()
    }
}

impl SessionEnd {
    /// Blocks until the receiver has ended. The next [`FollowSession::send`] says why.
    pub fn wait(&self) {
        (self.0)();
    }
}

/// What a batch is about. A batch is safe in one direction: an entry that something else than a run has made or changed at the
/// destination is neither replaced nor deleted, but reported as a conflict. The conflict is settled by the next batch that is about
/// the path and finds both contents equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowBatch {
    /// How much of the source is transferred.
    pub extent: BatchExtent,
    /// Paths at and below which the source wins over what was made or changed at the destination. What is replaced or deleted there goes
    /// to the trash, if the options have one. The batch transfers these paths only as far as its extent has them.
    pub take_source: Vec<RelPath>,
    /// Renames of the source, each as the old and the new path, both of which the extent must have. The source has the new path and
    /// lacks the old one. The destination moves its own entry, unless something in it stays there; then the entry is made anew.
    pub renamed: Vec<(RelPath, RelPath)>,
    /// What becomes of the contents of files. After a batch with [`FileContents::StageOnly`], a batch about the same files with
    /// [`FileContents::DeferAbove`], sent next over the same session, puts the staged contents of files above its limit into place.
    pub contents: FileContents,
    /// How many entries were at the destination before the batches just before this one, or 0; see
    /// [`Delete::there_before`](crate::Delete::there_before).
    pub there_before: u64,
    /// How many entries make the workspace whole, or 0; see [`Delete::whole`](crate::Delete::whole).
    pub whole: u64,
}

/// How much of the source a batch transfers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchExtent {
    /// All of it, with the content caches of both sides.
    Everything,
    /// These paths. A path that the source lacks is deleted at the destination.
    Paths(Vec<BatchPath>),
}

impl FollowBatch {
    fn new(extent: BatchExtent) -> Self {
        Self {
            extent,
            take_source: Vec::new(),
            renamed: Vec::new(),
            contents: FileContents::Place,
            there_before: 0,
            whole: 0,
        }
    }

    /// A batch about the whole source.
    pub fn everything() -> Self {
        Self::new(BatchExtent::Everything)
    }

    /// A batch about some paths.
    pub fn paths(paths: impl IntoIterator<Item = BatchPath>) -> Self {
        Self::new(BatchExtent::Paths(paths.into_iter().collect()))
    }

    /// Adds paths at and below which the source wins; see [`FollowBatch::take_source`].
    #[must_use]
    pub fn take_source(mut self, paths: impl IntoIterator<Item = RelPath>) -> Self {
        self.take_source.extend(paths);
        self
    }

    /// Only stages the contents of the files; see [`FollowBatch::contents`].
    #[must_use]
    pub fn stage_only(mut self) -> Self {
        self.contents = FileContents::StageOnly;
        self
    }

    /// Leaves files of more bytes than this for another batch; see [`FollowBatch::contents`].
    #[must_use]
    pub fn defer_above(mut self, bytes: u64) -> Self {
        self.contents = FileContents::DeferAbove(bytes);
        self
    }

    /// Tells how many entries there were before the batches just before; see [`FollowBatch::there_before`].
    #[must_use]
    pub fn there_before(mut self, entries: u64) -> Self {
        self.there_before = entries;
        self
    }

    /// Tells how many entries make the workspace whole; see [`FollowBatch::whole`].
    #[must_use]
    pub fn whole(mut self, entries: u64) -> Self {
        self.whole = entries;
        self
    }

    /// Adds renames; see [`FollowBatch::renamed`].
    #[must_use]
    pub fn renamed(mut self, renamed: impl IntoIterator<Item = (RelPath, RelPath)>) -> Self {
        self.renamed.extend(renamed);
        self
    }
}

/// The result of a batch.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BatchReport {
    /// The counts of both sides. If [`deletion_skipped`](coast_wire::ReceiverStats::deletion_skipped) is set, something of the source
    /// could not be read, and nothing was deleted: the paths that the source lacks have to be sent again.
    pub run: RunReport,
    /// The time from the call of [`FollowSession::send`] to the receiver's acknowledgement.
    pub elapsed: Duration,
    /// The entries that could not be brought up to date.
    pub failures: Failures,
    /// The entries that were left as they are, because something else than a run made or changed them.
    pub conflicts: Conflicts,
    /// The files that were left for another batch, because they are large.
    pub deferred: Deferred,
    /// The entries that were deleted.
    pub deletions: Deletions,
}

impl SyncError {
    /// Whether the workspace at the destination was removed, or another one is in its place.
    pub fn is_workspace_removed(&self) -> bool {
        matches!(self, Self::Engine(error) if matches!(
            error,
            EngineError::Removed { .. } | EngineError::Remote { kind: FailureKind::Removed, .. }
        ))
    }
}
