//! A TCP proxy on 127.0.0.1. It delays what it passes on, as a long link does, and it can be away, as a server can be.

use anyhow::{Context, Result};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The bytes that are read at once.
const PIECE_BYTES: usize = 64 << 10;

/// A running proxy. Dropping it cuts its connections.
pub(super) struct Proxy {
    port: u16,
    link: Arc<Link>,
    /// The thread that accepts connections; `None` while the proxy is away.
    accepting: Mutex<Option<JoinHandle<()>>>,
}

/// What the threads of a proxy share.
struct Link {
    server: SocketAddr,
    /// The time that a byte takes in each direction.
    delay: Duration,
    leaves: AtomicBool,
    /// Both ends of every connection, so that they can be cut.
    ends: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A proxy for a server on a port of 127.0.0.1.
    pub(super) fn to(server: u16, delay: Duration) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listening on 127.0.0.1")?;
        let port = listener.local_addr().context("asking for the port of the proxy")?.port();
        let link = Link {
            server: (Ipv4Addr::LOCALHOST, server).into(),
            delay,
            leaves: AtomicBool::new(false),
            ends: Mutex::new(Vec::new()),
        };
        let link = Arc::new(link);
        let accepting = Mutex::new(Some(accept(listener, Arc::clone(&link))));
        Ok(Self { port, link, accepting })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Cuts all connections and refuses new ones.
    pub(super) fn leave(&self) {
        let Some(accepting) = locked(&self.accepting).take() else { return };
        self.link.leaves.store(true, Ordering::Relaxed);
        // The thread waits for a connection. A failure means that it has got one.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        // The panic hook has reported a panic of the thread.
        let _ = accepting.join();
        for end in locked(&self.link.ends).drain(..) {
            // Fails for a connection that has ended.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    /// Listens again on the same port.
    pub(super) fn come_back(&self) -> Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))
            .with_context(|| format!("listening on port {} again", self.port))?;
        self.link.leaves.store(false, Ordering::Relaxed);
        *locked(&self.accepting) = Some(accept(listener, Arc::clone(&self.link)));
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

/// Accepts connections in a thread of its own, until the proxy leaves.
fn accept(listener: TcpListener, link: Arc<Link>) -> JoinHandle<()> {
    thread::spawn(move || {
        for client in listener.incoming() {
            if link.leaves.load(Ordering::Relaxed) {
                return;
            }
            // The client notices a failure: its end is dropped.
            let _ = client.and_then(|client| link.connect(client));
        }
    })
}

impl Link {
    fn connect(&self, client: TcpStream) -> io::Result<()> {
        let server = TcpStream::connect(self.server)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (to_client, to_server) = (client.try_clone()?, server.try_clone()?);
        locked(&self.ends).extend([client.try_clone()?, server.try_clone()?]);
        pass_on(client, to_server, self.delay);
        pass_on(server, to_client, self.delay);
        Ok(())
    }
}

/// Passes on one direction of a connection. Either end closes the other.
fn pass_on(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (queue, queued) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(read @ 1..) = from.read(&mut piece) {
            if queue.send((Instant::now() + delay, piece[..read].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in queued {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        // Fails for a connection that has ended.
        let _ = to.shutdown(Shutdown::Write);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets.
    fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || io::copy(&mut &stream, &mut &stream));
            }
        });
        port
    }

    fn echoed(stream: &mut TcpStream) -> io::Result<[u8; 4]> {
        let mut answer = [0; 4];
        stream.write_all(b"ping")?;
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn bytes_take_the_delay_in_each_direction() {
        let delay = Duration::from_millis(20);
        let proxy = Proxy::to(echo(), delay).unwrap();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
        let sent = Instant::now();
        assert_eq!(&echoed(&mut stream).unwrap(), b"ping");
        assert!(sent.elapsed() >= 2 * delay);
    }

    #[test]
    fn proxy_that_left_cuts_connections_and_refuses_new_ones_until_it_comes_back() {
        let proxy = Proxy::to(echo(), Duration::ZERO).unwrap();
        let address = (Ipv4Addr::LOCALHOST, proxy.port());
        let mut stream = TcpStream::connect(address).unwrap();
        assert_eq!(&echoed(&mut stream).unwrap(), b"ping");
        proxy.leave();
        assert!(echoed(&mut stream).is_err());
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        proxy.come_back().unwrap();
        assert_eq!(&echoed(&mut TcpStream::connect(address).unwrap()).unwrap(), b"ping");
    }
}
