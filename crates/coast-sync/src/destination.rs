//! Where a run brings its files to.

use crate::SyncError;
use coast_engine::EngineError;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;

use coast_ssh::{ConnectOptions, Sudo, Target};

use crate::HelperStore;

/// Where a run brings its files to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Destination {
    /// A path of this machine.
    Local(LocalDestination),
    /// A path of another machine, over SSH.
    Remote(Box<RemoteDestination>),
}

/// A path of this machine, and who writes to it.
#[derive(Debug, Clone)]
pub struct LocalDestination {
    path: PathBuf,
    receiver: LocalReceiver,
}

/// Who writes to a local destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalReceiver {
    /// A thread of this process.
    #[default]
    InProcess,
    /// A helper as a child process, which confines itself to the destination before it reads a byte.
    Program {
        /// The program.
        program: PathBuf,
        /// What stands before the helper's own arguments.
        arguments: Vec<OsString>,
    },
}

/// A path of another machine, and how to get there.
#[derive(Debug, Clone)]
pub struct RemoteDestination {
    pub(crate) target: Target,
    pub(crate) path: PathBuf,
    pub(crate) connect: ConnectOptions,
    pub(crate) sudo: Sudo,
    pub(crate) helper: RemoteHelper,
}

/// The helper that receives on the other machine.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RemoteHelper {
    /// One of these, uploaded when the remote does not have it yet.
    Deployed(HelperStore),
    /// One that is already there, at this path.
    Installed(PathBuf),
}

impl Destination {
    /// A path of this machine, written by a thread of this process.
    pub fn local(path: impl Into<PathBuf>) -> Self {
        Self::Local(LocalDestination { path: path.into(), receiver: LocalReceiver::InProcess })
    }

    /// Whether a local destination could be used, had there been something to send.
    pub(crate) fn check(&self) -> Result<(), SyncError> {
        let Self::Local(local) = self else { return Ok(()) };
        let failed = |doing| move |error| EngineError::Destination { path: local.path.clone(), doing, error };
        match std::fs::metadata(&local.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            found => return Ok(found.map(|_| ()).map_err(failed("looking at it"))?),
        }
        let parent = match local.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => return Ok(()),
        };
        let looked = std::fs::metadata(parent).map(|_| ());
        Ok(looked.map_err(failed("looking for the directory to put it in"))?)
    }

    /// Whether it is on another machine.
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::Remote(_))
    }

    /// The path, on whichever machine; a relative remote one starts at the user's home.
    pub fn path(&self) -> &std::path::Path {
        match self {
            Self::Local(local) => &local.path,
            Self::Remote(remote) => &remote.path,
        }
    }
}

impl LocalDestination {
    /// A path of this machine, written by `receiver`.
    pub fn new(path: impl Into<PathBuf>, receiver: LocalReceiver) -> Self {
        Self { path: path.into(), receiver }
    }

    pub(crate) fn receiver(&self) -> &LocalReceiver {
        &self.receiver
    }
}

impl RemoteDestination {
    /// `path` on `target`; a relative path starts at the user's home. Connects as `ssh` would, uses sudo where it works
    /// without a password, and deploys the helper that [`HelperStore::discover`] finds.
    pub fn new(target: Target, path: impl Into<PathBuf>) -> Self {
        Self {
            target,
            path: path.into(),
            connect: ConnectOptions::default(),
            sudo: Sudo::Auto,
            helper: RemoteHelper::Deployed(HelperStore::discover()),
        }
    }

    /// How to connect.
    #[must_use]
    pub fn connect(mut self, options: ConnectOptions) -> Self {
        self.connect = options;
        self
    }

    /// Whether the helper runs as root.
    #[must_use]
    pub fn sudo(mut self, sudo: Sudo) -> Self {
        self.sudo = sudo;
        self
    }

    /// The helper that receives.
    #[must_use]
    pub fn helper(mut self, helper: RemoteHelper) -> Self {
        self.helper = helper;
        self
    }
}

impl From<LocalDestination> for Destination {
    fn from(local: LocalDestination) -> Self {
        Self::Local(local)
    }
}

impl From<RemoteDestination> for Destination {
    fn from(remote: RemoteDestination) -> Self {
        Self::Remote(Box::new(remote))
    }
}
