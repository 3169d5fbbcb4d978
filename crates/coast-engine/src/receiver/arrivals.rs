//! Tells the sender what has arrived: how much is under way to this side, and how fast the link is, follow from that.

use std::io::{self, Read};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use coast_wire::ToSender;

use crate::outbox::Outbox;

/// The sender is told whenever this many bytes have arrived.
const TOLD_BYTES: u64 = 128 << 10;

/// Where the reader of a run's stream says what has arrived. Empty as long as the sender does not want to know.
pub(super) type ArrivalsTold = Arc<OnceLock<Arc<Outbox>>>;

/// The stream of a run.
pub(super) struct Arriving<R> {
    stream: R,
    told: ArrivalsTold,
    /// Since the last message.
    bytes: u64,
    /// How long the bytes were waited for. It says how fast the link is, whatever keeps this side busy.
    waited: Duration,
}

impl<R> Arriving<R> {
    pub(super) fn new(stream: R, told: ArrivalsTold) -> Self {
        Self { stream, told, bytes: 0, waited: Duration::ZERO }
    }

    fn tell(&mut self) {
        let Some(outbox) = self.told.get() else { return };
        let waited_micros = u64::try_from(self.waited.as_micros()).unwrap_or(u64::MAX);
        // The reader notices by itself that the run has ended.
        let _ = outbox.push(&ToSender::Arrived { bytes: self.bytes, waited_micros });
        (self.bytes, self.waited) = (0, Duration::ZERO);
    }
}

impl<R: Read> Read for Arriving<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let started = Instant::now();
        let count = self.stream.read(buffer)?;
        self.waited += started.elapsed();
        self.bytes += count as u64;
        if self.bytes >= TOLD_BYTES {
            self.tell();
        }
        Ok(count)
    }
}
