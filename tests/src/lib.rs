//! Support for the end-to-end tests: the test kit, programs that run with a time limit in a home of their own, remote
//! machines, Docker engines, and the oracle that asks real rsync.
//!
//! A failure of the support code is a panic. The message says what failed and, where a program is missing, which package to
//! install: a test must never pass because it could not run.
//!
//! ```
//! use coast_tests::{Sandbox, Snapshot, Tree};
//!
//! let place = Sandbox::new();
//! Tree::new().file("app/main.py", "print()").symlink("latest", "app").build(place.path("one"));
//! place.program("cp").args(["-a", "one", "two"]).run().assert_code(0);
//! Snapshot::of(place.path("one")).assert_same_content(&Snapshot::of(place.path("two")));
//! ```
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "support code of tests: a panic is how it reports")]

mod base_image;
mod binaries;
mod mount;
mod mutagen;
pub mod oracle;
mod program;
mod project;
mod remote;
mod sandbox;
mod shell_image;
mod terminal;
mod watch;

pub use binaries::coast;
pub use coast_testkit::{
    Account, Aspects, DockerEngine, Kind, Node, Seen, Shell, Snapshot, Sshd, Sudo, Tree, make_key, noise,
    public_key, require, require_root,
};
pub use mount::Mount;
pub use mutagen::Mutagen;
pub use program::{Outcome, Program, Running};
pub use project::{Layer, Project};
pub use remote::Remote;
pub use sandbox::Sandbox;
pub use shell_image::ShellImage;
pub use terminal::{InTerminal, TerminalSettings};
pub use watch::Watch;
