//! Sends a large file in chunks, as content or as a delta against the receiver's basis, and hashes large files.

use std::sync::atomic::Ordering;

use coast_delta::{Differ, Signature};
use coast_tree::{DirHandle, FileIdentity, Name, Timestamp};
use coast_wire::limits::{CHUNK_BYTES, MAX_DELTA_BYTES, MAX_DIFF_BLOCK_BYTES, MAX_OVERTAKING_CHUNKS};
use coast_wire::{FileId, Gone, Piece, ToReceiver};

use super::answer::{ATTEMPTS, Answerer, Failure, HeldSignature, changing};
use super::config::StagedContent;
use super::offer::OfferedFile;
use super::reading::{Reading, Stretch, WasRead};
use super::under_way::UnderWay;
use crate::monitor::add;
use crate::wire_time;

/// Delta bytes that are gathered before they become a chunk.
const DELTA_CHUNK_BYTES: usize = 256 << 10;
const _: () = assert!(DELTA_CHUNK_BYTES + CHUNK_BYTES + 9 * MAX_DIFF_BLOCK_BYTES as usize <= MAX_DELTA_BYTES);

/// Pieces of a file that are packed into one frame at most, where holes make them small. A part of
/// [`MAX_OVERTAKING_CHUNKS`], so that several packs can be under way.
const PACKED_PIECES: u32 = 8;
const _: () = assert!(PACKED_PIECES * 4 <= MAX_OVERTAKING_CHUNKS);

