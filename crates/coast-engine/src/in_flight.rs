//! The bytes on their way to the other side, which tells what has arrived.
//!
//! OpenSSH's server copies all that it holds for a command whenever a packet arrives, so its time grows with the square of what is under
//! way. On a short link a fraction of the channel's window keeps the other side as busy.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use coast_tree::LockExt;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::stop::Stop;

/// Bytes that are under way at all times on the shortest link: several times what arrives before the other side tells it, and what a
/// writer below may hold back.
const MIN_LIMIT_BYTES: u64 = 640 << 10;

/// The rate that a link may have, in bytes per second. It gives the other side work for as long as a word of it takes.
const RATE: f64 = 500e6;

/// With a larger limit the channel's own window bounds what is under way.
const MAX_LIMIT_BYTES: u64 = 1536 << 10;

/// With so many bytes under way on a short link, a write that takes long waits for the link or for the other side. With fewer it waits
/// for a processor.
const FILLED_BYTES: u64 = 256 << 10;

/// The time of a departure is noted whenever so many bytes have left since the last one.
const NOTED_BYTES: u64 = 16 << 10;

pub(crate) struct InFlight {
    state: Mutex<State>,
    /// Holds a message when something has arrived.
    arrived: (Sender<()>, Receiver<()>),
}

struct State {
    written: u64,
    arrived: u64,
    /// When the other side may be told last that so many bytes were written.
    departures: VecDeque<Departure>,
    /// The shortest time from a departure to the word that it has arrived.
    shortest: Option<Duration>,
}

struct Departure {
    written: u64,
    at: Instant,
}

impl State {
    fn under_way(&self) -> u64 {
        self.written.saturating_sub(self.arrived)
    }

    /// The most that may be under way. Unknown until something has arrived.
    fn limit(&self) -> Option<u64> {
        let limit = MIN_LIMIT_BYTES.saturating_add((self.shortest?.as_secs_f64() * RATE) as u64);
        (limit <= MAX_LIMIT_BYTES).then_some(limit)
    }
}

impl InFlight {
    pub(crate) fn new() -> Self {
        let state = State { written: 0, arrived: 0, departures: VecDeque::new(), shortest: None };
        Self { state: Mutex::new(state), arrived: bounded(1) }
    }

    /// Whether `bytes` more may leave.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let state = self.state.enter();
        let under_way = state.under_way();
        under_way == 0 || state.limit().is_none_or(|limit| under_way + bytes as u64 <= limit)
    }

    /// Waits until something has arrived since the last wait, or the run is stopped.
    pub(crate) fn wait(&self, stop: &Stop) {
        crossbeam_channel::select! {
            recv(self.arrived.1) -> _ => {}
            recv(stop.stopped()) -> _ => {}
        }
    }

    /// Notes that `bytes` are about to leave. Answers whether so much is under way that their write may have to wait for the link.
    pub(crate) fn depart(&self, bytes: usize) -> bool {
        let mut state = self.state.enter();
        state.written += bytes as u64;
        let written = state.written;
        if state.departures.back().is_none_or(|last| written - last.written >= NOTED_BYTES) {
            state.departures.push_back(Departure { written, at: Instant::now() });
        }
        state.limit().is_none() || state.under_way() > FILLED_BYTES
    }

    /// The other side says that so many more bytes have arrived.
    pub(crate) fn arrive(&self, bytes: u64) {
        let mut state = self.state.enter();
        // What was not written cannot have arrived.
        state.arrived = state.arrived.saturating_add(bytes).min(state.written);
        let mut last = None;
        while let Some(departure) = state.departures.front()
            && departure.written <= state.arrived
        {
            last = Some(departure.at);
            state.departures.pop_front();
        }
        if let Some(at) = last {
            let time = at.elapsed();
            state.shortest = Some(state.shortest.map_or(time, |shortest| shortest.min(time)));
        }
        drop(state);
        // A message that was not taken yet says the same.
        let _ = self.arrived.0.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets `bytes` leave and arrive `time` later.
    fn pass(in_flight: &InFlight, bytes: usize, time: Duration) {
        in_flight.depart(bytes);
        for departure in &mut in_flight.state.enter().departures {
            departure.at = Instant::now() - time;
        }
        in_flight.arrive(bytes as u64);
    }

    #[test]
    fn nothing_is_held_back_before_the_link_is_known() {
        let in_flight = InFlight::new();
        in_flight.depart(1 << 30);
        assert!(in_flight.has_room(1 << 30));
    }

    #[test]
    fn short_link_holds_little_and_takes_more_when_that_has_arrived() {
        let in_flight = InFlight::new();
        pass(&in_flight, 64 << 10, Duration::from_micros(100));
        assert!(in_flight.has_room(256 << 10));
        in_flight.depart(640 << 10);
        assert!(!in_flight.has_room(64 << 10));
        in_flight.arrive(128 << 10);
        in_flight.wait(&Stop::new());
        assert!(in_flight.has_room(64 << 10));
    }

    #[test]
    fn long_link_is_left_to_the_window() {
        let in_flight = InFlight::new();
        pass(&in_flight, 64 << 10, Duration::from_millis(20));
        in_flight.depart(64 << 20);
        assert!(in_flight.has_room(1 << 20));
    }

    #[test]
    fn shortest_time_counts_since_others_include_a_queue() {
        let in_flight = InFlight::new();
        pass(&in_flight, 64 << 10, Duration::from_millis(20));
        pass(&in_flight, 64 << 10, Duration::from_micros(100));
        pass(&in_flight, 64 << 10, Duration::from_millis(20));
        in_flight.depart(1 << 20);
        assert!(!in_flight.has_room(64 << 10));
    }

    #[test]
    fn whatever_the_other_side_says_one_write_has_room() {
        let in_flight = InFlight::new();
        pass(&in_flight, 64 << 10, Duration::from_micros(100));
        in_flight.arrive(u64::MAX);
        assert!(in_flight.has_room(1 << 30));
        in_flight.depart(1 << 30);
        assert!(!in_flight.has_room(1));
        in_flight.arrive(u64::MAX);
        assert!(in_flight.has_room(1 << 30));
    }

    #[test]
    fn departures_are_noted_once_for_many_small_writes() {
        let in_flight = InFlight::new();
        for _ in 0..1 << 10 {
            in_flight.depart(64);
        }
        assert!(in_flight.state.enter().departures.len() <= 5);
    }

    #[test]
    fn only_a_queue_makes_a_write_wait_for_a_short_link() {
        let in_flight = InFlight::new();
        assert!(in_flight.depart(64 << 10), "nothing is known of the link");
        pass(&in_flight, 64 << 10, Duration::from_micros(100));
        assert!(!in_flight.depart(64 << 10));
        assert!(in_flight.depart(256 << 10));
    }

    #[test]
    fn run_that_is_stopped_waits_no_longer() {
        let (in_flight, stop) = (InFlight::new(), Stop::new());
        stop.finish();
        in_flight.wait(&stop);
    }
}
