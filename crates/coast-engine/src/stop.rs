//! How the threads of one side end together: the first failure is kept, everyone who waits is woken.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use coast_wire::WireError;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use coast_tree::{LockExt, Patience};

use crate::EngineError;

/// The run is over; whoever gets this returns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopped;

/// Why something could not be sent.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The run is over.
    Stopped,
    /// It cannot be encoded.
    Wire(WireError),
}

impl From<Stopped> for SendError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<WireError> for SendError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

/// Ends a run. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Stop {
    /// Never sent on: it is disconnected when the run stops, which every `select!` notices.
    stopped: Receiver<()>,
    shared: Arc<Mutex<State>>,
}

struct State {
    running: Option<Sender<()>>,
    outcome: Outcome,
}

/// How the run ended, as far as is known.
enum Outcome {
    /// Nothing yet: a failure that is learned of now is the reason.
    Open,
    Well,
    Failed(EngineError),
    /// The failure was taken.
    Told,
}

impl Stop {
    pub(crate) fn new() -> Self {
        let (running, stopped) = bounded(0);
        Self {
            stopped,
            shared: Arc::new(Mutex::new(State { running: Some(running), outcome: Outcome::Open })),
        }
    }

    /// A channel that is disconnected when the run stops.
    pub(crate) fn stopped(&self) -> &Receiver<()> {
        &self.stopped
    }

    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self.stopped.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected))
    }

    /// Ends the run well.
    pub(crate) fn finish(&self) {
        let mut state = self.shared.enter();
        state.running = None;
        if matches!(state.outcome, Outcome::Open) {
            state.outcome = Outcome::Well;
        }
    }

    /// Ends the run; why is still to be learned.
    pub(crate) fn halt(&self) {
        self.shared.enter().running = None;
    }

    /// Ends the run because of `error`, unless how it ended is known already.
    pub(crate) fn fail(&self, error: EngineError) {
        let mut state = self.shared.enter();
        state.running = None;
        if matches!(state.outcome, Outcome::Open) {
            state.outcome = Outcome::Failed(error);
        }
    }

    /// [`Stop::fail`] for what sending answers.
    pub(crate) fn check_sent(&self, sent: Result<(), SendError>) -> Result<(), Stopped> {
        match sent {
            Ok(()) => Ok(()),
            Err(SendError::Stopped) => Err(Stopped),
            Err(SendError::Wire(error)) => {
                self.fail(error.into());
                Err(Stopped)
            }
        }
    }

    /// Why the run failed, if it did.
    pub(crate) fn take_failure(&self) -> Option<EngineError> {
        let mut state = self.shared.enter();
        if !matches!(state.outcome, Outcome::Failed(_)) {
            return None;
        }
        match std::mem::replace(&mut state.outcome, Outcome::Told) {
            Outcome::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl Patience for Stop {
    fn wait(&self, time: Duration) -> bool {
        self.stopped.recv_timeout(time) != Err(RecvTimeoutError::Disconnected)
    }
}
