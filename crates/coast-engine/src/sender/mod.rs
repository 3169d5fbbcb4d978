//! The side that has the files: it offers its tree and answers the receiver's needs, both at the same time.
//!
//! Threads: walkers offer directories (held back by the window), one reader takes the receiver's messages and never
//! waits for anything, workers answer needs, one writer owns the stream. Because the reader never waits, the
//! receiver can always send; because of that it can always apply what it got; so nothing can lock up.

mod answer;
mod batch;
mod config;
mod digests;
mod fetch;
mod follow;
mod offer;
mod reading;
mod report;
mod source;
mod stream;
mod unasked;
mod under_way;
mod walker;
mod window;

use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coast_filter::Filter;
use coast_tree::{LockExt, LockResultExt, Root};
use coast_wire::{
    Class, Event, FileContents, Follow, FrameReader, LevelControl, Options, Pack, ProblemKind, Ready,
    ReceiverStats, SenderStats, ToReceiver, ToSender, WireError, messages,
};

use crate::cache::{Cache, Remember};
use crate::channel::Channel;
use crate::error::EngineError;
use crate::known_contents::{KnownContents, Proof};
use crate::monitor::{Monitor, Progress, add};
use crate::outbox::{Outbox, Outgoings, Pace};
use crate::stop::{Stop, Stopped};
use crate::{Cancel, CancelHook, threads};

use answer::{HandedOver, Job, SignatureBytes};
use batch::Batch;
pub use config::{BatchPath, NothingSent, SenderConfig, StagedContents};
use digests::Digests;
pub use fetch::FetchedEntry;
pub use follow::FollowSender;
use offer::{OfferedFile, Offers};
pub use report::RunReport;
pub use source::Source;
use walker::{Walk, Walker};
use window::Window;

/// Frames that may wait for the writer. Enough to bridge a pause of the link or of the workers, and few enough that a change of the
/// level of compression is soon felt.
const QUEUED_FRAMES: usize = 4;

/// On a link that carries the content of a small file sooner than both sides find what differs in it, files of fewer bytes are sent
/// whole. Of a kernel's files up to this size, a switch between two releases on loopback took 0.80 times as long (median of 4 pairs).
const WHOLE_BELOW_BYTES: u64 = 256 << 10;

/// Sends a tree to the receiver at the other end of `reader` and `writer`; returns when the receiver has finished.
/// Dropping `writer` must end the stream for the other side, as it does for a pipe.
///
/// # Errors
/// When the run could not be brought to its end; see [`EngineError`]. What single entries suffer is told to
/// `monitor` and counted in the report.
pub fn send(
    config: SenderConfig,
    reader: impl Read + Send,
    writer: impl Write + Send,
    monitor: &dyn Monitor,
    cancel: &Cancel,
) -> Result<RunReport, EngineError> {
    let run = Prepared::new(config, monitor, cancel)?;
    let mut frames = FrameReader::new(Counted { stream: reader, progress: run.progress() });
    run.converse(Stream { frames: &mut frames, writer, end: None })?.report()
}

/// A frame with one control message.
fn sealed(message: &ToReceiver<'_>) -> Result<Vec<u8>, WireError> {
    let mut pack = Pack::new(Class::Control);
    pack.push(message)?;
    pack.seal(None)
}

/// The stream of a run.
struct Stream<'s, R, W> {
    frames: &'s mut FrameReader<Counted<R>>,
    /// Dropped at the end of the run.
    writer: W,
    /// The last frame of the run, where the stream does not end with it.
    end: Option<Vec<u8>>,
}

/// A run before its threads are started.
struct Prepared<'a> {
    run: Run<'a>,
    outgoings: Outgoings,
    filter: Filter,
    walk: Walk,
    pace: Pace,
    threads: NonZeroUsize,
    hook: CancelHook,
}

/// A run whose threads have ended.
struct Conversed<'a> {
    run: Run<'a>,
    wrote: Result<(), WireError>,
}

