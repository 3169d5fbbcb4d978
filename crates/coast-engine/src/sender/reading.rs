//! One reading of a file, from its beginning to the size it had then: what is appended meanwhile is not part of it.

use std::fs::File;
use std::io::{self, Seek};
use std::os::unix::fs::FileExt;

use coast_tree::{ContentHash, ContentHasher, Segment, segment_at};
use coast_wire::limits::MAX_HOLE_BYTES;

use crate::known_contents::Proof;

/// Size and hash of all that a reading found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WasRead {
    pub(super) size: u64,
    pub(super) hash: ContentHash,
}

/// The next stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stretch {
    /// As many bytes as this are in the buffer, at least one.
    Content(usize),
    /// This many zeros, for which the file system keeps nothing; at most [`MAX_HOLE_BYTES`].
    Hole(u64),
    End,
}

/// A file that is being read and hashed.
pub(super) struct Reading<'a> {
    file: File,
    size: u64,
    read: u64,
    /// Up to here the file is known to hold data.
    data_end: u64,
    hasher: ContentHasher,
    /// Checks what is read against a name.
    proof: Option<Box<dyn Proof + 'a>>,
    earlier: Option<Earlier>,
}

/// An earlier reading of the same file, held against this one.
struct Earlier {
    was_read: WasRead,
    /// Whether this reading begins with just that; not known before it has come so far.
    is_beginning: Option<bool>,
}

/// Files below this many bytes are read without asking for holes: a hole there saves less than the system calls cost.
const MIN_SPARSE_BYTES: u64 = 64 << 10;

/// Whether a file, whose position is its beginning and stays there, has a hole that is worth keeping.
pub(super) fn has_hole(file: &mut File, size: u64) -> io::Result<bool> {
    if size < MIN_SPARSE_BYTES {
        return Ok(false);
    }
    let whole = segment_at(&*file, 0, size)? == Segment::Data(size);
    file.rewind()?;
    Ok(!whole)
}

impl<'a> Reading<'a> {
    /// Begins to read `size` bytes.
    pub(super) fn new(file: File, size: u64, earlier: Option<WasRead>) -> Self {
        let data_end = if size < MIN_SPARSE_BYTES { size } else { 0 };
        let earlier = earlier.map(|was_read| Earlier { was_read, is_beginning: None });
        Self { file, size, read: 0, data_end, hasher: ContentHasher::new(), proof: None, earlier }
    }

    /// Has what is read checked against a name.
    pub(super) fn proving(self, proof: Option<Box<dyn Proof + 'a>>) -> Self {
        Self { proof, ..self }
    }

    /// The file was as it was read: what was checked is taken note of.
    pub(super) fn proved(&mut self) {
        if let Some(proof) = self.proof.take() {
            proof.finish(self.hasher.finish());
        }
    }

