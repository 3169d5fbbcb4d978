//! How work on an entry fails.

use std::io;

use crate::error::EngineError;
use crate::stop::Stopped;

/// Why the work on an entry did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The run is over.
    Stopped,
    /// This entry cannot be brought. The run goes on with the others.
    Entry { doing: &'static str, error: io::Error },
    /// The run cannot go on.
    Run(EngineError),
}

impl From<Stopped> for Failure {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::Run(error)
    }
}

impl Failure {
    /// The failure as the end of a run, for work whose entry's failures were told before. A stopped run is not a failure of
    /// this work.
    pub(super) fn of_run(self) -> Result<(), EngineError> {
        match self {
            Self::Stopped => Ok(()),
            Self::Run(error) => Err(error),
            Self::Entry { doing, error } => Err(EngineError::FileIo { doing: doing.to_owned(), error }),
        }
    }
}

/// Names the step that the system refused.
pub(super) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, Failure>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: &'static str) -> Result<T, Failure> {
        self.map_err(|error| Failure::Entry { doing, error })
    }
}
