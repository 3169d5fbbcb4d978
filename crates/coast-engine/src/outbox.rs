//! The way out of one side: small messages gather in a pack, frames wait in a short queue, and one writer puts both
//! on the stream.
//!
//! Order: control messages leave in the order they were pushed. The pack is sealed and queued under its lock, and
//! the writer takes the pack itself only when the queue is empty, so a pack can never overtake an earlier one.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, TryLockError};
use std::time::{Duration, Instant};

use coast_tree::LockExt;
use coast_wire::{Class, Compressor, LevelControl, Pack, WireError};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use serde::Serialize;

use crate::in_flight::InFlight;
use crate::monitor::{Progress, add};
use crate::stop::{SendError, Stop, Stopped};

/// A pack of control messages is sealed at this size: large enough to compress well, small enough that the other
/// side has work early.
const CONTROL_PACK_BYTES: usize = 48 << 10;

/// How long the writer may be idle before it says that this side is alive: below the shortest `--timeout`, one second.
const ALIVE_AFTER: Duration = Duration::from_millis(500);

/// The most that is written at once, in bytes.
const MAX_SLICE_BYTES: usize = 64 << 10;

/// A write that takes longer waits for the link, even if little is under way: the window of the channel may be small.
const LONG_WRITE: Duration = Duration::from_millis(4);

/// Writes per second under a limit, at least: a low one must not make one long pause of a large slice.
const SLICES_PER_SECOND: u64 = 8;

enum Outgoing {
    Frame(Vec<u8>),
    /// The pack has something; it was empty and the writer may be asleep.
    Wake,
}

/// The way out of one side, shared by its threads.
pub(crate) struct Outbox {
    gathering: Mutex<Gathering>,
    queue: Sender<Outgoing>,
    /// Is told how fast the stream takes what is written. Empty while nothing is compressed.
    level: OnceLock<Arc<LevelControl>>,
    /// Bounds what is under way. Empty where the other side does not tell what has arrived.
    in_flight: OnceLock<InFlight>,
    stop: Stop,
}

struct Gathering {
    pack: Pack,
    compressor: Option<Compressor>,
}

/// The writer's end of an [`Outbox`].
pub(crate) struct Outgoings {
    queue: Receiver<Outgoing>,
}

impl Outbox {
    /// A queue of at most `capacity` frames.
    pub(crate) fn new(capacity: usize, stop: Stop) -> (Self, Outgoings) {
        let (sender, receiver) = bounded(capacity);
        let gathering = Mutex::new(Gathering { pack: Pack::new(Class::Control), compressor: None });
        (
            Self { gathering, queue: sender, level: OnceLock::new(), in_flight: OnceLock::new(), stop },
            Outgoings { queue: receiver },
        )
    }

    /// From now on control messages are compressed.
    pub(crate) fn compress_with(&self, level: Arc<LevelControl>) -> Result<(), WireError> {
        self.gathering.enter().compressor = Some(Compressor::new(self.level.get_or_init(|| level).clone())?);
        Ok(())
    }

    /// From now on the other side tells what has arrived.
    pub(crate) fn bound_in_flight(&self) {
        self.in_flight.get_or_init(InFlight::new);
    }

    /// The other side says that so many more bytes have arrived.
    pub(crate) fn note_arrival(&self, bytes: u64) {
        if let Some(in_flight) = self.in_flight.get() {
            in_flight.arrive(bytes);
        }
    }

    /// Waits until `bytes` may leave. Answers whether their write may have to wait for the link.
    fn make_way(&self, stream: &mut impl Write, bytes: usize) -> Result<bool, WireError> {
        let Some(in_flight) = self.in_flight.get() else { return Ok(true) };
        while !in_flight.has_room(bytes) && !self.stop.is_stopped() {
            // What a writer below holds back cannot arrive.
            stream.flush()?;
            in_flight.wait(&self.stop);
        }
        Ok(in_flight.depart(bytes))
    }

    /// Sends a control message, in order.
    pub(crate) fn push<M: Serialize>(&self, message: &M) -> Result<(), SendError> {
        let mut gathering = self.gathering.enter();
        let before = gathering.pack.len();
        if let Err(error) = gathering.pack.push(message) {
            // It may just not fit behind what was gathered.
            if before == 0 {
                return Err(error.into());
            }
            self.queue_pack(&mut gathering)?;
            gathering.pack.push(message)?;
        }
        if gathering.pack.len() >= CONTROL_PACK_BYTES {
            self.queue_pack(&mut gathering)?;
        } else if self.queue.is_empty() {
            // The writer may be asleep, or may just have found the pack locked. A full queue needs no waking.
            let _ = self.queue.try_send(Outgoing::Wake);
        }
        Ok(())
    }

    fn queue_pack(&self, gathering: &mut Gathering) -> Result<(), SendError> {
        let frame = gathering.seal()?;
        self.send(frame)?;
        Ok(())
    }