impl Answerer<'_> {
    /// Computes a file's hash and sends it. One that changes all the time is what it was when it was read: if that is not
    /// what the receiver has, its content is asked for.
    pub(super) fn hash(
        &mut self,
        dir: &DirHandle,
        name: &Name,
        id: FileId,
        file: &OfferedFile,
    ) -> Result<(), Failure> {
        let run = self.run;
        let mut tried = 0;
        loop {
            tried += 1;
            let observed_at = Timestamp::now();
            let (opened, stat) = dir.open_file(name)?;
            self.check_size(stat.size, file)?;
            let before = FileIdentity::from(&stat);
            let mut reading = Reading::new(opened, stat.size, None).proving(run.proof(file, stat.size));
            let mut buffer =
                vec![0; usize::try_from(stat.size).map_or(CHUNK_BYTES, |size| size.min(CHUNK_BYTES))];
            while reading.next(&mut buffer)? != Stretch::End {
                self.check_running()?;
            }
            let unchanged = FileIdentity::from(&coast_tree::file_stat(reading.file())?) == before;
            if unchanged || tried == ATTEMPTS {
                let WasRead { size, hash } = reading.was_read();
                file.tell(StagedContent { size, hash, mtime: stat.mtime });
                if unchanged {
                    reading.proved();
                    file.found(before, hash, observed_at);
                }
                self.run.count(|stats| stats.hashed_files += 1);
                file.answered();
                return Ok(self.push(&ToReceiver::Hash { file: id, hash: *hash.as_bytes() })?);
            }
        }
    }

    /// Sends a file of any size, from the start again when it changed meanwhile. One that only grows all the time, as a
    /// log does, is sent as it was when a try began: that it only grows shows in a try whose content begins with all that
    /// the one before had found.
    pub(super) fn stream(
        &mut self,
        dir: &DirHandle,
        name: &Name,
        id: FileId,
        file: &OfferedFile,
        signature: Option<HeldSignature>,
    ) -> Result<(), Failure> {
        let signature = match signature.map(|mut signature| signature.check()).transpose() {
            Ok(signature) => signature,
            Err(_) => {
                self.run.stop.fail(crate::EngineError::Protocol("it sent a signature that is none"));
                return Err(Failure::Stopped);
            }
        };
        let run = self.run;
        let mut earlier = None;
        for _ in 0..ATTEMPTS {
            let observed_at = Timestamp::now();
            let (opened, stat) = dir.open_file(name)?;
            self.check_size(stat.size, file)?;
            let before = FileIdentity::from(&stat);
            let mut reading =
                Reading::new(opened, before.size, earlier).proving(run.proof(file, before.size));
            let under_way = UnderWay::new(self.run.stop.clone());
            let attempt = file.attempts.fetch_add(1, Ordering::Relaxed);
            let mut chunks = Chunks { id, attempt, sequence: 0, packed: 0, under_way };
            match &signature {
                None => self.contents(&mut chunks, &mut reading)?,
                Some(signature) => self.delta(&mut chunks, &mut reading, signature)?,
            }
            let read @ WasRead { size, hash } = reading.was_read();
            let after = FileIdentity::from(&coast_tree::file_stat(reading.file())?);
            if after == before {
                reading.proved();
                file.found(before, hash, observed_at);
            } else if !(reading.begins_as_earlier() && size == before.size && after.size > size) {
                earlier = Some(read);
                continue;
            }
            file.tell(StagedContent { size, hash, mtime: stat.mtime });
            file.answered();
            let mtime = self.run.options.times.then(|| wire_time(stat.mtime));
            self.chunk(&mut chunks, Piece::End { size, hash: *hash.as_bytes(), mtime })?;
            self.flush()?;
            return Ok(());
        }
        Err(changing())
    }

    fn contents(&mut self, chunks: &mut Chunks, reading: &mut Reading<'_>) -> Result<(), Failure> {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let bytes = match reading.next(&mut buffer)? {
                Stretch::Content(count) => {
                    self.chunk(chunks, Piece::Content(&buffer[..count]))?;
                    count as u64
                }
                Stretch::Hole(length) => {
                    self.chunk(chunks, Piece::Hole(length))?;
                    length
                }
                Stretch::End => return self.hand_over_pieces(chunks),
            };
            if self.is_packed(chunks) {
                self.hand_over_pieces(chunks)?;
            }
            add(&self.run.progress.sent_bytes, bytes);
            self.check_running()?;
        }
    }

    fn delta(
        &mut self,
        chunks: &mut Chunks,
        reading: &mut Reading<'_>,
        signature: &Signature,
    ) -> Result<(), Failure> {
        let mut differ = Differ::new(signature);
        let block_bytes = u64::from(signature.block_size().min(MAX_DIFF_BLOCK_BYTES));
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut delta = Vec::new();
        let unencodable = |_| Failure::Gone(Gone::Unreadable, "its difference cannot be encoded".to_owned());
        loop {
            let bytes = match reading.next(&mut buffer)? {
                Stretch::Content(count) => {
                    differ.push(&buffer[..count], &mut delta).map_err(unencodable)?;
                    count as u64
                }
                // The blocks at both ends of a hole match nothing, so a smaller one would cost more than it spares.
                Stretch::Hole(length) if length < block_bytes => {
                    let zeros = usize::try_from(length).expect("less than a block");
                    differ.push(&vec![0; zeros], &mut delta).map_err(unencodable)?;
                    length
                }
                Stretch::Hole(length) => {
                    differ.skip(length, &mut delta).map_err(unencodable)?;
                    if !delta.is_empty() {
                        self.delta_chunk(chunks, &mut delta)?;
                    }
                    self.chunk(chunks, Piece::Hole(length))?;
                    length
                }
                Stretch::End => break,
            };
            if delta.len() >= DELTA_CHUNK_BYTES {
                self.delta_chunk(chunks, &mut delta)?;
            }
            if self.is_packed(chunks) {
                self.hand_over_pieces(chunks)?;
            }
            add(&self.run.progress.sent_bytes, bytes);
            self.check_running()?;
        }
        differ.finish(&mut delta).map_err(unencodable)?;
        if !delta.is_empty() {
            self.delta_chunk(chunks, &mut delta)?;
        }
        self.hand_over_pieces(chunks)
    }

    fn delta_chunk(&mut self, chunks: &mut Chunks, delta: &mut Vec<u8>) -> Result<(), Failure> {
        self.chunk(chunks, Piece::Delta(delta))?;
        delta.clear();
        Ok(())
    }

    fn chunk(&mut self, chunks: &mut Chunks, piece: Piece<'_>) -> Result<(), Failure> {
        let Chunks { id: file, attempt, sequence, .. } = *chunks;
        chunks.sequence += 1;
        chunks.packed += 1;
        Ok(self.push(&ToReceiver::Chunk { file, attempt, sequence, piece })?)
    }

    /// Whether what is packed of a file is worth a frame.
    fn is_packed(&self, chunks: &Chunks) -> bool {
        self.packed_bytes() >= DELTA_CHUNK_BYTES || chunks.packed >= PACKED_PIECES
    }

    fn hand_over_pieces(&mut self, chunks: &mut Chunks) -> Result<(), Failure> {
        let pieces = std::mem::take(&mut chunks.packed);
        if pieces > 0 {
            self.hand_over(&chunks.under_way, pieces)?;
        }
        Ok(())
    }

    /// Fails if a file has become so large since it was offered that it is left for another run.
    fn check_size(&self, size: u64, offered: &OfferedFile) -> Result<(), Failure> {
        let limit = self.run.defer_above();
        if size > limit && offered.identity.size <= limit { Err(Failure::Deferred) } else { Ok(()) }
    }

    fn check_running(&self) -> Result<(), Failure> {
        if self.run.stop.is_stopped() { Err(Failure::Stopped) } else { Ok(()) }
    }
}

/// Numbers the chunks of one try to send a file.
struct Chunks {
    id: FileId,
    attempt: u32,
    sequence: u32,
    /// Pieces that were packed and not handed over.
    packed: u32,
    under_way: UnderWay,
}
