//! The choice of the level of compression: the one that brings most content over the link in a second.
//!
//! A level is limited by what the workers compress in a second, and by what the link carries in a second, times what a byte on the
//! link stands for. The speed of the workers and the size of what they compressed are measured at the level in use; [`LEVELS`] says
//! what follows from that for the other levels.
//!
//! The link has two ends. The writer waits for a slow link, but for a busy receiver, too; the receiver waits for a slow link, but for
//! busy workers, too. So the time that a byte takes on the link is the smaller one of what both ends waited for it.
//!
//! On a very fast link content is sent plain. The processors limit a run there, and compressing a byte takes them longer than its copies
//! on the way: a first push of 78,500 files over loopback takes 7.8 s of processor time plain, and 9.6 s at the cheapest level.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[cfg(feature = "high-levels")]
use crate::limits::LARGE_PACK_BYTES;
use crate::limits::{PACK_BYTES, PLAIN_PACK_BYTES};

/// A compressor and its own number for a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// Content as it is. See [`PLAIN_SECONDS`].
    Plain,
    /// `zrip`, which has the levels up to 4.
    Fast(i32),
    /// `structured-zstd`, for a link that leaves the workers time.
    #[cfg(feature = "high-levels")]
    High(i32),
}

/// What a level costs and gives.
#[derive(Debug)]
struct Level {
    codec: Codec,
    /// Bytes of content that one worker compresses in a second.
    speed: f64,
    /// Compressed bytes for each byte of content.
    size: f64,
}

/// From the cheapest to the dearest. Measured with 5,695 files (127.9 MB) of a kernel on one core, in packs of the size that the
/// level has. Only the ratios between the levels matter: they are about the same for a tree of JavaScript.
const LEVELS: &[Level] = &[
    Level { codec: Codec::Fast(-3), speed: 410e6, size: 0.253 },
    Level { codec: Codec::Fast(1), speed: 368e6, size: 0.227 },
    Level { codec: Codec::Fast(3), speed: 234e6, size: 0.219 },
    #[cfg(feature = "high-levels")]
    Level { codec: Codec::High(6), speed: 78e6, size: 0.176 },
    #[cfg(feature = "high-levels")]
    Level { codec: Codec::High(9), speed: 60e6, size: 0.169 },
];

/// The level of the first pack.
const START_LEVEL: usize = 1;

/// The rate of a link that nothing is known about, in bytes per second. It makes [`START_LEVEL`] the best one.
const START_RATE: f64 = 80e6;

/// A small file is sent whole if a byte of its content, compressed and sent, takes at most this many seconds. Above it, a difference
/// arrives sooner.
const WHOLE_CONTENT_SECONDS: f64 = 7e-9;

/// Content is sent plain where a byte takes less than this on the link, in seconds. Two processors that read, compress, receive and
/// write bring a byte in about the same time at the cheapest level.
const PLAIN_SECONDS: f64 = 5e-9;

/// Plain content was too much for the link where a byte of it takes more than this, in seconds. While all sides wait for the same
/// processors, it takes 3 to 6 ns over loopback.
const TOO_MUCH_SECONDS: f64 = 8e-9;

/// Plain content is tried again after this many bytes: what made the link too slow for it may have ended.
const RETRY_BYTES: u64 = 32 << 20;

/// Bytes that a connection takes in before its ends feel the link: the window of an SSH channel.
const WINDOW_BYTES: u64 = 2 << 20;

/// Seconds of writing after which a measurement of the link counts a third. A shorter memory would follow every pause of the
/// receiver.
const LINK_MEMORY_SECONDS: f64 = 0.25;

/// Bytes after which a measurement of the link counts a third, however fast they left.
const LINK_MEMORY_BYTES: f64 = 4e6;

/// What is known of the link at the start counts as much as a measurement with this many bytes.
const KNOWN_BYTES: f64 = 1e6;

/// Bytes of content after which a measurement of the workers counts a third.
const WORK_MEMORY_BYTES: f64 = 8e6;

/// The level that all of a sender's [`Compressor`](crate::Compressor)s share.
#[derive(Debug)]
pub struct LevelControl {
    /// An index of [`LEVELS`].
    level: AtomicUsize,
    /// Whether content is sent plain, whatever the level.
    sends_plain: AtomicBool,
    /// What [`LevelControl::carries_whole_files`] answers.
    carries_whole_files: AtomicBool,
    workers: f64,
    /// All that was measured.
    measured: Mutex<Measured>,
}

