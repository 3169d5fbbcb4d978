//! The receiving side of a run.
//!
//! A run opens the destination, takes what the sender offers, settles every entry, deletes last, and finishes. Four owners
//! share the work, and each borrows only those above it:
//!
//! | owner | owns |
//! |---|---|
//! | [`report`] | messages, events and counts |
//! | [`target`] | the destination tree: staging area, attributes, content cache |
//! | [`deletion`] | filter rules, extraneous entries, entries in the way |
//! | [`transfer`] | offered parts, queues, files that are being put together |

mod arrivals;
mod claim;
mod config;
mod deletion;
mod destination;
mod failure;
mod fetch;
mod follow;
mod frames;
mod offered;
mod report;
mod spill;
mod target;
mod transfer;

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coast_tree::state::SHARED_NOTICE;
use coast_tree::{DirHandle, Root};
use coast_wire::{
    Class, Event, Extent, Follow, FrameReader, LevelControl, Options, Pack, Ready, ReceiverStats, ToReceiver,
    ToSender, bounded_text, messages,
};

use crate::error::EngineError;
use crate::monitor::{Monitor, Progress};
use crate::outbox::{Outbox, Pace};
use crate::stop::{Stop, Stopped};
use crate::{Cancel, threads};

pub(crate) use arrivals::REPORTED_BYTES;
use arrivals::{ArrivalReports, ReportingReader};
pub use claim::Claim;
pub use config::{LoginUser, ReceiverConfig};
use deletion::{Deletion, DeletionFilter};
pub use destination::DestinationIs;
use destination::{Destination, Preparation};
pub use follow::Following;
use frames::RunFrames;
use report::Report;
use target::{Shared, SystemFacts, Target};
use transfer::Transfer;

/// Frames of messages to the sender that may wait for the writer.
const QUEUED_REPLIES: usize = 64;

