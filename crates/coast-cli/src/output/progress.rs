//! The state of a run while it goes on: a bar on a terminal, or a line now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use coast_sync::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::figures::{Grouped, Size};

/// A thread that does something again and again until it is stopped.
pub(crate) struct Ticker {
    /// Dropped to stop the thread.
    running: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Calls `tick` every `period`, the first time after one.
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
            // A panic there has been reported by the thread itself, and the run is over.
            let _ = thread.join();
        }
    }
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) offered_entries: u64,
    pub(crate) offered_bytes: u64,
    pub(crate) walk_done: bool,
    pub(crate) settled_entries: u64,
    pub(crate) wanted_files: u64,
    pub(crate) wanted_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) wire_sent_bytes: u64,
    pub(crate) wire_received_bytes: u64,
}

impl Moment {
    /// Reads the counters.
    pub(crate) fn of(progress: &Progress) -> Self {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            offered_entries: read(&progress.offered_entries),
            offered_bytes: read(&progress.offered_bytes),
            walk_done: read(&progress.walk_done) != 0,
            settled_entries: read(&progress.settled_entries),
            wanted_files: read(&progress.wanted_files),
            wanted_bytes: read(&progress.wanted_bytes),
            sent_bytes: read(&progress.sent_bytes),
            wire_sent_bytes: read(&progress.wire_sent_bytes),
            wire_received_bytes: read(&progress.wire_received_bytes),
        }
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        format!(
            "{} of {}{} entries, {} of {} sent ({} over the wire)",
            Grouped(self.settled_entries),
            Grouped(self.offered_entries),
            if self.walk_done { "" } else { "+" },
            Size(self.sent_bytes),
            Size(self.wanted_bytes),
            Size(self.wire_sent_bytes)
        )
    }
}

/// A bar on standard error, hidden where that is no terminal.
pub(crate) fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:24} {elapsed:>4}  {wide_msg}");
    // The template is a constant; if it were wrong the bar would look plain.
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// Keeps `bar` up to date. It appears when the work has turned out to be long.
pub(crate) fn draw(bar: &ProgressBar, progress: &Arc<Progress>) -> Ticker {
    let (bar, progress) = (bar.clone(), Arc::clone(progress));
    Ticker::start(Duration::from_millis(250), move || {
        let moment = Moment::of(&progress);
        bar.set_length(moment.offered_entries.max(1));
        bar.set_position(moment.settled_entries);
        bar.set_message(moment.line());
        bar.tick();
    })
}