#[derive(Debug)]
struct Measured {
    plain: Burden,
    /// What was written when plain content was carried last.
    plain_carried_at: u64,
    whole_files: Burden,
    /// Bytes written in all, and bytes that arrived in all.
    written: u64,
    arrived: u64,
    /// Seconds that the writer waited for each byte.
    writing: Mean,
    /// Seconds that the receiver waited for each byte. None before it said something.
    arriving: Option<Mean>,
    /// Seconds of a worker for each second that [`LEVELS`] expects.
    slowness: Mean,
    /// Compressed bytes for each byte that [`LEVELS`] expects.
    growth: Mean,
}

/// Whether the link carries what makes it busier than it needs to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Burden {
    NotTried,
    /// The link carries it.
    Carried,
    /// The link was asked to carry it, and was too slow.
    TooMuch,
}

impl Burden {
    /// It begins when it seems light for the link, and ends when it seems heavy. Answers whether it goes on.
    fn weigh(&mut self, is_light: bool, is_heavy: bool) -> bool {
        *self = match *self {
            Self::NotTried if is_light => Self::Carried,
            Self::Carried if is_heavy => Self::TooMuch,
            known => known,
        };
        *self == Self::Carried
    }
}

/// A mean of ratios in which older ones count less and less.
#[derive(Debug)]
struct Mean {
    above: f64,
    below: f64,
}

impl Mean {
    /// Starts as if `ratio` had been measured for as long as the memory reaches.
    fn new(ratio: f64, memory: f64) -> Self {
        Self { above: ratio * memory, below: memory }
    }

    fn add(&mut self, above: f64, below: f64, age: f64) {
        let kept = (-age).exp();
        self.above = self.above * kept + above;
        self.below = self.below * kept + below;
    }

    fn ratio(&self) -> f64 {
        self.above / self.below
    }

    /// What is known of the link at the start.
    fn of_unknown_link() -> Self {
        Self::new(1.0 / START_RATE, KNOWN_BYTES)
    }

    /// Adds a wait for bytes on the link.
    fn add_wait(&mut self, bytes: u64, wait: Duration) {
        let (bytes, seconds) = (bytes as f64, wait.as_secs_f64());
        self.add(seconds, bytes, seconds / LINK_MEMORY_SECONDS + bytes / LINK_MEMORY_BYTES);
    }
}

impl LevelControl {
    /// Starts at a level for a link of unknown speed and this many threads that compress.
    pub fn new(workers: NonZeroUsize) -> Arc<Self> {
        let measured = Measured {
            plain: Burden::NotTried,
            plain_carried_at: 0,
            whole_files: Burden::NotTried,
            written: 0,
            arrived: 0,
            writing: Mean::of_unknown_link(),
            arriving: None,
            slowness: Mean::new(1.0, WORK_MEMORY_BYTES),
            growth: Mean::new(1.0, WORK_MEMORY_BYTES),
        };
        // More than some ten thousand threads are no threads of one machine.
        let workers = f64::from(u16::try_from(workers.get()).unwrap_or(u16::MAX));
        Arc::new(Self {
            level: AtomicUsize::new(START_LEVEL),
            sends_plain: AtomicBool::new(false),
            carries_whole_files: AtomicBool::new(false),
            workers,
            measured: Mutex::new(measured),
        })
    }

    /// Whether the link carries the content of a small file sooner than both sides find what differs in it. Once whole files were more
    /// than the link carries, they are not tried again: differences keep no link busy, so they do not show how slow it is.
    pub fn carries_whole_files(&self) -> bool {
        self.carries_whole_files.load(Ordering::Relaxed)
    }

    /// Content bytes at which a pack is closed now. A slow link gains from larger packs, in which more repeats; a fast one would
    /// have to wait for them.
    pub fn pack_bytes(&self) -> usize {
        match self.codec() {
            Codec::Plain => PLAIN_PACK_BYTES,
            Codec::Fast(_) => PACK_BYTES,
            #[cfg(feature = "high-levels")]
            Codec::High(_) => LARGE_PACK_BYTES,
        }
    }

    /// Writing `bytes` to the link took this time.
    pub fn wrote(&self, bytes: usize, time: Duration) {
        let mut measured = self.measured();
        measured.written += bytes as u64;
        if measured.written > WINDOW_BYTES {
            measured.writing.add_wait(bytes as u64, time);
            self.choose(&mut measured);
        }
    }

