//! coastd, the daemon of one user: it follows the worktrees of running instances, mends what breaks, keeps connections to remotes
//! warm for other `coast` commands, and answers over a socket.
//!
//! [`run`] is the daemon; it returns when it has been told to end. [`Client`] talks to it, and [`start`] starts it as a process of its
//! own. The daemon speaks HTTP/1.1 and JSON on a Unix socket, below `/v1/`:
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | a [`DaemonStatus`] |
//! | `GET /v1/events` | one JSON object per line for each [`DaemonEvent`]: the state of a follower has changed, for example; until the daemon ends |
//! | `GET /v1/instances/PROJECT/INSTANCE` | a [`ContinuousStatus`](coast_instance::ContinuousStatus): the state of the follower |
//! | `POST .../prepare`, a [`FollowSpec`](coast_instance::FollowSpec) | a line `prepared` with a number, and edits are noted while the answer is read; or a line `failed` |
//! | `POST .../begin`, `{"lease": NUMBER, "first": "noted" or "everything"}` | lines `session`, then `done` or `failed` |
//! | `POST .../await` | a line `done` or `failed` when the daemon has tried to restore the instance, or has nothing to restore |
//! | `POST .../flush` | lines `session`, then `done` or `failed` when all edits have arrived or cannot arrive |
//! | `POST .../resolve`, `{"paths": [HEX], "take": "local" or "remote"}` | a line `done` or `failed` |
//! | `POST .../pause`, `POST .../end` | 204 |
//! | `POST /v1/changed` | 204; the daemon reads the records again |
//! | `POST /v1/shutdown` | 202; the daemon ends when its requests are answered |
//! | `POST /v1/connections` with a [`Route`](coast_ssh::Route) | the number of an open connection, its host and peer; 404 if there is none |
//! | `POST /v1/connections/warm` with a route | 202; the daemon makes a connection, if it can without asking anybody |
//! | `POST /v1/connections/ID/exec` with a command, and `Upgrade: coast-channel` | 101; the connection becomes the channel of the command |
//! | `POST /v1/passphrases` with `key` and `passphrase` | 204; the passphrase is kept in memory alone, for the daemon's connections, and what waits for it is tried again |
//!
//! An error is an object with `error`, a text, and `exit_code`, the code that a command ends with.
//!
//! ```
//! use coast_daemon::{Client, DaemonOptions, DaemonPlaces, run};
//! use coast_instance::Places;
//! use coast_sync::{HelperStore, RemoteHelper};
//!
//! let scratch = tempfile::tempdir()?;
//! let places = DaemonPlaces::below(scratch.path());
//! let records = Places::below(scratch.path());
//! let options = DaemonOptions::new(places.clone(), records, RemoteHelper::Deployed(HelperStore::discover()));
//! let client = Client::new(places);
//! let (ready, is_ready) = std::sync::mpsc::channel();
//! let daemon = std::thread::spawn(move || run(&options, || ready.send(()).unwrap()));
//! is_ready.recv()?;
//! assert_eq!(client.status()?.pid, std::process::id());
//! client.shut_down()?;
//! daemon.join().unwrap()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Versions
//! A [`DaemonStatus`] has `version`, `protocol` and `pid` in every version, and `POST /v1/shutdown` ends the daemon in every
//! version. So each program can tell whether the daemon is older than itself, and [`start`] and [`take_over`] then put a new daemon
//! in its place. A newer daemon is used as it is if `protocol` is the same.
//!
//! # Who may use it
//! The directory of the socket belongs to the user and has mode 0700. The daemon also asks the system for the user of each
//! connection, and answers no other user, root included. The client does the same before it sends a byte.
//!
//! # One daemon for a user
//! The lock is in the state directory, beside the records that the daemon serves. So two daemons never serve the same records, even
//! where two logins have different runtime directories. The lock's file names the socket, and clients read it there.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod api;
mod client;
mod connector;
mod detach;
mod directory;
mod event;
mod exchange;
mod host;
mod lock;
mod log;
mod memory;
mod passphrases;
mod places;
mod pool;
mod reconciler;
mod release;
mod server;
mod service;
mod socket;
mod status;
mod wake_up;

pub use client::{Client, ClientError, EventLines, FollowersOfDaemon, PreparedAtDaemon};
pub use connector::WarmConnector;
pub use detach::{StartError, Started, leave_the_terminal, start, take_over};
pub use event::DaemonEvent;
pub use lock::Running;
pub use places::DaemonPlaces;
pub use release::ProgramFile;
pub use server::{DaemonError, DaemonOptions, run};
pub use service::{Service, ServiceError};
pub use status::{DaemonStatus, InstanceSummary, PROTOCOL, RemoteState, RemoteStatus};
