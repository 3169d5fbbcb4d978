//! Applies content messages: whole small files, pieces of large ones, hashes, and the news that a file cannot come.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use coast_delta::Patcher;
use coast_tree::{ContentHash, ContentHasher, SparseWriter};
use coast_wire::limits::{CHUNK_BYTES, MAX_DELTA_BYTES, MAX_HOLE_BYTES, MAX_WHOLE_BYTES};
use coast_wire::{EntryKind, FileId, Frame, Gone, Piece, Time, ToReceiver, Update, messages};

use super::Transfer;
use super::compare::{ask_for_all, compare_and_settle};
use super::file_transfer::{Assembly, Condition, FileTransfer, OwnedPiece, Turn};
use super::part::{FileState, Part, PartEntry};
use super::signing::release;
use crate::error::EngineError;
use crate::receiver::failure::{Doing, Failure};
use crate::receiver::offered::checked_time;
use crate::receiver::target::{Basis, DestinationDirectory, DestinationEntry, StagedFile};

/// Applies content on one worker.
pub(super) struct ContentWorker<'a> {
    transfer: &'a Transfer<'a>,
    /// The directory that this worker used last: files come in the order they were asked for, directory by directory.
    last_directory: Option<(u32, Arc<DestinationDirectory>)>,
    patcher: Patcher,
}

/// A file that content has come for.
struct ContentFile {
    entry: PartEntry,
    /// Its pieces.
    pieces: Arc<FileTransfer>,
}

/// A file whose content has come and was verified.
struct ReceivedFile {
    staged: StagedFile,
    /// In bytes, with its holes.
    size: u64,
    hash: ContentHash,
    /// The time of the content that came, when times are kept.
    mtime: Option<Time>,
    literal_bytes: u64,
    matched_bytes: u64,
}

/// The last piece of a file.
struct End {
    /// In bytes.
    size: u64,
    hash: ContentHash,
    mtime: Option<Time>,
}

const TOO_LARGE: Failure = Failure::Run(EngineError::Protocol("it sent a piece of a file that is too large"));
const WRONG_HASH: EngineError = EngineError::Protocol("it sent content that does not have its hash");
const UNASKED: EngineError = EngineError::Protocol("it sent something that was not asked for");

impl<'a> ContentWorker<'a> {
    pub(super) fn new(transfer: &'a Transfer<'a>) -> Self {
        Self { transfer, last_directory: None, patcher: Patcher::default() }
    }

    /// Applies a frame of content.
    pub(super) fn apply(&mut self, frame: &Frame) -> Result<(), EngineError> {
        let payload = frame.decode()?;
        for message in messages(&payload) {
            match self.apply_message(message?) {
                Ok(()) => {}
                Err(failure) => return failure.of_run(),
            }
        }
        Ok(())
    }

    fn apply_message(&mut self, message: ToReceiver<'_>) -> Result<(), Failure> {
        match message {
            ToReceiver::Whole { file, content, hash, mtime } => {
                let entry = self.entry_of(file)?;
                let FileState::Transfer(pieces) = take_state(&entry) else { return Err(UNASKED.into()) };
                let file = ContentFile { entry, pieces };
                let hash = ContentHash::from_bytes(hash);
                let done = self.apply_whole(&file, content, hash, mtime);
                self.transfer.settle_failed(&file.entry, done)
            }
            ToReceiver::Chunk { file, attempt, sequence, piece } => {
                match piece {
                    Piece::Content(bytes) if bytes.len() > CHUNK_BYTES => return Err(TOO_LARGE),
                    Piece::Delta(bytes) if bytes.len() > MAX_DELTA_BYTES => return Err(TOO_LARGE),
                    Piece::Hole(length) if length == 0 || length > MAX_HOLE_BYTES => return Err(TOO_LARGE),
                    _ => {}
                }
                let Some(file) = self.under_way(file)? else { return Ok(()) };
                let turn = file.pieces.deposit(attempt, sequence, &piece, self.transfer.stop)?;
                self.apply_pieces(&file, turn)
            }
            ToReceiver::Hash { file, hash } => {
                let file = self.entry_of(file)?;
                let FileState::Hash = take_state(&file) else { return Err(UNASKED.into()) };
                compare_and_settle(self.transfer, &file, ContentHash::from_bytes(hash))
            }
            ToReceiver::Gone { file, reason } => {
                let file = self.entry_of(file)?;
                match take_state(&file) {
                    FileState::Transfer(pieces) => {
                        pieces.close();
                        release(self.transfer, pieces.signature_bytes);
                    }
                    FileState::Hash => {}
                    FileState::Idle => return Err(UNASKED.into()),
                }
                if reason == Gone::Unreadable {
                    self.transfer.note_source_errors();
                }
                Ok(self.transfer.settle(&file.part)?)
            }
            _ => Err(EngineError::Protocol("it sent something out of place").into()),
        }
    }

    /// The file that the sender named.
    fn entry_of(&self, file: FileId) -> Result<PartEntry, EngineError> {
        let part = self.transfer.parts.get(file.part);
        let part = part.filter(|part| part.entries.len() > file.index as usize).ok_or(UNASKED)?;
        Ok(PartEntry { part, index: file.index })
    }

