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
    pub fn start_helper(&self, spec: &HelperSpec) -> Result<HelperProcess, SshError> {
        HelperProcess::start(self, spec)
    }
}
