//! Continuous sync: mutagen in a shell container, driven through the Docker API.
//!
//! [`Docker::ensure_shell`] makes a [`Shell`]: a container with a worktree, an ssh client and mutagen. A shell gets access to the
//! remote ([`Shell::install_access`]), and creates, lists and terminates sessions by running mutagen in the container. All calls
//! block. An [`Interrupt`] ends them from another thread.
//!
//! ```no_run
//! use coast_mutagen::{Docker, DockerEnvironment, RemoteAccess, SessionSpec, ShellSpec};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let docker = Docker::connect(&DockerEnvironment::from_process())?;
//! let spec = ShellSpec::new("shop", "dev-1", "shell:latest", "/home/me/shop", "bridge");
//! let (shell, _) = docker.ensure_shell(&spec)?;
//! let endpoint = shell.install_access(&RemoteAccess {
//!     user: "dev".to_owned(),
//!     host: "remote.example".to_owned(),
//!     port: 22,
//!     private_key: std::fs::read("/home/me/.ssh/id_ed25519")?.into(),
//!     host_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA...".to_owned(),
//! })?;
//! let session = shell.create_session(&SessionSpec {
//!     project: "shop".to_owned(),
//!     instance: "dev-1".to_owned(),
//!     endpoint,
//!     remote_path: "/data/workspaces/shop/dev-1/".to_owned(),
//!     ignores: vec!["node_modules".to_owned()],
//!     private: vec![".env".to_owned()],
//!     file_mode: 0o644,
//! })?;
//! shell.flush("shop", "dev-1", Duration::from_secs(60))?;
//! println!("{} files, {}", session.alpha.files, session.status.as_str());
//!
//! shell.terminate("shop", "dev-1")?;
//! docker.remove_shell(&spec.name, &spec.labels)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Requirements on the image
//! The image must hold `mutagen` with `mutagen-agents.tar.gz` beside it, `ssh` and `scp`, and the usual `id`, `cat`, `ls`, `rm`
//! and `stat`. [`Docker::build_image`] makes one. Its user must be listed in `/etc/passwd` with a home directory.
//!
//! # Latency
//! On Linux, mutagen watches recently changed files and scans the others every 10 s. An edit to another file arrives within 4 to
//! 9 s, an edit to a recently changed file within 0.04 s (800 files) to 0.5 s (78,000 files).

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod access;
mod address;
mod build;
mod container;
mod daemon;
mod docker;
mod error;
mod exec;
mod image;
mod inspection;
mod interrupt;
mod name;
mod pattern;
mod session;
mod shell;
mod state;

pub use crate::access::{Endpoint, RemoteAccess};
pub use crate::address::DockerEnvironment;
pub use crate::build::{ImageBase, ImageSpec};
pub use crate::container::{Ensured, ShellSpec, shell_labels, shell_name};
pub use crate::docker::Docker;
pub use crate::error::{MutagenError, Step};
pub use crate::interrupt::Interrupt;
pub use crate::session::SessionSpec;
pub use crate::shell::Shell;
pub use crate::state::{EndpointState, SessionState, Status};
pub use zeroize::Zeroizing;
