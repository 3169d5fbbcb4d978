//! The progress of a run: a bar on a terminal, or a line per period.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use coast_sync::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::figures::{Grouped, Size};

/// A thread that calls a function periodically until the ticker is dropped.
pub(crate) struct Ticker {
    /// The thread stops when this sender is dropped.
    running: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts to call `tick` every `period`, the first time after one period.
    pub(crate) fn start(period: Duration, mut tick: impl FnMut() + Send + 'static) -> Self {
        let (running, stopped) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                tick();
            }
        });
        Self { running: Some(running), thread: Some(thread) }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.running.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed already, and the run is over.
            let _ = thread.join();
        }
    }
}

/// The counters of [`Progress`] at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) offered_entries: u64,
    pub(crate) offered_bytes: u64,
    pub(crate) walk_done: bool,
    pub(crate) settled_entries: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) wire_sent_bytes: u64,
    pub(crate) wire_received_bytes: u64,
}

impl Moment {
    pub(crate) fn of(progress: &Progress) -> Self {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            offered_entries: read(&progress.offered_entries),
            offered_bytes: read(&progress.offered_bytes),
            walk_done: read(&progress.walk_done) != 0,
            settled_entries: read(&progress.settled_entries),
            sent_bytes: read(&progress.sent_bytes),
            wire_sent_bytes: read(&progress.wire_sent_bytes),
            wire_received_bytes: read(&progress.wire_received_bytes),
        }
    }

    /// Returns the counters as one line for people.
    pub(crate) fn line(&self) -> String {
        format!(
            "{} of {}{} entries, {} sent ({} over the wire)",
            Grouped(self.settled_entries),
            Grouped(self.offered_entries),
            if self.walk_done { "" } else { "+" },
            Size(self.sent_bytes),
            Size(self.wire_sent_bytes)
        )
    }

    /// Returns the progress in thousandths: of the entries or of the bytes, whichever is larger. The entries alone would stand
    /// still during a large file, the bytes alone while nothing is sent.
    fn permille(&self) -> u64 {
        let part = |done: u64, all: u64| match all {
            0 => 0,
            all => u64::try_from(u128::from(done.min(all)) * 1000 / u128::from(all)).unwrap_or(1000),
        };
        part(self.settled_entries, self.offered_entries).max(part(self.sent_bytes, self.offered_bytes))
    }
}

/// Returns a bar on standard error. It is hidden if standard error is not a terminal.
pub(crate) fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:24} {elapsed:>4}  {wide_msg}");
    // The template is a constant. If it were wrong, the bar would have the default style.
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// Starts to draw `bar`, four times per second.
pub(crate) fn draw(bar: &ProgressBar, progress: &Arc<Progress>) -> Ticker {
    let (bar, progress) = (bar.clone(), Arc::clone(progress));
    Ticker::start(Duration::from_millis(250), move || {
        let moment = Moment::of(&progress);
        bar.set_position(moment.permille());
        bar.set_message(moment.line());
        bar.tick();
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_as_far_as_its_entries_or_its_bytes() {
        let progress = Progress::default();
        assert_eq!(Moment::of(&progress).permille(), 0);
        progress.offered_entries.store(4, Ordering::Relaxed);
        progress.offered_bytes.store(1000, Ordering::Relaxed);
        progress.settled_entries.store(1, Ordering::Relaxed);
        progress.sent_bytes.store(100, Ordering::Relaxed);
        assert_eq!(Moment::of(&progress).permille(), 250);
        progress.sent_bytes.store(900, Ordering::Relaxed);
        assert_eq!(Moment::of(&progress).permille(), 900);
        // A file that grew while it was read is sent beyond what was offered.
        progress.sent_bytes.store(2000, Ordering::Relaxed);
        assert_eq!(Moment::of(&progress).permille(), 1000);
    }

    #[test]
    fn a_ticker_ticks_until_it_is_dropped() {
        let (ticked, ticks) = mpsc::channel();
        let tick = move || ticked.send(()).unwrap_or_default();
        let ticker = Ticker::start(Duration::from_millis(1), tick);
        ticks.recv().unwrap();
        drop(ticker);
        while ticks.try_recv().is_ok() {}
        assert_eq!(ticks.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }
}
