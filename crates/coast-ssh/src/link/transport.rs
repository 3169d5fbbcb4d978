//! The byte stream under one SSH connection. It adds three things that the SSH library lacks: a gate, which stops reading
//! from the socket while too much received data waits for its reader; an outbox, which stores outgoing bytes while the
//! socket takes none; and a meter, which shows whether the peer is alive.
//!
//! The gate bounds memory. russh extends a channel's window as soon as data arrives, whether or not it has been read. If
//! a channel's queue is full, russh stops its whole loop, including sending. With a bounded queue, a program that
//! writes before it reads would then wait for itself. So the queues of this crate take all data at once, and the bound is
//! kept here: while more than [`HIGH_WATER_BYTES`] wait, nothing more is read from the socket; sending goes on. A sender
//! that has used up the peer's window needs the peer's next window message, which the gate holds back. While there is
//! such a sender, the gate stays open up to [`STARVED_HIGH_WATER_BYTES`].
//!
//! The outbox prevents a deadlock. russh does not read while it writes. Two such peers that both have much to send fill
//! both sockets and then wait for each other for ever. So bytes that the socket does not take go into the outbox, and the
//! outbox is sent while the library waits for something to read. The peer's windows bound the size of the outbox;
//! [`OUTBOX_BYTES`] bounds it for a peer that grants too large a window.

use bytes::{Buf, BytesMut};
use coast_tree::LockExt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many received bytes may wait for their reader before the gate shuts.
pub(crate) const HIGH_WATER_BYTES: usize = 16 << 20;
/// The same limit while a sender waits for the peer's window.
pub(crate) const STARVED_HIGH_WATER_BYTES: usize = 64 << 20;
/// The bytes sent that may wait for the socket. OpenSSH grants a window of 2 MiB for each channel.
const OUTBOX_BYTES: usize = 32 << 20;
/// How many bytes are read from the socket at once. russh itself reads each packet in two small pieces.
const READ_BUFFER_BYTES: usize = 256 << 10;

/// The counters of one connection. The gate, the readers and the keepalive task share them.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Bytes received and not yet handed to their reader.
    waiting: AtomicUsize,
    /// Senders that have used up the peer's window.
    starved: AtomicUsize,
    /// The number of signs of life from the peer: reads that returned bytes, and sends that succeeded after a wait.
    pulse: AtomicU64,
    /// The number of bytes received so far.
    received: AtomicU64,
    /// The task to wake when the gate opens. The lock guards nothing else.
    reader: Mutex<Option<Waker>>,
}

impl Meter {
    pub(crate) fn queued(&self, len: usize) {
        self.waiting.fetch_add(len, Ordering::AcqRel);
    }

    pub(crate) fn taken(&self, len: usize) {
        let before = self.waiting.fetch_sub(len, Ordering::AcqRel);
        // The task is woken only at half the limit, so that the gate does not open and shut with every packet.
        if before >= HIGH_WATER_BYTES / 2 && before - len < HIGH_WATER_BYTES / 2 {
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
        let limit = if starved { STARVED_HIGH_WATER_BYTES } else { HIGH_WATER_BYTES };
        self.waiting.load(Ordering::Acquire) >= limit
    }

    pub(crate) fn pulse(&self) -> u64 {
        self.pulse.load(Ordering::Relaxed)
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        if let Some(waker) = self.reader.enter().take() {
            waker.wake();
        }
    }

    /// Whether the gate is shut. If it is, the task is woken when the gate may have opened.
    fn poll_shut(&self, cx: &Context<'_>) -> bool {
        if !self.is_shut() {
            return false;
        }
        *self.reader.enter() = Some(cx.waker().clone());
        // The gate may have opened before the waker was stored, and then nobody would wake this task.
        self.is_shut()
    }
}

/// A sender that waits for the peer's window.
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
    outbox: BytesMut,
    send_waited: bool,
}

impl<S> Transport<S> {
    pub(crate) fn new(stream: S, meter: Arc<Meter>) -> Transport<S> {
        let buffer = vec![0; READ_BUFFER_BYTES].into_boxed_slice();
        Transport { stream, meter, buffer, start: 0, end: 0, outbox: BytesMut::new(), send_waited: false }
    }
}