impl<'a> Prepared<'a> {
    /// Opens the source and the cache, and compiles the rules.
    fn new(config: SenderConfig, monitor: &'a dyn Monitor, cancel: &Cancel) -> Result<Self, EngineError> {
        let stop = Stop::new();
        let hook = cancel.on_cancel({
            let stop = stop.clone();
            move || stop.fail(EngineError::Interrupted)
        });
        let (pace, threads) = (Pace::new(config.bytes_per_second), threads(config.threads));
        let located = config.source.locate(config.opened.as_ref())?;
        let filter = config::compile(&config.rules, &located)?;
        let mut options = config.options;
        options.rules = config.rules.to_lines().into_iter().map(serde_bytes::ByteBuf::from).collect();
        let remember = match config.some_paths || options.dry_run {
            true => Remember::Nothing,
            false => Remember::Everything,
        };
        let level = config.compress.then(|| LevelControl::new(threads));
        let (outbox, outgoings) = Outbox::new(QUEUED_FRAMES, stop.clone());
        if let Some(level) = &level {
            outbox.compress_with(level.clone())?;
        }
        // Over a local stream, which carries no compressed run, the system bounds what is in flight.
        options.report_arrivals = level.is_some() && options.follow.is_none();
        if options.report_arrivals {
            outbox.bound_in_flight();
        }
        let run = Run {
            root: located.root,
            absolute: located.absolute,
            digests: Digests::new(&options),
            options,
            outbox,
            level,
            sends_whole: Mutex::new(false),
            window: Window::new(stop.clone()),
            offers: Offers::new(),
            cache: Cache::open(config.cache.as_deref(), remember),
            known: config.known,
            staged_before: config.staged,
            staged: Mutex::default(),
            signatures: SignatureBytes::default(),
            jobs: Channel::unbounded(),
            to_seal: Channel::bounded(threads.get()),
            stats: Mutex::default(),
            source_errors: AtomicBool::new(false),
            outcome: Mutex::default(),
            ready: Channel::bounded(1),
            await_ready: config.await_ready,
            monitor,
            progress: Arc::default(),
            stop,
        };
        let batch = config.paths.as_deref().map(Batch::new);
        let walk = Walk { selection: located.selection, batch };
        Ok(Self { run, outgoings, filter, walk, pace, threads, hook })
    }

    /// The counters of the run.
    fn progress(&self) -> Arc<Progress> {
        self.run.progress.clone()
    }

    /// Offers, answers and listens until the receiver has finished or given up.
    fn converse<R: Read + Send, W: Write + Send>(
        self,
        stream: Stream<'_, R, W>,
    ) -> Result<Conversed<'a>, EngineError> {
        let Self { run, outgoings, filter, walk, pace, threads, hook: _hook } = self;
        let Stream { frames, writer, end } = stream;
        run.monitor.started(&run.progress);
        let alive = sealed(&ToReceiver::Alive)?;
        let wrote = std::thread::scope(|scope| {
            let run = &run;
            let writing = scope.spawn(move || run.write(outgoings, writer, &alive, pace, end));
            for _ in 0..threads.get() {
                scope.spawn(|| run.work());
            }
            scope.spawn(|| Walker::new(run, filter, walk).walk(threads.get()));
            run.read(frames);
            writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        Ok(Conversed { run, wrote })
    }
}

impl Conversed<'_> {
    /// Whether the receiver has said its last word, and all was written: the stream has nothing of this run left.
    fn is_complete(&self) -> bool {
        let outcome = self.run.outcome.enter();
        self.wrote.is_ok() && (outcome.finished.is_some() || outcome.gave_up)
    }

    /// The contents that the run has staged.
    fn staged(&self) -> StagedContents {
        self.run.staged.enter().clone()
    }

    /// The result of the run.
    fn report(self) -> Result<RunReport, EngineError> {
        self.run.report(self.wrote)
    }
}

