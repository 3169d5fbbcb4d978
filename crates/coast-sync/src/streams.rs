//! More streams for a run over a long fat link.
//!
//! OpenSSH grants a window of 2 MiB for each channel, so one channel carries no more than that in a round trip. Further channels of the
//! same connection carry more. On each of them a helper is started that hands its input over to the helper that receives.

use std::io::{self, Write};
use std::num::NonZeroU8;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use coast_ssh::{Closer, HelperSpec, Prompt, Session, SshError, Sudo};
use coast_wire::limits::MAX_STREAMS;
use coast_wire::{OutgoingStream, StripedWriter};
use data_encoding::HEXLOWER;

/// Bytes that OpenSSH lets a channel have under way.
const WINDOW_BYTES: f64 = (2 << 20) as f64;

/// A channel whose bytes in a round trip are more than this part of its window is held back by the window.
const HELD_BACK: f64 = 0.75;

/// With a shorter round trip one channel carries over 400 MB in a second, so more channels are not worth it.
const SHORTEST_ROUND_TRIP: Duration = Duration::from_millis(5);

/// How long the writer is observed before its rate is judged. Several round trips of most links.
const OBSERVATION: Duration = Duration::from_millis(250);

/// How many SSH channels carry the data of a run to another machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StreamCount {
    /// One, and eight as soon as the window of the one turns out to hold the run back. Over a connection of coastd one.
    #[default]
    Auto,
    /// This many, from 1 to 8, or as many of them as the server allows. Over a connection of coastd one, with a notice.
    Exactly(NonZeroU8),
}

impl StreamCount {
    /// Streams that are opened beside the first one.
    fn others(self) -> u8 {
        match self {
            Self::Auto => MAX_STREAMS - 1,
            Self::Exactly(count) => count.get().min(MAX_STREAMS) - 1,
        }
    }

    /// A new name for a run that other streams may join. `None` if none will.
    pub(crate) fn run_name(self) -> Option<String> {
        let mut name = [0; 16];
        let random = self.others() > 0 && getrandom::fill(&mut name).is_ok();
        random.then(|| HEXLOWER.encode(&name))
    }
}

/// A reason to open more streams.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cause {
    /// The helper that receives has greeted, so that others can join it.
    Greeted,
    /// The writer mostly waits, and writes this many bytes in a second.
    HeldBack(f64),
}

/// A stream that has joined, with its number.
pub(crate) type JoinedStream = (u8, OutgoingStream<'static>);

/// The way of a run to the receiver. It is widened when other streams have joined.
pub(crate) struct WideningWriter<'a> {
    stream: StripedWriter<'a>,
    /// `None` once nothing more is to come.
    joined: Option<Receiver<Vec<JoinedStream>>>,
    observer: Option<Observer>,
}

impl<'a> WideningWriter<'a> {
    pub(crate) fn new(stream: OutgoingStream<'a>, joined: Receiver<Vec<JoinedStream>>) -> Self {
        Self { stream: StripedWriter::new(stream), joined: Some(joined), observer: None }
    }

    /// Tells `causes` when the writer waits most of the time.
    pub(crate) fn observed(mut self, causes: Sender<Cause>) -> Self {
        self.observer = Some(Observer::new(causes));
        self
    }

    fn widen(&mut self) -> io::Result<()> {
        let Some(joined) = self.joined.as_ref().filter(|_| self.stream.can_widen()) else { return Ok(()) };
        match joined.try_recv() {
            Ok(streams) => {
                (self.joined, self.observer) = (None, None);
                self.stream.widen(streams)
            }
            Err(TryRecvError::Empty) => Ok(()),
            Err(TryRecvError::Disconnected) => {
                (self.joined, self.observer) = (None, None);
                Ok(())
            }
        }
    }
}

