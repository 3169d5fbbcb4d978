//! Bounds the bytes that the sender has written and the receiver has not reported as arrived.
//!
//! For each packet that arrives, OpenSSH's server copies all bytes that it holds for the command, so a full window of 2 MiB makes every
//! packet dear: in a push that switches between two releases of a kernel, over loopback, the server took more than a quarter of the
//! processor time. Over a link with a short round trip, fewer bytes keep the receiver as busy.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use coast_tree::LockExt;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::receiver::REPORTED_BYTES;
use crate::stop::Stop;

/// The smallest limit, in bytes: several times what arrives between two reports of the receiver, and more than the writers below keep
/// back.
const MIN_LIMIT_BYTES: u64 = 640 << 10;
const _: () = assert!(MIN_LIMIT_BYTES >= 4 * REPORTED_BYTES);

/// The limit grows by this many bytes for each microsecond between a write and its report. That time includes a queue, so this is less
/// than a short link carries.
const RECEIVER_RATE: u64 = 250;

/// A link on which no report comes sooner is long. There the window of the SSH channel is the only bound.
const LONG_LINK: Duration = Duration::from_millis(5);

/// A write with fewer bytes in flight on a short link does not wait for the link.
const FILLED_BYTES: u64 = 256 << 10;

/// The time of a write is noted only if this many bytes were written since the last noted one.
const NOTED_BYTES: u64 = 16 << 10;

/// The most times that are noted at once. They reach further than any limit.
const MAX_NOTED: usize = 1024;

/// How long a writer waits for a report before it writes all the same: a receiver may be busy for long, and must see that this side is
/// alive.
const MAX_WAIT: Duration = Duration::from_secs(1);

pub(crate) struct InFlight {
    state: Mutex<State>,
    /// Holds a message when something has arrived since the last wait.
    arrival: (Sender<()>, Receiver<()>),
}

struct State {
    written_bytes: u64,
    arrived_bytes: u64,
    /// Writes of which no report has come yet, the oldest first.
    writes: VecDeque<NotedWrite>,
    /// Bytes that were written when the first report came. The time since they were written says nothing: there may have been no
    /// connection.
    early_bytes: Option<u64>,
    /// The shortest time between a write and its report. None before the first such report.
    shortest: Option<Duration>,
}

struct NotedWrite {
    /// Of all bytes, with those of this write.
    written_bytes: u64,
    at: Instant,
}

/// How a wait for a report ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// A report came.
    Reported,
    /// None came for long, or the run was stopped.
    InVain,
}

impl State {
    fn in_flight_bytes(&self) -> u64 {
        self.written_bytes.saturating_sub(self.arrived_bytes)
    }

    /// The most bytes in flight; none on a long link. The least while nothing is known: a queue would make a short link look long.
    fn limit_bytes(&self) -> Option<u64> {
        let shortest = self.shortest.unwrap_or_default();
        let micros = u64::try_from(shortest.min(LONG_LINK).as_micros()).unwrap_or(u64::MAX);
        (shortest <= LONG_LINK).then_some(MIN_LIMIT_BYTES + micros * RECEIVER_RATE)
    }
}

impl InFlight {
    pub(crate) fn new() -> Self {
        let state = State {
            written_bytes: 0,
            arrived_bytes: 0,
            writes: VecDeque::new(),
            early_bytes: None,
            shortest: None,
        };
        Self { state: Mutex::new(state), arrival: bounded(1) }
    }

