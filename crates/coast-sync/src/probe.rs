//! A question to another machine: can it be reached, does the helper run there, and is there room for a workspace?

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use coast_engine::{Cancel, EngineError};
use coast_ssh::Prompt;
use coast_tree::MAX_PATH_BYTES;
use coast_wire::limits::MAX_TEXT_BYTES;
use coast_wire::{Answer, Probe};

use crate::SyncError;
use crate::destination::RemoteDestination;
use crate::receiver_arguments::question_words;
use crate::remote::{self, ConnectionReport};

/// A question to another machine: connects, verifies the host, deploys the helper if it is missing and has it look at the
/// destination. Changes nothing there but for the helper itself.
#[derive(Debug, Clone)]
pub struct ProbeRequest {
    remote: RemoteDestination,
}

/// The answer of the remote.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProbeReport {
    /// How the remote was reached.
    pub connection: ConnectionReport,
    /// Its operating system, as in `linux`.
    pub os: String,
    /// Its processor, as in `x86_64`.
    pub arch: String,
    /// The helper's own version.
    pub helper_version: String,
    /// The user number that the helper runs as; 0 is root.
    pub uid: u32,
    /// Whether the helper could confine itself to the directory (Linux 5.19 and later).
    pub confined: bool,
    /// The directory that was looked at: the destination, or the nearest one above it that exists.
    pub directory: PathBuf,
    /// Whether the destination exists, and so is `directory`.
    pub exists: bool,
    /// Size of the directory's file system, in bytes.
    pub total_bytes: u64,
    /// Free space for this user, in bytes.
    pub free_bytes: u64,
    /// How many entries that file system can have; 0 where it has no limit.
    pub total_inodes: u64,
    /// How many more entries this user can make there.
    pub free_inodes: u64,
    /// How many files and directories each user of the remote may watch, where there is such a limit.
    pub max_watches: Option<u64>,
    /// Whether the helper can make entries in the directory.
    pub writable: bool,
    /// The system's error when it cannot.
    pub unwritable_because: Option<String>,
}

impl ProbeRequest {
    /// Asks about this destination, which need not exist.
    pub fn new(remote: RemoteDestination) -> Self {
        Self { remote }
    }

    /// Asks. Blocks until the remote has answered, the request has failed, or `cancel` stopped it. Questions and notices of the
    /// connection go to `prompt`.
    ///
    /// # Errors
    /// When there is no answer. A directory that cannot be written is no error: see [`ProbeReport::writable`].
    pub fn run(self, prompt: &dyn Prompt, cancel: &Cancel) -> Result<ProbeReport, SyncError> {
        let words = question_words("probe", &self.remote.path);
        remote::ask(&self.remote, words, prompt, cancel, |answer, connection| match answer {
            Answer::Probe(probe) => ProbeReport::new(probe, connection).map(ControlFlow::Break),
            _ => Err(EngineError::Protocol("it answered something that was not asked")),
        })
    }
}

impl ProbeReport {
    fn new(probe: Probe<'_>, connection: &ConnectionReport) -> Result<Self, EngineError> {
        let texts = [Some(probe.version), Some(probe.os), Some(probe.arch), probe.unwritable];
        let long = texts.into_iter().flatten().any(|text| text.len() > MAX_TEXT_BYTES);
        if long || probe.directory.len() > MAX_PATH_BYTES {
            return Err(EngineError::Protocol("its answer is longer than any"));
        }
        Ok(Self {
            connection: connection.clone(),
            os: probe.os.to_owned(),
            arch: probe.arch.to_owned(),
            helper_version: probe.version.to_owned(),
            uid: probe.uid,
            confined: probe.confined,
            directory: PathBuf::from(OsStr::from_bytes(probe.directory)),
            exists: probe.exists,
            total_bytes: probe.total_bytes,
            free_bytes: probe.free_bytes,
            total_inodes: probe.total_inodes,
            free_inodes: probe.free_inodes,
            max_watches: probe.max_watches,
            writable: probe.unwritable.is_none(),
            unwritable_because: probe.unwritable.map(str::to_owned),
        })
    }
}
