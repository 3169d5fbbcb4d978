//! Contents that a run about everything puts at the destination, kept for the case that the run is interrupted before it has written
//! ledger and cache anew.
//!
//! The file has the format of the journal, and only notes of what is intended. Nothing of it is kept in memory, because such a run
//! may put any number of files there.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::sync::Mutex;

use super::Note;
use super::record::{encode, read_record};
use crate::{ContentHash, LockExt, Name, RelPath};

/// Bytes that the file has at most: some 300,000 notes. The next run keeps all of them in memory. A content beyond that counts as not
/// known, so a later change of it may be taken for a conflict.
const MAX_BYTES: u64 = 32 << 20;

/// Bytes of notes that are handed to the system together.
const BUFFER_BYTES: usize = 64 << 10;

/// Writes the contents that a run puts at the destination.
#[derive(Debug)]
pub struct Placements {
    /// No other lock is taken while it is held.
    output: Mutex<Output>,
}

#[derive(Debug)]
struct Output {
    /// None after an error.
    writer: Option<BufWriter<File>>,
    bytes: u64,
    record: Vec<u8>,
}

impl Placements {
    /// Writes to an empty file.
    pub fn new(file: File) -> Self {
        let writer = Some(BufWriter::with_capacity(BUFFER_BYTES, file));
        Self { output: Mutex::new(Output { writer, bytes: 0, record: Vec::new() }) }
    }

    /// Notes a content that is about to be put at a place, or was found there. A note that cannot be written ends the file.
    pub fn note(&self, directory: &RelPath, name: &Name, content: ContentHash) {
        let Ok(path) = directory.join(name) else { return };
        let output = &mut *self.output.enter();
        let Some(writer) = &mut output.writer else { return };
        output.record.clear();
        encode(&path, &Note::Intended(content), &mut output.record);
        output.bytes += output.record.len() as u64;
        if output.bytes > MAX_BYTES || writer.write_all(&output.record).is_err() {
            output.end();
        }
    }

    /// Hands all notes to the system.
    pub fn flush(&self) {
        let output = &mut *self.output.enter();
        if output.writer.as_mut().is_some_and(|writer| writer.flush().is_err()) {
            output.end();
        }
    }
}

impl Output {
    fn end(&mut self) {
        // Dropping the writer tries once more to hand over what it has.
        self.writer = None;
    }
}

/// Reads the notes of a file up to the first that is none.
pub(super) fn read(file: &File, mut take: impl FnMut(&RelPath, &Name, ContentHash)) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(256 << 10, file.take(MAX_BYTES));
    while let Some((path, Note::Intended(content))) = read_record(&mut reader)? {
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            take(&parent, &name, content);
        }
    }
    Ok(())
}
