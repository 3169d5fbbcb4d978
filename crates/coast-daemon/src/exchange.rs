//! The client's side of HTTP/1.1: one request on one connection, and its answer. It blocks, and needs no runtime.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use coast_ssh::{RelayStream, Zeroizing};

/// The most bytes of an answer's head.
const MAX_HEAD_BYTES: u64 = 64 << 10;
/// The most headers of an answer.
const MAX_HEADERS: usize = 64;
/// The most bytes of the line before a chunk.
const MAX_CHUNK_LINE_BYTES: u64 = 256;

/// A request.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) body: Option<RequestBody<'a>>,
    /// The protocol that the connection is to go on with.
    pub(crate) upgrade: Option<&'a str>,
}

/// The body of a request.
pub(crate) struct RequestBody<'a> {
    pub(crate) media_type: &'a str,
    pub(crate) content: &'a [u8],
}

impl<'a> RequestBody<'a> {
    /// A body of JSON.
    pub(crate) fn json(content: &'a [u8]) -> Self {
        Self { media_type: "application/json", content }
    }
}

/// An answer whose head has been read.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Body,
}

/// The body of an answer.
pub(crate) struct Body {
    stream: BufReader<UnixStream>,
    rest: Rest,
}

/// The part of a body that has not been read.
enum Rest {
    /// This number of bytes.
    Bytes(u64),
    /// This number of bytes of a chunk, and then more chunks.
    Chunks(u64),
    /// Everything up to the end of the connection.
    Everything,
}

/// Sends a request, and reads the head of the answer.
///
/// # Errors
/// When the connection fails, a timeout of the stream passes, or the answer is not HTTP.
pub(crate) fn send(mut stream: UnixStream, request: &Request<'_>) -> io::Result<Response> {
    let Request { method, path, body, upgrade } = request;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: coastd\r\n");
    head += &match upgrade {
        Some(protocol) => format!("connection: upgrade\r\nupgrade: {protocol}\r\n"),
        None => "connection: close\r\n".to_owned(),
    };
    if let Some(RequestBody { media_type, .. }) = body {
        head += &format!("content-type: {media_type}\r\n");
    }
    let content = body.as_ref().map_or(b"".as_slice(), |body| body.content);
    head += &format!("content-length: {}\r\n\r\n", content.len());
    let mut whole = Zeroizing::new(head.into_bytes());
    whole.extend_from_slice(content);
    stream.write_all(&whole)?;
    read_head(BufReader::new(stream))
}

fn read_head(mut stream: BufReader<UnixStream>) -> io::Result<Response> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let left = MAX_HEAD_BYTES.saturating_sub(head.len() as u64);
        if stream.by_ref().take(left).read_until(b'\n', &mut head)? == 0 {
            return Err(match (left, head.len()) {
                (0, _) => malformed("its head is too long"),
                (_, 0) => io::Error::new(io::ErrorKind::UnexpectedEof, "there is no answer"),
                _ => malformed("it ends in its head"),
            });
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    parsed.parse(&head).map_err(|error| malformed(&error.to_string()))?;
    let header = |name: &str| {
        let found = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    };
    let rest = match (header("transfer-encoding"), header("content-length")) {
        (Some(encoding), _) if encoding.eq_ignore_ascii_case("chunked") => Rest::Chunks(0),
        (Some(_), _) => return Err(malformed("its encoding is not known")),
        (None, Some(length)) => {
            Rest::Bytes(length.parse().map_err(|_| malformed("its length is no number"))?)
        }
        (None, None) => Rest::Everything,
    };
    let status = parsed.code.ok_or_else(|| malformed("it has no status"))?;
    Ok(Response { status, body: Body { stream, rest } })
}

impl Body {
    /// The connection, which goes on with another protocol after the answer.
    pub(crate) fn into_upgraded(self) -> RelayStream {
        let read_ahead = self.stream.buffer().to_vec();
        RelayStream { stream: self.stream.into_inner(), read_ahead }
    }

    /// The connection that the body arrives on.
    pub(crate) fn stream(&self) -> &UnixStream {
        self.stream.get_ref()
    }

    /// Reads to the line before the next chunk. Returns the chunk's length; 0 ends the body.
    fn next_chunk(&mut self) -> io::Result<u64> {
        loop {
            let mut line = Vec::new();
            self.stream.by_ref().take(MAX_CHUNK_LINE_BYTES).read_until(b'\n', &mut line)?;
            let text = std::str::from_utf8(&line).ok().filter(|text| text.ends_with('\n'));
            let text = text.ok_or_else(|| malformed("it ends within a chunk"))?;
            let digits = text.split(';').next().unwrap_or_default().trim();
            // The line end after a chunk.
            if digits.is_empty() && text.trim().is_empty() {
                continue;
            }
            return u64::from_str_radix(digits, 16).map_err(|_| malformed("a chunk has no length"));
        }
    }
}

impl Read for Body {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let left = match self.rest {
            Rest::Everything => return self.stream.read(out),
            Rest::Bytes(left) => left,
            Rest::Chunks(0) => match self.next_chunk()? {
                0 => {
                    self.rest = Rest::Bytes(0);
                    return Ok(0);
                }
                left => left,
            },
            Rest::Chunks(left) => left,
        };
        if left == 0 {
            return Ok(0);
        }
        let most = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.stream.read(&mut out[..most])?;
        if read == 0 {
            return Err(malformed("it ends early"));
        }
        let left = left - read as u64;
        self.rest = if matches!(self.rest, Rest::Bytes(_)) { Rest::Bytes(left) } else { Rest::Chunks(left) };
        Ok(read)
    }
}

fn malformed(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the answer is not HTTP: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Shutdown;

    fn answered(text: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        let (client, mut server) = UnixStream::pair().unwrap();
        server.write_all(text).unwrap();
        server.shutdown(Shutdown::Write).unwrap();
        let response = send(client, &Request { method: "GET", path: "/", body: None, upgrade: None })?;
        let mut body = Vec::new();
        let mut from = response.body;
        from.read_to_end(&mut body)?;
        Ok((response.status, body))
    }

    #[test]
    fn a_body_is_read_in_each_of_its_forms() {
        let ok = |body: &[u8]| (200, body.to_vec());
        let sized = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcd";
        assert_eq!(answered(sized).unwrap(), ok(b"abc"));
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n";
        assert_eq!(answered(chunked).unwrap(), ok(b"abcd"));
        assert_eq!(answered(b"HTTP/1.1 403 No\r\n\r\nall").unwrap(), (403, b"all".to_vec()));
    }

    #[test]
    fn an_answer_that_is_broken_is_an_error() {
        let long = [b"HTTP/1.1 200 OK\r\nx: ".as_slice(), &vec![b'a'; 70 << 10], b"\r\n\r\n"].concat();
        assert_eq!(answered(b"").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        for broken in [
            b"SSH-2.0-x\r\n\r\n".as_slice(),
            b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab",
            b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
            &long,
        ] {
            let error = answered(broken).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{}: {error}", broken.escape_ascii());
        }
    }
}
