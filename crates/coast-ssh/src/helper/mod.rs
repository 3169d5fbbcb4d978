//! The helper, the program at the other end of a session: uploading it where it is missing, starting it, and reading its
//! greeting.

mod account;
mod deploy;
mod greeting;
mod input;
mod process;
mod quote;
mod script;
mod spec;

pub use self::account::{Account, ServerLimits};
pub use self::input::{HelperInput, InputSource};
pub use self::process::{GreetedHelper, HelperProcess, RunsAs, StartingHelper};
pub use self::quote::quote;
pub(crate) use self::script::script_line;
pub use self::spec::{HelperProgram, HelperSource, HelperSpec, Sudo};

use crate::error::SshError;
use crate::session::Session;

/// This is not beside the rest of [`Session`], so that `session` does not depend on `helper`.
impl Session {
    /// Starts the helper and waits for its greeting. Uploads the helper first if the host does not have it.
    ///
    /// # Errors
    /// When there is no helper for the host's platform, no directory can take the helper, it cannot be started (or not as
    /// root, with [`Sudo::Always`]), it does not greet in time or speaks another protocol version, or the connection is
    /// lost.
    pub fn start_helper(&self, spec: &HelperSpec) -> Result<HelperProcess, SshError> {
        HelperProcess::start(self, spec)
    }

    /// Starts the helper, which reads the [`HelperInput`] of `input`, and does not wait for its greeting.
    ///
    /// # Errors
    /// When the server opens no channel, or the connection is lost.
    pub fn begin_helper<'a>(
        &'a self,
        spec: &'a HelperSpec,
        input: InputSource,
    ) -> Result<StartingHelper<'a>, SshError> {
        StartingHelper::start(self, spec, input)
    }
}
