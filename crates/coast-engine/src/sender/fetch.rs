//! Takes over one entry of the destination, between two runs of a stream.

use std::io::{self, Read, Write};

use coast_tree::{ContentHasher, RelPath};
use coast_wire::limits::{CHUNK_BYTES, MAX_TARGET_BYTES};
use coast_wire::{Fetched, FrameReader, ToSender, messages};

use crate::error::EngineError;

/// An entry of the destination that was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchedEntry {
    /// A regular file, whose content was written.
    File {
        /// Bytes of its content.
        size: u64,
        /// Permission bits, set-id and sticky bits, within `0o7777`.
        mode: u16,
    },
    /// A symlink, with its target.
    Symlink(Vec<u8>),
}

/// Reads the answer to a request for the entry at `path`. The stream is at its end only if the other side broke the protocol, or the
/// stream failed.
pub(super) fn receive(
    frames: &mut FrameReader<impl Read>,
    path: &RelPath,
    into: &mut dyn Write,
) -> Result<FetchedEntry, EngineError> {
    let mut incoming = Incoming { into, written: Ok(()), file: None };
    loop {
        let frame = frames.next_frame()?.ok_or(EngineError::Disconnected)?;
        let payload = frame.decode()?;
        let mut all = messages(&payload);
        let entry = match all.next().ok_or(EngineError::Protocol("it answered with nothing"))?? {
            ToSender::Fetched(fetched) => incoming.take(fetched)?,
            ToSender::Failed { kind, text } => {
                return Err(EngineError::Remote { kind, text: text.to_owned() });
            }
            _ => return Err(EngineError::Protocol("it did not answer with what was asked for")),
        };
        if all.next().is_some() {
            return Err(EngineError::Protocol("it answered with several pieces at once"));
        }
        if let Some(entry) = entry {
            let reason = |error| format!("its content cannot be written here: {error}");
            let failed = |error| EngineError::Fetch { path: path.clone(), reason: reason(error) };
            return incoming.written.map(|()| entry).map_err(failed);
        }
    }
}

/// An entry that arrives.
struct Incoming<'w> {
    into: &'w mut dyn Write,
    /// What is left of the content after an error is passed over.
    written: io::Result<()>,
    file: Option<IncomingFile>,
}

struct IncomingFile {
    size: u64,
    mode: u16,
    /// Bytes that are yet to come.
    left: u64,
    hasher: ContentHasher,
}

impl Incoming<'_> {
    /// Takes a piece of the answer. The entry is there with the last one.
    fn take(&mut self, fetched: Fetched<'_>) -> Result<Option<FetchedEntry>, EngineError> {
        match (fetched, &mut self.file) {
            (Fetched::File { size, mode: mode @ 0..=0o7777 }, None) => {
                self.file = Some(IncomingFile { size, mode, left: size, hasher: ContentHasher::new() });
                Ok(None)
            }
            (Fetched::Symlink(link_target), None) => {
                let is_valid =
                    (1..=MAX_TARGET_BYTES).contains(&link_target.len()) && !link_target.contains(&0);
                let target_error = EngineError::Protocol("it sent a target that no symlink can have");
                is_valid.then(|| Some(FetchedEntry::Symlink(link_target.to_vec()))).ok_or(target_error)
            }
            (Fetched::Content(content), Some(file)) => {
                if content.is_empty() || content.len() > CHUNK_BYTES || content.len() as u64 > file.left {
                    return Err(EngineError::Protocol("it sent content of a size that was not announced"));
                }
                file.left -= content.len() as u64;
                file.hasher.update(content);
                if self.written.is_ok() {
                    self.written = self.into.write_all(content);
                }
                Ok(None)
            }
            (Fetched::End { hash }, Some(file)) => {
                if file.left > 0 || *file.hasher.finish().as_bytes() != hash {
                    return Err(EngineError::Protocol("it sent content that does not have its hash"));
                }
                Ok(Some(FetchedEntry::File { size: file.size, mode: file.mode }))
            }
            _ => Err(EngineError::Protocol("it sent a piece of an entry out of place")),
        }
    }
}
