//! From a target to an authenticated connection: the way there, the host's proof and ours, and what a person is asked
//! meanwhile.

mod auth;
mod dial;
mod established;
mod handshake;
mod identity;
mod known_hosts;
mod peer;
mod prompt;

pub(crate) use self::dial::establish;
pub(crate) use self::established::Established;
pub(crate) use self::handshake::Client;
pub use self::identity::IdentityUsed;
pub use self::peer::{HostKey, Peer};
pub use self::prompt::{NoPrompt, Prompt};
pub(crate) use self::prompt::{PromptCall, Prompts};
