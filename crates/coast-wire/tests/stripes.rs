//! Frames that are spread over several streams, and streams that are not as they should be.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, Mutex};

use coast_wire::limits::{MAX_STREAMS, STRIPE_BYTES};
use coast_wire::{StreamSet, Streams, StripedReader, StripedWriter};

/// A stream that is a list of bytes.
#[derive(Clone, Default)]
struct Line(Arc<Mutex<VecDeque<u8>>>);

impl Line {
    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Write for Line {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        // Less than everything, as a socket does.
        let count = data.len().min(40_000);
        self.0.lock().unwrap().extend(&data[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The streams with these numbers have joined.
struct Joined {
    lines: [Line; MAX_STREAMS as usize],
    there: Vec<u8>,
}

impl Streams for Joined {
    fn read_from(&mut self, number: u8, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = buffer.len().min(50_000);
        self.lines[usize::from(number)].0.lock().unwrap().read(&mut buffer[..limit])
    }

    fn widen(&mut self, set: StreamSet) -> io::Result<()> {
        let all_there = set.numbers().all(|number| number == 0 || self.there.contains(&number));
        if all_there { Ok(()) } else { Err(ErrorKind::NotFound.into()) }
    }
}

/// A frame whose content tells frames and places in them apart.
fn frame(number: u8, bytes: usize) -> Vec<u8> {
    let length = u32::try_from(bytes).unwrap().to_le_bytes();
    let mut frame = vec![0, length[0], length[1], length[2], length[0], length[1], length[2], 0];
    frame.extend((0..bytes).map(|place| number.wrapping_add((place / 7).to_le_bytes()[0])));
    frame
}

fn frames() -> Vec<Vec<u8>> {
    let sizes = [0, 1, 9, 20_000, 700_000, 3, 65_528, 65_536, 1 << 20, 16_384, 5, 131_072, 0];
    (0..).zip(sizes).map(|(number, bytes)| frame(number, bytes)).collect()
}

/// What arrives of `frames`, of which those from number `from` on go over the main stream and these others.
fn carried(
    frames: &[Vec<u8>],
    from: usize,
    others: &[u8],
    change: impl FnOnce(&[Line]),
) -> io::Result<Vec<u8>> {
    let lines: [Line; MAX_STREAMS as usize] = std::array::from_fn(|_| Line::default());
    let mut writer = StripedWriter::new(Box::new(lines[0].clone()));
    for (number, frame) in frames.iter().enumerate() {
        if number == from {
            assert!(writer.can_widen());
            let others =
                others.iter().map(|number| (*number, Box::new(lines[usize::from(*number)].clone()) as _));
            writer.widen(others.collect()).unwrap();
        }
        writer.write_all(frame).unwrap();
    }
    writer.flush().unwrap();
    drop(writer);
    change(&lines);
    let mut read = Vec::new();
    StripedReader::new(Joined { lines, there: others.to_vec() }).read_to_end(&mut read)?;
    Ok(read)
}

#[test]
fn order_is_kept_wherever_a_run_is_widened_and_over_however_many_streams() {
    let frames = frames();
    let all = frames.concat();
    for others in [&[][..], &[1], &[3], &[1, 2, 3], &[2, 5, 7], &[1, 2, 3, 4, 5, 6, 7]] {
        for from in 0..=frames.len() {
            assert!(carried(&frames, from, others, |_| {}).unwrap() == all, "{others:?} from {from}");
        }
    }
}

#[test]
fn every_stream_carries_its_part() {
    let all = [frame(1, 8 * STRIPE_BYTES - 8)];
    carried(&all, 0, &[1, 2, 6], |lines| {
        let carried: Vec<usize> = lines.iter().map(Line::len).collect();
        let two = 2 * STRIPE_BYTES;
        assert_eq!(carried, [two + 8, two, two, 0, 0, 0, two, 0]);
    })
    .unwrap();
}

#[test]
fn run_is_read_through_buffers_of_any_size() {
    let frames = frames();
    let line = Line::default();
    line.clone().write_all(&frames[..4].concat()).unwrap();
    let lines = std::array::from_fn(|number| if number == 0 { line.clone() } else { Line::default() });
    let mut reader = StripedReader::new(Joined { lines, there: Vec::new() });
    let mut read = Vec::new();
    let mut buffer = [0; 64];
    for size in (1..=64).cycle() {
        match reader.read(&mut buffer[..size]).unwrap() {
            0 => break,
            count => read.extend_from_slice(&buffer[..count]),
        }
    }
    assert!(read == frames[..4].concat());
}

#[test]
fn run_is_widened_between_two_frames_only() {
    let mut writer = StripedWriter::new(Box::new(Line::default()));
    let frame = frame(1, 10);
    for byte in &frame {
        assert_eq!(writer.can_widen(), std::ptr::eq(byte, &raw const frame[0]));
        writer.write_all(&[*byte]).unwrap();
    }
    assert!(writer.can_widen());
    writer.widen(vec![(1, Box::new(Line::default()))]).unwrap();
    assert!(!writer.can_widen());
}

#[test]
fn stream_that_ends_before_the_others_is_an_error() {
    let frames = [frame(1, 10 * STRIPE_BYTES), frame(2, 0)];
    for (lost, kept) in [(1, 0), (1, 10), (1, STRIPE_BYTES), (2, STRIPE_BYTES + 1), (0, STRIPE_BYTES)] {
        let error = carried(&frames, 0, &[1, 2], |lines| lines[lost].0.lock().unwrap().truncate(kept));
        assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidData, "{kept} bytes of stream {lost}");
    }
}

#[test]
fn hostile_header_is_an_error() {
    let read = |bytes: &[u8]| {
        let mut lines: [Line; MAX_STREAMS as usize] = std::array::from_fn(|_| Line::default());
        lines[0].write_all(bytes).unwrap();
        let mut reader = StripedReader::new(Joined { lines, there: vec![1, 2] });
        reader.read_to_end(&mut Vec::new()).map_err(|error| error.kind())
    };
    let streams = |set: u8| [8, 0, 0, 0, set, 0, 0, 0];
    assert!(read(&streams(0b111)).is_ok());
    for set in [0, 1, 0b110, 0b10] {
        assert_eq!(read(&streams(set)), Err(ErrorKind::InvalidData), "set {set:#b}");
    }
    assert_eq!(read(&streams(0b1001)), Err(ErrorKind::NotFound), "a stream that has not joined");
    for place in [1, 2, 3, 5, 6, 7] {
        let mut header = streams(0b11);
        header[place] = 1;
        assert_eq!(read(&header), Err(ErrorKind::InvalidData), "byte {place}");
    }
    let twice = [streams(0b11), streams(0b111)].concat();
    assert_eq!(read(&twice), Err(ErrorKind::InvalidData));
}

#[test]
fn numbers_of_streams_are_checked() {
    assert!(StreamSet::with_others([]).is_none());
    for wrong in [0, MAX_STREAMS, u8::MAX] {
        assert!(StreamSet::with_others([1, wrong]).is_none(), "{wrong}");
    }
    let set = StreamSet::with_others([5, 2]).unwrap();
    assert_eq!(set.numbers().collect::<Vec<_>>(), [0, 2, 5]);
}
