//! A TCP stream whose first bytes are acknowledged at once.
//!
//! While a client logs in, OpenSSH's server writes several small packets without an answer in between, and does not switch off Nagle's
//! algorithm: the second one waits until the first one is acknowledged. A system that delays its acknowledgements, as Linux does,
//! makes every such wait 40 ms long, on all links.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// More than a server sends before a helper has greeted. Later data comes in large packets, and is better acknowledged seldom.
const EARLY_BYTES: usize = 32 << 10;

/// A stream that acknowledges what it reads, up to [`EARLY_BYTES`].
pub(crate) struct Acknowledged {
    stream: TcpStream,
    /// Bytes that are still to be acknowledged at once.
    early: usize,
}

impl Acknowledged {
    pub(crate) fn new(stream: TcpStream) -> Acknowledged {
        Acknowledged { stream, early: EARLY_BYTES }
    }
}

/// Acknowledges what was read. The system decides anew about what comes next.
fn acknowledge(stream: &TcpStream) {
    // A failure only costs time.
    #[cfg(target_os = "linux")]
    let _ = stream.set_quickack(true);
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

impl AsyncRead for Acknowledged {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, out))?;
        if self.early > 0 {
            self.early = self.early.saturating_sub(out.filled().len() - before);
            acknowledge(&self.stream);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Acknowledged {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
