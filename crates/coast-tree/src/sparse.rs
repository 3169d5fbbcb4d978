//! The data and the holes of a file: finding them, and writing a file that has holes.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

/// A stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// The file system keeps content for it. The length is in bytes.
    Data(u64),
    /// The file system keeps nothing for it; it reads as zeros. The length is in bytes.
    Hole(u64),
}

/// The data or the hole at `offset`, as far as it goes, but not beyond `end`. The length is more than 0.
///
/// Asks the system with `SEEK_DATA` and `SEEK_HOLE`: one call in data, two in front of a hole. Where the file system or the
/// system does not know holes, everything is data. Moves the position of the descriptor.
///
/// # Errors
/// The system's answer, and [`io::ErrorKind::InvalidInput`] if `offset` is not below `end`.
pub fn segment_at(file: impl AsFd, offset: u64, end: u64) -> io::Result<Segment> {
    if offset >= end {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is nothing from there to the end"));
    }
    let rest = end - offset;
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        use rustix::fs::{SeekFrom, seek};
        use rustix::io::Errno;

        match seek(&file, SeekFrom::Data(offset)) {
            Ok(data) if data > offset => return Ok(Segment::Hole((data - offset).min(rest))),
            Ok(_) => {}
            // No data from here to the end of the file.
            Err(Errno::NXIO) => return Ok(Segment::Hole(rest)),
            Err(Errno::INVAL | Errno::NOTSUP | Errno::NOTTY | Errno::NOSYS) => {
                return Ok(Segment::Data(rest));
            }
            Err(error) => return Err(error.into()),
        }
        match seek(&file, SeekFrom::Hole(offset)) {
            Ok(hole) if hole > offset => Ok(Segment::Data((hole - offset).min(rest))),
            // The data was removed between the two calls, or the file was cut: reading it tells.
            Ok(_) | Err(Errno::NXIO) => Ok(Segment::Data(rest)),
            Err(error) => Err(error.into()),
        }
    }
    #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
    {
        let _ = file;
        Ok(Segment::Data(rest))
    }
}

/// Bytes of a block that becomes a hole where zeros do: the smallest hole that common file systems have.
const ZERO_BLOCK_BYTES: usize = 4096;

/// How zeros are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zeros {
    /// They are written like other content.
    Written,
    /// Those that fill a block of 4 KiB, counted from the start of the file, become a hole.
    Holes,
}

/// Writes a new file from its start to its end, with holes.
///
/// Neither uses nor moves the position of the descriptor.
#[derive(Debug)]
pub struct SparseWriter {
    file: File,
    zeros: Zeros,
    length: u64,
    /// The file itself ends before `length`.
    ends_in_hole: bool,
}

impl SparseWriter {
    /// Begins to write to an empty file.
    pub fn new(file: File, zeros: Zeros) -> Self {
        Self { file, zeros, length: 0, ends_in_hole: false }
    }

    /// Bytes of content and of holes so far.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Adds a hole of `length` bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::FileTooLarge`] if no file can be that long. Otherwise nothing is asked of the system.
    pub fn hole(&mut self, length: u64) -> io::Result<()> {
        let end = self.length.checked_add(length).filter(|end| i64::try_from(*end).is_ok());
        self.length = end.ok_or(io::ErrorKind::FileTooLarge)?;
        self.ends_in_hole |= length > 0;
        Ok(())
    }

    /// Gives a file that ends in a hole its length, and returns it.
    ///
    /// # Errors
    /// The system's answer.
    pub fn finish(self) -> io::Result<File> {
        if self.ends_in_hole {
            self.file.set_len(self.length)?;
        }
        Ok(self.file)
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.length)?;
        self.length += bytes.len() as u64;
        self.ends_in_hole = false;
        Ok(())
    }
}

