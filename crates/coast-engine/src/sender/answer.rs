//! Answers what the receiver needs: reads, hashes and packs small files together; large ones are streamed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use coast_delta::{Signature, SignatureError};
use coast_tree::{ContentHash, DirHandle, FileIdentity, Timestamp};
use coast_wire::limits::{MAX_SIGNATURE_BYTES, MAX_WHOLE_BYTES, PACK_BYTES, SIGNATURE_WINDOW_BYTES};
use coast_wire::{
    Class, Compressor, Event, FileId, Gone, Need, Pack, ProblemKind, ToReceiver, Want, WholeError,
};
use serde::Serialize;

use super::Run;
use super::config::StagedContent;
use super::offer::{OfferedFile, OfferedPart};
use super::reading::has_hole;
use super::under_way::{Ticket, UnderWay};
use crate::error::EngineError;
use crate::monitor::add;
use crate::stop::{SendError, Stopped};
use crate::wire_time;

/// Needs that one worker takes at a time: enough to open a directory once for many files, few enough that all
/// workers have some.
const GROUP: usize = 32;

/// How often a file that changes while it is read is read again.
pub(super) const ATTEMPTS: u32 = 4;

/// What the receiver needs.
pub(super) enum Job {
    /// Some files of one part.
    Files { part: Arc<OfferedPart>, needs: Vec<(u32, Task)> },
    /// The message with the entries of a part, of which it has the digest.
    Entries(Pack),
}

pub(super) enum Task {
    Hash,
    Content,
    Delta(HeldSignature),
}

/// A signature whose delta was not made yet.
pub(super) struct HeldSignature {
    bytes: Vec<u8>,
    held: SignatureBytes,
}

/// Bytes of signatures that are held.
#[derive(Clone, Default)]
pub(super) struct SignatureBytes(Arc<AtomicUsize>);

impl SignatureBytes {
    /// Takes in a signature. The receiver, which counts one until its delta has arrived, has a window for them in which
    /// one always finds room; what is beyond that it may not send.
    fn hold(&self, signature: &[u8]) -> Result<HeldSignature, EngineError> {
        if signature.len() > MAX_SIGNATURE_BYTES {
            return Err(EngineError::Protocol("it sent a signature that is too large"));
        }
        let before = self.0.fetch_add(signature.len(), Ordering::AcqRel);
        let held = HeldSignature { bytes: signature.to_vec(), held: self.clone() };
        if before > SIGNATURE_WINDOW_BYTES {
            return Err(EngineError::Protocol("it sent more signatures at once than it may"));
        }
        Ok(held)
    }
}

impl HeldSignature {
    pub(super) fn check(&mut self) -> Result<Signature, SignatureError> {
        let bytes = std::mem::take(&mut self.bytes);
        self.held.0.fetch_sub(bytes.len(), Ordering::AcqRel);
        Signature::from_bytes(bytes)
    }
}

impl Drop for HeldSignature {
    fn drop(&mut self) {
        self.held.0.fetch_sub(self.bytes.len(), Ordering::AcqRel);
    }
}

impl Job {
    /// Checks needs and splits them into jobs. With `small_first` no small file waits for a large one.
    pub(super) fn group(
        part: Arc<OfferedPart>,
        needs: Vec<Need<'_>>,
        held: &SignatureBytes,
        small_first: bool,
    ) -> Result<Vec<Self>, EngineError> {
        let mut tasks = Vec::with_capacity(needs.len());
        for Need { index, want } in needs {
            let file = part.entries.get(index as usize).and_then(|entry| entry.file.as_ref());
            let file = file.ok_or(EngineError::Protocol("it asked for a file that was not offered"))?;
            // One question at a time for each file bounds the queue by the window.
            if file.asked.swap(true, Ordering::AcqRel) {
                return Err(EngineError::Protocol("it asked twice for the same file"));
            }
            let task = match want {
                Want::Hash => Task::Hash,
                Want::Content => Task::Content,
                Want::Delta(signature) => Task::Delta(held.hold(signature)?),
            };
            tasks.push((file.identity.size, index, task));
        }
        if small_first {
            tasks.sort_by_key(|(size, ..)| *size);
        }
        let mut jobs = Vec::with_capacity(tasks.len().div_ceil(GROUP));
        let mut tasks = tasks.into_iter().map(|(_, index, task)| (index, task)).peekable();
        while tasks.peek().is_some() {
            jobs.push(Self::Files { part: part.clone(), needs: tasks.by_ref().take(GROUP).collect() });
        }
        Ok(jobs)
    }
}

