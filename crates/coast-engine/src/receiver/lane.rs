//! One file's transfer: its pieces may arrive out of order and at several workers, and are applied in order by one.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coast_tree::{ContentHash, ContentHasher, FileIdentity, Name, SparseWriter, Stat};
use coast_wire::Piece;
use coast_wire::limits::{MAX_CHUNKS_AHEAD, MAX_CHUNKS_HELD};

use super::staging::Staged;
use crate::error::EngineError;
use crate::stop::Stop;

/// The transfer of one file.
pub(super) struct Lane {
    /// The signature's place in the window, if one was sent.
    pub(super) signature_bytes: usize,
    /// What the signature was made of.
    pub(super) basis: Option<Basis>,
    /// What was at the file's place when it was decided upon.
    pub(super) existing: Option<Stat>,
    state: Mutex<State>,
    /// A piece was applied, or the lane was closed.
    moved: Condvar,
}

/// What a delta refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Basis {
    pub(super) place: BasisPlace,
    pub(super) identity: FileIdentity,
}

/// Where a basis is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BasisPlace {
    /// The file itself, as it is at the destination.
    Destination,
    /// What an interrupted run left of it.
    Partial(Name),
}

#[derive(Default)]
struct State {
    attempt: u32,
    next: u32,
    waiting: BTreeMap<u32, OwnedPiece>,
    /// Taken by the worker that applies pieces.
    target: Option<Box<Target>>,
    busy: bool,
    closed: bool,
}

/// Where the pieces go.
#[derive(Default)]
pub(super) struct Target {
    /// The try that it belongs to.
    pub(super) attempt: u32,
    /// Made with the first piece.
    pub(super) output: Option<(Staged, SparseWriter)>,
    pub(super) basis: Option<File>,
    pub(super) hasher: ContentHasher,
    pub(super) literal_bytes: u64,
    pub(super) matched_bytes: u64,
    pub(super) condition: Condition,
}

/// What became of a transfer so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Condition {
    #[default]
    Good,
    /// The delta is of no use; the whole file has to be asked for.
    Spoiled,
    /// It cannot be written, and that was told.
    Failed,
}

impl Target {
    /// Bytes of the file so far.
    pub(super) fn written(&self) -> u64 {
        self.output.as_ref().map_or(0, |(_, output)| output.len())
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

/// What the caller of [`Lane::deposit`] has to do.
pub(super) enum Turn {
    /// Nothing: someone else applies the piece.
    None,
    /// Apply the given piece to the target, then call [`Lane::next`].
    Apply(Box<Target>, OwnedPiece),
}

impl Lane {
    pub(super) fn new(
        basis: Option<Basis>,
        signature_bytes: usize,
        existing: Option<Stat>,
        attempt: u32,
    ) -> Self {
        let state = Mutex::new(State { attempt, ..State::default() });
        Self { signature_bytes, basis, existing, state, moved: Condvar::new() }
    }

    /// Takes in a piece. The lane goes to whoever brings the next one in order, unless somebody has it.
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
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
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
        let target = state.target.take();
        Ok(state.turn(target))
    }

    /// The next piece after one was applied.
    pub(super) fn next(&self, target: Box<Target>) -> Turn {
        let mut state = self.lock();
        state.busy = false;
        self.moved.notify_all();
        state.turn(Some(target))
    }

    /// No more pieces are taken; gives the target unless a worker has it.
    pub(super) fn close(&self) -> Option<Box<Target>> {
        let mut state = self.lock();
        state.closed = true;
        self.moved.notify_all();
        state.waiting.clear();
        state.target.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn turn(&mut self, target: Option<Box<Target>>) -> Turn {
        // The target of a try that was given up goes, and its staged file with it.
        let fresh = || Box::new(Target { attempt: self.attempt, ..Target::default() });
        let target = target.filter(|target| target.attempt == self.attempt).unwrap_or_else(fresh);
        match self.waiting.remove(&self.next).filter(|_| !self.closed) {
            Some(piece) => {
                self.next += 1;
                self.busy = true;
                Turn::Apply(target, piece)
            }
            None => {
                self.target = Some(target);
                Turn::None
            }
        }
    }
}
