//! Continuous sync: mutagen in a shell container, driven through the Docker API.
//!
//! A [`Docker`] has a [`Shell`]: a container that holds a worktree, an ssh client and mutagen. Access to the remote is put
//! into it, and sessions are created, listed and ended by running mutagen there. All calls block; what is asynchronous
//! lives inside a [`Docker`]. An [`Interrupt`] ends them from another thread.
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
//! })?;
//! shell.flush("shop", "dev-1", Duration::from_secs(60))?;
//! println!("{} files, {}", session.alpha.files, session.status);
//!
//! shell.terminate("shop", "dev-1")?;
//! docker.remove_shell(&spec.name, &spec.labels)?;
//! # Ok(())
//! # }
//! ```
//!
//! # What the image needs
//! `mutagen` with `mutagen-agents.tar.gz` beside it, `ssh` and `scp`, and the `sleep`, `id`, `cat`, `ls`, `rm` and `stat`
//! of any system. Its user must be listed in `/etc/passwd` with a home directory.
//!
//! # How fast it follows
//! On Linux, mutagen watches what changed lately and looks at the rest every 10 s: an edit to a file that was not touched
//! lately arrives within 4 to 9 s, one to a recent file within 0.04 s (800 files) to 0.5 s (78,000 files).

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod access;
mod address;
mod container;
mod docker;
mod error;
mod exec;
mod image;
mod inspection;
mod interrupt;
mod name;
mod session;
mod shell;
mod state;

pub use crate::access::{Endpoint, RemoteAccess};
pub use crate::address::DockerEnvironment;
pub use crate::container::{
    Ensured, HOST_GATEWAY, INSTANCE_CONTAINER_LABEL, PROJECT_CONTAINER_LABEL, ShellSpec, shell_labels,
    shell_name,
};
pub use crate::docker::Docker;
pub use crate::error::{MutagenError, Step};
pub use crate::exec::Exec;
pub use crate::inspection::WORKSPACE;
pub use crate::interrupt::Interrupt;
pub use crate::name::{INSTANCE_LABEL, PROJECT_LABEL, session_name};
pub use crate::session::SessionSpec;
pub use crate::shell::Shell;
pub use crate::state::{
    Change, Conflict, EndpointState, Entry, Kind, Problem, SessionState, StagingProgress, Status,
};
pub use zeroize::Zeroizing;
