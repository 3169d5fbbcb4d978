//! Connect, verify the host, authenticate, deploy and start the helper: SSH without an `ssh` program.
//!
//! A [`Session`] is an authenticated connection to a host. It is made the way OpenSSH would make it: `~/.ssh/config`,
//! `known_hosts`, key files and the agent are read and followed, jump hosts are gone through. On it, [`Session::exec`]
//! runs commands and [`Session::start_helper`] starts the helper program, which it first uploads if need be. All calls
//! block; what is asynchronous lives on one thread inside a session.
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
//! # What is read of the ssh configuration
//!
//! `~/.ssh/config`, then `/etc/ssh/ssh_config`, with `Include`, `Host` and `Match` (`all`, `host`, `originalhost`,
//! `user`, `localuser`; a block with another criterion is skipped with a notice): `AddressFamily`, `BatchMode`,
//! `BindAddress`, `ConnectTimeout`, `GlobalKnownHostsFile`, `HashKnownHosts`, `HostKeyAlias`, `HostName`,
//! `IdentitiesOnly`, `IdentityAgent`, `IdentityFile`, `Port`, `ProxyJump`, `ServerAliveCountMax`, `ServerAliveInterval`,
//! `StrictHostKeyChecking` (by default `accept-new`), `User`, `UserKnownHostsFile`. Everything else is skipped, but for
//! `ProxyCommand`, which is an error, since no program is ever started. Certificates, of hosts and of users, are not
//! supported; nor are passwords.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

// The rooms, each of which uses those to its left and never those to its right:
// error <- config, link <- login <- session <- helper.
mod config;
mod error;
mod helper;
mod link;
mod login;
mod session;

pub use crate::config::{ConnectOptions, Environment, Target};
pub use crate::error::{
    DeployAttempt, DeployFailure, HostKeyChange, KeyAttempt, KeyOutcome, KeySource, SshError, Stage,
    SudoRefusal,
};
pub use crate::helper::{HelperProcess, HelperProgram, HelperSource, HelperSpec, RunsAs, Sudo, quote};
pub use crate::link::ExitStatus;
pub use crate::login::{HostKey, IdentityUsed, NoPrompt, Peer, Prompt};
pub use crate::session::{Channel, ChannelReader, ChannelStatus, ChannelWriter, Closer, Session};
pub use zeroize::Zeroizing;
