//! One reading of a large file, from its beginning to the size it had then: what is appended meanwhile is not part of it.

use std::fs::File;
use std::io::{self, Read, Take};

use coast_tree::{ContentHash, ContentHasher};

/// What was read of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WasRead {
    /// Bytes.
    pub(super) size: u64,
    pub(super) hash: ContentHash,
}

/// A file that is being read and hashed.
pub(super) struct Reading {
    file: Take<File>,
    hasher: ContentHasher,
    read: u64,
    /// What an earlier reading of the same file had found.
    earlier: Option<WasRead>,
    /// Whether this one begins with just that; not known before it has come so far.
    begins_as_earlier: Option<bool>,
}

impl Reading {
    /// Begins to read `size` bytes.
    pub(super) fn new(file: File, size: u64, earlier: Option<WasRead>) -> Self {
        let hasher = ContentHasher::new();
        Self { file: file.take(size), hasher, read: 0, earlier, begins_as_earlier: None }
    }

    /// Reads until the buffer is full or all is read; gives how much.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match read_some(&mut self.file, &mut buffer[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        self.hash(&buffer[..filled]);
        Ok(filled)
    }

    fn hash(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        if let Some(earlier) = self.earlier
            && let Some(left) = usize::try_from(earlier.size.saturating_sub(self.read))
                .ok()
                .filter(|&left| left <= bytes.len())
            && self.begins_as_earlier.is_none()
        {
            let (first, behind) = bytes.split_at(left);
            self.hasher.update(first);
            self.begins_as_earlier = Some(self.hasher.finish() == earlier.hash);
            rest = behind;
        }
        self.hasher.update(rest);
        self.read += bytes.len() as u64;
    }

    /// What was read so far.
    pub(super) fn was_read(&self) -> WasRead {
        WasRead { size: self.read, hash: self.hasher.finish() }
    }

    /// Whether what was read begins with all that an earlier reading found: nothing before the end changed between the two.
    pub(super) fn begins_as_earlier(&self) -> bool {
        self.begins_as_earlier == Some(true)
    }

    pub(super) fn file(&self) -> &File {
        self.file.get_ref()
    }
}

/// Reads some bytes, whatever signals come.
pub(super) fn read_some(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    fn reading(content: &[u8], earlier: Option<WasRead>, buffer: usize) -> Reading {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        let mut reading = Reading::new(file, content.len() as u64, earlier);
        while reading.fill(&mut vec![0; buffer]).unwrap() > 0 {}
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
        file.rewind().unwrap();
        let mut reading = Reading::new(file, 3, None);
        assert_eq!(reading.fill(&mut [0; 8]).unwrap(), 3);
        assert_eq!(reading.was_read().hash, ContentHash::of(b"one"));
    }
}
