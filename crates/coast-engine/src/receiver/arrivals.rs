//! Reports to the sender how many bytes have arrived, and how long the reader waited for them. The sender bounds the bytes in flight by
//! the first, and measures the link by both.

use std::io::{self, Read};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use coast_wire::ToSender;

use crate::outbox::Outbox;

/// A report is due when this many bytes have arrived since the last one.
pub(crate) const REPORTED_BYTES: u64 = 128 << 10;

/// The way of the reports of a run. None leave before it is open.
#[derive(Clone, Default)]
pub(super) struct ArrivalReports(Arc<OnceLock<Arc<Outbox>>>);

impl ArrivalReports {
    /// From now on reports leave by `outbox`.
    pub(super) fn open(&self, outbox: &Arc<Outbox>) {
        self.0.get_or_init(|| outbox.clone());
    }
}

/// The stream of a run. Its bytes are counted from the first one, as the sender counts them, also before reports leave.
pub(super) struct ReportingReader<R> {
    stream: R,
    reports: ArrivalReports,
    unreported_bytes: u64,
    /// How long the bytes were waited for. It says how fast the link is, whatever keeps this side busy.
    unreported_wait: Duration,
}

impl<R> ReportingReader<R> {
    pub(super) fn new(stream: R, reports: ArrivalReports) -> Self {
        Self { stream, reports, unreported_bytes: 0, unreported_wait: Duration::ZERO }
    }

    fn report(&mut self) {
        let Some(outbox) = self.reports.0.get() else { return };
        let waited_micros = u64::try_from(self.unreported_wait.as_micros()).unwrap_or(u64::MAX);
        // The reader notices by itself that the run has ended.
        let _ = outbox.push(&ToSender::Arrived { bytes: self.unreported_bytes, waited_micros });
        (self.unreported_bytes, self.unreported_wait) = (0, Duration::ZERO);
    }
}

impl<R: Read> Read for ReportingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let started = Instant::now();
        let count = self.stream.read(buffer)?;
        self.unreported_wait += started.elapsed();
        self.unreported_bytes += count as u64;
        if self.unreported_bytes >= REPORTED_BYTES {
            self.report();
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use coast_wire::{FrameReader, messages};

    use super::*;
    use crate::monitor::Progress;
    use crate::outbox::Pace;
    use crate::stop::Stop;

    /// The bytes that are reported of a stream of `first` and `then` bytes, when the reports open between them.
    fn reported(first: usize, then: usize) -> Vec<u64> {
        let stop = Stop::new();
        let (outbox, outgoings) = Outbox::new(8, stop.clone());
        let (outbox, reports) = (Arc::new(outbox), ArrivalReports::default());
        let bytes = vec![0; first + then];
        let mut reader = ReportingReader::new(&bytes[..], reports.clone());
        reader.read_exact(&mut vec![0; first]).unwrap();
        reports.open(&outbox);
        for chunk in bytes[first..].chunks(32 << 10) {
            reader.read_exact(&mut vec![0; chunk.len()]).unwrap();
        }
        stop.finish();
        let mut written = Vec::new();
        outgoings.write_to(&outbox, &mut written, &[], Pace::new(None), &Progress::default()).unwrap();
        let mut frames = FrameReader::new(&written[..]);
        let mut reported = Vec::new();
        while let Some(frame) = frames.next_frame().unwrap() {
            for message in messages(&frame.decode().unwrap()) {
                let ToSender::Arrived { bytes, .. } = message.unwrap() else { panic!("another message") };
                reported.push(bytes);
            }
        }
        reported
    }

    #[test]
    fn reports_come_every_128_kib() {
        assert_eq!(reported(0, 300 << 10), [128 << 10, 128 << 10]);
    }

    #[test]
    fn bytes_before_the_first_report_count() {
        assert_eq!(reported(1 << 20, 32 << 10), [(1 << 20) + (32 << 10)]);
    }
}
