//! The data and the holes of a file.

use std::io;
use std::os::fd::AsFd;

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
/// What the system answers, and [`io::ErrorKind::InvalidInput`] if `offset` is not below `end`.
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::{FileExt, MetadataExt};

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
}