    /// Queues a sealed frame; waits while the queue is full.
    pub(crate) fn send(&self, frame: Vec<u8>) -> Result<(), Stopped> {
        crossbeam_channel::select! {
            send(self.queue, Outgoing::Frame(frame)) -> sent => sent.map_err(|_| Stopped),
            recv(self.stop.stopped()) -> _ => Err(Stopped),
        }
    }

    /// Takes what was gathered, if anything was.
    fn take(&self) -> Result<Taken, WireError> {
        // The writer must not wait here: whoever has the lock may wait for the writer to drain the queue. It asks
        // again soon.
        let mut gathering = match self.gathering.try_lock() {
            Ok(gathering) => gathering,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(Taken::Busy),
        };
        // Checked under the lock: a frame queued by now is older than the pack.
        if gathering.pack.is_empty() || !self.queue.is_empty() {
            return Ok(Taken::Nothing);
        }
        gathering.seal().map(Taken::Frame)
    }
}

/// The state in which the writer found the pack.
enum Taken {
    Frame(Vec<u8>),
    Nothing,
    /// Somebody is adding to it.
    Busy,
}

impl Gathering {
    fn seal(&mut self) -> Result<Vec<u8>, WireError> {
        let pack = std::mem::replace(&mut self.pack, Pack::new(Class::Control));
        pack.seal(self.compressor.as_mut())
    }
}

/// How fast the writer may write.
pub(crate) struct Pace {
    bytes_per_second: Option<u64>,
    started: Instant,
    written: u64,
}

impl Pace {
    pub(crate) fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second, started: Instant::now(), written: 0 }
    }

    /// How much to write at once.
    fn slice_bytes(&self) -> usize {
        let limit = self.bytes_per_second.map_or(u64::MAX, |limit| limit / SLICES_PER_SECOND);
        usize::try_from(limit).unwrap_or(usize::MAX).clamp(1, MAX_SLICE_BYTES)
    }

    /// Waits until `bytes` more may be written, or the run is stopped. Answers whether there is a limit.
    fn wait(&mut self, bytes: usize, stop: &Stop) -> bool {
        let Some(limit) = self.bytes_per_second else { return false };
        self.written += bytes as u64;
        let due = Duration::from_secs_f64(self.written as f64 / limit.max(1) as f64);
        if let Some(pause) = due.checked_sub(self.started.elapsed()) {
            let _ = stop.stopped().recv_timeout(pause);
        }
        true
    }
}

impl Outgoings {
    /// Writes until the run stops, then what is left.
    pub(crate) fn write_to<W: Write>(
        self,
        outbox: &Outbox,
        stream: &mut W,
        alive: &[u8],
        mut pace: Pace,
        progress: &Progress,
    ) -> Result<(), WireError> {
        let write = |stream: &mut W, bytes: &[u8], pace: &mut Pace| -> Result<(), WireError> {
            for slice in bytes.chunks(pace.slice_bytes()) {
                let started = Instant::now();
                let is_limited = pace.wait(slice.len(), &outbox.stop);
                let fills_link = outbox.make_way(stream, slice.len())?;
                stream.write_all(slice)?;
                if let Some(level) = outbox.level.get() {
                    let time = started.elapsed();
                    if is_limited || fills_link || time > LONG_WRITE {
                        level.wrote(slice.len(), time);
                    } else {
                        level.wrote_freely(slice.len());
                    }
                }
                add(&progress.wire_sent_bytes, slice.len() as u64);
            }
            Ok(())
        };
        loop {
            let next = match self.queue.try_recv() {
                Ok(next) => next,
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {
                    match outbox.take()? {
                        Taken::Frame(frame) => {
                            write(stream, &frame, &mut pace)?;
                            continue;
                        }
                        // Its wake-up may have come and gone already.
                        Taken::Busy => {
                            std::thread::yield_now();
                            continue;
                        }
                        Taken::Nothing => {}
                    }
                    // The stream may have a buffer of its own, which must not wait either.
                    stream.flush()?;
                    crossbeam_channel::select! {
                        recv(self.queue) -> next => match next { Ok(next) => next, Err(_) => break },
                        recv(outbox.stop.stopped()) -> _ => break,
                        default(ALIVE_AFTER) => Outgoing::Frame(alive.to_vec()),
                    }
                }
            };
            if let Outgoing::Frame(frame) = next {
                write(stream, &frame, &mut pace)?;
            }
        }
        loop {
            match self.queue.recv_timeout(Duration::ZERO) {
                Ok(Outgoing::Frame(frame)) => write(stream, &frame, &mut pace)?,
                Ok(Outgoing::Wake) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => match outbox.take()? {
                    Taken::Frame(frame) => write(stream, &frame, &mut pace)?,
                    Taken::Busy => std::thread::yield_now(),
                    Taken::Nothing => break,
                },
            }
        }
        stream.flush()?;
        Ok(())
    }
}