/// Why a file could not be sent as it was asked for.
pub(super) enum Failure {
    Stopped,
    /// It is told to both sides.
    Gone(Gone, String),
    /// It has grown so large that it is left for another run.
    Deferred,
}

impl From<Stopped> for Failure {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if has_vanished(&error) {
            Self::Gone(Gone::Vanished, "it vanished before it was read".to_owned())
        } else {
            Self::Gone(Gone::Unreadable, format!("cannot read it: {error}"))
        }
    }
}

/// Whether an error says that an entry is not there any more, or that another kind of entry has taken its place or that of a directory
/// above it.
pub(super) fn has_vanished(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, IsADirectory, NotADirectory, NotFound};
    // `DirHandle::open_file` answers InvalidInput for what is no regular file.
    matches!(error.kind(), NotFound | NotADirectory | IsADirectory | InvalidInput)
        || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// An error of the system once more.
fn same_error(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// A pack of a large file that waits to be compressed by whoever has time.
pub(super) struct HandedOver {
    pack: Pack,
    ticket: Ticket,
}

/// One worker: its pack in the making and its compressor.
pub(super) struct Answerer<'a> {
    pub(super) run: &'a Run<'a>,
    pack: Pack,
    compressor: Option<Compressor>,
}

impl Run<'_> {
    /// One worker's life: answers jobs and compresses what others read, until the run stops.
    pub(super) fn work(&self) {
        let compressor = match self.level.clone().map(Compressor::new).transpose() {
            Ok(compressor) => compressor,
            Err(error) => return self.stop.fail(error.into()),
        };
        let mut answerer = Answerer { run: self, pack: Pack::new(Class::Data), compressor };
        let _: Result<(), Stopped> = answerer.answer_all();
    }
}

