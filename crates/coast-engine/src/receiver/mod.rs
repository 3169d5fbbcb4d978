//! The side that shall have the files: looks at each directory as it is offered, asks for what it needs, puts what
//! arrives into place, and deletes last.
//!
//! Threads: one reader takes frames and decodes those whose order matters; workers look at directories, compare,
//! sign, and apply content; one writer owns the stream. Work that comes of directories is bounded by the sender's
//! window, so the reader never waits for it; content waits in a short queue, which workers always drain, since they
//! can always send (see the sender).

mod apply;
mod asks;
mod attributes;
mod change;
mod claim;
mod decide;
mod destination;
mod extraneous;
mod file;
mod finish;
mod intake;
mod judge;
mod lane;
mod lists;
mod parts;
mod place;
mod signature_window;
mod signing;
mod site;
mod spill;
mod staging;
mod wanted;
mod work;
mod writable;

use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use coast_tree::state::{CACHE, CLOCK, NEW_CACHE, SHARED_NOTICE, StateDirectory as State, name};
use coast_tree::{ClockStep, DirHandle, Name, OwnerNames, RelPath, Root, Timestamp};
use coast_wire::{
    Change, Class, Event, Frame, FrameReader, Itemize, LevelControl, Options, Pack, ProblemKind, Ready,
    ReceiverStats, ToReceiver, ToSender, bounded_text, messages,
};
use crossbeam_channel::{Receiver as Queue, Sender as QueueEnd, bounded, unbounded};

use crate::cache::{Cache, Remember};
use crate::error::EngineError;
use crate::monitor::{Monitor, Progress};
use crate::outbox::{Outbox, Pace};
use crate::stop::{Stop, Stopped};
use crate::{Cancel, threads};

use attributes::Attributes;
pub use claim::Claim;
pub use destination::DestinationIs;
use destination::{Destination, Preparation};
use judge::Judge;
use lists::Lists;
use parts::{LivePart, Parts};
use signature_window::SignatureWindow;
use staging::Staging;
use work::Work;

/// Frames of content that may wait for a worker, for each worker.
const QUEUED_FRAMES: usize = 3;

/// Frames of messages to the sender that may wait for the writer.
const QUEUED_REPLIES: usize = 64;

/// The user who logged in, where the receiver runs as root for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginUser {
    /// User number.
    pub uid: u32,
    /// Number of the user's group.
    pub gid: u32,
}

impl LoginUser {
    /// The user the process runs as.
    pub fn current() -> Self {
        Self { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() }
    }
}

/// Where a Receiver puts what it gets.
#[derive(Debug, Clone)]
pub struct ReceiverConfig {
    /// The destination, as the user wrote it.
    pub destination: PathBuf,
    /// What it means.
    pub destination_is: DestinationIs,
    /// What it is taken for.
    pub claim: Claim,
    /// Whether missing parents are made.
    pub make_parents: bool,
    /// Whether nothing may be written.
    pub dry_run: bool,
    /// Whether the run is restricted to some paths: then nothing of the rest is touched, neither its owner nor what the
    /// cache knows of it.
    pub some_paths: bool,
    /// Bits that new entries do not get.
    pub umask: u32,
    /// Who the SSH user is, if not whom the process runs as.
    pub login: Option<LoginUser>,
    /// Worker threads; by default as many as there are processors, from 2 to 8.
    pub threads: Option<NonZeroUsize>,
}

impl ReceiverConfig {
    /// Receives into a directory, which is made if only it is missing, with the process' umask.
    pub fn new(destination: PathBuf) -> Self {
        Self {
            destination,
            destination_is: DestinationIs::Directory,
            claim: Claim::Anything,
            make_parents: false,
            dry_run: false,
            some_paths: false,
            umask: staging::process_umask() & 0o777,
            login: None,
            threads: None,
        }
    }
}