/// Everything that the threads of a sending run share.
struct Run<'a> {
    root: Root,
    /// Where the root is.
    absolute: PathBuf,
    options: Options,
    outbox: Outbox,
    level: Option<Arc<LevelControl>>,
    /// Whether the receiver was told that small files had better be sent whole.
    sends_whole: Mutex<bool>,
    window: Window,
    offers: Offers,
    cache: Cache,
    /// Knows contents that the cache does not know.
    known: Option<Arc<dyn KnownContents>>,
    /// Whether parts are sent as digests.
    digests: Digests,
    /// The contents that the run before has staged.
    staged_before: StagedContents,
    /// The contents that this run stages. No other lock is taken while it is held but that of one file's content.
    staged: Mutex<StagedContents>,
    signatures: SignatureBytes,
    /// Needs of the receiver that wait for a worker.
    jobs: Channel<Job>,
    /// Packs of large files that wait for a worker that has time to compress them.
    to_seal: Channel<HandedOver>,
    stats: Mutex<SenderStats>,
    /// Whether something of the source could not be read: then nothing is deleted.
    source_errors: AtomicBool,
    outcome: Mutex<Outcome>,
    /// Holds a message once the receiver is ready.
    ready: Channel<()>,
    await_ready: bool,
    monitor: &'a dyn Monitor,
    progress: Arc<Progress>,
    stop: Stop,
}

/// Counts what is read as it comes, also of a frame that takes long.
#[derive(Debug)]
struct Counted<R> {
    stream: R,
    progress: Arc<Progress>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.stream.read(buffer)?;
        add(&self.progress.wire_received_bytes, count as u64);
        Ok(count)
    }
}

/// The receiver's word on how it began and how it ended.
#[derive(Default)]
struct Outcome {
    ready: Option<Ready>,
    finished: Option<ReceiverStats>,
    /// The receiver gave up, and said so.
    gave_up: bool,
}