impl Answerer<'_> {
    fn answer_all(&mut self) -> Result<(), Stopped> {
        loop {
            if let Ok(pack) = self.run.to_seal.receiver.try_recv() {
                self.seal_handed_over(pack)?;
            } else if let Ok(job) = self.run.jobs.receiver.try_recv() {
                self.answer(job)?;
            } else {
                // Nothing to do: what was packed must not wait for more.
                self.flush()?;
                crossbeam_channel::select! {
                    recv(self.run.to_seal.receiver) -> pack => self.seal_handed_over(pack.map_err(|_| Stopped)?)?,
                    recv(self.run.jobs.receiver) -> job => self.answer(job.map_err(|_| Stopped)?)?,
                    recv(self.run.stop.stopped()) -> _ => return Err(Stopped),
                }
            }
        }
    }

    fn answer(&mut self, job: Job) -> Result<(), Stopped> {
        match job {
            Job::Files { part, needs } => self.answer_files(&part, needs),
            Job::Entries(pack) => self.seal(pack),
        }
    }

    fn answer_files(&mut self, part: &OfferedPart, needs: Vec<(u32, Task)>) -> Result<(), Stopped> {
        let opened = self.run.root.dir(&part.path);
        for (index, task) in needs {
            if self.run.stop.is_stopped() {
                return Err(Stopped);
            }
            let id = FileId { part: part.id, index };
            let entry = &part.entries[index as usize];
            let Some(file) = &entry.file else { continue };
            let answered = match &opened {
                Ok(dir) => self.answer_one(dir, part, id, file, task),
                Err(error) => Err(same_error(error).into()),
            };
            match answered {
                Ok(()) => {}
                Err(Failure::Stopped) => return Err(Stopped),
                Err(Failure::Gone(reason, text)) => self.gone(part, id, file, reason, &text)?,
                Err(Failure::Deferred) => {
                    if let Ok(path) = part.path.join(&entry.name) {
                        self.run.monitor.event(&Event::Deferred { path: path.as_bytes() });
                    }
                    file.answered();
                    self.push(&ToReceiver::Gone { file: id, reason: Gone::Deferred })?;
                }
            }
        }
        Ok(())
    }

    fn answer_one(
        &mut self,
        dir: &DirHandle,
        part: &OfferedPart,
        id: FileId,
        file: &OfferedFile,
        task: Task,
    ) -> Result<(), Failure> {
        let name = &part.entries[id.index as usize].name;
        match task {
            Task::Hash => self.hash(dir, name, id, file),
            Task::Content if file.identity.size <= MAX_WHOLE_BYTES => self.whole(dir, name, id, file),
            Task::Content => self.stream(dir, name, id, file, None),
            Task::Delta(signature) => self.stream(dir, name, id, file, Some(signature)),
        }
    }

    fn gone(
        &mut self,
        part: &OfferedPart,
        id: FileId,
        file: &OfferedFile,
        reason: Gone,
        text: &str,
    ) -> Result<(), Stopped> {
        let kind = match reason {
            Gone::Vanished => ProblemKind::Vanished,
            Gone::Unreadable => ProblemKind::SourceRead,
            Gone::Changing | Gone::Deferred => ProblemKind::Changing,
        };
        let path = part.path.join(&part.entries[id.index as usize].name);
        self.run.problem(path.as_ref().map_or(part.path.as_bytes(), |path| path.as_bytes()), kind, text);
        file.answered();
        self.push(&ToReceiver::Gone { file: id, reason })
    }

    /// A file that fits into one message.
    fn whole(
        &mut self,
        dir: &DirHandle,
        name: &coast_tree::Name,
        id: FileId,
        file: &OfferedFile,
    ) -> Result<(), Failure> {
        let run = self.run;
        for _ in 0..ATTEMPTS {
            let observed_at = Timestamp::now();
            let (mut opened, stat) = dir.open_file(name)?;
            if stat.size > MAX_WHOLE_BYTES || has_hole(&mut opened, stat.size)? {
                return self.stream(dir, name, id, file, None);
            }
            let length = usize::try_from(stat.size).expect("at most MAX_WHOLE_BYTES");
            if self.pack.len() + length > self.pack_bytes() + self.pack_bytes() / 4 {
                self.flush()?;
            }
            let before = FileIdentity::from(&stat);
            let times = self.run.options.times;
            // Free for the next question as soon as the answer may be on its way.
            file.answered();
            let packed = self.pack.whole(id, length, |buffer| -> Result<_, Failure> {
                let start = buffer.len();
                // Room for one byte more shows a file that grew.
                buffer.reserve(length + 1);
                while buffer.len() <= start + length {
                    if rustix::io::retry_on_intr(|| {
                        rustix::io::read(&opened, rustix::buffer::spare_capacity(buffer))
                    })
                    .map_err(io::Error::from)?
                        == 0
                        || buffer.len() == start + length
                    {
                        break;
                    }
                }
                let after = coast_tree::file_stat(&opened)?;
                if buffer.len() != start + length || FileIdentity::from(&after) != before {
                    return Err(changing());
                }
                // Of what was read, never a remembered one: a write through a memory map may leave the identity as it was.
                let hash = ContentHash::of(&buffer[start..]);
                if let Some(mut proof) = run.proof(file, stat.size) {
                    proof.update(&buffer[start..]);
                    proof.finish(hash);
                }
                file.tell(StagedContent { size: stat.size, hash, mtime: stat.mtime });
                if file.known_hash != Some(hash) || file.identity != before {
                    file.found(before, hash, observed_at);
                }
                Ok((*hash.as_bytes(), times.then(|| wire_time(stat.mtime))))
            });
            match packed {
                Ok(()) => {
                    add(&self.run.progress.sent_bytes, stat.size);
                    return if self.pack.len() >= self.pack_bytes() { Ok(self.flush()?) } else { Ok(()) };
                }
                Err(WholeError::Read(Failure::Gone(Gone::Changing, _)) | WholeError::Length) => {}
                Err(WholeError::Read(failure)) => return Err(failure),
                Err(WholeError::Wire(error)) => {
                    self.run.stop.fail(error.into());
                    return Err(Failure::Stopped);
                }
            }
        }
        Err(changing())
    }

    /// Appends a message to the pack.
    pub(super) fn push<M: Serialize>(&mut self, message: &M) -> Result<(), Stopped> {
        if self.pack.len() >= self.pack_bytes() {
            self.flush()?;
        }
        let before = self.pack.len();
        match self.pack.push(message) {
            Ok(()) => Ok(()),
            Err(_) if before > 0 => {
                self.flush()?;
                self.run.stop.check_sent(self.pack.push(message).map_err(SendError::from))
            }
            Err(error) => self.run.stop.check_sent(Err(error.into())),
        }
    }

    /// Bytes at which a pack is sent.
    fn pack_bytes(&self) -> usize {
        self.run.level.as_ref().map_or(PACK_BYTES, |level| level.pack_bytes())
    }

    /// Bytes of the messages that wait in the pack.
    pub(super) fn packed_bytes(&self) -> usize {
        self.pack.len()
    }

    /// Sends what was packed.
    pub(super) fn flush(&mut self) -> Result<(), Stopped> {
        if self.pack.is_empty() {
            return Ok(());
        }
        let pack = std::mem::replace(&mut self.pack, Pack::new(Class::Data));
        self.seal(pack)
    }

    /// Gives what was packed to whoever has time to compress it, so that one large file keeps all workers busy.
    pub(super) fn hand_over(&mut self, under_way: &UnderWay, pieces: u32) -> Result<(), Stopped> {
        let pack = std::mem::replace(&mut self.pack, Pack::new(Class::Data));
        // A pack that still waits is older than this one, and goes first. After that nothing waits for this worker,
        // which may have to wait for the others.
        while self.run.to_seal.sender.is_full() {
            let Ok(waiting) = self.run.to_seal.receiver.try_recv() else { break };
            self.seal_handed_over(waiting)?;
        }
        let handed_over = HandedOver { pack, ticket: self.ticket(under_way, pieces)? };
        match self.run.to_seal.sender.try_send(handed_over) {
            Ok(()) => Ok(()),
            Err(refused) => self.seal_handed_over(refused.into_inner()),
        }
    }

    /// The next place; while an older pack is too far behind, what waits to be compressed is done here.
    fn ticket(&mut self, under_way: &UnderWay, pieces: u32) -> Result<Ticket, Stopped> {
        while under_way.is_behind(pieces) {
            match self.run.to_seal.receiver.try_recv() {
                Ok(waiting) => self.seal_handed_over(waiting)?,
                Err(_) => break,
            }
        }
        under_way.ticket(pieces)
    }

    fn seal_handed_over(&mut self, handed_over: HandedOver) -> Result<(), Stopped> {
        let HandedOver { pack, ticket } = handed_over;
        self.seal(pack)?;
        drop(ticket);
        Ok(())
    }

    fn seal(&mut self, pack: Pack) -> Result<(), Stopped> {
        self.run.tell_of_link()?;
        match pack.seal(self.compressor.as_mut()) {
            Ok(frame) => self.run.outbox.send(frame),
            Err(error) => {
                self.run.stop.fail(error.into());
                Err(Stopped)
            }
        }
    }
}

pub(super) fn changing() -> Failure {
    Failure::Gone(Gone::Changing, "it changed each time it was read".to_owned())
}
