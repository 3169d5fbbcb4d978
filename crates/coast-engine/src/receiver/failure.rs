//! How work on an entry fails.

use std::io;

use coast_wire::ConflictKind;

use crate::error::EngineError;
use crate::stop::Stopped;

/// Why the work on an entry did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The run is over.
    Stopped,
    /// This entry cannot be brought. The run goes on with the others.
    Entry { doing: &'static str, error: io::Error },
    /// A directory in the way of this entry stays.
    Blocked(Blocked),
    /// The entry that exists is left as it is, because something else than a run has made or changed it.
    Conflict(ConflictKind),
    /// The run cannot go on.
    Run(EngineError),
}

/// Why a directory in the way of an entry of another kind stays.
#[derive(Debug, Clone, Copy)]
pub(super) enum Blocked {
    /// It is not empty, and the run deletes nothing.
    NoDeletion,
    /// It holds an entry that stays: a protected one, or one that could not be read or that appeared during the run.
    Stays,
}

impl Blocked {
    /// The reason, for the user.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::NoDeletion => {
                "a directory that is not empty is in its way, and nothing is deleted; remove the directory, or run with deletion"
            }
            Self::Stays => {
                "a directory that holds an entry that stays is in its way; remove or rename the directory, and run it again"
            }
        }
    }
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
            // Blocked entries and conflicts were told where they were found.
            Self::Stopped | Self::Blocked(_) | Self::Conflict(_) => Ok(()),
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
