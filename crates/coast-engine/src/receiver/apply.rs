//! Applies what arrives: whole small files, pieces of large ones, hashes, and the news that a file cannot come.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use coast_delta::Patcher;
use coast_tree::{
    ContentHash, ContentHasher, DirHandle, SparseWriter, Stat, Timestamp, Zeros, clone_contents, hash_file,
};
use coast_wire::limits::{CHUNK_BYTES, MAX_DELTA_BYTES, MAX_HOLE_BYTES, MAX_WHOLE_BYTES};
use coast_wire::{EntryKind, FileId, Frame, Piece, Time, ToReceiver, Update, messages};

use super::Run;

use super::lane::{Condition, Lane, OwnedPiece, Target, Turn};
use super::parts::{FileState, LivePart, WantedEntry, checked_time};
use super::site::{Failure, Site};
use super::staging::{Staged, set_file};
use crate::error::EngineError;

/// What one worker keeps at hand between files.
#[derive(Default)]
pub(super) struct Hands {
    /// The directory it worked in last: files come in the order they were asked for, directory by directory.
    dir: Option<(u32, DirHandle)>,
    patcher: Patcher,
}

impl Hands {
    fn directory(&mut self, run: &Run<'_>, part: &LivePart) -> io::Result<DirHandle> {
        if let Some((id, dir)) = &self.dir
            && *id == part.id
        {
            return Ok(dir.clone());
        }
        let dir = run.directory(&part.path)?.ok_or(io::ErrorKind::NotFound)?;
        self.dir = Some((part.id, dir.clone()));
        Ok(dir)
    }
}