/// A destination that is open and ready for a run.
pub struct Receiver {
    config: ReceiverConfig,
    destination: Destination,
    names: OwnerNames,
    process_umask: u32,
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
    /// [`EngineError::Destination`], and [`EngineError::NoWorkspace`] for what is not what it is taken for.
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
        Ok(Self { config, destination, names: OwnerNames::load(), process_umask: staging::process_umask() })
    }

    /// The directories that the run works in.
    pub fn directories(&self) -> Vec<DirHandle> {
        let root = self.destination.root.as_ref().map(Root::handle);
        root.into_iter().chain(self.destination.state.as_ref().map(|state| state.dir.clone())).collect()
    }

    /// Takes what the sender at the other end of `reader` and `writer` has. `confined` is told to the sender. Dropping
    /// `writer` must end the stream for the other side, as it does for a pipe.
    ///
    /// # Errors
    /// When the run could not be brought to its end; the sender has been told, if it could be.
    pub fn run(
        self,
        reader: impl Read + Send,
        writer: impl Write + Send,
        confined: bool,
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
        let progress = Arc::new(Progress::default());
        monitor.started(&progress);
        let alive = sealed(&ToSender::Alive)?;
        std::thread::scope(|scope| {
            scope.spawn({
                let (outbox, progress, stop, closing) = (&outbox, &progress, &stop, &closing);
                move || {
                    if let Err(error) = outgoings.write_to(outbox, writer, &alive, Pace::new(None), progress)
                    {
                        stop.fail(error.into());
                        closing.finish();
                    }
                }
            });
            let mut frames = FrameReader::new(reader);
            let told = AtomicBool::new(false);
            let tell = |result: &Result<ReceiverStats, EngineError>| {
                if !told.swap(true, Ordering::AcqRel) {
                    say_how_it_ended(&outbox, result);
                    stop.finish();
                    closing.finish();
                }
            };
            let result = self.receive(&mut frames, &outbox, confined, monitor, &stop, &tell);
            tell(&result);
            result
        })
    }

    /// The run itself. `tell` is called when its result is known, while the reader still waits for the sender to
    /// close the stream.
    fn receive<R: Read + Send>(
        mut self,
        frames: &mut FrameReader<R>,
        outbox: &Outbox,
        confined: bool,
        monitor: &dyn Monitor,
        stop: &Stop,
        tell: &dyn Fn(&Result<ReceiverStats, EngineError>),
    ) -> Result<ReceiverStats, EngineError> {
        let options = read_start(frames)?;
        let workers = threads(self.config.threads);
        if let Some(state) = &mut self.destination.state {
            state.lock(stop, || {
                let text = "another run works on this workspace; waiting for it to end";
                let _ = outbox.push(&ToSender::Event(Event::Notice { text }));
            })?;
            if !state.is_private() {
                let _ = outbox.push(&ToSender::Event(Event::Notice { text: SHARED_NOTICE }));
            }
        }
        outbox.compress_with(LevelControl::new())?;
        let run = Run::new(self, options, workers, outbox, monitor, stop)?;
        let ready = Ready { uid: rustix::process::geteuid().as_raw(), confined };
        run.tell(&ToSender::Ready(ready)).map_err(|Stopped| EngineError::Disconnected)?;
        std::thread::scope(|scope| {
            let working: Vec<_> = (0..workers.get()).map(|_| scope.spawn(|| run.work())).collect();
            scope.spawn(|| {
                if let Err(error) = run.take_in(frames) {
                    stop.fail(error);
                }
            });
            crossbeam_channel::select! {
                recv(run.settled.1) -> _ => {}
                recv(stop.stopped()) -> _ => {}
            }
            let result = match stop.take_failure() {
                Some(error) => {
                    // Each has a file in its hands, which is to be kept, and none may stage another one now.
                    for worker in working {
                        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                    }
                    run.abandon();
                    Err(error)
                }
                None => run.finish(),
            };
            tell(&result);
            result
        })
    }
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

/// The first message.
fn read_start<R: Read>(frames: &mut FrameReader<R>) -> Result<Options, EngineError> {
    let frame = frames.next_frame()?.ok_or(EngineError::Disconnected)?;
    let payload = frame.decode()?;
    let mut all = messages(&payload);
    match (all.next(), all.next()) {
        (Some(Ok(ToReceiver::Start(options))), None) => Ok(options),
        (Some(Err(error)), _) => Err(error.into()),
        _ => Err(EngineError::Protocol("it did not begin with its options")),
    }
}

/// Everything that the threads of a receiving run share.
struct Run<'a> {
    /// None only in a dry run, when the destination does not exist.
    root: Option<Root>,
    rename: Option<Name>,
    root_created: bool,
    state: Option<State>,
    /// None only in a dry run.
    staging: Option<Staging>,
    options: Options,
    attributes: Attributes,
    /// Who says what may be deleted; none when nothing is.
    judge: Option<Judge>,
    cache: Cache,
    clock_step: Option<ClockStep>,
    /// When the run began, by the clock of the destination's file system; none in a dry run.
    began: Option<Timestamp>,
    outbox: &'a Outbox,
    monitor: &'a dyn Monitor,
    stop: &'a Stop,
    parts: Parts,
    /// How many threads work.
    workers: NonZeroUsize,
    work: (QueueEnd<Work>, Queue<Work>),
    content: (QueueEnd<Frame>, Queue<Frame>),
    settled: (QueueEnd<()>, Queue<()>),
    signatures: SignatureWindow<(Arc<LivePart>, u32)>,
    lists: Lists,
    source_errors: AtomicBool,
    some_paths: bool,
    stats: Mutex<ReceiverStats>,
}

