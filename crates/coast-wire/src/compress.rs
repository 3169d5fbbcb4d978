//! Compression of frames at the level that a [`LevelControl`] chooses.

use std::sync::Arc;
use std::time::Instant;

use zrip::encode::context::CompressContext;

use crate::WireError;
use crate::level::{Codec, LevelControl};

/// Payloads below this many bytes are sent as they are.
const MIN_COMPRESS_BYTES: usize = 128;

/// Payloads from this many bytes on are sampled first, and tell how fast a level is.
const MIN_SAMPLED_BYTES: usize = 64 << 10;

/// There is a sample each this many bytes of a payload: a pack holds files of several kinds.
const SAMPLE_EVERY_BYTES: usize = 64 << 10;

/// Bytes of a sample.
const SAMPLE_BYTES: usize = 4 << 10;

/// A gain of less than a sixteenth is not worth the other side's time.
const GAIN: usize = 16;

/// The smallest gain that is worth the other side's time while it waits for the link, as [`GAIN`].
#[cfg(feature = "high-levels")]
const GAIN_ON_SLOW_LINK: usize = 64;

/// The level at which samples are compressed: the fastest that still encodes literals by their frequency.
const SAMPLE_LEVEL: i32 = 1;

/// One worker's compressor. The tables of the fast levels are used again for every frame.
pub struct Compressor {
    fast: CompressContext,
    /// Room for the output of the fast levels.
    packed: Vec<u8>,
    control: Arc<LevelControl>,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").field("codec", &self.control.codec()).finish_non_exhaustive()
    }
}

impl Compressor {
    /// A compressor that follows `control`.
    ///
    /// # Errors
    /// When the compression library refuses its own level, which it does not.
    pub fn new(control: Arc<LevelControl>) -> Result<Self, WireError> {
        let mut fast = CompressContext::new(SAMPLE_LEVEL).map_err(failed)?;
        // The cipher authenticates every packet, and every file is checked by its hash.
        fast.set_content_checksum(false);
        Ok(Self { fast, packed: Vec::new(), control })
    }

    /// `raw` compressed, behind `room` bytes of zeros for a header; none when that is no gain.
    pub(crate) fn compress(&mut self, raw: &[u8], room: usize) -> Result<Option<Vec<u8>>, WireError> {
        let codec = self.control.codec();
        let sampled = raw.len() >= MIN_SAMPLED_BYTES;
        if codec == Codec::Plain || raw.len() < MIN_COMPRESS_BYTES || sampled && !self.samples_shrink(raw)? {
            return Ok(None);
        }
        let started = Instant::now();
        let packed = match codec {
            Codec::Plain => return Ok(None),
            Codec::Fast(level) => self.compress_fast(raw, room, level)?,
            #[cfg(feature = "high-levels")]
            Codec::High(level) => compress_high(raw, room, level),
        };
        let length = packed.len() - room;
        if sampled {
            self.control.compressed(codec, raw.len(), length, started.elapsed());
        }
        let is_gain = match codec {
            Codec::Plain | Codec::Fast(_) => is_gain(length, raw.len(), GAIN),
            // The other side waits for the link.
            #[cfg(feature = "high-levels")]
            Codec::High(_) => is_gain(length, raw.len(), GAIN_ON_SLOW_LINK),
        };
        Ok(is_gain.then_some(packed))
    }

    /// Whether compression makes any of the samples smaller. What is compressed already, as images and archives are, is recognised
    /// by that, and costs no more than the samples. Other content mostly shows itself in the first sample.
    fn samples_shrink(&mut self, raw: &[u8]) -> Result<bool, WireError> {
        self.fast.set_level(SAMPLE_LEVEL).map_err(failed)?;
        for sample in raw.chunks(SAMPLE_EVERY_BYTES) {
            let sample = &sample[..SAMPLE_BYTES.min(sample.len())];
            let length = self.pack_fast(sample)?.len();
            if is_gain(length, sample.len(), GAIN) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn compress_fast(&mut self, raw: &[u8], room: usize, level: i32) -> Result<Vec<u8>, WireError> {
        self.fast.set_level(level).map_err(failed)?;
        let packed = self.pack_fast(raw)?;
        let mut framed = Vec::with_capacity(room + packed.len());
        framed.resize(room, 0);
        framed.extend_from_slice(packed);
        Ok(framed)
    }

    fn pack_fast(&mut self, raw: &[u8]) -> Result<&[u8], WireError> {
        let bound = zrip::compress_bound(raw.len());
        if self.packed.len() < bound {
            self.packed.resize(bound, 0);
        }
        let length = self.fast.compress_into(raw, &mut self.packed).map_err(failed)?;
        Ok(&self.packed[..length])
    }
}

/// Its tables, some 20 MB for a large pack, live only this long.
#[cfg(feature = "high-levels")]
fn compress_high(raw: &[u8], room: usize, level: i32) -> Vec<u8> {
    use structured_zstd::encoding::{CompressionLevel, compress_slice_to_vec};
    let mut packed = compress_slice_to_vec(raw, CompressionLevel::Level(level));
    packed.splice(..0, std::iter::repeat_n(0, room));
    packed
}

/// Whether `packed` is less than `plain` by more than one part in `parts`.
fn is_gain(packed: usize, plain: usize, parts: usize) -> bool {
    packed + plain / parts < plain
}

fn failed(error: zrip::CompressError) -> WireError {
    WireError::Compression(error.to_string())
}
