//! Standard input, and the streams that have joined it, with a time limit.
//!
//! A sender that has nothing to send says twice a second that it is alive. A sender that was stopped, or whose machine sleeps,
//! sends nothing and closes nothing. While its helper waits, nobody else can use the workspace.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use coast_wire::{StreamSet, Streams};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::joining::Joining;

/// How long a peer may be silent by default.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The longest time limit, so that its end is a time that the system's clock has.
const LONGEST_PATIENCE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How long a run may clean up after the time limit. Writing to a silent peer can block for ever.
const CLEANING_UP: Duration = Duration::from_secs(10);

/// rsync's exit code for a timeout.
const TIMED_OUT: i32 = 30;

/// Reads from the peer, and fails when the peer is silent for too long. The process ends soon after that.
pub(crate) struct Input {
    file: File,
    joining: Joining,
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
    pub(crate) fn new(file: File, joining: Joining, patience: Duration) -> Self {
        let given_up = || {
            thread::spawn(|| {
                thread::sleep(CLEANING_UP);
                process::exit(TIMED_OUT);
            });
        };
        let patience = patience.min(LONGEST_PATIENCE);
        Self { file, joining, patience, waiting: Waiting::default(), given_up }
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
        let deadline = Instant::now() + self.patience;
        loop {
            let listener = self.joining.listener();
            // Helpers that want to join are no sign of life of the peer.
            let watched = if listener.is_some() && Instant::now() < deadline { 2 } else { 1 };
            let mut polled = [self.file.as_fd(), listener.unwrap_or(self.file.as_fd())]
                .map(|stream| PollFd::from_borrowed_fd(stream, PollFlags::IN));
            self.wait(&mut polled[..watched], deadline)?;
            let [readable, joins] = polled.map(|stream| !stream.revents().is_empty());
            if joins {
                self.joining.admit();
            }
            if readable {
                return self.file.read(buffer);
            }
        }
    }
}

impl Input {
    /// Waits until one of these is readable or closed.
    fn wait(&self, polled: &mut [PollFd<'_>], deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = Timespec::try_from(left).map_err(io::Error::other)?;
        // A signal begins the wait anew; none is expected.
        if rustix::io::retry_on_intr(|| poll(polled, Some(&limit)))? == 0 {
            (self.given_up)();
            let text = format!("nothing was heard for {} s", self.patience.as_secs_f32());
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        Ok(())
    }
}

impl Streams for Input {
    fn read_from(&mut self, number: u8, buffer: &mut [u8]) -> io::Result<usize> {
        if number == 0 {
            return self.read(buffer);
        }
        let mut stream = self.joining.stream(number).ok_or(io::ErrorKind::NotFound)?;
        let deadline = Instant::now() + self.patience;
        self.wait(&mut [PollFd::new(&stream, PollFlags::IN)], deadline)?;
        stream.read(buffer)
    }

    fn widen(&mut self, set: StreamSet) -> io::Result<()> {
        self.joining.close();
        if set.numbers().all(|number| number == 0 || self.joining.stream(number).is_some()) {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::NotFound, "a stream that has not joined is to carry data"))
        }
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
        let mut input = Input::new(file, Joining::new(None, None), Duration::from_millis(10));
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
