//! A stream of frames that is spread over several streams, because each of them is too narrow.
//!
//! A run begins with one stream, number 0. Between two frames the sending side may write a header with [`FLAG_STREAMS`] and a
//! [`StreamSet`]. The bytes after it go to the streams of the set in turn, [`STRIPE_BYTES`] to each, beginning with number 0. So the
//! place of every byte follows from its number, and order is kept without a header for each stripe. A run can be widened once.
//!
//! With one stream the reader adds a buffer and the writer nothing.

use std::io::{self, ErrorKind, Read, Write};

use crate::frame::{FLAG_STREAMS, HEADER_BYTES, READ_AHEAD_BYTES, payload_len};
use crate::limits::{MAX_STREAMS, STRIPE_BYTES};

/// What was read ahead when the run is widened belongs to the first stripe.
const _: () = assert!(READ_AHEAD_BYTES < STRIPE_BYTES);

/// Which streams carry a run: number 0 and others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSet(u8);

const _: () = assert!(MAX_STREAMS as u32 == u8::BITS);

impl StreamSet {
    /// Number 0 and these. `None` if one of them is no number of another stream, or there is none.
    pub fn with_others(numbers: impl IntoIterator<Item = u8>) -> Option<Self> {
        let bits = numbers
            .into_iter()
            .try_fold(1, |bits: u8, number| (1..MAX_STREAMS).contains(&number).then(|| bits | 1 << number))?;
        Self::from_bits(bits.into())
    }

    /// Whether the stream `number` is one of them.
    pub fn contains(self, number: u8) -> bool {
        number < MAX_STREAMS && self.0 & 1 << number != 0
    }

    /// The numbers, in rising order.
    pub fn numbers(self) -> impl Iterator<Item = u8> {
        (0..MAX_STREAMS).filter(move |number| self.contains(*number))
    }

    fn from_bits(bits: u32) -> Option<Self> {
        let bits = u8::try_from(bits).ok()?;
        (bits & 1 == 1 && bits.count_ones() > 1).then_some(Self(bits))
    }

    /// The header that announces them.
    fn header(self) -> [u8; HEADER_BYTES] {
        [FLAG_STREAMS, 0, 0, 0, self.0, 0, 0, 0]
    }

    /// The set in a header with [`FLAG_STREAMS`].
    fn of_header(header: &[u8; HEADER_BYTES]) -> Option<Self> {
        let bits = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        Self::from_bits(bits).filter(|set| set.header() == *header)
    }
}

/// The place in a run that is spread over several streams.
#[derive(Debug)]
struct Turn {
    set: StreamSet,
    number: u8,
    /// Bytes left of the stripe.
    left: usize,
}

impl Turn {
    fn first(set: StreamSet) -> Self {
        Self { set, number: 0, left: STRIPE_BYTES }
    }

    /// Answers whether the stripe is complete; then the next stream has its turn.
    fn advance(&mut self, bytes: usize) -> bool {
        self.left -= bytes;
        let complete = self.left == 0;
        if complete {
            let mut later = self.set.numbers().filter(|number| *number > self.number);
            *self = Self { number: later.next().unwrap_or(0), left: STRIPE_BYTES, set: self.set };
        }
        complete
    }
}

/// The streams that a [`StripedReader`] reads from.
pub trait Streams {
    /// Reads from the stream `number`, as [`Read::read`] does. Only numbers of the set of [`Streams::widen`] are used, and 0.
    ///
    /// # Errors
    /// When the stream fails.
    fn read_from(&mut self, number: u8, buffer: &mut [u8]) -> io::Result<usize>;

    /// From now on the run is spread over these streams.
    ///
    /// # Errors
    /// When one of them is not there.
    fn widen(&mut self, set: StreamSet) -> io::Result<()>;
}

/// Reads a run, however many streams it is spread over.
#[derive(Debug)]
pub struct StripedReader<S> {
    streams: S,
    /// `None` while there is one stream.
    turn: Option<Turn>,
    /// Bytes left of the frame whose header was passed on last.
    frame_left: usize,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<S: Streams> StripedReader<S> {
    /// Begins with the stream number 0.
    pub fn new(streams: S) -> Self {
        let buffer = vec![0; READ_AHEAD_BYTES].into_boxed_slice();
        Self { streams, turn: None, frame_left: 0, buffer, start: 0, end: 0 }
    }

    /// Looks at the header that comes next: passes it on, or widens the run. False at the end of the stream, where what is left in the
    /// buffer is part of a header.
    fn begin_frame(&mut self) -> io::Result<bool> {
        loop {
            while self.end - self.start < HEADER_BYTES {
                if !self.fill()? {
                    return Ok(false);
                }
            }
            let header: &[u8; HEADER_BYTES] =
                self.buffer[self.start..].first_chunk().expect("the buffer holds a header");
            if header[0] != FLAG_STREAMS {
                self.frame_left = HEADER_BYTES + payload_len(header);
                return Ok(true);
            }
            let set = StreamSet::of_header(header).filter(|_| self.turn.is_none());
            self.start += HEADER_BYTES;
            self.widen(set.ok_or_else(|| invalid("the other side spread its data over streams wrongly"))?)?;
        }
    }

    fn widen(&mut self, set: StreamSet) -> io::Result<()> {
        self.streams.widen(set)?;
        let mut turn = Turn::first(set);
        turn.left -= self.end - self.start;
        self.turn = Some(turn);
        Ok(())
    }

    /// Reads more into the buffer. False at the end of the stream.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let Self { streams, turn, buffer, end, .. } = self;
        let count = read_turn(streams, turn, &mut buffer[*end..])?;
        *end += count;
        Ok(count > 0)
    }

