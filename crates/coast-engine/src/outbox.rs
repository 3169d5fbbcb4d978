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

use crate::in_flight::{InFlight, Waited};
use crate::monitor::{Progress, add};
use crate::stop::{SendError, Stop, Stopped};

/// A pack of control messages is sealed at this size: large enough to compress well, small enough that the other
/// side has work early.
const CONTROL_PACK_BYTES: usize = 48 << 10;

/// How long the writer may be idle before it says that this side is alive: below the shortest `--timeout`, one second.
const ALIVE_AFTER: Duration = Duration::from_millis(500);

/// The most that is written at once, in bytes.
const MAX_SLICE_BYTES: usize = 64 << 10;

/// A write that takes longer waits for the link, even if few bytes are in flight: a server may grant a small window. On a busy machine a
/// thread seldom waits so long for a processor.
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
    /// Bounds the bytes in flight. Empty where the other side does not tell what has arrived.
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
            in_flight.note_arrival(bytes);
        }
    }

    /// Waits until there is room for `bytes` in flight. Answers whether their write may have to wait for the link.
    fn await_room(&self, stream: &mut impl Write, bytes: usize) -> Result<bool, WireError> {
        let Some(in_flight) = self.in_flight.get() else { return Ok(true) };
        while !in_flight.has_room(bytes) {
            // What a writer below holds back cannot arrive.
            stream.flush()?;
            if in_flight.wait(&self.stop) == Waited::InVain {
                break;
            }
        }
        Ok(in_flight.note_write(bytes))
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

/// How fast the writer may write. Time in which it writes nothing is no credit: the run may begin long before the stream takes a byte.
pub(crate) struct Pace {
    bytes_per_second: Option<u64>,
    /// When the next bytes may be written.
    next: Instant,
}

impl Pace {
    pub(crate) fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second, next: Instant::now() }
    }

    fn is_limited(&self) -> bool {
        self.bytes_per_second.is_some()
    }

    /// How much to write at once.
    fn slice_bytes(&self) -> usize {
        let limit = self.bytes_per_second.map_or(u64::MAX, |limit| limit / SLICES_PER_SECOND);
        usize::try_from(limit).unwrap_or(usize::MAX).clamp(1, MAX_SLICE_BYTES)
    }

    /// Waits until `bytes` more may be written, or the run is stopped.
    fn wait(&mut self, bytes: usize, stop: &Stop) {
        let now = Instant::now();
        if let Some(pause) = self.pause(bytes, now) {
            let _ = stop.stopped().recv_timeout(pause);
        }
    }

    /// How long to wait before `bytes` more are written.
    fn pause(&mut self, bytes: usize, now: Instant) -> Option<Duration> {
        let limit = self.bytes_per_second?;
        self.next = self.next.max(now) + Duration::from_secs_f64(bytes as f64 / limit.max(1) as f64);
        self.next.checked_duration_since(now)
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
                pace.wait(slice.len(), &outbox.stop);
                let fills_link = outbox.await_room(stream, slice.len())?;
                stream.write_all(slice)?;
                if let Some(level) = outbox.level.get() {
                    let time = started.elapsed();
                    // What nothing held up did not wait for the link, however long this thread waited for a processor.
                    let held_up = pace.is_limited() || fills_link || time > LONG_WRITE;
                    level.wrote(slice.len(), if held_up { time } else { Duration::ZERO });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_without_a_write_is_no_credit_under_a_limit() {
        let mut pace = Pace::new(Some(1000));
        let start = pace.next;
        assert_eq!(pace.pause(100, start), Some(Duration::from_millis(100)));
        assert_eq!(pace.pause(100, start), Some(Duration::from_millis(200)));
        let much_later = start + Duration::from_secs(60);
        assert_eq!(pace.pause(100, much_later), Some(Duration::from_millis(100)));
        assert_eq!(Pace::new(None).pause(1 << 30, start), None);
    }

    /// Holds everything back until it is flushed, and then tells `outbox` that it has arrived.
    struct Buffered<'a> {
        outbox: &'a Outbox,
        held: u64,
        arrived: u64,
    }

    impl Write for Buffered<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.held += bytes.len() as u64;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            let held = std::mem::take(&mut self.held);
            self.arrived += held;
            self.outbox.note_arrival(held);
            Ok(())
        }
    }

    #[test]
    fn writer_flushes_before_it_waits_for_room() {
        let stop = Stop::new();
        let (outbox, outgoings) = Outbox::new(1, stop.clone());
        outbox.bound_in_flight();
        std::thread::scope(|scope| {
            let written = scope.spawn(|| {
                let mut stream = Buffered { outbox: &outbox, held: 0, arrived: 0 };
                let progress = Progress::default();
                outgoings.write_to(&outbox, &mut stream, &[], Pace::new(None), &progress).unwrap();
                stream.arrived
            });
            for _ in 0..64 {
                assert!(outbox.send(vec![0; 1 << 20]).is_ok());
            }
            stop.finish();
            assert_eq!(written.join().unwrap(), 64 << 20);
        });
    }
}
