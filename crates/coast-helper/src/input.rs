//! Standard input with a time limit.
//!
//! A sender that has nothing to send says twice a second that it is alive. A sender that was stopped, or whose machine sleeps,
//! sends nothing and closes nothing. While its helper waits, nobody else can use the workspace.

use std::fs::File;
use std::io::{self, Read};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a peer may be silent by default.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How long a run may clean up after the time limit. Writing to a silent peer can block for ever.
const CLEANING_UP: Duration = Duration::from_secs(10);

/// rsync's exit code for a timeout.
const TIMED_OUT: i32 = 30;

/// Reads from the peer, and fails when the peer is silent for too long. The process ends soon after that.
pub(crate) struct Input {
    file: File,
    patience: Duration,
    waiting: Waiting,
    given_up: fn(),
}

/// Tells an [`Input`] when its peer may be silent for any time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting(Arc<AtomicBool>);

impl Waiting {
    /// Does something while there is no time limit.
    pub(crate) fn without_limit<T>(&self, act: impl FnOnce() -> T) -> T {
        self.0.store(true, Ordering::Release);
        let done = act();
        self.0.store(false, Ordering::Release);
        done
    }
}

impl Input {
    pub(crate) fn new(file: File, patience: Duration) -> Self {
        let given_up = || {
            thread::spawn(|| {
                thread::sleep(CLEANING_UP);
                process::exit(TIMED_OUT);
            });
        };
        Self { file, patience, waiting: Waiting::default(), given_up }
    }

    /// Suspends the time limit.
    pub(crate) fn waiting(&self) -> Waiting {
        self.waiting.clone()
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.waiting.0.load(Ordering::Acquire) {
            return self.file.read(buffer);
        }
        let limit = Timespec::try_from(self.patience).map_err(io::Error::other)?;
        let mut polled = [PollFd::new(&self.file, PollFlags::IN)];
        // A signal begins the wait anew; none is expected.
        if rustix::io::retry_on_intr(|| poll(&mut polled, Some(&limit)))? == 0 {
            (self.given_up)();
            let text = format!("nothing was heard for {} s", self.patience.as_secs_f32());
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        self.file.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn what_is_there_is_read_then_silence_is_an_error_unless_it_is_allowed_and_the_end_is_none() {
        let (reader, writer) = io::pipe().unwrap();
        let (file, mut writer) = (File::from(OwnedFd::from(reader)), File::from(OwnedFd::from(writer)));
        let mut input = Input::new(file, Duration::from_millis(10));
        input.given_up = || {};
        writer.write_all(b"abc").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(input.read(&mut buffer).unwrap(), 3);
        assert_eq!(input.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::TimedOut);
        let writing = thread::spawn(move || {
            // Longer than the limit.
            thread::sleep(Duration::from_millis(50));
            writer.write_all(b"d")
        });
        assert_eq!(input.waiting().without_limit(|| input.read(&mut buffer)).unwrap(), 1);
        writing.join().unwrap().unwrap();
        assert_eq!(input.read(&mut buffer).unwrap(), 0);
    }
}