/// A destination that is open and ready for a run.
pub struct Receiver {
    config: ReceiverConfig,
    destination: Destination,
    system: SystemFacts,
    shared: Shared,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Receiver {
    /// Opens the destination. From here on nothing outside of [`Receiver::directories`] is opened, so that the
    /// process may be confined to them before [`Receiver::run`] reads a byte.
    ///
    /// # Errors
    /// [`EngineError::Destination`], and [`EngineError::NoWorkspace`] when the directory does not match
    /// `config.claim`.
    pub fn open(config: ReceiverConfig) -> Result<Self, EngineError> {
        let how = Preparation {
            is: config.destination_is,
            claim: config.claim,
            make_parents: config.make_parents,
            dry_run: config.dry_run,
            umask: config.umask,
            login_uid: config.login.map(|login| login.uid),
        };
        let destination = Destination::prepare(&config.destination, how)?;
        Ok(Self { config, destination, system: SystemFacts::read(), shared: Shared::default() })
    }

    /// The directories that the run works in.
    pub fn directories(&self) -> Vec<DirHandle> {
        let root = self.destination.root.as_ref().map(Root::handle);
        let state = self.destination.state.as_ref().map(|state| state.dir.clone());
        root.into_iter().chain(state).chain(self.destination.peeked.dir.clone()).collect()
    }

    /// Receives the tree that the sender offers. The `Ready` message repeats `confined`. Dropping `writer` must end the stream for
    /// the other side, as it does for a pipe.
    ///
    /// # Errors
    /// When the run could not be brought to its end; the sender has been told, if it could be.
    pub fn run(
        self,
        reader: impl Read + Send,
        mut writer: impl Write + Send,
        confined: bool,
        monitor: &dyn Monitor,
        cancel: &Cancel,
    ) -> Result<ReceiverStats, EngineError> {
        let reports = ArrivalReports::default();
        let mut frames = FrameReader::new(ReportingReader::new(reader, reports.clone()));
        let mut frames = RunFrames::new(&mut frames, None);
        self.converse(&mut frames, &mut writer, confined, Conversation::One(reports), monitor, cancel)
    }

    /// Receives many trees, one after the other, over a stream that stays open. See [`Receiver::run`].
    pub fn follow<R: Read + Send, W: Write + Send>(
        self,
        reader: R,
        writer: W,
        confined: bool,
    ) -> Following<R, W> {
        Following::new(self, reader, writer, confined)
    }

    /// The same destination, for one of many runs.
    fn for_another_run(&self) -> Self {
        Self {
            config: self.config.clone(),
            destination: self.destination.for_another_run(),
            system: self.system.clone(),
            shared: self.shared.clone(),
        }
    }

    /// Removes what other processes have staged ahead, and do not stage at the moment.
    fn forget_ahead(&self) {
        if let Some(state) = &self.destination.state {
            // What cannot be removed is removed by a push.
            let _ = state.remove_ahead();
        }
    }

    /// The place where contents for this destination are staged ahead.
    fn for_staging(&self) -> Result<Self, EngineError> {
        self.destination.check_in_place()?;
        let workspace = self.destination.root.clone();
        let destination = self.destination.ahead()?;
        let shared = Shared { knowledge: Arc::default(), ahead: self.shared.ahead.clone(), workspace };
        Ok(Self { config: self.config.clone(), destination, system: self.system.clone(), shared })
    }

    fn converse<R: Read + Send>(
        self,
        frames: &mut RunFrames<'_, R>,
        writer: &mut (impl Write + Send),
        confined: bool,
        conversation: Conversation,
        monitor: &dyn Monitor,
        cancel: &Cancel,
    ) -> Result<ReceiverStats, EngineError> {
        let stop = Stop::new();
        let _hook = cancel.on_cancel({
            let stop = stop.clone();
            move || stop.fail(EngineError::Interrupted)
        });
        // The writer outlives a failure of the run, to say what it was.
        let closing = Stop::new();
        let (outbox, outgoings) = Outbox::new(QUEUED_REPLIES, closing.clone());
        let outbox = Arc::new(outbox);
        let progress = Arc::new(Progress::default());
        monitor.started(&progress);
        let alive = sealed(&ToSender::Alive)?;
        std::thread::scope(|scope| {
            scope.spawn({
                let (outbox, progress, stop, closing) = (&outbox, &progress, &stop, &closing);
                move || {
                    let written = outgoings.write_to(outbox, writer, &alive, Pace::new(None), progress);
                    if let Err(error) = written {
                        stop.fail(error.into());
                        closing.finish();
                    }
                }
            });
            let told = AtomicBool::new(false);
            let tell = |result: &Result<ReceiverStats, EngineError>| {
                if !told.swap(true, Ordering::AcqRel) {
                    say_how_it_ended(&outbox, result);
                    stop.finish();
                    closing.finish();
                }
            };
            let result = self.receive(frames, &outbox, (confined, &conversation), monitor, &stop, &tell);
            tell(&result);
            result
        })
    }

    /// The run itself. `tell` is called when its result is known, while the reader still waits for the sender to
    /// close the stream.
    fn receive<R: Read + Send>(
        mut self,
        frames: &mut RunFrames<'_, R>,
        outbox: &Arc<Outbox>,
        (confined, conversation): (bool, &Conversation),
        monitor: &dyn Monitor,
        stop: &Stop,
        tell: &dyn Fn(&Result<ReceiverStats, EngineError>),
    ) -> Result<ReceiverStats, EngineError> {
        // Open.
        let options = read_start(frames)?;
        if options.dry_run != self.config.dry_run {
            return Err(EngineError::Protocol("it changed its mind about a dry run"));
        }
        if options.follow.is_some() != conversation.is_many() {
            return Err(EngineError::Protocol("it began a run of another kind than it announced"));
        }
        let some_paths = |follow: &Follow| follow.extent == Extent::Paths;
        if options.report_arrivals
            && let Conversation::One(reports) = conversation
        {
            reports.open(outbox);
        }
        self.config.some_paths |= options.follow.as_ref().is_some_and(some_paths);
        self.lock(outbox, conversation, stop)?;
        let workers = threads(self.config.threads);
        outbox.compress_with(LevelControl::new(workers))?;
        let report = Report::new(outbox, monitor, stop, &options);
        let Self { config, destination, system, shared } = self;
        let rename = destination.rename.clone();
        let filter = DeletionFilter::of(&options, &destination.absolute)?;
        let target = Target::open(destination, shared, &config, system, &options, &report)?;
        let deletion = Deletion::new(filter, &options, &target, &report);
        let transfer = Transfer::new(&target, &deletion, &report, rename, &options, workers, stop)?;
        report.tell(&ToSender::Ready(ready(confined))).map_err(|Stopped| EngineError::Disconnected)?;
        std::thread::scope(|scope| {
            let working: Vec<_> = (0..workers.get()).map(|_| scope.spawn(|| transfer.work())).collect();
            // Offer.
            scope.spawn(|| {
                if let Err(error) = transfer.take_in(frames) {
                    stop.fail(error);
                }
            });
            // Settle.
            transfer.wait_until_settled();
            let ended = match stop.take_failure() {
                Some(error) => {
                    // A worker may be writing a file that is to be kept, and none may stage another one from now on.
                    for worker in working {
                        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                    }
                    transfer.abandon();
                    Err(error)
                }
                None => finish(&target, &deletion, &report, transfer.has_source_errors()),
            };
            // However the run ended, nothing of it is left in the workspace, and directories get their modes. Those come last:
            // removing staging areas changes the times of directories and needs the right to write. The first error is told.
            target.clean_up();
            let restored = target.set_late_directories();
            let ended = ended.and(restored).and_then(|()| stop.take_failure().map_or(Ok(()), Err));
            let result = ended.map(|()| report.stats());
            if conversation.is_many() {
                // The sender may take long to say that it has heard it.
                target.unlock();
            }
            tell(&result);
            result
        })
    }

    /// Waits until no other run works on this destination.
    fn lock(&mut self, outbox: &Outbox, conversation: &Conversation, stop: &Stop) -> Result<(), EngineError> {
        if conversation.is_many() {
            self.destination.check_in_place()?;
        }
        let Some(state) = &mut self.destination.state else { return Ok(()) };
        state.lock(stop, || {
            let text = "another run works on this workspace; waiting for it to end";
            let _ = outbox.push(&ToSender::Event(Event::Notice { text }));
        })?;
        if !state.is_private() {
            let _ = outbox.push(&ToSender::Event(Event::Notice { text: SHARED_NOTICE }));
        }
        Ok(())
    }
}

/// How many runs a stream carries.
enum Conversation {
    /// The stream ends with the run.
    One(ArrivalReports),
    /// Other runs may follow. The run frees the lock before it says how it ended. It reports no arrivals: a report that leaves after the
    /// end of a run would be taken for one of the next run.
    Many,
}

impl Conversation {
    fn is_many(&self) -> bool {
        matches!(self, Self::Many)
    }
}

/// Ends a run whose every entry is settled: deletes, and finishes. A directory in the way of an entry is deleted with the
/// extraneous entries, so that entry moves into place after them. A run that would delete too much is refused before that, and before
/// entries that waited move into place.
fn finish(
    target: &Target<'_>,
    deletion: &Deletion<'_>,
    report: &Report<'_>,
    source_errors: bool,
) -> Result<(), EngineError> {
    target.check_still_there()?;
    if !source_errors {
        deletion.check_amount()?;
    }
    target.move_updates()?;
    if source_errors {
        deletion.skip()?;
    } else {
        deletion.delete()?;
    }
    if report.is_stopped() {
        // The caller takes the reason from `stop`.
        return Ok(());
    }
    target.move_where_directories_were()?;
    target.give_away()?;
    target.settle_knowledge();
    let stats = report.stats();
    if stats.failed + stats.changed_meanwhile == 0 && !source_errors {
        target.forget_partials();
    }
    Ok(())
}

fn ready(confined: bool) -> Ready {
    Ready { uid: rustix::process::geteuid().as_raw(), confined }
}

/// Tells the sender that the destination cannot be used, in place of a run.
///
/// # Errors
/// When the stream fails.
pub fn refuse(error: &EngineError, mut writer: impl Write) -> io::Result<()> {
    let text = bounded_text(&error.to_string());
    let frame =
        sealed(&ToSender::Failed { kind: error.failure_kind(), text: &text }).map_err(io::Error::other)?;
    writer.write_all(&frame)?;
    writer.flush()
}

fn sealed(message: &ToSender<'_>) -> Result<Vec<u8>, EngineError> {
    let mut pack = Pack::new(Class::Control);
    pack.push(message)?;
    Ok(pack.seal(None)?)
}

fn say_how_it_ended(outbox: &Outbox, result: &Result<ReceiverStats, EngineError>) {
    // If it cannot be said any more, the sender notices the end of the stream.
    let _ = match result {
        Ok(stats) => outbox.push(&ToSender::Finished(*stats)),
        Err(error) => {
            let text = bounded_text(&error.to_string());
            outbox.push(&ToSender::Failed { kind: error.failure_kind(), text: &text })
        }
    };
}

/// The first message. A sender that takes long to begin says before it that it is alive.
fn read_start<R: Read>(frames: &mut RunFrames<'_, R>) -> Result<Options, EngineError> {
    loop {
        let frame = frames.next()?.ok_or(EngineError::Disconnected)?;
        let payload = frame.decode()?;
        let mut all = messages(&payload);
        match (all.next(), all.next()) {
            (Some(Ok(ToReceiver::Alive)), None) => {}
            (Some(Ok(ToReceiver::Start(options))), None) => return Ok(options),
            (Some(Err(error)), _) => return Err(error.into()),
            _ => return Err(EngineError::Protocol("it did not begin with its options")),
        }
    }
}
