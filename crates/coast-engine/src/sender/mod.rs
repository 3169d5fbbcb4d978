//! The side that has the files: offers its tree, answers what the receiver needs, and never waits for the one to
//! finish before the other.
//!
//! Threads: walkers offer directories (held back by the window), one reader takes the receiver's messages and never
//! waits for anything, workers answer needs, one writer owns the stream. Because the reader never waits, the
//! receiver can always send; because of that it can always apply what it got; so nothing can lock up.

mod answer;
mod offer;
mod reading;
mod report;
mod source;
mod stream;
mod under_way;
mod window;

use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use coast_filter::{Filter, NoMergeFiles, RuleList, Side};
use coast_tree::{Kind, Listed, LockExt, Root};
use coast_wire::{
    Class, Event, FrameReader, LevelControl, Options, Pack, ProblemKind, Ready, ReceiverStats, SenderStats,
    ToReceiver, ToSender, messages,
};
use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::cache::{Cache, Remember};
use crate::error::EngineError;
use crate::merge::{TreeMergeFiles, Whose};
use crate::monitor::{Monitor, Progress, add};
use crate::outbox::{Outbox, Pace};
use crate::stop::{Stop, Stopped};
use crate::{Cancel, filter_kind, threads};

use answer::{HandedOver, Job, SignatureBytes};
use offer::{Offers, Walker};
pub use report::RunReport;
pub use source::Source;
use window::Window;

/// Frames that may wait for the writer. Some megabytes: enough to bridge a pause of the link or of the workers.
const QUEUED_FRAMES: usize = 8;

/// What a Sender shall do.
#[derive(Debug)]
pub struct SenderConfig {
    /// What to send.
    pub source: Source,
    /// What the receiver is told to do.
    pub options: Options,
    /// Filter rules of the run; they travel in `options` too, this is the parsed form.
    pub rules: RuleList,
    /// File of the content cache; none to work without.
    pub cache: Option<PathBuf>,
    /// Whether the rules restrict the run to some paths: then the cache is used and left as it is, since what was not
    /// looked at would be forgotten.
    pub some_paths: bool,
    /// `-z`
    pub compress: bool,
    /// Bytes per second that may be written, if limited.
    pub bytes_per_second: Option<u64>,
    /// Whether nothing is offered before the receiver is ready and [`Monitor::ready`] has returned: for whoever has to
    /// remember what the destination was taken for before anything changes there. Costs a round trip.
    pub await_ready: bool,
    /// Worker threads; by default as many as there are processors, from 2 to 8.
    pub threads: Option<NonZeroUsize>,
}

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
    let threads = threads(config.threads).get();
    let stop = Stop::new();
    let _hook = cancel.on_cancel({
        let stop = stop.clone();
        move || stop.fail(EngineError::Interrupted)
    });
    let located = config.source.locate()?;
    let mut options = config.options;
    options.rules = config.rules.to_lines().into_iter().map(serde_bytes::ByteBuf::from).collect();
    let filter = compile(&config.rules, &located)?;

    let remember = match config.some_paths || options.dry_run {
        true => Remember::Nothing,
        false => Remember::Everything,
    };
    let level = config.compress.then(LevelControl::new);
    let (outbox, outgoings) = Outbox::new(QUEUED_FRAMES, stop.clone());
    if let Some(level) = &level {
        outbox.compress_with(level.clone())?;
    }
    let (jobs, queued_jobs) = unbounded();
    let progress = Arc::new(Progress::default());
    monitor.started(&progress);
    let run = Run {
        root: located.root,
        absolute: located.absolute,
        options,
        outbox,
        level,
        window: Window::new(stop.clone()),
        offers: Offers::new(),
        cache: Cache::open(config.cache.as_deref(), remember),
        signatures: SignatureBytes::default(),
        jobs,
        queued_jobs,
        seals: crossbeam_channel::bounded(threads),
        stats: Mutex::default(),
        source_errors: AtomicBool::new(false),
        outcome: Mutex::default(),
        ready: crossbeam_channel::bounded(1),
        await_ready: config.await_ready,
        monitor,
        progress,
        stop,
    };
    let alive = {
        let mut pack = Pack::new(Class::Control);
        pack.push(&ToReceiver::Alive)?;
        pack.seal(None)?
    };

    let wrote = std::thread::scope(|scope| {
        let (run, alive) = (&run, &alive[..]);
        let writing = scope.spawn(move || {
            let written = outgoings.write_to(
                &run.outbox,
                writer,
                alive,
                Pace::new(config.bytes_per_second),
                &run.progress,
            );
            if written.is_err() {
                // Why is what the other side still says, if it says anything.
                run.stop.halt();
            }
            written
        });
        for _ in 0..threads {
            scope.spawn(|| run.work());
        }
        scope.spawn(|| Walker::new(run, filter, located.selection).walk(threads));
        run.read(reader);
        writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    if let Some(error) = run.stop.take_failure() {
        return Err(error);
    }
    let outcome = std::mem::take(&mut *run.outcome.enter());
    let (Some(ready), Some(receiver)) = (outcome.ready, outcome.finished) else {
        wrote?;
        return Err(EngineError::Disconnected);
    };
    run.cache.save();
    let sender = *run.stats.enter();
    let wire_sent_bytes = run.progress.wire_sent_bytes.load(Ordering::Relaxed);
    let wire_received_bytes = run.progress.wire_received_bytes.load(Ordering::Relaxed);
    Ok(RunReport { sender, receiver, ready, wire_sent_bytes, wire_received_bytes })
}

/// Everything that the threads of a sending run share.
struct Run<'a> {
    root: Root,
    /// Where the root is.
    absolute: PathBuf,
    options: Options,
    outbox: Outbox,
    level: Option<Arc<LevelControl>>,
    window: Window,
    offers: Offers,
    cache: Cache,
    signatures: SignatureBytes,
    jobs: Sender<Job>,
    queued_jobs: Receiver<Job>,
    /// Chunks of large files that wait to be compressed by whoever has time.
    seals: (Sender<HandedOver>, Receiver<HandedOver>),
    stats: Mutex<SenderStats>,
    /// Whether something of the source could not be read: then nothing is deleted.
    source_errors: AtomicBool,
    outcome: Mutex<Outcome>,
    /// Something is in it once the receiver is ready.
    ready: (Sender<()>, Receiver<()>),
    await_ready: bool,
    monitor: &'a dyn Monitor,
    progress: Arc<Progress>,
    stop: Stop,
}

