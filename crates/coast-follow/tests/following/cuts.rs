//! A connection that breaks after a number of bytes, or does nothing more.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use coast_sync::Relay;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToReceiver,
    ToSender,
}

/// What happens at the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtLimit {
    /// The connection ends.
    Cut,
    /// Nothing more goes in this direction.
    Stall,
}

/// Decides when connections break. One that carried as many bytes as were [armed](Self::arm) does, once.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    state: Mutex<State>,
    /// Notified when a limit is reached.
    reached: Condvar,
}

#[derive(Debug, Default)]
struct State {
    armed: Option<Limit>,
    reached: u64,
}

#[derive(Debug, Clone, Copy)]
struct Limit {
    direction: Direction,
    /// How many more bytes pass.
    bytes: usize,
    then: AtLimit,
}

impl Cuts {
    /// Lets the connection break when `bytes` more bytes have gone in a direction.
    pub(crate) fn arm(&self, direction: Direction, bytes: usize, then: AtLimit) {
        self.state.lock().unwrap().armed = Some(Limit { direction, bytes, then });
    }

    pub(crate) fn disarm(&self) {
        self.state.lock().unwrap().armed = None;
    }

    /// How many limits were reached.
    pub(crate) fn reached(&self) -> u64 {
        self.state.lock().unwrap().reached
    }

    /// Waits until more limits were reached than `before`, or until `otherwise`.
    pub(crate) fn await_limit(&self, before: u64, otherwise: impl Fn() -> bool) {
        let mut state = self.state.lock().unwrap();
        while state.reached == before && !otherwise() {
            state = self.reached.wait_timeout(state, Duration::from_millis(1)).unwrap().0;
        }
    }

    pub(crate) fn relay(cuts: &Arc<Self>) -> Relay {
        let cuts = Arc::clone(cuts);
        Relay::new(move |sender| {
            let (receiver, far) = UnixStream::pair()?;
            for (from, to, direction) in
                [(&sender, &receiver, Direction::ToReceiver), (&receiver, &sender, Direction::ToSender)]
            {
                let (from, to, cuts) = (from.try_clone()?, to.try_clone()?, Arc::clone(&cuts));
                thread::spawn(move || {
                    // An error means that an end was closed.
                    let _ = cuts.carry(&from, &to, direction);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
            Ok(far)
        })
    }

    fn carry(&self, mut from: &UnixStream, mut to: &UnixStream, direction: Direction) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            let count = from.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            let (passing, limit) = self.pass(direction, count);
            to.write_all(&buffer[..passing])?;
            match limit {
                None => {}
                Some(AtLimit::Cut) => {
                    from.shutdown(Shutdown::Both)?;
                    return to.shutdown(Shutdown::Both);
                }
                Some(AtLimit::Stall) => return io::copy(&mut from, &mut io::sink()).map(drop),
            }
        }
    }

    /// How many of `count` bytes pass, and what happens then if that was the limit.
    fn pass(&self, direction: Direction, count: usize) -> (usize, Option<AtLimit>) {
        let mut state = self.state.lock().unwrap();
        match &mut state.armed {
            Some(limit) if limit.direction == direction && limit.bytes <= count => {
                let limit = *limit;
                (state.armed, state.reached) = (None, state.reached + 1);
                self.reached.notify_all();
                (limit.bytes, Some(limit.then))
            }
            Some(limit) if limit.direction == direction => {
                limit.bytes -= count;
                (count, None)
            }
            _ => (count, None),
        }
    }
}