    /// Whether `bytes` more may be in flight. If nothing is, any number of bytes may be.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let state = self.state.enter();
        let in_flight = state.in_flight_bytes();
        in_flight == 0 || state.limit_bytes().is_none_or(|limit| in_flight + bytes as u64 <= limit)
    }

    /// Waits until a report has come since the last wait, but not for long.
    pub(crate) fn wait(&self, stop: &Stop) -> Waited {
        crossbeam_channel::select! {
            recv(self.arrival.1) -> _ => Waited::Reported,
            recv(stop.stopped()) -> _ => Waited::InVain,
            default(MAX_WAIT) => Waited::InVain,
        }
    }

    /// Notes that `bytes` are about to be written. Answers whether the write may have to wait for the link.
    pub(crate) fn note_write(&self, bytes: usize) -> bool {
        let mut state = self.state.enter();
        state.written_bytes += bytes as u64;
        let written_bytes = state.written_bytes;
        let is_due = state.writes.back().is_none_or(|last| written_bytes - last.written_bytes >= NOTED_BYTES);
        if is_due && state.writes.len() < MAX_NOTED {
            state.writes.push_back(NotedWrite { written_bytes, at: Instant::now() });
        }
        state.shortest.is_none() || state.limit_bytes().is_none() || state.in_flight_bytes() > FILLED_BYTES
    }

    /// The receiver reports that `bytes` more have arrived.
    pub(crate) fn note_arrival(&self, bytes: u64) {
        let mut state = self.state.enter();
        // What was not written cannot have arrived.
        state.arrived_bytes = state.arrived_bytes.saturating_add(bytes).min(state.written_bytes);
        let written_bytes = state.written_bytes;
        let early_bytes = *state.early_bytes.get_or_insert(written_bytes);
        let mut last = None;
        while let Some(write) = state.writes.front()
            && write.written_bytes <= state.arrived_bytes
        {
            last = Some(write.at).filter(|_| write.written_bytes > early_bytes);
            state.writes.pop_front();
        }
        if let Some(at) = last {
            let time = at.elapsed();
            state.shortest = Some(state.shortest.map_or(time, |shortest| shortest.min(time)));
        }
        drop(state);
        // A message that was not taken yet says the same.
        let _ = self.arrival.0.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a link on which the other side has said something.
    fn begun() -> InFlight {
        let in_flight = InFlight::new();
        in_flight.note_arrival(0);
        in_flight
    }

    /// Lets `bytes` leave and arrive `time` later.
    fn pass(in_flight: &InFlight, bytes: usize, time: Duration) {
        in_flight.note_write(bytes);
        for write in &mut in_flight.state.enter().writes {
            write.at = Instant::now() - time;
        }
        in_flight.note_arrival(bytes as u64);
    }

    #[test]
    fn little_is_under_way_before_the_link_is_known() {
        let in_flight = InFlight::new();
        assert!(in_flight.has_room(1 << 30), "one write has room");
        in_flight.note_write(640 << 10);
        assert!(!in_flight.has_room(64 << 10));
    }

    #[test]
    fn time_of_what_left_before_there_was_a_connection_tells_nothing() {
        let in_flight = InFlight::new();
        pass(&in_flight, 64 << 10, Duration::from_secs(9));
        in_flight.note_write(640 << 10);
        assert!(!in_flight.has_room(64 << 10));
    }

    #[test]
    fn short_link_holds_little_and_takes_more_when_that_has_arrived() {
        let in_flight = begun();
        pass(&in_flight, 64 << 10, Duration::from_micros(100));
        assert!(in_flight.has_room(256 << 10));
        in_flight.note_write(640 << 10);
        assert!(!in_flight.has_room(64 << 10));
        in_flight.note_arrival(128 << 10);
        assert_eq!(in_flight.wait(&Stop::new()), Waited::Reported);
        assert!(in_flight.has_room(64 << 10));
    }

    #[test]
    fn long_link_is_left_to_the_window() {
        let in_flight = begun();
        pass(&in_flight, 64 << 10, Duration::from_millis(20));
        in_flight.note_write(64 << 20);
        assert!(in_flight.has_room(1 << 20));
    }

    #[test]
    fn shortest_time_counts_since_others_include_a_queue() {
        let in_flight = begun();
        pass(&in_flight, 64 << 10, Duration::from_millis(20));
        pass(&in_flight, 64 << 10, Duration::from_micros(100));
        pass(&in_flight, 64 << 10, Duration::from_millis(20));
        in_flight.note_write(1 << 20);
        assert!(!in_flight.has_room(64 << 10));
    }

    #[test]
    fn whatever_the_other_side_says_one_write_has_room() {
        let in_flight = begun();
        pass(&in_flight, 64 << 10, Duration::from_micros(100));
        in_flight.note_arrival(u64::MAX);
        assert!(in_flight.has_room(1 << 30));
        in_flight.note_write(1 << 30);
        assert!(!in_flight.has_room(1));
        in_flight.note_arrival(u64::MAX);
        assert!(in_flight.has_room(1 << 30));
    }

    #[test]
    fn writes_are_noted_once_for_many_small_writes() {
        let in_flight = InFlight::new();
        for _ in 0..1 << 10 {
            in_flight.note_write(64);
        }
        assert!(in_flight.state.enter().writes.len() <= 5);
    }

    #[test]
    fn only_a_queue_makes_a_write_wait_for_a_short_link() {
        let in_flight = begun();
        assert!(in_flight.note_write(64 << 10), "nothing is known of the link");
        pass(&in_flight, 64 << 10, Duration::from_micros(100));
        assert!(!in_flight.note_write(64 << 10));
        assert!(in_flight.note_write(256 << 10));
    }

    #[test]
    fn run_that_is_stopped_waits_no_longer() {
        let (in_flight, stop) = (InFlight::new(), Stop::new());
        stop.finish();
        assert_eq!(in_flight.wait(&stop), Waited::InVain);
    }

    #[test]
    fn receiver_that_reports_nothing_has_no_unbounded_list_noted() {
        let in_flight = InFlight::new();
        for _ in 0..4 << 10 {
            in_flight.note_write(64 << 10);
        }
        assert_eq!(in_flight.state.enter().writes.len(), MAX_NOTED);
    }
}