    /// Reads until the buffer is full, a hole begins, or the file ends.
    pub(super) fn next(&mut self, buffer: &mut [u8]) -> io::Result<Stretch> {
        if self.read == self.size {
            return Ok(Stretch::End);
        }
        if self.read == self.data_end {
            match segment_at(&self.file, self.read, self.size)? {
                Segment::Hole(length) => {
                    let length = length.min(MAX_HOLE_BYTES);
                    self.hash(length, |hasher, from, to| hasher.update_zeros(to - from));
                    // Names of files with holes are not worth the hashing of zeros.
                    self.proof = None;
                    self.data_end = self.read;
                    return Ok(Stretch::Hole(length));
                }
                Segment::Data(length) => self.data_end = self.read + length,
            }
        }
        let left = usize::try_from(self.data_end - self.read).unwrap_or(usize::MAX);
        let room = left.min(buffer.len());
        let mut filled = 0;
        while filled < room {
            match self.file.read_at(&mut buffer[filled..room], self.read + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if filled == 0 {
            // The file was cut meanwhile.
            return Ok(Stretch::End);
        }
        if let Some(proof) = &mut self.proof {
            proof.update(&buffer[..filled]);
        }
        self.hash(filled as u64, |hasher, from, to| hasher.update(&buffer[in_memory(from)..in_memory(to)]));
        Ok(Stretch::Content(filled))
    }

    /// Hashes the next `length` bytes: `update` takes those from one offset to another, counted from the first of them.
    fn hash(&mut self, length: u64, update: impl Fn(&mut ContentHasher, u64, u64)) {
        let mut hashed = 0;
        if let Some(Earlier { was_read, is_beginning: is_beginning @ None }) = &mut self.earlier
            && let Some(left) = was_read.size.checked_sub(self.read).filter(|left| *left <= length)
        {
            update(&mut self.hasher, 0, left);
            *is_beginning = Some(self.hasher.finish() == was_read.hash);
            hashed = left;
        }
        update(&mut self.hasher, hashed, length);
        self.read += length;
    }

    /// Size and hash of all that was read so far.
    pub(super) fn was_read(&self) -> WasRead {
        WasRead { size: self.read, hash: self.hasher.finish() }
    }

    /// Whether what was read begins with all that an earlier reading found: nothing before the end changed between the two.
    pub(super) fn begins_as_earlier(&self) -> bool {
        self.earlier.as_ref().is_some_and(|earlier| earlier.is_beginning == Some(true))
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

/// An offset into a buffer.
fn in_memory(offset: u64) -> usize {
    usize::try_from(offset).expect("a buffer is in memory")
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    fn reading(content: &[u8], earlier: Option<WasRead>, buffer: usize) -> Reading<'static> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        let mut reading = Reading::new(file, content.len() as u64, earlier);
        while reading.next(&mut vec![0; buffer]).unwrap() != Stretch::End {}
        reading
    }

    #[test]
    fn a_content_that_only_grew_is_told_from_one_that_changed() {
        let earlier = |content: &[u8]| Some(reading(content, None, 3).was_read());
        for buffer in [1, 2, 3, 4, 100] {
            for (before, now, only_grew) in [
                (&b"one"[..], &b"one and more"[..], true),
                (b"one", b"one", true),
                (b"", b"one", true),
                (b"one", b"two and more", false),
                (b"one", b"on", false),
            ] {
                let reading = reading(now, earlier(before), buffer);
                assert_eq!(reading.begins_as_earlier(), only_grew, "{before:?} {now:?}");
                assert_eq!(
                    reading.was_read(),
                    WasRead { size: now.len() as u64, hash: ContentHash::of(now) }
                );
            }
            assert!(!reading(b"one", None, buffer).begins_as_earlier());
        }
    }

    #[test]
    fn what_is_appended_meanwhile_is_not_read() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"one and more").unwrap();
        let mut reading = Reading::new(file, 3, None);
        assert_eq!(reading.next(&mut [0; 8]).unwrap(), Stretch::Content(3));
        assert_eq!(reading.next(&mut [0; 8]).unwrap(), Stretch::End);
        assert_eq!(reading.was_read().hash, ContentHash::of(b"one"));
    }

    /// Content is told from holes, whatever the size of the buffer.
    fn stretches(reading: &mut Reading<'_>, buffer: usize) -> Vec<(char, u64)> {
        let mut found: Vec<(char, u64)> = Vec::new();
        loop {
            let (what, length) = match reading.next(&mut vec![0; buffer]).unwrap() {
                Stretch::Content(length) => ('c', length as u64),
                Stretch::Hole(length) => ('h', length),
                Stretch::End => return found,
            };
            match found.last_mut() {
                Some((last, total)) if *last == what => *total += length,
                _ => found.push((what, length)),
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn holes_of_a_large_file_are_not_read_and_count_as_zeros() {
        let mib = 1 << 20;
        let content = vec![7; 1 << 20];
        let mut file = tempfile::tempfile().unwrap();
        for _ in 0..2 {
            file.write_all(&content).unwrap();
            file.seek_relative(2 << 20).unwrap();
        }
        file.set_len(6 * mib).unwrap();
        let zeros = vec![0; 2 << 20];
        let all = [&content[..], &zeros, &content, &zeros].concat();
        let expected = WasRead { size: 6 * mib, hash: ContentHash::of(&all) };
        // An earlier reading may have ended in content or in a hole.
        for ended in [mib / 2, 2 * mib, 5 * mib] {
            for (hash, begins) in
                [(ContentHash::of(&all[..in_memory(ended)]), true), (ContentHash::of(b""), false)]
            {
                let earlier = Some(WasRead { size: ended, hash });
                let mut reading = Reading::new(file.try_clone().unwrap(), 6 * mib, earlier);
                let found = stretches(&mut reading, 300_000);
                assert_eq!(found, [('c', mib), ('h', 2 * mib), ('c', mib), ('h', 2 * mib)]);
                assert_eq!((reading.was_read(), reading.begins_as_earlier()), (expected, begins), "{ended}");
            }
        }
    }

    #[test]
    fn file_that_is_cut_while_it_is_read_ends_there() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![1; 3 << 20]).unwrap();
        let mut reading = Reading::new(file.try_clone().unwrap(), 3 << 20, None);
        assert_eq!(reading.next(&mut [0; 100]).unwrap(), Stretch::Content(100));
        file.set_len(50).unwrap();
        assert_eq!(reading.next(&mut [0; 100]).unwrap(), Stretch::End);
        assert_eq!(reading.was_read().size, 100);
    }
}
