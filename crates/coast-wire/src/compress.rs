//! Compression of frames at a level that follows the link: a slow one is worth a high level, a fast one none.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use zrip::adaptive::{AdaptiveLevel, CompressStats, MIN_WINDOW_BYTES};
use zrip::encode::context::CompressContext;

pub use zrip::adaptive::Bottleneck;

use crate::WireError;

/// Levels the adaptation moves between. Above 3 the compressor is slower for less than 2 % of size.
const LEVELS: std::ops::RangeInclusive<i32> = -3..=3;

/// Where it starts: what a link of some 100 MB/s wants.
const START_LEVEL: i32 = 1;

/// Payloads below this many bytes are sent as they are.
const MIN_COMPRESS_BYTES: usize = 128;

/// The level that all of a sender's [`Compressor`]s share.
#[derive(Debug)]
pub struct LevelControl {
    level: AtomicI32,
    state: Mutex<(AdaptiveLevel, CompressStats)>,
}

impl LevelControl {
    /// Starts at a level for a link of unknown speed.
    pub fn new() -> Arc<Self> {
        let adaptive = AdaptiveLevel::new(LEVELS, START_LEVEL);
        Arc::new(Self {
            level: AtomicI32::new(adaptive.level()),
            state: Mutex::new((adaptive, CompressStats::default())),
        })
    }

    fn record(&self, stats: CompressStats, bottleneck: Bottleneck) {
        // A poisoned lock means a panic between two plain assignments; the numbers are still a level. This crate does not depend
        // on coast-tree, so `LockExt` is not available.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (adaptive, window) = &mut *state;
        window.merge(stats);
        if window.plain >= 4 * MIN_WINDOW_BYTES {
            let level = adaptive.update(std::mem::take(window), Some(bottleneck));
            self.level.store(level, Ordering::Relaxed);
        }
    }
}

/// One worker's compressor: its tables are used again for every frame.
pub struct Compressor {
    context: CompressContext,
    control: Arc<LevelControl>,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").field("level", &self.context.level()).finish_non_exhaustive()
    }
}

impl Compressor {
    /// A compressor that follows `control`.
    ///
    /// # Errors
    /// When the compression library refuses its own level, which it does not.
    pub fn new(control: Arc<LevelControl>) -> Result<Self, WireError> {
        let level = control.level.load(Ordering::Relaxed);
        let mut context = CompressContext::new(level).map_err(failed)?;
        // The cipher authenticates every packet, and every file is checked by its hash.
        context.set_content_checksum(false);
        Ok(Self { context, control })
    }

    /// `raw` compressed, behind `room` bytes of zeros for a header; none when that is no gain.
    pub(crate) fn compress(
        &mut self,
        raw: &[u8],
        room: usize,
        bottleneck: Bottleneck,
    ) -> Result<Option<Vec<u8>>, WireError> {
        if raw.len() < MIN_COMPRESS_BYTES {
            return Ok(None);
        }
        self.context.set_level(self.control.level.load(Ordering::Relaxed)).map_err(failed)?;
        let started = Instant::now();
        let mut packed = vec![0; room + zrip::compress_bound(raw.len())];
        let length = self.context.compress_into(raw, &mut packed[room..]).map_err(failed)?;
        let mut stats = CompressStats::default();
        stats.record(raw.len(), length, started.elapsed());
        self.control.record(stats, bottleneck);
        // A gain of less than a sixteenth is not worth the other side's time.
        if length + raw.len() / 16 >= raw.len() {
            return Ok(None);
        }
        packed.truncate(room + length);
        Ok(Some(packed))
    }
}

fn failed(error: zrip::CompressError) -> WireError {
    WireError::Compression(error.to_string())
}
