//! The byte stream under one SSH connection, with two things added that the SSH library lacks: a gate that stops
//! reading while too much received data waits for its reader, and a meter that tells whether the peer is alive.
//!
//! Why a gate. russh extends a channel's window as soon as data arrives, read or not, and holds its whole loop, sending
//! included, while a channel's queue is full. With a bounded queue a program that writes before it reads would then
//! wait for itself. So the queues of this crate take everything at once, and the bound is kept here: while more than
//! [`HIGH_WATER`] bytes wait, nothing more is read from the socket, but what is to be sent still goes out. A sender that
//! has used up the peer's window needs the peer's next window message, which is behind the gate; for such a sender the
//! gate opens up to [`STARVED_HIGH_WATER`].

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The received bytes that may wait for their reader before the socket is left alone.
pub(crate) const HIGH_WATER: usize = 16 << 20;
/// The same while a sender waits for the peer's window.
pub(crate) const STARVED_HIGH_WATER: usize = 64 << 20;
/// How much is read from the socket at once: russh reads a packet in two small pieces.
const READ_BUFFER_LEN: usize = 256 << 10;

/// What the two sides of the gate, and whoever watches the peer's pulse, share.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Bytes received and not yet handed to their reader.
    waiting: AtomicUsize,
    /// Senders that have used up the peer's window.
    starved: AtomicUsize,
    /// Signs of life: bytes received, and sends that went on after they had to wait.
    pulse: AtomicU64,
    /// Bytes received in all.
    received: AtomicU64,
    reader: Mutex<Option<Waker>>,
}

impl Meter {
    pub(crate) fn queued(&self, len: usize) {
        self.waiting.fetch_add(len, Ordering::AcqRel);
    }

    pub(crate) fn taken(&self, len: usize) {
        let before = self.waiting.fetch_sub(len, Ordering::AcqRel);
        // Wake well below the mark, so that the gate does not swing with every packet.
        if before >= HIGH_WATER / 2 && before - len < HIGH_WATER / 2 {
            self.wake();
        }
    }

    /// Counts a sender as starved until the guard is dropped.
    pub(crate) fn starve(self: &Arc<Self>) -> Starving {
        self.starved.fetch_add(1, Ordering::AcqRel);
        self.wake();
        Starving(Arc::clone(self))
    }

    pub(crate) fn is_shut(&self) -> bool {
        let starved = self.starved.load(Ordering::Acquire) > 0;
        let limit = if starved { STARVED_HIGH_WATER } else { HIGH_WATER };
        self.waiting.load(Ordering::Acquire) >= limit
    }

    pub(crate) fn pulse(&self) -> u64 {
        self.pulse.load(Ordering::Relaxed)
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        if let Some(waker) = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }

    /// Whether the gate is shut; if so, the task is woken when it may have opened.
    fn poll_shut(&self, cx: &Context<'_>) -> bool {
        if !self.is_shut() {
            return false;
        }
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        // Looked at again, lest it opened between the two lines above.
        self.is_shut()
    }
}

pub(crate) struct Starving(Arc<Meter>);

impl Drop for Starving {
    fn drop(&mut self) {
        self.0.starved.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A stream behind the gate of its [`Meter`].
pub(crate) struct Transport<S> {
    stream: S,
    meter: Arc<Meter>,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    send_waited: bool,
}

impl<S> Transport<S> {
    pub(crate) fn new(stream: S, meter: Arc<Meter>) -> Transport<S> {
        let buffer = vec![0; READ_BUFFER_LEN].into_boxed_slice();
        Transport { stream, meter, buffer, start: 0, end: 0, send_waited: false }
    }

    fn sent<T>(&mut self, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &poll {
            Poll::Pending => self.send_waited = true,
            // The send buffer had been full and has room again: the peer's system took something.
            Poll::Ready(Ok(_)) if self.send_waited => {
                self.send_waited = false;
                self.meter.pulse.fetch_add(1, Ordering::Relaxed);
            }
            Poll::Ready(_) => {}
        }
        poll
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Transport<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.meter.poll_shut(cx) {
            return Poll::Pending;
        }
        if this.start == this.end {
            let mut buffer = ReadBuf::new(&mut this.buffer);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buffer))?;
            (this.start, this.end) = (0, buffer.filled().len());
            this.meter.pulse.fetch_add(1, Ordering::Relaxed);
            this.meter.received.fetch_add(this.end as u64, Ordering::Relaxed);
        }
        let len = out.remaining().min(this.end - this.start);
        out.put_slice(&this.buffer[this.start..this.start + len]);
        this.start += len;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Transport<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, data);
        self.sent(poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;

    #[derive(Default)]
    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    struct Reading {
        transport: Transport<&'static [u8]>,
        woken: Arc<Flag>,
    }

    impl Reading {
        fn of(bytes: &'static [u8], meter: &Arc<Meter>) -> Reading {
            Reading { transport: Transport::new(bytes, Arc::clone(meter)), woken: Arc::default() }
        }

        fn poll(&mut self) -> Option<u8> {
            let waker = Waker::from(Arc::clone(&self.woken));
            let mut byte = [0];
            let mut out = ReadBuf::new(&mut byte);
            match Pin::new(&mut self.transport).poll_read(&mut Context::from_waker(&waker), &mut out) {
                Poll::Ready(result) => result.map(|()| out.filled()[0]).ok(),
                Poll::Pending => None,
            }
        }

        fn was_woken(&self) -> bool {
            self.woken.0.swap(false, Ordering::SeqCst)
        }
    }

    #[test]
    fn nothing_is_read_while_too_much_waits() {
        let meter = Arc::new(Meter::default());
        let mut reading = Reading::of(b"ab", &meter);
        assert_eq!(reading.poll(), Some(b'a'));
        meter.queued(HIGH_WATER);
        assert_eq!(reading.poll(), None);
        meter.taken(HIGH_WATER / 4);
        assert!(!reading.was_woken());
        meter.taken(HIGH_WATER / 2);
        assert!(reading.was_woken());
        assert_eq!(reading.poll(), Some(b'b'));
    }

    #[test]
    fn a_starved_sender_opens_the_gate_up_to_a_higher_mark() {
        let meter = Arc::new(Meter::default());
        let mut reading = Reading::of(b"abc", &meter);
        meter.queued(HIGH_WATER);
        assert_eq!(reading.poll(), None);
        let starving = meter.starve();
        assert!(reading.was_woken());
        assert_eq!(reading.poll(), Some(b'a'));
        meter.queued(STARVED_HIGH_WATER - HIGH_WATER);
        assert_eq!(reading.poll(), None);
        drop(starving);
        assert_eq!(reading.poll(), None);
    }
}
