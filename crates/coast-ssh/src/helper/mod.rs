//! The helper: the program at the other end of a session, which is put there if need be, started, and greeted.

mod deploy;
mod greeting;
mod process;
mod quote;
mod script;
mod spec;

pub use self::process::{HelperProcess, RunsAs};
pub use self::quote::quote;
pub use self::spec::{HelperProgram, HelperSource, HelperSpec, Sudo};

use crate::error::SshError;
use crate::session::Session;

/// Here rather than beside the rest of [`Session`], which knows nothing of helpers.
impl Session {
    /// Starts the helper, having put it on the host if it was not there, and waits for its greeting.
    ///
    /// # Errors
    /// When there is none for the host's platform or it finds no place there, when it cannot be started, or not as root
    /// where that is demanded, when it does not greet in time or in another version, and when the connection is lost.
    pub fn start_helper(&self, spec: &HelperSpec) -> Result<HelperProcess, SshError> {
        HelperProcess::start(self, spec)
    }
}
