//! The progress of a run: a bar on a terminal, or a line per period.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use coast_sync::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::figures::{Grouped, Size};

/// The time between two drawings.
pub(crate) const DRAWN_EVERY: Duration = Duration::from_millis(250);

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
    pub(crate) settled_bytes: u64,
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
            settled_bytes: read(&progress.settled_bytes),
            sent_bytes: read(&progress.sent_bytes),
            wire_sent_bytes: read(&progress.wire_sent_bytes),
            wire_received_bytes: read(&progress.wire_received_bytes),
        }
    }

    /// Returns the counters as one line for people, with `pace` before what a narrow terminal may cut off.
    fn line(&self, pace: &str) -> String {
        format!(
            "{} of {}{} entries, {} sent{pace} ({} over the wire)",
            Grouped(self.settled_entries),
            Grouped(self.offered_entries),
            if self.walk_done { "" } else { "+" },
            Size(self.sent_bytes),
            Size(self.wire_sent_bytes)
        )
    }

    /// The bytes that need no further work: those of settled entries, or those sent, whichever are more. A large file is settled
    /// only at its end.
    fn done_bytes(&self) -> u64 {
        self.settled_bytes.max(self.sent_bytes).min(self.offered_bytes)
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

/// The rate over the last seconds at which a number of bytes grows.
#[derive(Default)]
pub(crate) struct Rate {
    /// The latest numbers, the oldest first, each with the time since the start.
    moments: VecDeque<(Duration, u64)>,
}

impl Rate {
    /// The time over which the rate is taken. A shorter time makes the figures jump.
    const WINDOW: Duration = Duration::from_secs(5);

    /// The least time after which a rate means something.
    const LEAST: Duration = Duration::from_secs(1);

    /// Takes note of the number at `now` since the start. Returns the bytes per second, once they mean something.
    pub(crate) fn of(&mut self, now: Duration, bytes: u64) -> Option<u64> {
        self.moments.push_back((now, bytes));
        while self.moments.len() > 2 && self.moments.get(1).is_some_and(|(at, _)| now - *at >= Self::WINDOW) {
            self.moments.pop_front();
        }
        let (since, first) = self.moments.front().map(|(at, first)| (now - *at, *first))?;
        let rate = u128::from(bytes.saturating_sub(first)) * 1000 / since.as_millis().max(1);
        (since >= Self::LEAST).then(|| u64::try_from(rate).unwrap_or(u64::MAX))
    }
}

/// The rate of a run, and the time that it will take at this rate.
#[derive(Default)]
pub(crate) struct Pace {
    /// The bytes on the wire. Files are read ahead of it, so only the wire tells the rate of the link.
    wire: Rate,
    /// The bytes that need no further work.
    done: Rate,
}

impl Pace {
    /// Takes note of a moment, at `now` since the start of the run. Returns its line for people, with the rate and, once the whole
    /// source was walked, the time left.
    pub(crate) fn line(&mut self, now: Duration, moment: Moment) -> String {
        let wire = self.wire.of(now, moment.wire_sent_bytes);
        let done = self.done.of(now, moment.done_bytes());
        let left = moment.walk_done.then(|| moment.offered_bytes - moment.done_bytes());
        moment.line(&format!("{}{}", rate_words(wire), left_words(left, done)))
    }
}

/// `, 1.0 MB/s`, or nothing while the rate is not known.
pub(crate) fn rate_words(rate: Option<u64>) -> String {
    rate.map_or_else(String::new, |rate| format!(", {}/s", Size(rate)))
}

/// `, 0:46 left`, or nothing while the time for these bytes is not known.
pub(crate) fn left_words(bytes: Option<u64>, rate: Option<u64>) -> String {
    match bytes.zip(rate) {
        Some((bytes, rate)) if bytes > 0 && rate > 0 => format!(", {} left", clock(bytes.div_ceil(rate))),
        _ => String::new(),
    }
}

/// A time as `0:09`, `12:34` or `1:02:03`.
fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours == 0 { format!("{minutes}:{seconds:02}") } else { format!("{hours}:{minutes:02}:{seconds:02}") }
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

/// Returns a spinner on standard error, for a step whose length is not known.
pub(crate) fn spinner(words: &str) -> ProgressBar {
    let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    // As above.
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4}  {wide_msg}") {
        spinner.set_style(style.tick_chars("|/-\\|"));
    }
    spinner.set_message(words.to_owned());
    spinner
}

/// Starts to draw `bar`, four times per second.
pub(crate) fn draw(bar: ProgressBar, progress: &Arc<Progress>) -> Ticker {
    let progress = Arc::clone(progress);
    let (started, mut pace) = (Instant::now(), Pace::default());
    Ticker::start(DRAWN_EVERY, move || {
        let moment = Moment::of(&progress);
        bar.set_position(moment.permille());
        bar.set_message(pace.line(started.elapsed(), moment));
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
    fn the_time_left_is_told_by_bytes_once_the_total_is_known() {
        let moment = |walk_done, settled_bytes, sent_bytes| Moment {
            offered_entries: 2,
            offered_bytes: 100_000_000,
            walk_done,
            settled_entries: 1,
            settled_bytes,
            sent_bytes,
            wire_sent_bytes: sent_bytes / 2,
            wire_received_bytes: 0,
        };
        let mut pace = Pace::default();
        let at = Duration::from_secs;
        assert!(pace.line(at(0), moment(false, 0, 0)).ends_with(" 0 B sent (0 B over the wire)"));
        let line = pace.line(at(2), moment(false, 0, 4_000_000));
        assert!(line.contains(" sent, 1.0 MB/s (2.0"), "the total is not known: {line}");
        let line = pace.line(at(4), moment(true, 0, 8_000_000));
        assert!(line.contains(" sent, 1.0 MB/s, 0:46 left ("), "{line}");
        // Files that need not be sent are settled faster, and only the last seconds count.
        for second in 5..12 {
            pace.line(at(second), moment(true, 8_000_000 + (second - 4) * 10_000_000, 8_000_000));
        }
        let line = pace.line(at(12), moment(true, 88_000_000, 8_000_000));
        assert!(line.contains(", 0 B/s, 0:02 left ("), "{line}");
        let line = pace.line(at(13), moment(true, 100_000_000, 8_000_000));
        assert!(line.contains(", 0 B/s ("), "nothing is left: {line}");
        assert_eq!([9, 754, 3723].map(clock), ["0:09", "12:34", "1:02:03"]);
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