impl<S: AsyncWrite + Unpin> Transport<S> {
    /// Sends to the socket. Counts a sign of life when the socket takes bytes again after it was full.
    fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, data);
        match &poll {
            Poll::Pending => self.send_waited = true,
            // The send buffer was full and has room again, so the peer's system has taken bytes.
            Poll::Ready(Ok(_)) if self.send_waited => {
                self.send_waited = false;
                self.meter.pulse.fetch_add(1, Ordering::Relaxed);
            }
            Poll::Ready(_) => {}
        }
        poll
    }

    /// Sends as much of the outbox as the socket takes.
    fn poll_outbox(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut outbox = std::mem::take(&mut self.outbox);
        let result = loop {
            if outbox.is_empty() {
                break Poll::Ready(Ok(()));
            }
            match self.poll_send(cx, &outbox) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(len)) => outbox.advance(len),
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        self.outbox = outbox;
        result
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Transport<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Poll::Ready(sent) = this.poll_outbox(cx) {
            sent?;
        }
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
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Poll::Ready(sent) = this.poll_outbox(cx) {
            sent?;
            if let Poll::Ready(sent) = this.poll_send(cx, data) {
                return Poll::Ready(sent);
            }
        }
        let room = OUTBOX_BYTES.saturating_sub(this.outbox.len());
        if room == 0 {
            return Poll::Pending;
        }
        let len = data.len().min(room);
        this.outbox.extend_from_slice(&data[..len]);
        Poll::Ready(Ok(len))
    }

    /// Does not wait for the outbox: every read sends from it, and the library always has a read under way.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(sent) = self.poll_outbox(cx) {
            sent?;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_outbox(cx))?;
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

    type Stream = tokio::io::Join<&'static [u8], Vec<u8>>;

    struct Reading {
        transport: Transport<Stream>,
        woken: Arc<Flag>,
    }

    impl Reading {
        fn of(bytes: &'static [u8], meter: &Arc<Meter>) -> Reading {
            Reading {
                transport: Transport::new(tokio::io::join(bytes, Vec::new()), Arc::clone(meter)),
                woken: Arc::default(),
            }
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
    fn nothing_is_read_while_too_many_bytes_wait() {
        let meter = Arc::new(Meter::default());
        let mut reading = Reading::of(b"ab", &meter);
        assert_eq!(reading.poll(), Some(b'a'));
        meter.queued(HIGH_WATER_BYTES);
        assert_eq!(reading.poll(), None);
        meter.taken(HIGH_WATER_BYTES / 4);
        assert!(!reading.was_woken());
        meter.taken(HIGH_WATER_BYTES / 2);
        assert!(reading.was_woken());
        assert_eq!(reading.poll(), Some(b'b'));
    }

    #[test]
    fn a_starved_sender_opens_the_gate_up_to_a_higher_mark() {
        let meter = Arc::new(Meter::default());
        let mut reading = Reading::of(b"abc", &meter);
        meter.queued(HIGH_WATER_BYTES);
        assert_eq!(reading.poll(), None);
        let starving = meter.starve();
        assert!(reading.was_woken());
        assert_eq!(reading.poll(), Some(b'a'));
        meter.queued(STARVED_HIGH_WATER_BYTES - HIGH_WATER_BYTES);
        assert_eq!(reading.poll(), None);
        drop(starving);
        assert_eq!(reading.poll(), None);
    }

    #[tokio::test]
    async fn two_peers_that_only_write_before_they_read_do_not_block_each_other() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        const LEN: usize = 1 << 20;
        let (one, other) = tokio::io::duplex(1024);
        let talk = |stream, byte: u8| async move {
            let mut transport = Transport::new(stream, Arc::default());
            transport.write_all(&vec![byte; LEN]).await.unwrap();
            let mut received = vec![0; LEN];
            transport.read_exact(&mut received).await.unwrap();
            transport.shutdown().await.unwrap();
            received
        };
        let (first, second) = tokio::join!(talk(one, 1), talk(other, 2));
        assert!(first == vec![2; LEN] && second == vec![1; LEN]);
    }
}
