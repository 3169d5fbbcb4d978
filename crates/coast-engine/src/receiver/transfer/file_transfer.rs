//! One file's transfer: its pieces may arrive out of order and at several workers, and are applied in order by one.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use coast_tree::{ContentHash, ContentHasher, LockExt, LockResultExt, Stat};
use coast_wire::Piece;
use coast_wire::limits::{MAX_CHUNKS_AHEAD, MAX_CHUNKS_HELD};

use crate::error::EngineError;
use crate::receiver::target::{Basis, StagedFile};
use crate::stop::Stop;

/// The transfer of one file.
pub(super) struct FileTransfer {
    /// The signature's place in the window, if one was sent.
    pub(super) signature_bytes: usize,
    /// The file that the signature was made of.
    pub(super) basis: Option<Basis>,
    /// The entry that was at the file's place when its content was asked for.
    pub(super) existing: Option<Stat>,
    /// Guards the pieces that wait. No other lock is taken while it is held.
    state: Mutex<State>,
    /// A piece was applied, or the transfer was closed.
    moved: Condvar,
}

#[derive(Default)]
struct State {
    attempt: u32,
    next: u32,
    waiting: BTreeMap<u32, OwnedPiece>,
    /// Taken by the worker that applies pieces.
    assembly: Option<Box<Assembly>>,
    busy: bool,
    closed: bool,
}

/// A file as far as its pieces have been put together.
#[derive(Default)]
pub(super) struct Assembly {
    /// The try that it belongs to.
    pub(super) attempt: u32,
    /// Made with the first piece.
    pub(super) output: Option<StagedFile>,
    pub(super) basis: Option<File>,
    pub(super) hasher: ContentHasher,
    pub(super) literal_bytes: u64,
    pub(super) matched_bytes: u64,
    pub(super) condition: Condition,
}

/// Whether the pieces so far are of use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Condition {
    #[default]
    Good,
    /// The delta is of no use; the whole file has to be asked for.
    Spoiled,
    /// The file cannot be written, and that was told.
    Failed,
}

impl Assembly {
    /// Bytes of the file so far.
    pub(super) fn written(&self) -> u64 {
        self.output.as_ref().map_or(0, |staged| staged.output.len())
    }

    /// Gives up what was written; the pieces still to come go nowhere.
    pub(super) fn fail(&mut self) {
        *self = Self { attempt: self.attempt, condition: Condition::Failed, ..Self::default() };
    }
}

/// A piece that had to wait.
pub(super) enum OwnedPiece {
    Content(Vec<u8>),
    Delta(Vec<u8>),
    Hole(u64),
    End { size: u64, hash: ContentHash, mtime: Option<coast_wire::Time> },
}

impl OwnedPiece {
    fn from_wire(piece: &Piece<'_>) -> Self {
        match piece {
            Piece::Content(bytes) => Self::Content(bytes.to_vec()),
            Piece::Delta(bytes) => Self::Delta(bytes.to_vec()),
            Piece::Hole(length) => Self::Hole(*length),
            Piece::End { size, hash, mtime } => {
                Self::End { size: *size, hash: ContentHash::from_bytes(*hash), mtime: *mtime }
            }
        }
    }
}

/// The next step for the caller of [`FileTransfer::deposit`].
pub(super) enum Turn {
    /// Nothing: someone else applies the piece.
    None,
    /// Apply the given piece to the assembly, then call [`FileTransfer::next`].
    Apply(Box<Assembly>, OwnedPiece),
}

impl FileTransfer {
    /// All content comes. Pieces of tries before `attempt` are of no use.
    pub(super) fn whole(existing: Option<Stat>, attempt: u32) -> Self {
        Self::new(None, 0, existing, attempt)
    }

    /// A delta comes, against a basis whose signature takes `signature_bytes` of the window.
    pub(super) fn delta(basis: Basis, signature_bytes: usize, existing: Option<Stat>) -> Self {
        Self::new(Some(basis), signature_bytes, existing, 0)
    }

    fn new(basis: Option<Basis>, signature_bytes: usize, existing: Option<Stat>, attempt: u32) -> Self {
        let state = Mutex::new(State { attempt, ..State::default() });
        Self { signature_bytes, basis, existing, state, moved: Condvar::new() }
    }

    /// Adds a piece. Returns it for application if it is the next in order and no other worker applies pieces of this
    /// file.
    pub(super) fn deposit(
        &self,
        attempt: u32,
        sequence: u32,
        piece: &Piece<'_>,
        stop: &Stop,
    ) -> Result<Turn, EngineError> {
        let mut state = self.lock();
        while !state.closed
            && attempt == state.attempt
            && sequence > state.next.saturating_add(MAX_CHUNKS_HELD)
            && sequence <= state.next.saturating_add(MAX_CHUNKS_AHEAD)
        {
            // The one that is next is in the hands of another worker, which waits for nobody.
            if stop.is_stopped() {
                return Ok(Turn::None);
            }
            let waited = self.moved.wait_timeout(state, Duration::from_millis(200));
            state = waited.even_poisoned().0;
        }
        if state.closed || attempt < state.attempt {
            // Left over from a try that was given up.
            return Ok(Turn::None);
        }
        if attempt > state.attempt {
            state.attempt = attempt;
            state.next = 0;
            state.waiting.clear();
        }
        if sequence < state.next || sequence > state.next.saturating_add(MAX_CHUNKS_AHEAD) {
            return Err(EngineError::Protocol("it sent pieces of a file out of order"));
        }
        if state.waiting.insert(sequence, OwnedPiece::from_wire(piece)).is_some() {
            return Err(EngineError::Protocol("it sent a piece of a file twice"));
        }
        if state.busy {
            return Ok(Turn::None);
        }
        let assembly = state.assembly.take();
        Ok(state.turn(assembly))
    }

    /// The next piece after one was applied.
    pub(super) fn next(&self, assembly: Box<Assembly>) -> Turn {
        let mut state = self.lock();
        state.busy = false;
        self.moved.notify_all();
        state.turn(Some(assembly))
    }

    /// No more pieces are taken. Gives what was put together, unless a worker has it.
    pub(super) fn close(&self) -> Option<Box<Assembly>> {
        let mut state = self.lock();
        state.closed = true;
        self.moved.notify_all();
        state.waiting.clear();
        state.assembly.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.enter()
    }
}

impl State {
    fn turn(&mut self, assembly: Option<Box<Assembly>>) -> Turn {
        // The assembly of a try that was given up goes, and its staged file with it.
        let fresh = || Box::new(Assembly { attempt: self.attempt, ..Assembly::default() });
        let assembly = assembly.filter(|assembly| assembly.attempt == self.attempt).unwrap_or_else(fresh);
        match self.waiting.remove(&self.next).filter(|_| !self.closed) {
            Some(piece) => {
                self.next += 1;
                self.busy = true;
                Turn::Apply(assembly, piece)
            }
            None => {
                self.assembly = Some(assembly);
                Turn::None
            }
        }
    }
}