    /// The receiver says that it waited for so many bytes, and so long for them.
    pub fn arrived(&self, bytes: u64, wait: Duration) {
        let mut measured = self.measured();
        measured.arrived = measured.arrived.saturating_add(bytes);
        if measured.arrived > WINDOW_BYTES {
            measured.arriving.get_or_insert_with(Mean::of_unknown_link).add_wait(bytes, wait);
            self.choose(&mut measured);
        }
    }

    /// A worker has compressed `plain` bytes to `packed` bytes with `codec` in this time.
    pub(crate) fn compressed(&self, codec: Codec, plain: usize, packed: usize, time: Duration) {
        let Some(level) = LEVELS.iter().find(|level| level.codec == codec) else { return };
        let (plain, packed) = (plain as f64, packed as f64);
        let mut measured = self.measured();
        let age = plain / WORK_MEMORY_BYTES;
        measured.slowness.add(time.as_secs_f64() * level.speed, plain, age);
        measured.growth.add(packed / level.size, plain, age);
        self.choose(&mut measured);
    }

    /// The compressor and level of the next pack.
    pub(crate) fn codec(&self) -> Codec {
        if self.sends_plain.load(Ordering::Relaxed) {
            return Codec::Plain;
        }
        LEVELS[self.level.load(Ordering::Relaxed)].codec
    }

    fn choose(&self, measured: &mut Measured) {
        let waiting = match &measured.arriving {
            Some(arriving) => arriving.ratio().min(measured.writing.ratio()),
            None => measured.writing.ratio(),
        };
        let seconds = |level: &Level| {
            let working = measured.slowness.ratio() / (self.workers * level.speed);
            let sending = waiting * (measured.growth.ratio() * level.size).min(1.0);
            // Both go on at once, so the longer one counts. The shorter one counts a little: neither is as even as its mean.
            (working.powi(4) + sending.powi(4)).sqrt().sqrt()
        };
        let levels = LEVELS.iter().map(seconds).enumerate();
        let Some((best, cost)) = levels.min_by(|(_, one), (_, other)| one.total_cmp(other)) else {
            return;
        };
        let is_known = measured.written.max(measured.arrived) > WINDOW_BYTES;
        if measured.plain == Burden::TooMuch && measured.written > measured.plain_carried_at + RETRY_BYTES {
            measured.plain = Burden::NotTried;
        }
        let plain = measured.plain.weigh(is_known && waiting < PLAIN_SECONDS, waiting > TOO_MUCH_SECONDS);
        if plain {
            measured.plain_carried_at = measured.written;
        }
        self.level.store(best, Ordering::Relaxed);
        self.sends_plain.store(plain, Ordering::Relaxed);
        let is_light = cost.min(waiting) <= WHOLE_CONTENT_SECONDS;
        let whole = measured.whole_files.weigh(is_known && is_light, !is_light);
        self.carries_whole_files.store(whole, Ordering::Relaxed);
    }

    fn measured(&self) -> MutexGuard<'_, Measured> {
        // A poisoned lock means a panic between plain assignments; the numbers still choose a level. This crate does not depend on
        // coast-tree, so `LockExt` is not available.
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE: usize = 64 << 10;

    fn control() -> Arc<LevelControl> {
        LevelControl::new(NonZeroUsize::new(2).unwrap())
    }

    /// Writes as to a link of this rate whose connection takes in `hidden` bytes at once.
    fn write(control: &LevelControl, bytes: usize, hidden: usize, bytes_per_second: f64) {
        for written in (0..bytes).step_by(SLICE) {
            let time = if written < hidden { 0.0 } else { SLICE as f64 / bytes_per_second };
            control.wrote(SLICE, Duration::from_secs_f64(time));
        }
    }

    /// Compresses text with workers that take `slowness` times as long as [`LEVELS`] says.
    fn compress(control: &LevelControl, packs: usize, slowness: f64) {
        for _ in 0..packs {
            let codec = control.codec();
            let level = LEVELS.iter().find(|level| level.codec == codec).unwrap();
            let seconds = slowness * PACK_BYTES as f64 / level.speed;
            control.compressed(codec, PACK_BYTES, PACK_BYTES / 5, Duration::from_secs_f64(seconds));
        }
    }

    #[test]
    fn first_level_is_a_cheap_one() {
        assert_eq!(control().codec(), Codec::Fast(1));
        assert_eq!(control().pack_bytes(), PACK_BYTES);
    }