impl Write for WideningWriter<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.widen()?;
        let started = Instant::now();
        let count = self.stream.write(data)?;
        if let Some(observer) = &mut self.observer {
            observer.wrote(count, started, Instant::now());
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Observes whether a writer waits.
struct Observer {
    causes: Sender<Cause>,
    /// Bytes until the window is full for the first time: so many leave without a wait, and tell nothing.
    hidden: f64,
    since: Instant,
    bytes: f64,
    waited: Duration,
}

impl Observer {
    fn new(causes: Sender<Cause>) -> Self {
        Self { causes, hidden: WINDOW_BYTES, since: Instant::now(), bytes: 0.0, waited: Duration::ZERO }
    }

    /// So many bytes were written in this time.
    fn wrote(&mut self, count: usize, started: Instant, now: Instant) {
        if self.hidden > 0.0 {
            self.hidden -= count as f64;
            self.since = now;
            return;
        }
        self.bytes += count as f64;
        self.waited += now - started;
        let time = now - self.since;
        if time < OBSERVATION {
            return;
        }
        if 2 * self.waited > time {
            // Nobody listens any more if the streams could not be opened.
            let _ = self.causes.send(Cause::HeldBack(self.bytes / time.as_secs_f64()));
        }
        (self.since, self.bytes, self.waited) = (now, 0.0, Duration::ZERO);
    }
}

/// Opens the other streams of a run when there is a cause.
pub(crate) struct Opener<'a> {
    pub(crate) session: &'a Session,
    /// The helper that receives.
    pub(crate) spec: &'a HelperSpec,
    pub(crate) run: &'a str,
    pub(crate) count: StreamCount,
    pub(crate) prompt: &'a dyn Prompt,
}

/// Whether an [`Opener`] is at work, and whether the run has ended.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    at_work: AtomicBool,
    over: AtomicBool,
}

impl Opening {
    /// The run has ended. Closes the session if streams are being opened, which nobody waits for.
    pub(crate) fn end(&self, closer: &Closer) {
        self.over.store(true, Ordering::SeqCst);
        if self.at_work.load(Ordering::SeqCst) {
            closer.close();
        }
    }
}

impl Opener<'_> {
    /// Waits for a cause, opens the streams, and hands them over. Returns when that is done, or when the run ends before.
    pub(crate) fn run(
        &self,
        causes: &Receiver<Cause>,
        joined: &Sender<Vec<JoinedStream>>,
        opening: &Opening,
    ) {
        while let Ok(cause) = causes.recv() {
            opening.at_work.store(true, Ordering::SeqCst);
            if opening.over.load(Ordering::SeqCst) {
                return;
            }
            if self.is_sufficient(cause) {
                // A run that has ended takes no streams.
                let _ = joined.send(self.open());
                opening.at_work.store(false, Ordering::SeqCst);
                return;
            }
            opening.at_work.store(false, Ordering::SeqCst);
        }
    }

    fn is_sufficient(&self, cause: Cause) -> bool {
        match cause {
            Cause::Greeted => true,
            Cause::HeldBack(bytes_per_second) => {
                self.session.round_trip().is_some_and(|round_trip| is_held_back(bytes_per_second, round_trip))
            }
        }
    }

    /// Opens all streams at once. A server that allows no more commands on a connection refuses some of them.
    fn open(&self) -> Vec<JoinedStream> {
        if self.session.is_relayed() {
            // What coastd refuses on a connection cannot be told from the loss of it.
            let host = self.session.host();
            self.prompt.notice(&format!(
                "{host}: the run has one stream, because coastd has the connection; with --no-daemon it has {}",
                self.count.others() + 1
            ));
            return Vec::new();
        }
        let opened: Vec<_> = thread::scope(|scope| {
            let numbers = 1..=self.count.others();
            let opening: Vec<_> =
                numbers.map(|number| (number, scope.spawn(move || self.open_one(number)))).collect();
            let joined = opening.into_iter().map(|(number, opening)| (number, opening.join()));
            joined
                .map(|(number, joined)| {
                    (number, joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                })
                .collect()
        });
        let mut joined = Vec::new();
        let mut refusal = None;
        for (number, opened) in opened {
            match opened {
                Ok(stream) => joined.push((number, stream)),
                Err(error) => refusal = Some(error),
            }
        }
        if let (StreamCount::Exactly(count), Some(error), None) = (self.count, refusal, self.session.lost()) {
            let host = self.session.host();
            let streams = joined.len() + 1;
            self.prompt.notice(&format!(
                "{host}: the run has {streams} streams instead of {count}: {error}; MaxSessions in the server's sshd_config limits them"
            ));
        }
        joined
    }

    fn open_one(&self, number: u8) -> Result<OutgoingStream<'static>, SshError> {
        // It hands over what the user who logs in sends anyway.
        let mut spec = HelperSpec { sudo: Sudo::Never, ..self.spec.clone() };
        let words = ["join".to_owned(), format!("--streams={}", self.run), format!("--number={number}")];
        spec.args = words.map(String::into_bytes).to_vec();
        let (_, writer, _) = self.session.start_helper(&spec)?.split();
        Ok(Box::new(writer))
    }
}

