//! The test kit: servers, accounts, Docker engines, trees, random edits, noise and the comparison of trees.
//!
//! Tests of every crate, `coast demo` and `cargo xtask bench` use it. No program that is shipped depends on it.
//!
//! A failure to set up a test is a panic that says what was being done, and which package to install where a program is
//! missing: a test must never pass because it could not run. [`Snapshot::read`], [`Tree::write`] and [`EmbeddedServer`]
//! return errors, because `coast demo` shows them to its user.
//!
//! ```
//! use coast_testkit::{Aspects, Snapshot, Tree, noise};
//!
//! let scratch = tempfile::tempdir()?;
//! let (one, two) = (scratch.path().join("one"), scratch.path().join("two"));
//! let tree = Tree::new().file("app/main.py", "print()").mode(0o755).file("data", noise(1, 4096)).symlink("latest", "app");
//! tree.build(&one);
//! tree.build(&two);
//! Snapshot::of(&one).assert_same(&Snapshot::of(&two), Aspects::CONTENT.with_modes());
//!
//! std::fs::write(two.join("data"), noise(2, 4096))?;
//! let differences = Snapshot::of(&one).differences(&Snapshot::of(&two), Aspects::CONTENT);
//! assert_eq!(differences.len(), 1);
//! assert!(differences[0].starts_with("data: content"));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! The feature `embedded` adds [`EmbeddedServer`], an SSH server inside the process.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "support code of tests: a panic is how it reports")]

mod account;
mod debian;
mod destination_writer;
mod docker;
mod edits;
mod noise;
mod programs;
mod server;
mod small_disk;
mod tree;

pub use account::{Account, Shell, Sudo};
pub use debian::debian_archive;
pub use destination_writer::{DestinationWriter, Told};
pub use docker::DockerEngine;
pub use edits::RandomEdits;
pub use noise::{Noise, noise, noise_at};
pub use programs::{require, require_root, target_directory};
#[cfg(feature = "embedded")]
pub use server::embedded::{EmbeddedOptions, EmbeddedServer, HostKeyKind};
pub use server::key::{make_key, public_key};
pub use server::sshd::{Sshd, SshdOptions};
pub use small_disk::SmallDisk;
pub use tree::differences::Aspects;
pub use tree::script::quote;
pub use tree::snapshot::{Kind, Seen, Snapshot};
pub use tree::{Node, Tree};
