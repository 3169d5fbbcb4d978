//! The bulk layer as the lifecycle uses it: bring a worktree to a workspace, and remove a workspace. A trait, so that a test can put a
//! directory of this machine in the remote's place.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use coast_sync::{
    Cancel, Claim, Itemize, KeptEntry, Monitor, Options, Prompt, RemoteHelper, RemoveRequest, RuleList,
    SyncError, SyncReport, SyncRequest, profile,
};

use crate::continuous::Access;
use crate::ignores::VERSION_CONTROL;
use crate::{Coastfile, Remote};

/// How long a removal waits for a run that works on the workspace: the helper of a command that was killed goes on until it
/// notices.
const BUSY_PATIENCE: Duration = Duration::from_secs(20);

/// How often it looks again.
const BUSY_AGAIN: Duration = Duration::from_millis(200);

/// Brings worktrees to workspaces.
pub trait Bulk: Sync {
    /// Makes the workspace equal to the worktree.
    ///
    /// # Errors
    /// When the transfer did not come to its end.
    fn transfer(
        &self,
        transfer: &Transfer<'_>,
        monitor: &dyn Monitor,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<Transferred, SyncError>;

    /// Removes a workspace with everything in it, and what the bulk layer keeps beside it.
    ///
    /// # Errors
    /// When something is or may be left.
    fn remove(
        &self,
        remote: &Remote,
        path: &str,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<Removed, SyncError>;
}

/// One transfer.
#[derive(Debug, Clone)]
pub struct Transfer<'a> {
    /// The directory here.
    pub worktree: &'a Path,
    /// The machine.
    pub remote: &'a Remote,
    /// The directory there.
    pub remote_path: &'a str,
    /// What is left out and what is protected.
    pub rules: &'a RuleList,
    /// These paths alone, everything else neither sent nor deleted; none for everything.
    pub only: Option<&'a [Vec<u8>]>,
    /// Whether replaced files move into place together at the end.
    pub delay_updates: bool,
    /// What the directory there is taken for.
    pub claim: Claim,
}

/// What a transfer did.
#[derive(Debug, Clone)]
pub struct Transferred {
    /// Its counts.
    pub report: SyncReport,
    /// How the remote was reached.
    pub access: Access,
}

/// What was removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removed {
    /// Entries, those below included.
    pub entries: u64,
    /// Whether there was a workspace.
    pub existed: bool,
    /// Entries that could not be removed.
    pub kept_entries: u64,
    /// The first of them.
    pub kept: Vec<KeptEntry>,
}

/// Transfers to and removals on other machines, over SSH.
#[derive(Debug, Clone)]
pub struct RemoteBulk {
    helper: RemoteHelper,
}

impl RemoteBulk {
    /// With this helper at the other end.
    pub fn new(helper: RemoteHelper) -> Self {
        Self { helper }
    }
}

impl Bulk for RemoteBulk {
    fn transfer(
        &self,
        transfer: &Transfer<'_>,
        monitor: &dyn Monitor,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<Transferred, SyncError> {
        let destination = transfer.remote.destination(transfer.remote_path, self.helper.clone());
        let report = request(transfer, destination)?.run(monitor, prompt, cancel)?;
        let connection = report.connection.as_ref();
        let access = Access::from(connection.expect("another machine is reached by a connection"));
        Ok(Transferred { report, access })
    }

    fn remove(
        &self,
        remote: &Remote,
        path: &str,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<Removed, SyncError> {
        let request = RemoveRequest::new(remote.destination(path, self.helper.clone()));
        let asked = Instant::now();
        let report = loop {
            match request.clone().run(prompt, cancel) {
                Err(error)
                    if error.is_busy() && asked.elapsed() < BUSY_PATIENCE && !cancel.is_cancelled() =>
                {
                    thread::sleep(BUSY_AGAIN);
                }
                ended => break ended?,
            }
        };
        Ok(Removed {
            entries: report.removed_entries,
            existed: report.existed,
            kept_entries: report.kept_entries,
            kept: report.kept,
        })
    }
}

/// The rules of a project, for the bulk layer.
///
/// # Errors
/// When there are more than a run may have.
pub(crate) fn rules(coastfile: &Coastfile) -> Result<RuleList, coast_sync::RuleError> {
    let mut exclude = VERSION_CONTROL.map(str::to_owned).to_vec();
    exclude.extend(coastfile.exclude.iter().cloned());
    profile::rules(&exclude, &coastfile.protect, coastfile.use_default_rules)
}

/// The transfer as a request to any destination.
///
/// # Errors
/// When a path of [`Transfer::only`] is none.
pub fn request(
    transfer: &Transfer<'_>,
    destination: impl Into<coast_sync::Destination>,
) -> Result<SyncRequest, SyncError> {
    let options = Options {
        delay_updates: transfer.delay_updates,
        // What is new on the remote may vanish here before the continuous layer has seen it.
        itemize: Itemize::Changes,
        ..profile::options()
    };
    // An empty last component is what a trailing slash is: the worktree's content.
    let request = SyncRequest::new(transfer.worktree.join(""), destination)
        .options(options)
        .rules(transfer.rules.clone())
        .claim(transfer.claim)
        .make_parents(true)
        .compress(true);
    match transfer.only {
        Some(paths) => request.only(paths),
        None => Ok(request),
    }
}

#[cfg(test)]
mod tests {
    use coast_filter::{EntryKind, Filter, NoMergeFiles, Side};

    use super::*;

    #[test]
    fn version_control_never_travels() {
        for use_default_rules in [true, false] {
            let rules = rules(&Coastfile { use_default_rules, ..Coastfile::default() }).unwrap();
            let root = Filter::compile(&rules, Side::Sender).unwrap().root(&NoMergeFiles).unwrap();
            // Files of the other names are nothing special, in mutagen neither.
            for (name, as_file) in
                [(".git", true), (".svn", false), (".hg", false), (".bzr", false), ("_darcs", false)]
            {
                assert!(root.excludes(name.as_bytes(), EntryKind::Directory), "{name}");
                assert_eq!(root.excludes(name.as_bytes(), EntryKind::Other), as_file, "{name}");
            }
        }
    }
}
