//! The log: lines in a file that moves aside when it is full. A log that cannot be written, on a full disk for example, loses lines
//! and never stops the daemon.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use coast_tree::LockExt;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::MakeWriterExt;

use crate::DaemonPlaces;

/// The size at which a log is full.
const FULL_BYTES: u64 = 1 << 20;
/// The number of logs that are kept, with the one that is written to.
pub(crate) const KEPT_FILES: usize = 4;

/// How long after a line about a failure the same failure is logged again.
const REPEAT_AFTER: Duration = Duration::from_secs(60);

/// Whether a failure that repeats is to be logged at `now`. `last` is when it was logged last, if it was.
pub(crate) fn is_due(last: Option<Instant>, now: Instant) -> bool {
    last.is_none_or(|last| now.saturating_duration_since(last) >= REPEAT_AFTER)
}

/// Whether lines also go to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Echo {
    /// They do.
    Stderr,
    /// They go to the log alone.
    Nowhere,
}

/// Has this process log to the files of `places`. Only the first call of a process counts.
pub(crate) fn begin(places: &DaemonPlaces, echo: Echo) {
    let log = Log::new(places.clone(), FULL_BYTES);
    let lines = tracing_subscriber::fmt().with_ansi(false).with_target(false).log_internal_errors(false);
    let lines = lines.with_max_level(LevelFilter::INFO);
    // Fails only when a subscriber is set already, by an embedding program for example, which then has the lines.
    let _ = match echo {
        Echo::Stderr => tracing::subscriber::set_global_default(lines.with_writer(log.and(Stderr)).finish()),
        Echo::Nowhere => tracing::subscriber::set_global_default(lines.with_writer(log).finish()),
    };
}

/// Standard error, whose errors are dropped: nobody may be reading it any more.
struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Stderr;

    fn make_writer(&'a self) -> Stderr {
        Stderr
    }
}

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The file that is written to, and its older ones.
struct Log {
    places: DaemonPlaces,
    full: u64,
    /// The file that is open. The lock also guards the order of lines and of moves. No other lock is taken while it is held.
    open: Mutex<Option<Open>>,
}

struct Open {
    file: File,
    bytes: u64,
}

impl Log {
    fn new(places: DaemonPlaces, full: u64) -> Self {
        Self { places, full, open: Mutex::new(None) }
    }

    fn write_line(&self, line: &[u8]) -> io::Result<()> {
        let mut open = self.open.enter();
        let len = line.len() as u64;
        if open.as_ref().is_none_or(|open| open.bytes > 0 && open.bytes + len > self.full) {
            let mut next = self.open_log()?;
            if next.bytes > 0 && next.bytes + len > self.full {
                drop(open.take());
                self.move_aside();
                next = self.open_log()?;
            }
            *open = Some(next);
        }
        let Some(open) = open.as_mut() else { return Ok(()) };
        // After a part of a line the size is wrong by less than a line, and the file is opened anew when it is full.
        open.bytes += len;
        open.file.write_all(line)
    }

    fn open_log(&self) -> io::Result<Open> {
        let mut options = File::options();
        options.append(true).create(true).mode(0o600);
        options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
        let file = options.open(self.places.log())?;
        let bytes = file.metadata()?.len();
        Ok(Open { file, bytes })
    }

    fn move_aside(&self) {
        for number in (1..KEPT_FILES).rev() {
            let from = match number {
                1 => self.places.log(),
                number => self.places.old_log(number - 1),
            };
            // A log that is missing leaves a gap. One that cannot be moved is written on.
            let _ = fs::rename(from, self.places.old_log(number));
        }
    }
}

/// One line on its way to the log.
struct Line<'a>(&'a Log);

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

impl Write for Line<'_> {
    /// Takes a whole line. A line that cannot be written is lost.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = self.0.write_line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_moves_aside_and_few_are_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let places = DaemonPlaces::below(scratch.path());
        fs::create_dir(places.state()).unwrap();
        let log = Log::new(places.clone(), 10);
        for number in 0..9 {
            log.make_writer().write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        let texts: Vec<String> = places.logs().iter().map(|log| fs::read_to_string(log).unwrap()).collect();
        assert_eq!(texts, ["line 5\n", "line 6\n", "line 7\n", "line 8\n"]);
        assert_eq!(fs::read_dir(places.state()).unwrap().count(), KEPT_FILES);

        // A daemon that starts again goes on in the same file.
        Log::new(places.clone(), 100).make_writer().write_all(b"next\n").unwrap();
        assert_eq!(fs::read_to_string(places.log()).unwrap(), "line 8\nnext\n");
    }

    #[test]
    fn a_log_that_cannot_be_written_is_no_error() {
        let scratch = tempfile::tempdir().unwrap();
        let places = DaemonPlaces::below(scratch.path());
        let log = Log::new(places.clone(), 10);
        log.make_writer().write_all(b"lost\n").unwrap();
        fs::create_dir(places.state()).unwrap();
        log.make_writer().write_all(b"kept\n").unwrap();
        assert_eq!(fs::read_to_string(places.log()).unwrap(), "kept\n");
    }
}
