//! Connect, verify the host, authenticate, deploy and start the helper: SSH without an `ssh` program.
//!
//! A [`Session`] is an authenticated connection to a host. It is made as OpenSSH makes it, with `~/.ssh/config`,
//! `known_hosts`, key files, the agent and jump hosts. [`Session::exec`] runs commands on it. [`Session::start_helper`]
//! starts the helper program, and first uploads it where it is missing. All calls block; the asynchronous work happens on
//! one thread inside the session.
//!
//! ```
//! use coast_ssh::{ConnectOptions, Environment, NoPrompt, Session, Target};
//! use coast_testkit::{EmbeddedOptions, EmbeddedServer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A server for the example; its files, a client key among them, are in a directory of its own.
//! let dir = tempfile::tempdir()?;
//! let server = EmbeddedServer::start(EmbeddedOptions::new(dir.path()))?;
//!
//! let target = Target { user: None, host: "127.0.0.1".to_owned(), port: Some(server.addr().port()) };
//! let options = ConnectOptions {
//!     identities: vec![server.client_key().to_owned()],
//!     environment: Environment::isolated(dir.path(), "me"),
//!     ..ConnectOptions::default()
//! };
//! let session = Session::connect(&target, &options, &NoPrompt)?;
//! let (output, status) = session.exec(b"echo hello")?.output()?;
//! assert_eq!((output.as_slice(), status.success()), (b"hello\n".as_slice(), true));
//! # Ok(())
//! # }
//! ```
//!
//! # The ssh configuration
//!
//! `~/.ssh/config` is read first, then `/etc/ssh/ssh_config`. `Include`, `Host` and `Match` select the lines that apply.
//! `Match` knows the criteria `all`, `host`, `originalhost`, `user` and `localuser`; a block with another criterion is
//! skipped with a notice. These keywords are acted on: `AddressFamily`, `BatchMode`, `BindAddress`, `ConnectTimeout`,
//! `GlobalKnownHostsFile`, `HashKnownHosts`, `HostKeyAlias`, `HostName`, `IdentitiesOnly`, `IdentityAgent`,
//! `IdentityFile`, `Port`, `ProxyJump`, `ServerAliveCountMax`, `ServerAliveInterval`, `StrictHostKeyChecking` (by default
//! `accept-new`), `User` and `UserKnownHostsFile`. `ProxyCommand` is an error, since no program is ever started. All other
//! keywords are ignored. Certificates of hosts and of users are not supported, and neither are passwords.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

// The rooms, each of which uses those to its left and never those to its right:
// error <- config, link <- login <- session <- connector, helper <- dedicated_key.
mod config;
mod connector;
mod dedicated_key;
mod error;
mod helper;
mod link;
mod login;
mod session;

pub use crate::config::{ConnectOptions, Environment, Target};
pub use crate::connector::{Connector, Direct};
pub use crate::dedicated_key::{AuthorizedKeys, DedicatedKey};
pub use crate::error::{
    DeployAttempt, DeployFailure, HostKeyChange, KeyAttempt, KeyOutcome, KeySource, SshError, Stage,
    SudoRefusal,
};
pub use crate::helper::{
    Account, GreetedHelper, HelperInput, HelperProcess, HelperProgram, HelperSource, HelperSpec, InputSource,
    RunsAs, ServerLimits, StartingHelper, Sudo, quote,
};
pub use crate::link::ExitStatus;
pub use crate::login::{
    AcceptedKey, HostAnswer, HostKey, IdentityUsed, NoPrompt, Peer, PresentedKey, Prompt, Route,
};
pub use crate::session::{
    Channel, ChannelReader, ChannelStatus, ChannelWriter, Closer, Relay, RelayStream, Session,
};
pub use zeroize::Zeroizing;