    #[test]
    fn very_fast_link_gets_plain_content() {
        let control = control();
        write(&control, 16 << 20, 0, 5e9);
        assert_eq!((control.codec(), control.pack_bytes()), (Codec::Plain, PLAIN_PACK_BYTES));
        // Processors that are busy with it make the link seem somewhat slower.
        write(&control, 16 << 20, 0, 167e6);
        assert_eq!(control.codec(), Codec::Plain);
    }

    #[test]
    fn lan_gets_a_cheap_level_and_whole_files() {
        let control = control();
        write(&control, 8 << 20, 0, 125e6);
        assert!(matches!(control.codec(), Codec::Fast(_)));
        assert!(control.carries_whole_files());
    }

    #[test]
    fn plain_content_that_was_too_much_is_tried_again_much_later() {
        let control = control();
        write(&control, 16 << 20, 0, 5e9);
        write(&control, 8 << 20, 0, 60e6);
        write(&control, 8 << 20, 0, 5e9);
        assert!(matches!(control.codec(), Codec::Fast(_)));
        write(&control, 32 << 20, 0, 5e9);
        assert_eq!(control.codec(), Codec::Plain);
    }

    /// Tells of bytes that were waited for as on a link of this rate.
    fn arrive(control: &LevelControl, bytes: u64, bytes_per_second: f64) {
        for _ in 0..bytes >> 20 {
            control.arrived(1 << 20, Duration::from_secs_f64(f64::from(1 << 20) / bytes_per_second));
        }
    }

    #[test]
    fn whole_files_end_for_good_when_the_link_proves_too_slow() {
        let control = control();
        assert!(!control.carries_whole_files(), "nothing is known of the link");
        write(&control, 16 << 20, 0, 5e9);
        assert!(control.carries_whole_files());
        write(&control, 8 << 20, 0, 12.5e6);
        assert!(!control.carries_whole_files());
        write(&control, 24 << 20, 0, 5e9);
        assert!(!control.carries_whole_files());
    }

    #[test]
    fn busy_receiver_is_no_slow_link() {
        let control = control();
        write(&control, 16 << 20, 0, 20e6);
        assert!(control.level.load(Ordering::Relaxed) > START_LEVEL);
        arrive(&control, 16 << 20, 5e9);
        assert_eq!(control.codec(), Codec::Plain);
    }

    #[test]
    fn busy_sender_is_no_slow_link() {
        let control = control();
        write(&control, 16 << 20, 0, 5e9);
        arrive(&control, 16 << 20, 20e6);
        assert_eq!(control.codec(), Codec::Plain);
    }

    #[test]
    fn busy_workers_get_a_cheaper_level() {
        let control = control();
        write(&control, 8 << 20, 0, 70e6);
        compress(&control, 32, 1.0);
        let idle = control.level.load(Ordering::Relaxed);
        compress(&control, 32, 3.0);
        assert!(control.level.load(Ordering::Relaxed) < idle);
    }

    #[cfg(feature = "high-levels")]
    mod on_a_slow_link {
        use super::*;

        /// 20 Mbit/s.
        const SLOW: f64 = 2.5e6;

        #[test]
        fn level_is_high_before_four_megabytes_are_written() {
            let control = control();
            write(&control, 4 << 20, 2 << 20, SLOW);
            assert_eq!(control.codec(), Codec::High(9));
            assert_eq!(control.pack_bytes(), LARGE_PACK_BYTES);
        }

        #[test]
        fn level_is_high_where_both_ends_wait() {
            let control = control();
            write(&control, 16 << 20, 2 << 20, SLOW);
            arrive(&control, 16 << 20, SLOW);
            assert_eq!(control.codec(), Codec::High(9));
        }

        #[test]
        fn bytes_that_waited_for_a_busy_receiver_make_no_fast_link() {
            let control = control();
            write(&control, 16 << 20, 2 << 20, SLOW);
            arrive(&control, 8 << 20, SLOW);
            arrive(&control, 2 << 20, 5e9);
            assert_eq!(control.codec(), Codec::High(9));
        }

        #[test]
        fn level_follows_a_link_that_becomes_fast() {
            let control = control();
            write(&control, 8 << 20, 2 << 20, SLOW);
            assert!(matches!(control.codec(), Codec::High(_)));
            write(&control, 24 << 20, 0, 5e9);
            assert_eq!(control.codec(), Codec::Plain);
        }

        #[test]
        fn level_is_no_higher_than_the_workers_keep_up_with() {
            let control = control();
            write(&control, 8 << 20, 2 << 20, 12.5e6);
            compress(&control, 64, 8.0);
            assert!(matches!(control.codec(), Codec::Fast(_)));
        }
    }
}