    /// The file that a piece belongs to; none if its transfer is over. A piece may come late: the end of the transfer, or a later
    /// try, can have overtaken it among the workers.
    fn under_way(&self, file: FileId) -> Result<Option<ContentFile>, EngineError> {
        if self.transfer.parts.was_settled(file.part) {
            return Ok(None);
        }
        let entry = self.entry_of(file)?;
        let pieces = match &*entry.state() {
            FileState::Transfer(pieces) => pieces.clone(),
            FileState::Idle => return Ok(None),
            FileState::Hash => return Err(UNASKED),
        };
        Ok(Some(ContentFile { entry, pieces }))
    }

    fn apply_whole(
        &mut self,
        file: &ContentFile,
        content: &[u8],
        hash: ContentHash,
        mtime: Option<Time>,
    ) -> Result<(), Failure> {
        if content.len() as u64 > MAX_WHOLE_BYTES {
            return Err(EngineError::Protocol("it sent a file at once that is too large for that").into());
        }
        if ContentHash::of(content) != hash {
            return Err(WRONG_HASH.into());
        }
        let directory = self.directory(&file.entry.part)?;
        let entry = file.in_directory(&directory);
        place(self.transfer, &file.entry, &entry, content, (hash, mtime))
    }

    fn apply_pieces(&mut self, file: &ContentFile, mut turn: Turn) -> Result<(), Failure> {
        while let Turn::Apply(mut assembly, piece) = turn {
            let written = match piece {
                OwnedPiece::Content(bytes) => self.write_content(file, &mut assembly, &bytes),
                OwnedPiece::Delta(delta) => self.write_delta(file, &mut assembly, &delta),
                OwnedPiece::Hole(length) => self.write_hole(file, &mut assembly, length),
                OwnedPiece::End { size, hash, mtime } => {
                    file.pieces.close();
                    *file.entry.state() = FileState::Idle;
                    release(self.transfer, file.pieces.signature_bytes);
                    let ended = self.end(file, *assembly, End { size, hash, mtime });
                    return self.transfer.settle_failed(&file.entry, ended);
                }
            };
            if let Err(failure) = written {
                let Failure::Entry { doing, error } = failure else { return Err(failure) };
                // The rest of the file is on its way and cannot be called back. The file is settled with its end.
                self.transfer.report_failed(&file.entry, doing, error)?;
                assembly.fail();
            }
            turn = file.pieces.next(assembly);
        }
        Ok(())
    }

    fn write_content(
        &mut self,
        file: &ContentFile,
        assembly: &mut Assembly,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        if assembly.condition != Condition::Good {
            return Ok(());
        }
        self.output(file, assembly)?.write_all(bytes).doing("cannot write it")?;
        assembly.hasher.update(bytes);
        assembly.literal_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Leaves a hole. Its length is the sender's word, and at most [`MAX_HOLE_BYTES`].
    fn write_hole(
        &mut self,
        file: &ContentFile,
        assembly: &mut Assembly,
        length: u64,
    ) -> Result<(), Failure> {
        if assembly.condition != Condition::Good {
            return Ok(());
        }
        self.output(file, assembly)?.hole(length).doing("cannot write it")?;
        assembly.hasher.update_zeros(length);
        Ok(())
    }

    fn write_delta(
        &mut self,
        file: &ContentFile,
        assembly: &mut Assembly,
        delta: &[u8],
    ) -> Result<(), Failure> {
        let Some(basis) = &file.pieces.basis else {
            return Err(EngineError::Protocol("it sent a difference to nothing").into());
        };
        if assembly.condition != Condition::Good {
            return Ok(());
        }
        self.output(file, assembly)?;
        if assembly.basis.is_none() {
            assembly.basis = self.reopen(file, basis);
        }
        // As long as it gets: a file may have grown since it was listed, and a sender may announce any size anyway.
        let limit = u64::MAX - assembly.written();
        let Assembly { basis: Some(basis_file), output: Some(staged), hasher, .. } = &mut *assembly else {
            // The basis is no longer the file that was signed: all of the file is asked for when the delta has ended.
            assembly.condition = Condition::Spoiled;
            return Ok(());
        };
        let mut out = HashingWriter { output: &mut staged.output, hasher, failed: None };
        match self.patcher.patch(delta, basis_file, basis.size(), limit, &mut out) {
            Ok(stats) => {
                assembly.literal_bytes += stats.literal_bytes;
                assembly.matched_bytes += stats.copied_bytes;
                Ok(())
            }
            Err(_) => match out.failed.take() {
                Some(error) => Err(error).doing("cannot write it"),
                None => {
                    assembly.condition = Condition::Spoiled;
                    Ok(())
                }
            },
        }
    }

    /// The staged file that pieces are written to, made with the first one.
    fn output<'s>(
        &mut self,
        file: &ContentFile,
        assembly: &'s mut Assembly,
    ) -> Result<&'s mut SparseWriter, Failure> {
        let staged = match assembly.output.take() {
            Some(staged) => staged,
            None => {
                let directory = self.directory(&file.entry.part)?;
                self.transfer.target.stage_file(&file.in_directory(&directory))?
            }
        };
        Ok(&mut assembly.output.insert(staged).output)
    }

    fn reopen(&mut self, file: &ContentFile, basis: &Basis) -> Option<File> {
        let directory = self.directory(&file.entry.part).ok()?;
        basis.reopen(&directory, &file.entry.offered().name, self.transfer.target.bases())
    }

    /// Ends a file all of whose pieces have come. The caller settles it if this fails: nothing more comes for this file.
    fn end(&mut self, file: &ContentFile, assembly: Assembly, end: End) -> Result<(), Failure> {
        if assembly.condition == Condition::Failed {
            return Ok(self.transfer.settle(&file.entry.part)?);
        }
        let whole = assembly.condition == Condition::Good
            && assembly.written() == end.size
            && assembly.hasher.finish() == end.hash;
        // A basis that an interrupted run left is of no more use, whether it led to the file or not.
        if let Some(basis) = &file.pieces.basis {
            basis.forget_partial(self.transfer.target.bases());
        }
        if whole {
            let Assembly { output, literal_bytes, matched_bytes, .. } = assembly;
            let directory = self.directory(&file.entry.part)?;
            let entry = file.in_directory(&directory);
            // An empty file has no pieces.
            let staged = output.map_or_else(|| self.transfer.target.stage_file(&entry), Ok)?;
            let received = ReceivedFile {
                staged,
                size: end.size,
                hash: end.hash,
                mtime: end.mtime,
                literal_bytes,
                matched_bytes,
            };
            return finish(self.transfer, &file.entry, &entry, received);
        }
        if file.pieces.basis.is_some() {
            // Weak sums that agreed by accident or by design, or a basis that changed: a delta is only a guess.
            let attempt = assembly.attempt.saturating_add(1);
            return Ok(ask_for_all(self.transfer, &file.entry, file.pieces.existing, attempt)?);
        }
        Err(WRONG_HASH.into())
    }

    fn directory(&mut self, part: &Part) -> Result<Arc<DestinationDirectory>, Failure> {
        if let Some((id, directory)) = &self.last_directory
            && *id == part.id
        {
            return Ok(directory.clone());
        }
        let directory =
            Arc::new(self.transfer.target.directory(&part.path).doing("cannot open its directory")?);
        self.last_directory = Some((part.id, directory.clone()));
        Ok(directory)
    }
}