impl Run<'_> {
    /// Writes frames to the stream until the run ends or the stream fails. Then the stream ends, or `end` says that the run has ended.
    fn write(
        &self,
        outgoings: Outgoings,
        mut writer: impl Write,
        alive: &[u8],
        pace: Pace,
        end: Option<Vec<u8>>,
    ) -> Result<(), WireError> {
        let mut written = outgoings.write_to(&self.outbox, &mut writer, alive, pace, &self.progress);
        if let (Ok(()), Some(end)) = (&written, end) {
            written = writer.write_all(&end).and_then(|()| writer.flush()).map_err(WireError::from);
        }
        if written.is_err() {
            // The reader goes on: the receiver may still say why it closed the stream.
            self.stop.halt();
        }
        written
    }

    /// The result of the run, once all its threads have ended. `wrote` is the result of the writer.
    fn report(self, wrote: Result<(), WireError>) -> Result<RunReport, EngineError> {
        if let Some(error) = self.stop.take_failure() {
            return Err(error);
        }
        let Outcome { ready: Some(ready), finished: Some(receiver), .. } =
            self.outcome.into_inner().even_poisoned()
        else {
            wrote?;
            return Err(EngineError::Disconnected);
        };
        self.cache.save();
        if let Some(known) = &self.known {
            known.save();
        }
        Ok(RunReport {
            sender: self.stats.into_inner().even_poisoned(),
            receiver,
            ready,
            wire_sent_bytes: self.progress.wire_sent_bytes.load(Ordering::Relaxed),
            wire_received_bytes: self.progress.wire_received_bytes.load(Ordering::Relaxed),
        })
    }

    /// Takes the receiver's messages until the last one, or until the stream ends.
    fn read(&self, frames: &mut FrameReader<impl Read>) {
        loop {
            let result = match frames.next_frame() {
                Ok(Some(frame)) => frame
                    .decode()
                    .map_err(EngineError::from)
                    .and_then(|payload| messages(&payload).try_for_each(|message| self.handle(message?))),
                Ok(None) => break,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = result {
                self.stop.fail(error);
                break;
            }
            if self.outcome.enter().finished.is_some() {
                break;
            }
        }
        self.stop.finish();
    }

    fn handle(&self, message: ToSender<'_>) -> Result<(), EngineError> {
        match message {
            ToSender::Ready(ready) => {
                if self.outcome.enter().ready.is_some() {
                    return Err(EngineError::Protocol("it made itself ready twice"));
                }
                self.monitor.ready(&ready);
                self.outcome.enter().ready = Some(ready);
                // The walker may wait for it; there is room for the one time that this happens. A monitor that has cancelled the run
                // relies on it that nothing is offered.
                if !self.stop.is_stopped() {
                    let _ = self.ready.sender.try_send(());
                }
            }
            ToSender::Needs { part, needs } => {
                let part = self.offers.get(part)?;
                // In a run that follows edits, somebody waits for the small files.
                let small_first = self.options.follow.is_some();
                for group in Job::group(part, needs, &self.signatures, small_first)? {
                    // The receiving end lives as long as the run.
                    let _ = self.jobs.sender.send(group);
                }
            }
            ToSender::Differs { part } => {
                // It is taken here, so that the queue has each part once.
                let unsent = self.offers.get(part)?.unsent.enter().take();
                let pack =
                    unsent.ok_or(EngineError::Protocol("it asked for a directory that it was told"))?;
                self.digests.note_different();
                // The receiving end lives as long as the run.
                let _ = self.jobs.sender.send(Job::Entries(pack));
            }
            ToSender::Settled { part } => {
                let part = self.offers.settle(part)?;
                self.digests.note_settled(&part);
                self.window.release(part.weight());
                self.window.release_unasked(part.unasked_bytes);
                add(&self.progress.settled_entries, part.entries.len() as u64);
                add(&self.progress.settled_bytes, part.bytes());
                if self
                    .options
                    .follow
                    .as_ref()
                    .is_some_and(|follow| follow.contents == FileContents::StageOnly)
                {
                    self.staged.enter().add(&part.path, part.told());
                }
                self.cache.append(&part.path, part.records());
            }
            ToSender::Event(event) => self.monitor.event(&event),
            ToSender::Finished(stats) => {
                self.outcome.enter().finished = Some(stats);
            }
            ToSender::Failed { kind, text } => {
                self.outcome.enter().gave_up = true;
                return Err(EngineError::Remote { kind, text: text.to_owned() });
            }
            ToSender::Arrived { bytes, waited_micros } => {
                self.outbox.note_arrival(bytes);
                if let Some(level) = &self.level {
                    level.arrived(bytes, Duration::from_micros(waited_micros));
                }
            }
            ToSender::Alive => {}
            _ => return Err(EngineError::Protocol("it sent a message of an unknown kind")),
        }
        Ok(())
    }

    /// Begins the check of the content of a file, which is being read, if the file has a name for it.
    fn proof(&self, file: &OfferedFile, size: u64) -> Option<Box<dyn Proof + '_>> {
        let name = file.content_name.filter(|_| file.identity.size == size)?;
        self.known.as_ref().map(|known| known.proof(name, size))
    }

    /// Files of more bytes than this are left for another run.
    fn defer_above(&self) -> u64 {
        self.options.follow.as_ref().map_or(u64::MAX, Follow::defer_above)
    }

    fn count(&self, change: impl FnOnce(&mut SenderStats)) {
        change(&mut self.stats.enter());
    }

    /// Sends a control message, or ends the run.
    fn tell(&self, message: &ToReceiver<'_>) -> Result<(), Stopped> {
        self.stop.check_sent(self.outbox.push(message))
    }

    /// Tells the receiver whether small files had better be sent whole, when that has changed.
    fn tell_of_link(&self) -> Result<(), Stopped> {
        let Some(level) = &self.level else { return Ok(()) };
        // Held from the question until the message is in the queue, so that the last message is the last word.
        let mut told = self.sends_whole.enter();
        let whole = level.carries_whole_files();
        if std::mem::replace(&mut *told, whole) == whole {
            return Ok(());
        }
        self.tell(&ToReceiver::WholeBelow(if whole { WHOLE_BELOW_BYTES } else { 0 }))
    }

    /// Tells the user of a source entry that could not be sent, and remembers what follows from it.
    fn problem(&self, path: &[u8], kind: ProblemKind, text: &str) {
        match kind {
            ProblemKind::Vanished => self.count(|stats| stats.vanished += 1),
            ProblemKind::SourceRead => {
                self.source_errors.store(true, Ordering::Release);
                self.count(|stats| stats.unreadable += 1);
            }
            // It is there and can be read: what else is to be deleted is known.
            ProblemKind::Changing => self.count(|stats| stats.unreadable += 1),
            _ => {}
        }
        self.monitor.event(&Event::Problem { path, kind, text });
    }
}
