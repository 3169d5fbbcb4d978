//! What the end-to-end tests share: trees described in a few lines, snapshots that compare whole trees, programs run
//! with a time limit in a home of their own, an sshd with users of its own, and the oracle that asks real rsync.
//!
//! Everything here fails by panicking, with a message that says what is wrong and, where a program is missing, which
//! package to install: a test must never pass because it could not run.
//!
//! ```
//! use coast_tests::{Aspects, Sandbox, Snapshot, Tree};
//!
//! let place = Sandbox::new();
//! Tree::new().file("app/main.py", "print()").mode(0o755).symlink("latest", "app").build(place.path("one"));
//! Tree::new().file("app/main.py", "print()").mode(0o755).symlink("latest", "app").build(place.path("two"));
//! Snapshot::of(place.path("one")).assert_same(&Snapshot::of(place.path("two")), Aspects::CONTENT.with_modes());
//! ```
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "support code of tests: a panic is how it reports")]

mod account;
mod base_image;
mod binaries;
mod differences;
mod docker;
mod mount;
mod mutagen;
mod noise;
pub mod oracle;
mod program;
mod project;
mod remote;
mod sandbox;
mod shell_image;
mod snapshot;
mod sshd;
mod tree;
mod watch;

pub use account::{Account, Shell, Sudo};
pub use binaries::{coast, require, require_root};
pub use differences::Aspects;
pub use docker::DockerEngine;
pub use mount::Mount;
pub use mutagen::Mutagen;
pub use noise::noise;
pub use program::{Outcome, Program, Running};
pub use project::Project;
pub use remote::Remote;
pub use sandbox::Sandbox;
pub use shell_image::ShellImage;
pub use snapshot::{Kind, Seen, Snapshot};
pub use sshd::Sshd;
pub use tree::{Node, Tree};
pub use watch::Watch;