impl ContentFile {
    /// The file as an entry of the destination, with what was there when its content was asked for.
    fn in_directory<'a>(&'a self, directory: &'a DestinationDirectory) -> DestinationEntry<'a> {
        DestinationEntry::as_decided(directory, self.entry.offered(), self.pieces.existing)
    }
}

/// Puts a file into place of which the content came with the offer, and settles it.
pub(super) fn place_unasked(
    transfer: &Transfer<'_>,
    file: &PartEntry,
    entry: &DestinationEntry<'_>,
    content: &[u8],
    hash: ContentHash,
) -> Result<(), Failure> {
    if ContentHash::of(content) != hash {
        return Err(WRONG_HASH.into());
    }
    place(transfer, file, entry, content, (hash, None))
}

/// Puts a file with this content into place, and settles it.
fn place(
    transfer: &Transfer<'_>,
    file: &PartEntry,
    entry: &DestinationEntry<'_>,
    content: &[u8],
    (hash, mtime): (ContentHash, Option<Time>),
) -> Result<(), Failure> {
    let mut staged = transfer.target.stage_file(entry)?;
    staged.output.write_all(content).doing("cannot write it")?;
    let size = content.len() as u64;
    let received = ReceivedFile { staged, size, hash, mtime, literal_bytes: size, matched_bytes: 0 };
    finish(transfer, file, entry, received)
}

/// Puts a file into place, counts it and settles it.
fn finish(
    transfer: &Transfer<'_>,
    file: &PartEntry,
    entry: &DestinationEntry<'_>,
    received: ReceivedFile,
) -> Result<(), Failure> {
    let ReceivedFile { staged, size, hash, mtime, literal_bytes, matched_bytes } = received;
    let Transfer { target, report, .. } = transfer;
    let mtime = mtime.map(checked_time).transpose()?;
    file.part.remember(target.finish_file(entry, staged, hash, mtime)?);
    report.transferred(size, literal_bytes, matched_bytes);
    target.report_created(entry, EntryKind::File, Update::Transferred);
    Ok(transfer.settle(&file.part)?)
}

/// Takes a file out of the state that waits for a message, since the message has come.
fn take_state(file: &PartEntry) -> FileState {
    std::mem::replace(&mut *file.state(), FileState::Idle)
}

/// Writes to a file and hashes what it writes; keeps what the system answered.
struct HashingWriter<'a> {
    output: &'a mut SparseWriter,
    hasher: &'a mut ContentHasher,
    failed: Option<io::Error>,
}

impl Write for HashingWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.output.write(bytes) {
            Ok(count) => {
                self.hasher.update(&bytes[..count]);
                Ok(count)
            }
            Err(error) => {
                let kept =
                    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
                self.failed = Some(kept);
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