    /// Passes on what is in the buffer, up to `limit` bytes.
    fn take(&mut self, out: &mut [u8], limit: usize) -> usize {
        let count = out.len().min(limit).min(self.end - self.start);
        out[..count].copy_from_slice(&self.buffer[self.start..self.start + count]);
        self.start += count;
        count
    }
}

/// Reads from the stream that has its turn.
fn read_turn<S: Streams>(streams: &mut S, turn: &mut Option<Turn>, buffer: &mut [u8]) -> io::Result<usize> {
    let Some(turn) = turn else { return streams.read_from(0, buffer) };
    let limit = buffer.len().min(turn.left);
    let count = streams.read_from(turn.number, &mut buffer[..limit])?;
    if count > 0 {
        turn.advance(count);
        return Ok(count);
    }
    // The sending side closes all at once. A stream that was lost on the way leaves a gap.
    for number in turn.set.numbers() {
        if streams.read_from(number, &mut [0])? > 0 {
            return Err(invalid("one of several streams ended before the others"));
        }
    }
    Ok(0)
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text)
}

impl<S: Streams> Read for StripedReader<S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if self.frame_left == 0 && !self.begin_frame()? {
            return Ok(self.take(out, HEADER_BYTES));
        }
        let wanted = out.len().min(self.frame_left);
        let count = if self.start < self.end {
            self.take(out, wanted)
        } else if wanted >= READ_AHEAD_BYTES {
            // The content of a large frame passes the buffer by.
            read_turn(&mut self.streams, &mut self.turn, &mut out[..wanted])?
        } else {
            self.fill()?;
            self.take(out, wanted)
        };
        self.frame_left -= count;
        Ok(count)
    }
}

/// One of the streams that a [`StripedWriter`] writes to.
pub type OutgoingStream<'a> = Box<dyn Write + Send + 'a>;

/// Writes a run to one stream, or to several.
pub struct StripedWriter<'a> {
    /// By number. Number 0 is always there.
    streams: [Option<OutgoingStream<'a>>; MAX_STREAMS as usize],
    turn: Option<Turn>,
    between: BetweenFrames,
}

impl std::fmt::Debug for StripedWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StripedWriter").field("turn", &self.turn).finish_non_exhaustive()
    }
}

impl<'a> StripedWriter<'a> {
    /// Begins with one stream.
    pub fn new(stream: OutgoingStream<'a>) -> Self {
        let mut streams = [const { None }; MAX_STREAMS as usize];
        streams[0] = Some(stream);
        Self { streams, turn: None, between: BetweenFrames::default() }
    }

    /// Whether the run can be widened now: it has one stream, and what was written ends with a frame.
    pub fn can_widen(&self) -> bool {
        self.turn.is_none() && self.between.is_true()
    }

    /// Spreads what is written from now on over these streams too, which have the numbers before them. Does nothing without any.
    ///
    /// # Errors
    /// When the first stream fails, and for wrong numbers.
    ///
    /// # Panics
    /// Unless [`StripedWriter::can_widen`].
    pub fn widen(&mut self, others: Vec<(u8, OutgoingStream<'a>)>) -> io::Result<()> {
        assert!(self.can_widen(), "a run is widened once, between two frames");
        if others.is_empty() {
            return Ok(());
        }
        let set = StreamSet::with_others(others.iter().map(|(number, _)| *number))
            .ok_or_else(|| invalid("no stream can have such a number"))?;
        self.stream(0).write_all(&set.header())?;
        for (number, stream) in others {
            self.streams[usize::from(number)] = Some(stream);
        }
        self.turn = Some(Turn::first(set));
        Ok(())
    }

    fn stream(&mut self, number: u8) -> &mut OutgoingStream<'a> {
        self.streams[usize::from(number)].as_mut().expect("the set has the numbers of these streams")
    }
}

impl Write for StripedWriter<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let Some(Turn { number, left, .. }) = self.turn else {
            let count = self.stream(0).write(data)?;
            self.between.pass(&data[..count]);
            return Ok(count);
        };
        let count = self.stream(number).write(&data[..data.len().min(left)])?;
        if self.turn.as_mut().is_some_and(|turn| turn.advance(count)) {
            // The other side waits for the end of this stripe before it reads on.
            self.stream(number).flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        // The others were flushed at the end of their stripes.
        let number = self.turn.as_ref().map_or(0, |turn| turn.number);
        self.stream(number).flush()
    }
}

/// Finds the ends of frames in bytes that pass.
#[derive(Debug, Default)]
struct BetweenFrames {
    header: [u8; HEADER_BYTES],
    /// Bytes of the header that have passed.
    passed: usize,
    /// Bytes of the payload that have not passed.
    left: usize,
}

impl BetweenFrames {
    fn is_true(&self) -> bool {
        self.passed == 0 && self.left == 0
    }

    fn pass(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.left > 0 {
                let count = self.left.min(data.len());
                self.left -= count;
                data = &data[count..];
                continue;
            }
            let count = data.len().min(HEADER_BYTES - self.passed);
            self.header[self.passed..self.passed + count].copy_from_slice(&data[..count]);
            self.passed += count;
            data = &data[count..];
            if self.passed == HEADER_BYTES {
                (self.passed, self.left) = (0, payload_len(&self.header));
            }
        }
    }
}
