//! From a target to an authenticated connection: the jump hosts, the TCP connection, the check of the host key, the login
//! with one of the user's keys, and the questions to the user.

mod auth;
mod handshake;
mod hop;
mod identity;
mod known_hosts;
mod peer;
mod progress;
mod prompt;
mod route;
mod tcp;

pub(crate) use self::handshake::{Client, is_on_record};
pub(crate) use self::hop::{Established, establish};
pub use self::identity::IdentityUsed;
pub(crate) use self::known_hosts::fingerprint;
pub use self::peer::{HostKey, Peer};
pub use self::prompt::{AcceptedKey, HostAnswer, NoPrompt, PresentedKey, Prompt};
pub(crate) use self::prompt::{PromptCall, Prompts};
pub use self::route::Route;