impl Write for SparseWriter {
    /// Writes everything or fails.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.zeros == Zeros::Written {
            return self.data(bytes);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let (run, behind) = rest.split_at(run_length(self.length, rest));
            if is_zero_block(run) {
                self.hole(run.len() as u64)?
            } else {
                self.data(run)?
            }
            rest = behind;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many of these bytes, which begin at `offset` of a file, are alike: whole blocks of zeros, or anything else.
fn run_length(offset: u64, bytes: &[u8]) -> usize {
    let in_block = usize::try_from(offset % ZERO_BLOCK_BYTES as u64).expect("less than a block");
    let unaligned = (ZERO_BLOCK_BYTES - in_block) % ZERO_BLOCK_BYTES;
    let Some((_, aligned)) = bytes.split_at_checked(unaligned) else { return bytes.len() };
    let mut blocks = aligned.chunks(ZERO_BLOCK_BYTES).map(is_zero_block);
    let first = if unaligned > 0 { Some(false) } else { blocks.next() };
    let same = blocks.take_while(|zero| Some(*zero) == first).count();
    let length = if unaligned > 0 { unaligned } else { ZERO_BLOCK_BYTES } + same * ZERO_BLOCK_BYTES;
    length.min(bytes.len())
}

fn is_zero_block(block: &[u8]) -> bool {
    block.len() >= ZERO_BLOCK_BYTES && block.iter().all(|byte| *byte == 0)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::scratch::{Scratch, name};

    const MIB: u64 = 1 << 20;

    fn segments(file: &File, end: u64) -> Vec<Segment> {
        let mut all = Vec::new();
        let mut offset = 0;
        while offset < end {
            let segment = segment_at(file, offset, end).unwrap();
            let (Segment::Data(length) | Segment::Hole(length)) = segment;
            assert!(length > 0);
            offset += length;
            all.push(segment);
        }
        all
    }

    fn file_in(scratch: &Scratch) -> File {
        scratch.root().handle().create_file(&name("file"), 0o644).unwrap()
    }

    #[test]
    fn holes_at_the_start_in_the_middle_and_at_the_end_are_found() {
        let scratch = Scratch::new();
        let file = file_in(&scratch);
        file.set_len(3 << 30).unwrap();
        assert_eq!(segments(&file, 3 << 30), [Segment::Hole(3 << 30)]);

        file.write_all_at(&[1; 1 << 20], MIB).unwrap();
        file.write_all_at(&[1; 1 << 20], 64 * MIB).unwrap();
        let expected = [
            Segment::Hole(MIB),
            Segment::Data(MIB),
            Segment::Hole(62 * MIB),
            Segment::Data(MIB),
            Segment::Hole((3 << 30) - 65 * MIB),
        ];
        assert_eq!(segments(&file, 3 << 30), expected);
        assert!(file.metadata().unwrap().blocks() < 3 * MIB / 512);
    }

    #[test]
    fn segments_end_where_the_caller_says_also_behind_the_end_of_the_file() {
        let scratch = Scratch::new();
        let file = file_in(&scratch);
        file.write_all_at(&[1; 1 << 20], 0).unwrap();
        assert_eq!(segments(&file, 1000), [Segment::Data(1000)]);
        assert_eq!(segments(&file, 3 * MIB), [Segment::Data(MIB), Segment::Hole(2 * MIB)]);
        assert_eq!(segment_at(&file, MIB, MIB).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn file_system_without_holes_has_data_only() {
        // Files of /proc cannot be searched for data.
        let file = File::open("/proc/self/status").unwrap();
        assert_eq!(segments(&file, 100), [Segment::Data(100)]);
    }

    #[test]
    fn holes_are_made_where_they_are_asked_for() {
        let scratch = Scratch::new();
        let mut writer = SparseWriter::new(file_in(&scratch), Zeros::Written);
        writer.hole(MIB).unwrap();
        writer.write_all(&[1; 1 << 20]).unwrap();
        writer.write_all(&[0; 1 << 20]).unwrap();
        writer.hole(2 << 30).unwrap();
        assert_eq!(writer.len(), 3 * MIB + (2 << 30));
        let file = writer.finish().unwrap();
        let expected = [Segment::Hole(MIB), Segment::Data(2 * MIB), Segment::Hole(2 << 30)];
        assert_eq!(segments(&file, file.metadata().unwrap().len()), expected);
    }

    #[test]
    fn hole_longer_than_any_file_is_an_error() {
        let scratch = Scratch::new();
        let mut writer = SparseWriter::new(file_in(&scratch), Zeros::Written);
        writer.hole(1 << 62).unwrap();
        for length in [u64::MAX, 1 << 62] {
            assert_eq!(writer.hole(length).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        }
        assert_eq!(writer.len(), 1 << 62);
    }

    #[test]
    fn zeros_become_holes_only_where_they_fill_blocks_and_only_when_asked_for() {
        let mut content = vec![1; 5000];
        content.resize(200_000, 0);
        content.extend([2; 3000]);
        content.resize(400_000, 0);
        for zeros in [Zeros::Written, Zeros::Holes] {
            for step in [1, 1000, 4096, 10_000, 77_777, content.len()] {
                let scratch = Scratch::new();
                let mut writer = SparseWriter::new(file_in(&scratch), zeros);
                for part in content.chunks(step) {
                    assert_eq!(writer.write(part).unwrap(), part.len());
                }
                let file = writer.finish().unwrap();
                assert!(std::fs::read(scratch.path("file")).unwrap() == content, "{zeros:?} {step}");
                let holes = file.metadata().unwrap().blocks() * 512 < 300_000;
                // A write of less than a block does not show that the block is full of zeros.
                assert_eq!(holes, zeros == Zeros::Holes && step >= ZERO_BLOCK_BYTES, "{zeros:?} {step}");
            }
        }
    }
}