impl Run<'_> {
    /// Applies a frame of content.
    pub(super) fn apply(&self, frame: &Frame, hands: &mut Hands) -> Result<(), EngineError> {
        let payload = frame.decode()?;
        for message in messages(&payload) {
            match self.apply_message(message?, hands) {
                Ok(()) => {}
                Err(Failure::Stopped) => return Ok(()),
                Err(Failure::Run(error)) => return Err(error),
                Err(Failure::Entry(doing, error)) => {
                    return Err(EngineError::FileIo { doing: doing.to_owned(), error });
                }
            }
        }
        Ok(())
    }

    fn apply_message(&self, message: ToReceiver<'_>, hands: &mut Hands) -> Result<(), Failure> {
        match message {
            ToReceiver::Whole { file, content, hash, mtime } => {
                let (part, lane) = self.awaited(file, Awaited::Content)?;
                let hash = ContentHash::from_bytes(hash);
                let done = self.apply_whole(&part, file.index, lane.existing, content, hash, mtime, hands);
                self.or_fail(&part, file.index, done)
            }
            ToReceiver::Chunk { file, attempt, sequence, piece } => {
                match piece {
                    Piece::Content(bytes) if bytes.len() > CHUNK_BYTES => return Err(TOO_LARGE),
                    Piece::Delta(bytes) if bytes.len() > MAX_DELTA_BYTES => return Err(TOO_LARGE),
                    Piece::Hole(length) if length == 0 || length > MAX_HOLE_BYTES => return Err(TOO_LARGE),
                    _ => {}
                }
                let Some((part, lane)) = self.transfer_of(file)? else { return Ok(()) };
                let turn = lane.deposit(attempt, sequence, &piece, self.stop).map_err(Failure::Run)?;
                self.apply_pieces(&part, file.index, &lane, turn, hands)
            }
            ToReceiver::Hash { file, hash } => {
                let (part, _) = self.awaited(file, Awaited::Hash)?;
                let theirs = ContentHash::from_bytes(hash);
                let compared = self.revisit(&part, file.index, |site| self.compare(site, theirs));
                self.or_fail(&part, file.index, compared)
            }
            ToReceiver::Gone { file, reason } => {
                let (part, lane) = self.awaited(file, Awaited::Anything)?;
                lane.close();
                self.release_signature(lane.signature_bytes);
                Ok(self.source_failed(&part, reason)?)
            }
            _ => Err(Failure::Run(EngineError::Protocol("it sent something out of place"))),
        }
    }

    fn part_of(&self, file: FileId) -> Result<Arc<LivePart>, Failure> {
        let part = self.parts.get(file.part).filter(|part| part.entries.len() > file.index as usize);
        part.ok_or(Failure::Run(UNASKED))
    }

    /// Takes a file out of the state that waits for a message; the message breaks the protocol if it does not.
    fn awaited(&self, file: FileId, what: Awaited) -> Result<(Arc<LivePart>, Arc<Lane>), Failure> {
        let part = self.part_of(file)?;
        let state = std::mem::replace(&mut *part.entries[file.index as usize].state(), FileState::Idle);
        let lane = match (state, what) {
            (FileState::Transfer(lane), Awaited::Content | Awaited::Anything) => lane,
            (FileState::Hash, Awaited::Hash | Awaited::Anything) => Arc::new(Lane::new(None, 0, None, 0)),
            _ => return Err(Failure::Run(UNASKED)),
        };
        Ok((part, lane))
    }

    /// The transfer that a piece belongs to; none if that is over. A piece may come late: what ended the transfer, or a
    /// later try, can have overtaken it among the workers.
    fn transfer_of(&self, file: FileId) -> Result<Option<Transfer>, Failure> {
        if self.parts.was_settled(file.part) {
            return Ok(None);
        }
        let part = self.part_of(file)?;
        let lane = match &*part.entries[file.index as usize].state() {
            FileState::Transfer(lane) => lane.clone(),
            FileState::Idle => return Ok(None),
            FileState::Hash => return Err(Failure::Run(UNASKED)),
        };
        Ok(Some((part, lane)))
    }

    #[allow(clippy::too_many_arguments)] // The parts of one message.
    fn apply_whole(
        &self,
        part: &Arc<LivePart>,
        index: u32,
        existing: Option<Stat>,
        content: &[u8],
        hash: ContentHash,
        mtime: Option<Time>,
        hands: &mut Hands,
    ) -> Result<(), Failure> {
        if content.len() as u64 > MAX_WHOLE_BYTES {
            return Err(Failure::Run(EngineError::Protocol(
                "it sent a file at once that is too large for that",
            )));
        }
        if ContentHash::of(content) != hash {
            return Err(Failure::Run(EngineError::Protocol("it sent content that does not have its hash")));
        }
        let dir = hands
            .directory(self, part)
            .map_err(|error| Failure::Entry("cannot open its directory", error))?;
        let entry = &part.entries[index as usize];
        let site = Site { part, index, entry, dir: Some(&dir), existing, observed_at: Timestamp::now() };
        let (staged, file) = self.stage(entry, existing.as_ref())?;
        let mut output = self.sparse_writer(file);
        let file = output.write_all(content).and_then(|()| output.finish());
        let file = file.map_err(|error| Failure::Entry("cannot write it", error))?;
        let size = content.len() as u64;
        let came = Came { staged, file, size, literal_bytes: size, matched_bytes: 0 };
        self.finish_file(&site, &dir, came, hash, mtime)
    }

    /// Makes the staged file of an entry that shall take the place of `existing`.
    fn stage(&self, entry: &WantedEntry, existing: Option<&Stat>) -> Result<(Staged, File), Failure> {
        let Some(staging) = &self.staging else {
            return Err(Failure::Run(EngineError::Protocol("it sent content in a dry run")));
        };
        let wanted = self.attributes.wanted(entry, existing);
        staging.file(wanted.mode.unwrap_or(0o600)).map_err(|error| Failure::Entry("cannot create it", error))
    }

    /// Writes a staged file, with holes for zeros if those were asked for.
    fn sparse_writer(&self, file: File) -> SparseWriter {
        SparseWriter::new(file, if self.options.sparse { Zeros::Holes } else { Zeros::Written })
    }

    /// Sets a staged file's attributes, puts it in place and remembers its hash.
    fn finish_file(
        &self,
        site: &Site<'_>,
        dir: &DirHandle,
        came: Came,
        hash: ContentHash,
        mtime: Option<Time>,
    ) -> Result<(), Failure> {
        let Came { staged, file, size, literal_bytes, matched_bytes } = came;
        let mut wanted = self.attributes.wanted(site.entry, site.existing.as_ref());
        if wanted.mtime.is_some()
            && let Some(mtime) = mtime
        {
            // The time of the content that came, not of the one that was listed.
            wanted.mtime = Some(checked_time(mtime).map_err(Failure::Run)?);
        }
        let wanted = self.inherit_group(wanted, dir, site.existing.as_ref())?;
        set_file(&file, &wanted).map_err(|error| Failure::Entry("cannot set its attributes", error))?;
        self.place_file(site, dir, staged, hash, &file)?;
        self.count(|stats| {
            stats.transferred_files += 1;
            stats.transferred_bytes += size;
            stats.literal_bytes += literal_bytes;
            stats.matched_bytes += matched_bytes;
        });
        self.created(site, EntryKind::File, Update::Transferred);
        Ok(self.settle(site.part)?)
    }

    fn apply_pieces(
        &self,
        part: &Arc<LivePart>,
        index: u32,
        lane: &Arc<Lane>,
        mut turn: Turn,
        hands: &mut Hands,
    ) -> Result<(), Failure> {
        let entry = &part.entries[index as usize];
        while let Turn::Apply(mut target, piece) = turn {
            let written = match piece {
                OwnedPiece::Content(bytes) => self.write_content(entry, lane, &mut target, &bytes),
                OwnedPiece::Delta(delta) => self.write_delta(part, entry, lane, &mut target, &delta, hands),
                OwnedPiece::Hole(length) => self.write_hole(entry, lane, &mut target, length),
                OwnedPiece::End { size, hash, mtime } => {
                    lane.close();
                    *entry.state() = FileState::Idle;
                    self.release_signature(lane.signature_bytes);
                    let ended = self.end(part, index, lane, *target, End { size, hash, mtime }, hands);
                    return self.or_fail(part, index, ended);
                }
            };
            if let Err(failure) = written {
                let Failure::Entry(doing, error) = failure else { return Err(failure) };
                // The rest of it is on its way and cannot be called back; it is settled with its end.
                self.report(part, index, doing, error)?;
                target.fail();
            }
            turn = lane.next(target);
        }
        Ok(())
    }

    fn write_content(
        &self,
        entry: &WantedEntry,
        lane: &Lane,
        target: &mut Box<Target>,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        if target.condition != Condition::Good {
            return Ok(());
        }
        self.ensure_open(entry, lane, target)?;
        if let Some((_, output)) = &mut target.output {
            output.write_all(bytes).map_err(|error| Failure::Entry("cannot write it", error))?;
        }
        target.hasher.update(bytes);
        target.literal_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Leaves a hole. Its length is the sender's word, and at most [`MAX_HOLE_BYTES`].
    fn write_hole(
        &self,
        entry: &WantedEntry,
        lane: &Lane,
        target: &mut Box<Target>,
        length: u64,
    ) -> Result<(), Failure> {
        if target.condition != Condition::Good {
            return Ok(());
        }
        self.ensure_open(entry, lane, target)?;
        if let Some((_, output)) = &mut target.output {
            output.hole(length).map_err(|error| Failure::Entry("cannot write it", error))?;
        }
        target.hasher.update_zeros(length);
        Ok(())
    }

    fn write_delta(
        &self,
        part: &LivePart,
        entry: &WantedEntry,
        lane: &Lane,
        target: &mut Box<Target>,
        delta: &[u8],
        hands: &mut Hands,
    ) -> Result<(), Failure> {
        let Some(basis) = &lane.basis else {
            return Err(Failure::Run(EngineError::Protocol("it sent a difference to nothing")));
        };
        if target.condition != Condition::Good {
            return Ok(());
        }
        self.ensure_open(entry, lane, target)?;
        if target.basis.is_none() {
            let dir = hands.directory(self, part);
            target.basis = dir.and_then(|dir| self.reopen_basis(basis, &dir, &entry.name)).ok().flatten();
        }
        if target.basis.is_none() {
            // It is no longer what was signed: all of the file is asked for when the delta has ended.
            target.condition = Condition::Spoiled;
            return Ok(());
        }
        // As long as it gets: a file may have grown since it was listed, and a sender may announce any size anyway.
        let limit = u64::MAX - target.written();
        let Target { basis: Some(basis_file), output: Some((_, output)), hasher, .. } = &mut **target else {
            return Ok(());
        };
        let mut out = HashingWriter { output, hasher, failed: None };
        match hands.patcher.patch(delta, basis_file, basis.identity.size, limit, &mut out) {
            Ok(stats) => {
                target.literal_bytes += stats.literal_bytes;
                target.matched_bytes += stats.copied_bytes;
                Ok(())
            }
            Err(_) => match out.failed.take() {
                Some(error) => Err(Failure::Entry("cannot write it", error)),
                None => {
                    target.condition = Condition::Spoiled;
                    Ok(())
                }
            },
        }
    }

    fn ensure_open(&self, entry: &WantedEntry, lane: &Lane, target: &mut Box<Target>) -> Result<(), Failure> {
        if target.output.is_none() {
            let (staged, file) = self.stage(entry, lane.existing.as_ref())?;
            target.output = Some((staged, self.sparse_writer(file)));
        }
        Ok(())
    }

    /// All pieces of a file have come. Whatever fails here is settled by the caller: nothing more comes for this file.
    fn end(
        &self,
        part: &Arc<LivePart>,
        index: u32,
        lane: &Lane,
        target: Target,
        end: End,
        hands: &mut Hands,
    ) -> Result<(), Failure> {
        let entry = &part.entries[index as usize];
        if target.condition == Condition::Failed {
            return Ok(self.settle(part)?);
        }
        if target.condition == Condition::Good
            && target.written() == end.size
            && target.hasher.finish() == end.hash
        {
            if let Some(basis) = &lane.basis {
                self.forget_partial(basis);
            }
            let Target { output, literal_bytes, matched_bytes, .. } = target;
            // An empty file has no pieces.
            let (staged, file) = match output {
                Some((staged, output)) => {
                    (staged, output.finish().map_err(|error| Failure::Entry("cannot write it", error))?)
                }
                None => self.stage(entry, lane.existing.as_ref())?,
            };
            let dir = hands
                .directory(self, part)
                .map_err(|error| Failure::Entry("cannot open its directory", error))?;
            let observed_at = Timestamp::now();
            let site = Site { part, index, entry, dir: Some(&dir), existing: lane.existing, observed_at };
            let came = Came { staged, file, size: end.size, literal_bytes, matched_bytes };
            return self.finish_file(&site, &dir, came, end.hash, end.mtime);
        }
        if let Some(basis) = &lane.basis {
            // Weak sums that agreed by accident or by design, or a basis that changed: a delta is only a guess.
            self.forget_partial(basis);
            return Ok(self.ask_again(part, index, lane.existing, target.attempt.saturating_add(1))?);
        }
        Err(Failure::Run(EngineError::Protocol("it sent content that does not have its hash")))
    }

    /// Makes a missing file from one of the same content that the tree had in the last run; false if there is none.
    pub(super) fn clone_from_elsewhere(
        &self,
        site: &Site<'_>,
        dir: &DirHandle,
        size: u64,
        hash: ContentHash,
    ) -> Result<bool, Failure> {
        let Some(root) = &self.root else { return Ok(false) };
        for path in self.cache.find_content(&hash) {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let Ok((source, stat)) = root.dir(&parent).and_then(|dir| dir.open_file(&name)) else { continue };
            if stat.size != size {
                continue;
            }
            let (staged, mut file) = self.stage(site.entry, site.existing.as_ref())?;
            let copied = clone_contents(&source, &file, size)
                .and_then(|_| io::Seek::rewind(&mut file))
                .and_then(|()| hash_file(&mut file, &mut Vec::new()));
            match copied {
                Ok((copied, length)) if copied == hash && length == size => {
                    let wanted = self.attributes.wanted(site.entry, site.existing.as_ref());
                    let wanted = self.inherit_group(wanted, dir, site.existing.as_ref())?;
                    set_file(&file, &wanted)
                        .map_err(|error| Failure::Entry("cannot set its attributes", error))?;
                    self.place_file(site, dir, staged, hash, &file)?;
                    self.count(|stats| {
                        stats.cloned_files += 1;
                        stats.cloned_bytes += size;
                    });
                    self.created(site, EntryKind::File, Update::Local);
                    self.settle(site.part)?;
                    return Ok(true);
                }
                Ok(_) => {}
                Err(error) if Self::is_fatal(&error) => return Err(Failure::Entry("cannot write it", error)),
                Err(_) => {}
            }
        }
        Ok(false)
    }
}

/// A file of a part, and how it comes.
type Transfer = (Arc<LivePart>, Arc<Lane>);

const TOO_LARGE: Failure = Failure::Run(EngineError::Protocol("it sent a piece of a file that is too large"));
const UNASKED: EngineError = EngineError::Protocol("it sent what nobody had asked for");

/// A file whose content has come.
struct Came {
    staged: Staged,
    file: File,
    size: u64,
    literal_bytes: u64,
    matched_bytes: u64,
}

/// What the last piece of a file says of it.
struct End {
    size: u64,
    hash: ContentHash,
    mtime: Option<Time>,
}

/// What a message must have been awaited as.
#[derive(Clone, Copy)]
enum Awaited {
    Content,
    Hash,
    Anything,
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
