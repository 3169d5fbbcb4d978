//! What went over a proxy.
//!
//! A round trip is a change of direction at the client: a burst of the client that is sent after a burst of the server has
//! arrived, and that the server has answered in turn. Every burst therefore has a depth:
//!
//! - The client's bytes have the depth of the deepest bytes that had arrived from the server, plus one.
//! - The server's bytes have the depth of the deepest bytes that had arrived from the client.
//!
//! The round trips of a connection are the depth of the deepest bytes that have arrived at the client, plus one to connect. Both
//! sides may send at once, as often as they like, while they wait for nothing: that is one round trip. Over a link, no more
//! round trips can be counted than fit into the time of the run. So the count depends little on the speed of the machine where
//! the link's delay is long against the work between two messages.

use std::ops::Sub;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What went over a proxy so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// The connections that clients have opened.
    pub connections: u64,
    /// The bytes that clients have sent, without the headers of TCP.
    pub up_bytes: u64,
    /// The bytes that the server has sent.
    pub down_bytes: u64,
    /// The round trips of all connections, together.
    pub round_trips: u64,
}

impl Sub for Traffic {
    type Output = Self;

    /// What went over the proxy since an earlier look.
    ///
    /// # Panics
    /// May panic when the other look was later.
    fn sub(self, earlier: Self) -> Self {
        Self {
            connections: self.connections - earlier.connections,
            up_bytes: self.up_bytes - earlier.up_bytes,
            down_bytes: self.down_bytes - earlier.down_bytes,
            round_trips: self.round_trips - earlier.round_trips,
        }
    }
}

/// The end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Client,
    Server,
}

/// Counts what goes over all connections of a proxy.
#[derive(Default)]
pub(crate) struct Meter {
    counted: Mutex<Counted>,
    closed: Condvar,
}

#[derive(Default)]
struct Counted {
    traffic: Traffic,
    open_connections: usize,
}

impl Meter {
    pub(crate) fn traffic(&self) -> Traffic {
        locked(&self.counted).traffic
    }

    /// Counts a new connection, which is open until the answer is dropped.
    pub(crate) fn open(self: &Arc<Self>) -> ConnectionMeter {
        let mut counted = locked(&self.counted);
        counted.open_connections += 1;
        counted.traffic.connections += 1;
        counted.traffic.round_trips += 1;
        ConnectionMeter { meter: Arc::clone(self), depths: Mutex::default() }
    }

    /// Returns when no connection is open.
    pub(crate) fn wait_until_closed(&self) {
        let mut counted = locked(&self.counted);
        while counted.open_connections > 0 {
            counted = self.closed.wait(counted).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Counts what goes over one connection.
pub(crate) struct ConnectionMeter {
    meter: Arc<Meter>,
    /// It is locked before the counts of the meter, if both are.
    depths: Mutex<Depths>,
}

/// The depths of the deepest bytes that have arrived at each end.
#[derive(Default)]
struct Depths {
    client: u64,
    server: u64,
}

impl ConnectionMeter {
    /// Counts bytes that an end has sent, and returns their depth.
    pub(crate) fn sent(&self, by: End, bytes: usize) -> u64 {
        let depths = locked(&self.depths);
        let traffic = &mut locked(&self.meter.counted).traffic;
        match by {
            End::Client => {
                traffic.up_bytes += bytes as u64;
                depths.client + 1
            }
            End::Server => {
                traffic.down_bytes += bytes as u64;
                depths.server
            }
        }
    }

    /// Notes that bytes of this depth arrive at an end now.
    pub(crate) fn arrives(&self, at: End, depth: u64) {
        let mut depths = locked(&self.depths);
        match at {
            End::Client => {
                let more = depth.saturating_sub(depths.client);
                depths.client += more;
                locked(&self.meter.counted).traffic.round_trips += more;
            }
            End::Server => depths.server = depths.server.max(depth),
        }
    }
}

impl Drop for ConnectionMeter {
    fn drop(&mut self) {
        locked(&self.meter.counted).open_connections -= 1;
        self.meter.closed.notify_all();
    }
}

/// No panic can leave what these locks guard half changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends a byte to the other end, where it arrives at once.
    fn send(connection: &ConnectionMeter, by: End) {
        let depth = connection.sent(by, 1);
        connection.arrives(if by == End::Client { End::Server } else { End::Client }, depth);
    }

    #[test]
    fn question_and_answer_are_a_round_trip() {
        let meter = Arc::new(Meter::default());
        let connection = meter.open();
        assert_eq!(meter.traffic().round_trips, 1, "it takes one to connect");
        for _ in 0..3 {
            send(&connection, End::Client);
            send(&connection, End::Server);
        }
        assert_eq!(meter.traffic(), Traffic { connections: 1, up_bytes: 3, down_bytes: 3, round_trips: 4 });
    }

    #[test]
    fn bytes_without_a_change_of_direction_add_no_round_trip() {
        let meter = Arc::new(Meter::default());
        let connection = meter.open();
        send(&connection, End::Server);
        (0..5).for_each(|_| send(&connection, End::Client));
        assert_eq!(meter.traffic().round_trips, 1, "nothing was answered");
        (0..5).for_each(|_| send(&connection, End::Server));
        assert_eq!(meter.traffic().round_trips, 2);
        send(&connection, End::Client);
        assert_eq!(meter.traffic().round_trips, 2, "the last burst is not answered");
    }

    #[test]
    fn bursts_that_cross_on_the_way_are_one_round_trip() {
        let meter = Arc::new(Meter::default());
        let connection = meter.open();
        let first = connection.sent(End::Client, 1);
        let greeting = connection.sent(End::Server, 1);
        connection.arrives(End::Client, greeting);
        let second = connection.sent(End::Client, 1);
        connection.arrives(End::Server, first);
        connection.arrives(End::Server, second);
        send(&connection, End::Server);
        assert_eq!(meter.traffic().round_trips, 2);
    }

    #[test]
    fn round_trips_of_connections_add_up() {
        let meter = Arc::new(Meter::default());
        for connection in [meter.open(), meter.open()] {
            send(&connection, End::Client);
            send(&connection, End::Server);
        }
        meter.wait_until_closed();
        assert_eq!(meter.traffic().round_trips, 4);
    }

    #[test]
    fn difference_of_two_looks_is_what_went_over_between_them() {
        let meter = Arc::new(Meter::default());
        let connection = meter.open();
        let earlier = meter.traffic();
        send(&connection, End::Client);
        send(&connection, End::Server);
        let between = Traffic { connections: 0, up_bytes: 1, down_bytes: 1, round_trips: 1 };
        assert_eq!(meter.traffic() - earlier, between);
    }
}
