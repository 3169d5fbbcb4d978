//! The proxy: accepts connections on 127.0.0.1 and passes their bytes on as the link does. It can be away, as a server can be.

use crate::link::{Link, Timetable};
use crate::queue::{Piece, Queue};
use crate::traffic::{ConnectionMeter, End, Meter, Traffic};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// The bytes that are read at once where the link does nothing to them.
const IMMEDIATE_BYTES: usize = 256 << 10;
/// The buffer of the system for what a sender has sent and the proxy has not read, in bytes. By default it grows to megabytes,
/// which would be a second queue that the link does not know.
const RECEIVE_BUFFER_BYTES: usize = 64 << 10;

/// A running proxy. Dropping it cuts its connections.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    /// The thread that accepts connections; `None` while the proxy is away.
    accepting: Mutex<Option<JoinHandle<()>>>,
}

/// What the threads of a proxy share.
struct Shared {
    server: SocketAddr,
    link: Link,
    meter: Arc<Meter>,
    leaves: AtomicBool,
    /// Both ends of every open connection, so that they can be cut.
    ends: Mutex<Vec<Weak<TcpStream>>>,
}

impl Proxy {
    /// Starts a proxy for the server on a port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port of 127.0.0.1 can be listened on.
    pub fn to(server: u16, link: Link) -> io::Result<Self> {
        let listener = listen(0, link)?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            server: (Ipv4Addr::LOCALHOST, server).into(),
            link,
            meter: Arc::default(),
            leaves: AtomicBool::new(false),
            ends: Mutex::default(),
        });
        let accepting = Mutex::new(Some(accept(listener, Arc::clone(&shared))));
        Ok(Self { port, shared, accepting })
    }

    /// The port of 127.0.0.1 that the proxy listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What went over the proxy so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.shared.meter.traffic()
    }

    /// Returns when no connection is open of those that were accepted. All that went over them is counted then.
    pub fn wait_until_closed(&self) {
        self.shared.meter.wait_until_closed();
    }

    /// Cuts all connections and refuses new ones.
    pub fn leave(&self) {
        let Some(accepting) = locked(&self.accepting).take() else { return };
        self.shared.leaves.store(true, Ordering::Relaxed);
        // The thread waits for a connection. A failure means that it has got one.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        // The panic hook has reported a panic of the thread.
        let _ = accepting.join();
        for end in locked(&self.shared.ends).drain(..).filter_map(|end| end.upgrade()) {
            // Fails for a connection that has ended.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    /// Listens again on the same port.
    ///
    /// # Errors
    /// When the port cannot be listened on.
    pub fn come_back(&self) -> io::Result<()> {
        let listener = listen(self.port, self.shared.link)?;
        self.shared.leaves.store(false, Ordering::Relaxed);
        *locked(&self.accepting) = Some(accept(listener, Arc::clone(&self.shared)));
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.leave();
    }
}

/// No panic can leave what these locks guard half changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens on 127.0.0.1. The buffers of accepted connections are those of the listener.
fn listen(port: u16, link: Link) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    bound_buffer(&listener, link)?;
    Ok(listener)
}

/// Has a sender wait for the link instead of for the memory of this machine.
fn bound_buffer(socket: impl AsFd, link: Link) -> io::Result<()> {
    if !link.is_immediate() {
        rustix::net::sockopt::set_socket_recv_buffer_size(socket, RECEIVE_BUFFER_BYTES)?;
    }
    Ok(())
}

/// Accepts connections in a thread of its own, until the proxy leaves.
fn accept(listener: TcpListener, shared: Arc<Shared>) -> JoinHandle<()> {
    thread::spawn(move || {
        for client in listener.incoming() {
            if shared.leaves.load(Ordering::Relaxed) {
                return;
            }
            let Ok(client) = client else { continue };
            let meter = shared.meter.open();
            let shared = Arc::clone(&shared);
            // The client notices a failure: its end is dropped.
            thread::spawn(move || shared.serve(client, &meter));
        }
    })
}

impl Shared {
    /// Passes on a connection until both directions have ended.
    ///
    /// A network takes a round trip until the client is connected, and half a round trip more until the server accepts. The
    /// system connects the client at once, so what the client sends first is passed on as if it had been sent a round trip later.
    fn serve(&self, client: TcpStream, meter: &ConnectionMeter) -> io::Result<()> {
        let connected = Instant::now() + self.link.round_trip;
        let client = self.end(client);
        sleep_until(connected + self.link.round_trip / 2);
        let server = self.end(TcpStream::connect(self.server)?);
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        bound_buffer(&server, self.link)?;
        let direction =
            |from, to, by, first_sent| Direction { from, to, by, first_sent, link: self.link, meter };
        let up = direction(&client, &server, End::Client, Some(connected));
        let down = direction(&server, &client, End::Server, None);
        thread::scope(|scope| {
            scope.spawn(|| up.pass_on());
            down.pass_on();
        });
        Ok(())
    }

    /// Keeps an end of a connection, for as long as it is in use.
    fn end(&self, stream: TcpStream) -> Arc<TcpStream> {
        let stream = Arc::new(stream);
        let mut ends = locked(&self.ends);
        ends.retain(|end| end.strong_count() > 0);
        ends.push(Arc::downgrade(&stream));
        stream
    }
}