/// Whether the window of one channel is what holds back a writer that mostly waits.
fn is_held_back(bytes_per_second: f64, round_trip: Duration) -> bool {
    round_trip > SHORTEST_ROUND_TRIP && bytes_per_second * round_trip.as_secs_f64() > HELD_BACK * WINDOW_BYTES
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const WRITES_PER_SECOND: u32 = 320;

    /// The causes that an observer tells in a second of a writer which writes 64 KiB at a time, and waits for this part of the time.
    fn causes(waits: f64) -> Vec<Cause> {
        let (sender, causes) = mpsc::channel();
        let mut observer = Observer::new(sender);
        observer.hidden = 0.0;
        let step = Duration::from_secs(1) / WRITES_PER_SECOND;
        let mut now = observer.since;
        for _ in 0..WRITES_PER_SECOND {
            now += step;
            observer.wrote(64 << 10, now - step.mul_f64(waits), now);
        }
        drop(observer);
        causes.into_iter().collect()
    }

    #[test]
    fn writer_that_mostly_waits_is_a_cause_and_its_rate_is_told() {
        let told = causes(0.9);
        assert_eq!(told.len(), 4);
        for cause in told {
            let Cause::HeldBack(rate) = cause else { panic!("another cause") };
            assert!((rate / (f64::from(WRITES_PER_SECOND) * 65_536.0) - 1.0).abs() < 0.05, "{rate}");
        }
    }

    #[test]
    fn window_holds_a_run_back_where_a_round_trip_takes_most_of_it_and_is_long() {
        let round_trip = Duration::from_millis(100);
        // A window of 2 MiB in each round trip.
        assert!(is_held_back(20e6, round_trip));
        assert!(!is_held_back(12e6, round_trip), "the link is slower than the window allows");
        assert!(!is_held_back(4e9, Duration::from_millis(1)));
    }

    #[test]
    fn writer_that_waits_for_its_source_is_no_cause() {
        assert!(causes(0.3).is_empty());
    }

    #[test]
    fn first_window_tells_nothing() {
        let (sender, causes) = mpsc::channel();
        let mut observer = Observer::new(sender);
        let started = Instant::now();
        for _ in 0..32 {
            observer.wrote(64 << 10, started, started + Duration::from_secs(9));
        }
        assert!(causes.try_recv().is_err());
    }

    #[test]
    fn number_of_streams_is_bounded() {
        let exactly = |count| StreamCount::Exactly(NonZeroU8::new(count).unwrap()).others();
        assert_eq!((exactly(1), exactly(4), exactly(255)), (0, 3, MAX_STREAMS - 1));
        assert!(StreamCount::Exactly(NonZeroU8::MIN).run_name().is_none());
        let names = [StreamCount::Auto, StreamCount::Auto].map(StreamCount::run_name);
        assert!(names[0] != names[1] && names.iter().flatten().all(|name| name.len() == 32));
    }
}