/// Counts what is read as it comes, also of a frame that takes long.
struct Counted<'a, R> {
    stream: R,
    bytes: &'a AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stream.read(buffer).inspect(|&count| add(self.bytes, count as u64))
    }
}

/// What the receiver said of itself.
#[derive(Default)]
struct Outcome {
    ready: Option<Ready>,
    finished: Option<ReceiverStats>,
}

impl Run<'_> {
    /// Takes the receiver's messages until the last one, or until the stream ends.
    fn read(&self, stream: impl Read) {
        let mut reader = FrameReader::new(Counted { stream, bytes: &self.progress.wire_received_bytes });
        loop {
            let result = match reader.next_frame() {
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
                // The walker may wait for it; there is room for the one time that this happens.
                let _ = self.ready.0.try_send(());
            }
            ToSender::Needs { part, needs } => {
                let part = self.offers.get(part)?;
                for group in Job::group(part, needs, &self.signatures)? {
                    // The receiving end lives as long as the run.
                    let _ = self.jobs.send(group);
                }
            }
            ToSender::Settled { part } => {
                let part = self.offers.settle(part)?;
                self.window.release(part.weight());
                add(&self.progress.settled_entries, part.entries.len() as u64);
                self.cache.append(&part.path, part.records());
            }
            ToSender::Event(event) => self.monitor.event(&event),
            ToSender::Finished(stats) => {
                self.outcome.enter().finished = Some(stats);
            }
            ToSender::Failed { kind, text } => {
                return Err(EngineError::Remote { kind, text: text.to_owned() });
            }
            ToSender::Alive => {}
            _ => return Err(EngineError::Protocol("it sent a message of an unknown kind")),
        }
        Ok(())
    }

    fn count(&self, change: impl FnOnce(&mut SenderStats)) {
        change(&mut self.stats.enter());
    }

    /// Sends a control message, or ends the run.
    fn tell(&self, message: &ToReceiver<'_>) -> Result<(), Stopped> {
        self.stop.check_sent(self.outbox.push(message))
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

impl SenderConfig {
    /// Sends `source` with no options and no rules.
    pub fn new(source: Source) -> Self {
        Self {
            source,
            options: Options::default(),
            rules: RuleList::new(),
            cache: None,
            some_paths: false,
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
        let located = self.source.locate()?;
        let source::Selection::Only(name) = &located.selection else { return Ok(false) };
        let Ok(dir) = located.root.handle().child(name) else { return Ok(true) };
        let files = TreeMergeFiles::new(located.root.clone(), Whose::Sender(located.absolute.clone()));
        let filter = compile(&self.rules, &located)?.root(&NoMergeFiles)?;
        let filter = filter.enter(name.as_bytes(), &files)?;
        let Ok(listed) = dir.list() else { return Ok(false) };
        let sent = |entry: &Listed| !filter.excludes(entry.name.as_bytes(), filter_kind(entry.kind));
        Ok(!listed.iter().any(sent))
    }

    /// Whether the options and rules leave nothing to send at all. Then rsync does not even make the destination.
    ///
    /// # Errors
    /// When the source cannot be looked at, or a rule is wrong.
    pub fn sends_nothing(&self) -> Result<bool, EngineError> {
        let located = self.source.locate()?;
        let filter = compile(&self.rules, &located)?;
        Ok(match &located.selection {
            source::Selection::All => !self.options.recursive,
            source::Selection::Only(name) => {
                let stat = located.root.handle().stat(name);
                let Ok(Some(stat)) = stat else { return Ok(false) };
                let directory = stat.kind == Kind::Directory;
                let rules = filter.root(&NoMergeFiles)?;
                (directory && !self.options.recursive)
                    || rules.excludes(name.as_bytes(), filter_kind(stat.kind))
            }
        })
    }
}

fn compile(rules: &RuleList, located: &source::Located) -> Result<Filter, EngineError> {
    Filter::compile_at(rules, Side::Sender, located.absolute.as_os_str().as_encoded_bytes())
        .map_err(|error| EngineError::Rule(error.to_string()))
}