/// One direction of a connection.
struct Direction<'a> {
    from: &'a TcpStream,
    to: &'a TcpStream,
    by: End,
    /// When the first bytes were sent, if not when they are read.
    first_sent: Option<Instant>,
    link: Link,
    meter: &'a ConnectionMeter,
}

impl Direction<'_> {
    /// Passes on all bytes, and then the end.
    fn pass_on(&self) {
        if self.link.is_immediate() {
            self.pass_on_at_once();
        } else {
            let queue = Queue::new(self.link.capacity_bytes());
            thread::scope(|scope| {
                scope.spawn(|| self.take_in(&queue));
                self.hand_out(&queue);
            });
        }
        // Both fail for a connection that has ended.
        let _ = self.to.shutdown(Shutdown::Write);
        let _ = self.from.shutdown(Shutdown::Read);
    }

    fn pass_on_at_once(&self) {
        let mut buffer = vec![0; IMMEDIATE_BYTES];
        let (mut from, mut to) = (self.from, self.to);
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let depth = self.meter.sent(self.by, read);
            self.meter.arrives(self.receiver(), depth);
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
    }

    /// Reads what the sender sends, whenever the queue has room.
    fn take_in(&self, queue: &Queue) {
        let mut buffer = vec![0; self.link.piece_bytes()];
        let (mut from, mut first_sent) = (self.from, self.first_sent);
        let mut timetable = Timetable::new(self.link, first_sent.unwrap_or_else(Instant::now));
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let depth = self.meter.sent(self.by, read);
            let due = timetable.arrival(first_sent.take().unwrap_or_else(Instant::now), read);
            if !queue.push(Piece { bytes: buffer[..read].to_vec(), due, depth }) {
                break;
            }
            sleep_until(timetable.room_at());
        }
        queue.close();
    }

    /// Writes what is due, until the queue is closed or the receiver has ended.
    fn hand_out(&self, queue: &Queue) {
        let mut to = self.to;
        while let Some(piece) = queue.pop() {
            sleep_until(piece.due);
            self.meter.arrives(self.receiver(), piece.depth);
            if to.write_all(&piece.bytes).is_err() {
                queue.close();
                let _ = self.from.shutdown(Shutdown::Read);
                break;
            }
        }
    }

    fn receiver(&self) -> End {
        match self.by {
            End::Client => End::Server,
            End::Server => End::Client,
        }
    }
}

fn sleep_until(time: Instant) {
    thread::sleep(time.saturating_duration_since(Instant::now()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A server that sends back what it gets.
    fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    let _ = io::copy(&mut &stream, &mut &stream);
                    let _ = stream.shutdown(Shutdown::Write);
                });
            }
        });
        port
    }

    fn client(proxy: &Proxy) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap()
    }

    fn echoed(stream: &mut TcpStream) -> io::Result<[u8; 4]> {
        let mut answer = [0; 4];
        stream.write_all(b"ping")?;
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    /// Two links: one that is immediate, and one that has a delay, a rate and a queue that is smaller than what is sent.
    fn links() -> [Link; 2] {
        let slow = Link { round_trip: Duration::from_millis(2), queue_bytes: 4096, ..Link::LAN };
        [Link::LOOPBACK, slow]
    }

    #[test]
    fn each_question_after_an_answer_is_a_round_trip() {
        for link in links() {
            let proxy = Proxy::to(echo(), link).unwrap();
            let mut stream = client(&proxy);
            for _ in 0..3 {
                assert_eq!(&echoed(&mut stream).unwrap(), b"ping");
            }
            drop(stream);
            proxy.wait_until_closed();
            let traffic = Traffic { connections: 1, up_bytes: 12, down_bytes: 12, round_trips: 4 };
            assert_eq!(proxy.traffic(), traffic);
        }
    }

    #[test]
    fn bytes_arrive_in_their_order_and_the_end_after_them() {
        let sent: Vec<u8> = (0..1_u32 << 16).flat_map(u32::to_le_bytes).collect();
        for link in links() {
            let proxy = Proxy::to(echo(), link).unwrap();
            let stream = client(&proxy);
            let mut received = Vec::new();
            thread::scope(|scope| {
                scope.spawn(|| {
                    (&mut &stream).write_all(&sent).unwrap();
                    stream.shutdown(Shutdown::Write).unwrap();
                });
                (&mut &stream).read_to_end(&mut received).unwrap();
            });
            assert!(received == sent);
            drop(stream);
            proxy.wait_until_closed();
            let traffic = proxy.traffic();
            assert_eq!((traffic.up_bytes, traffic.down_bytes), (1 << 18, 1 << 18));
        }
    }

    #[test]
    fn proxy_that_left_cuts_connections_and_refuses_new_ones_until_it_comes_back() {
        let proxy = Proxy::to(echo(), Link::LOOPBACK).unwrap();
        let address = (Ipv4Addr::LOCALHOST, proxy.port());
        let mut stream = client(&proxy);
        assert_eq!(&echoed(&mut stream).unwrap(), b"ping");
        proxy.leave();
        assert!(echoed(&mut stream).is_err());
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        proxy.come_back().unwrap();
        assert_eq!(&echoed(&mut client(&proxy)).unwrap(), b"ping");
    }
}
