//! The destination of a run.

use crate::SyncError;
use coast_engine::EngineError;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use coast_ssh::{ConnectOptions, Connector, Direct, Sudo, Target};
use coast_tree::{PathEnd, PathError, TrustedPath};

use crate::HelperStore;

/// The destination of a run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Destination {
    /// A path on this machine.
    Local(LocalDestination),
    /// A path on another machine, over SSH.
    Remote(Box<RemoteDestination>),
}

/// A path on this machine, and its receiver.
#[derive(Debug, Clone)]
pub struct LocalDestination {
    path: PathBuf,
    receiver: LocalReceiver,
    relay: Option<Relay>,
}

/// Stands between the sender and a receiver in this process that stays. For tests, which let connections break.
#[doc(hidden)]
#[derive(Clone)]
pub struct Relay(Arc<dyn Fn(UnixStream) -> std::io::Result<UnixStream> + Send + Sync>);

impl Relay {
    /// `connect` gets the stream to the sender, and returns the stream that the receiver gets instead. It is called for each session.
    pub fn new(connect: impl Fn(UnixStream) -> std::io::Result<UnixStream> + Send + Sync + 'static) -> Self {
        Self(Arc::new(connect))
    }

    pub(crate) fn over(&self, stream: UnixStream) -> std::io::Result<UnixStream> {
        (self.0)(stream)
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").finish_non_exhaustive()
    }
}

/// The receiver that writes to a local destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalReceiver {
    /// A thread of this process.
    #[default]
    InProcess,
    /// A helper as a child process. It confines itself to the destination before it reads a byte.
    /// `arguments` come before the helper's own arguments.
    #[allow(missing_docs, reason = "the comment of the variant explains its fields")]
    Program { program: PathBuf, arguments: Vec<OsString> },
}

/// A path on another machine, and how to connect to it.
#[derive(Debug, Clone)]
pub struct RemoteDestination {
    pub(crate) target: Target,
    pub(crate) path: PathBuf,
    pub(crate) connect: ConnectOptions,
    pub(crate) sudo: Sudo,
    pub(crate) helper: RemoteHelper,
    pub(crate) connector: Arc<dyn Connector>,
}

/// The helper that receives on the other machine.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RemoteHelper {
    /// The helper of the store for the remote's platform. It is uploaded if the remote does not have it yet.
    Deployed(HelperStore),
    /// A helper that is installed on the remote at this path.
    Installed(PathBuf),
}

impl Destination {
    /// Returns a path on this machine. A thread of this process writes to it.
    pub fn local(path: impl Into<PathBuf>) -> Self {
        Self::Local(LocalDestination::new(path, LocalReceiver::InProcess))
    }

    /// Checks that a local destination could be used, for a run that has nothing to send: it or its parent exists, and no other
    /// user's symlink leads to it.
    pub(crate) fn check(&self) -> Result<(), SyncError> {
        let Self::Local(local) = self else { return Ok(()) };
        let failed = |doing, error| EngineError::Destination { path: local.path.clone(), doing, error };
        match TrustedPath::resolve(&local.path) {
            Ok(found) if matches!(found.end(), PathEnd::Missing(names) if names.len() > 1) => {
                let text = "its parent directory does not exist; make that first";
                let error = std::io::Error::new(ErrorKind::NotFound, text);
                Err(failed("looking for the directory to put it in", error).into())
            }
            // As in rsync, which would replace the symlink.
            Ok(_) | Err(PathError::Dangling { .. }) => Ok(()),
            Err(error) => Err(failed("opening it", error.into()).into()),
        }
    }

    /// Whether the destination is on another machine.
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::Remote(_))
    }

    /// The path. A relative path on a remote starts at the user's home directory.
    pub fn path(&self) -> &std::path::Path {
        match self {
            Self::Local(local) => &local.path,
            Self::Remote(remote) => &remote.path,
        }
    }
}

impl LocalDestination {
    /// Returns a path on this machine. `receiver` writes to it.
    pub fn new(path: impl Into<PathBuf>, receiver: LocalReceiver) -> Self {
        Self { path: path.into(), receiver, relay: None }
    }

    /// Lets `relay` stand between the sender and a receiver in this process. For tests.
    #[doc(hidden)]
    #[must_use]
    pub fn relayed(mut self, relay: Relay) -> Self {
        self.relay = Some(relay);
        self
    }

    pub(crate) fn relay(&self) -> Option<&Relay> {
        self.relay.as_ref()
    }

    pub(crate) fn receiver(&self) -> &LocalReceiver {
        &self.receiver
    }
}

impl RemoteDestination {
    /// Returns `path` on `target`. A relative path starts at the user's home directory. By default the run connects as `ssh`
    /// would, uses sudo where it works without a password, and deploys a helper that [`HelperStore::discover`] finds.
    pub fn new(target: Target, path: impl Into<PathBuf>) -> Self {
        Self {
            target,
            path: path.into(),
            connect: ConnectOptions::default(),
            sudo: Sudo::Auto,
            helper: RemoteHelper::Deployed(HelperStore::discover()),
            connector: Arc::new(Direct),
        }
    }

    /// Sets the options of the connection.
    #[must_use]
    pub fn connect(mut self, options: ConnectOptions) -> Self {
        self.connect = options;
        self
    }

    /// Sets whether the helper runs as root.
    #[must_use]
    pub fn sudo(mut self, sudo: Sudo) -> Self {
        self.sudo = sudo;
        self
    }

    /// Sets where the session comes from; by default it is a connection of its own. What is about the connection itself, an
    /// [`AccountRequest`](crate::AccountRequest) or a [`KeyRequest`](crate::KeyRequest), always makes one.
    #[must_use]
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connector = connector;
        self
    }

    /// Sets the helper that receives.
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
