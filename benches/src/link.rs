//! What a link does to the bytes on it, and the time at which they arrive because of that.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// Without a rate no piece is smaller than this, in bytes.
const LARGEST_PIECE_BYTES: u64 = 64 << 10;
/// The content of a TCP segment on an Ethernet: a smaller piece would be more exact than a network is.
const SMALLEST_PIECE_BYTES: u64 = 1460;
/// A piece takes at most this part of a second on the link, so that its first byte is hardly later than on a network.
const PIECES_PER_SECOND: u64 = 1000;
/// The rate that bounds the bytes under way where the link has no rate.
const FASTEST: NonZeroU64 = NonZeroU64::new(2 << 30).expect("it is not zero");

/// A link. It is the same in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The time until the answer to a byte arrives, if the server answers at once. Each direction takes half of it.
    pub round_trip: Duration,
    /// The rate of each direction. `None`: as fast as the machine is.
    pub bytes_per_second: Option<NonZeroU64>,
    /// The bytes that may wait for their turn in each direction. A sender that is faster than the link has to wait then.
    pub queue_bytes: u32,
}

impl Link {
    /// The machine itself: no delay and no rate.
    pub const LOOPBACK: Self = Self::unlimited(Duration::ZERO);
    /// A local network: 1 ms, 1 Gbit/s.
    pub const LAN: Self = Self::new(1, 1000);
    /// A server in the same country: 20 ms, 100 Mbit/s.
    pub const OFFICE: Self = Self::new(20, 100);
    /// A server on another continent behind a home connection: 120 ms, 20 Mbit/s.
    pub const FAR: Self = Self::new(120, 20);
    /// A server on another continent behind a fast connection: 100 ms, 1 Gbit/s.
    pub const FAT: Self = Self::new(100, 1000);

    /// A link that only delays.
    #[must_use]
    pub const fn unlimited(round_trip: Duration) -> Self {
        Self { round_trip, bytes_per_second: None, queue_bytes: 256 << 10 }
    }

    /// The queue is what common routers have: 256 KiB, which is 100 ms of the slowest link here.
    const fn new(round_trip_ms: u64, megabits_per_second: u64) -> Self {
        Self {
            round_trip: Duration::from_millis(round_trip_ms),
            bytes_per_second: NonZeroU64::new(megabits_per_second * 125_000),
            queue_bytes: 256 << 10,
        }
    }

    /// Whether bytes arrive as soon as they are sent.
    pub(crate) fn is_immediate(&self) -> bool {
        self.round_trip.is_zero() && self.bytes_per_second.is_none()
    }

    /// The bytes that are passed on at once.
    pub(crate) fn piece_bytes(&self) -> usize {
        let bytes = self.bytes_per_second.map_or(LARGEST_PIECE_BYTES, |rate| rate.get() / PIECES_PER_SECOND);
        usize::try_from(bytes.clamp(SMALLEST_PIECE_BYTES, LARGEST_PIECE_BYTES)).expect("it is small")
    }

    /// The bytes that one direction may hold: those that wait, and those that are on their way.
    pub(crate) fn capacity_bytes(&self) -> usize {
        let on_their_way = self.way().as_nanos() * u128::from(self.bytes_per_second.unwrap_or(FASTEST).get());
        usize::try_from(on_their_way / 1_000_000_000 + u128::from(self.queue_bytes)).unwrap_or(usize::MAX)
    }

    /// The delay of one direction.
    fn way(&self) -> Duration {
        self.round_trip / 2
    }

    /// The time that the link needs to take in so many bytes.
    fn intake(&self, bytes: u64) -> Duration {
        self.bytes_per_second.map_or(Duration::ZERO, |rate| {
            let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(rate.get());
            Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
        })
    }
}

/// When the bytes of one direction arrive. It is computed from when they were sent, not from when a thread woke up, so that no
/// error adds up.
pub(crate) struct Timetable {
    link: Link,
    /// When the link has taken in all bytes so far.
    free_at: Instant,
}

impl Timetable {
    pub(crate) fn new(link: Link, now: Instant) -> Self {
        Self { link, free_at: now }
    }

    /// The time at which the last byte of a piece arrives that is sent now.
    pub(crate) fn arrival(&mut self, now: Instant, bytes: usize) -> Instant {
        self.free_at = self.free_at.max(now) + self.link.intake(bytes as u64);
        self.free_at + self.link.way()
    }

    /// When the queue has room again.
    pub(crate) fn room_at(&self) -> Instant {
        let queued = self.link.intake(self.link.queue_bytes.into());
        self.free_at.checked_sub(queued).unwrap_or(self.free_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// 1,000 bytes a second, 4 s there and back, and a queue of 3,000 bytes.
    const SLOW: Link = Link {
        round_trip: Duration::from_secs(4),
        bytes_per_second: NonZeroU64::new(1000),
        queue_bytes: 3000,
    };

    #[test]
    fn piece_arrives_after_its_intake_and_half_a_round_trip() {
        let now = Instant::now();
        assert_eq!(Timetable::new(SLOW, now).arrival(now, 500), now + SECOND / 2 + 2 * SECOND);
        let delayed = Link::unlimited(2 * SECOND);
        assert_eq!(Timetable::new(delayed, now).arrival(now, 1 << 20), now + SECOND);
    }

    #[test]
    fn piece_waits_for_those_before_it() {
        let now = Instant::now();
        let mut timetable = Timetable::new(SLOW, now);
        timetable.arrival(now, 1000);
        assert_eq!(timetable.arrival(now, 1000), now + 4 * SECOND);
        // The link was free for a while: nothing was saved up.
        let later = now + 60 * SECOND;
        assert_eq!(timetable.arrival(later, 1000), later + 3 * SECOND);
    }

    #[test]
    fn full_queue_has_room_again_when_the_link_has_taken_in_what_is_too_much() {
        let now = Instant::now();
        let mut timetable = Timetable::new(SLOW, now);
        timetable.arrival(now, 5000);
        assert_eq!(timetable.room_at(), now + 2 * SECOND);
    }

    #[test]
    fn direction_holds_its_queue_and_what_is_on_its_way() {
        assert_eq!(SLOW.capacity_bytes(), 3000 + 2000);
        assert_eq!(Link::FAT.capacity_bytes(), (256 << 10) + 6_250_000);
    }

    #[test]
    fn piece_takes_a_millisecond_at_most_unless_it_is_a_single_segment() {
        assert_eq!(Link::FAR.piece_bytes(), 2500);
        assert_eq!(Link::FAT.piece_bytes(), 64 << 10);
        assert_eq!(SLOW.piece_bytes(), 1460);
    }
}