impl<'a> Run<'a> {
    fn new(
        receiver: Receiver,
        options: Options,
        workers: NonZeroUsize,
        outbox: &'a Outbox,
        monitor: &'a dyn Monitor,
        stop: &'a Stop,
    ) -> Result<Self, EngineError> {
        let Receiver { config, destination, names, process_umask } = receiver;
        let failed = |error| EngineError::Destination {
            path: config.destination.clone(),
            doing: "preparing the private state directory",
            error,
        };
        if options.dry_run != config.dry_run {
            return Err(EngineError::Protocol("it changed its mind about a dry run"));
        }
        let judge = match &options.delete {
            Some(_) => Some(Judge::new(&options.rules, &destination.absolute)?),
            None => None,
        };
        let attributes = Attributes::new(&options, config.umask, config.login, names)?;
        let private = destination.state.as_ref().filter(|state| state.is_private());
        let state_dir = private.map(|state| &state.dir);
        let staging = destination
            .state
            .as_ref()
            .map(State::staging)
            .transpose()
            .map_err(failed)?
            .map(|dir| Staging::new(dir, process_umask));
        let remember = if config.some_paths { Remember::Nothing } else { Remember::Everything };
        let cache = state_dir
            .map_or_else(Cache::none, |dir| Cache::open_in(dir, &name(CACHE), &name(NEW_CACHE), remember));
        let clock_step = state_dir.and_then(|dir| ClockStep::measure(dir, &name(CLOCK)).ok());
        let staging_dir = staging.as_ref().map(Staging::dir);
        // Made just now, and on the file system of the workspace.
        let began =
            staging_dir.map(|dir| dir.stat_self().map(|stat| stat.ctime)).transpose().map_err(failed)?;
        Ok(Self {
            root: destination.root,
            rename: destination.rename,
            root_created: destination.created,
            lists: Lists::new(staging_dir).map_err(failed)?,
            state: destination.state,
            staging,
            options,
            attributes,
            judge,
            cache,
            clock_step,
            began,
            outbox,
            monitor,
            stop,
            parts: Parts::default(),
            workers,
            work: unbounded(),
            content: bounded(workers.get() * QUEUED_FRAMES),
            settled: bounded(1),
            signatures: SignatureWindow::new(),
            source_errors: AtomicBool::new(false),
            some_paths: config.some_paths,
            stats: Mutex::default(),
        })
    }

    fn tell(&self, message: &ToSender<'_>) -> Result<(), Stopped> {
        self.stop.check_sent(self.outbox.push(message))
    }

    fn event(&self, event: Event<'_>) {
        self.monitor.event(&event);
        // A stopped run needs no events.
        let _ = self.outbox.push(&ToSender::Event(event));
    }

    fn count(&self, change: impl FnOnce(&mut ReceiverStats)) {
        change(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Tells of something that could not be done at the destination.
    fn problem(&self, path: &[u8], doing: &str, error: &io::Error) {
        self.count(|stats| stats.failed += 1);
        let text = bounded_text(&format!("{doing}: {error}"));
        self.event(Event::Problem { path, kind: ProblemKind::Destination, text: &text });
    }

    fn skipped(&self, path: &[u8], text: &str) {
        if self.options.verbose {
            self.event(Event::Problem { path, kind: ProblemKind::Skipped, text });
        }
    }

    fn changed(&self, path: impl FnOnce() -> Vec<u8>, change: Change) {
        if self.options.itemize == Itemize::Changes {
            self.event(Event::Changed { path: &path(), change });
        }
    }

    /// Opens a directory of the destination; none in a dry run that would have made it.
    fn directory(&self, path: &RelPath) -> io::Result<Option<DirHandle>> {
        match self.root.as_ref().map(|root| root.dir(path)) {
            Some(Err(error)) if self.options.dry_run && would_be_made(&error) => Ok(None),
            opened => opened.transpose(),
        }
    }

    /// What would fail for every file to come ends the run.
    fn is_fatal(error: &io::Error) -> bool {
        matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem
        )
    }

    /// Whether somebody removed what the run works in: then nothing arrives any more.
    fn check_still_there(&self) -> Result<(), EngineError> {
        let staging =
            self.staging.as_ref().map(|staging| (staging.dir().clone(), "the private state directory"));
        let root = self.root.as_ref().map(|root| (root.handle(), "the destination"));
        for (dir, what) in root.into_iter().chain(staging) {
            if dir.stat_self().is_ok_and(|stat| stat.nlink == 0) {
                let doing = format!("{what} was removed while the run went on; run it again");
                return Err(EngineError::FileIo { doing, error: io::ErrorKind::NotFound.into() });
            }
        }
        Ok(())
    }

    /// Lets everyone keep what they have when a run ends early.
    fn abandon(&self) {
        let abandoned = self.parts.abandon();
        if self.options.partial {
            self.keep_partials(&abandoned);
        }
        drop(abandoned);
        self.clean_up();
    }

    fn clean_up(&self) {
        if let Some(state) = &self.state {
            // What cannot be removed now is removed by the next run.
            let _ = state.clean_up();
        }
    }
}

/// In a dry run a directory is missing, or something else has its name, until it would have been made.
fn would_be_made(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}
