//! The bulk layer: it transfers a worktree to a workspace, restores what transfers moved to the trash, and removes a workspace. It
//! is a trait, so that a test can put a local directory in the remote's place.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use coast_sync::{
    CachePlace, Cancel, Claim, Connector, Delete, Direct, IdentityUsed, Itemize, KeptEntry, LeftoverRequest,
    Monitor, Options, Own, Ownership, ProbeRequest, Prompt, RemoteDestination, RemoteHelper, RemoveRequest,
    RestoreReport, RestoreRequest, RuleList, SyncError, SyncReport, SyncRequest, TrashReport, TrashRequest,
    profile,
};

use crate::continuous::Access;
use crate::ignores::VERSION_CONTROL;
use crate::{Coastfile, Remote};

/// How long a removal and a question about the trash wait for a run that holds the workspace's lock. The helper of a killed command
/// holds it until it notices the end of the connection.
const BUSY_PATIENCE: Duration = Duration::from_secs(20);

/// The interval between two attempts.
const BUSY_AGAIN: Duration = Duration::from_millis(200);

/// The time for connecting to a remote that is only looked at.
const CHECK_PATIENCE: Duration = Duration::from_secs(5);

/// Transfers worktrees to workspaces, and removes workspaces.
pub trait Bulk: Sync {
    /// Makes the workspace equal to the worktree. A transfer of the whole worktree changes nothing in the workspace before
    /// [`Monitor::ready`] has returned, and nothing at all if `cancel` was cancelled by then.
    ///
    /// # Errors
    /// When the transfer did not finish. Single entries that failed are told to `monitor` and counted in the report.
    fn transfer(
        &self,
        transfer: &Transfer<'_>,
        monitor: &dyn Monitor,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<Transferred, SyncError>;

    /// Connects to a remote, logs in there and looks for a workspace. Changes nothing there, but may upload the helper.
    ///
    /// # Errors
    /// When the remote cannot be asked.
    fn check(
        &self,
        remote: &Remote,
        path: &str,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<Checked, SyncError>;

    /// Lists the trash of a workspace.
    ///
    /// # Errors
    /// When the trash cannot be read.
    fn trash(
        &self,
        remote: &Remote,
        path: &str,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<TrashReport, SyncError>;

    /// Restores `entries`, paths of the workspace, from its trash.
    ///
    /// # Errors
    /// When a path is invalid, or when it ended early. Entries that stay in the trash are counted in the report.
    fn restore(
        &self,
        remote: &Remote,
        path: &str,
        entries: &[Vec<u8>],
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<RestoreReport, SyncError>;

    /// Removes a workspace with everything in it, the state directory beside it, and the directory of its project if that is empty
    /// then. `progress` is called now and then with the number of removed entries.
    ///
    /// # Errors
    /// When the workspace could not be removed, or a part of it may be left.
    fn remove(
        &self,
        remote: &Remote,
        path: &str,
        prompt: &dyn Prompt,
        progress: &dyn Fn(u64),
        cancel: &Cancel,
    ) -> Result<Removed, SyncError>;

    /// Removes what ended sessions and this program have left in the account on a remote. `traces` are those of
    /// [`Started`](crate::Started).
    ///
    /// # Errors
    /// When something may be left. It does no harm there.
    fn sweep(
        &self,
        remote: &Remote,
        traces: &[String],
        helpers: Helpers,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<(), SyncError>;
}

/// The parameters of a transfer.
#[derive(Debug, Clone)]
pub struct Transfer<'a> {
    /// The source directory.
    pub worktree: &'a Path,
    /// The machine of the workspace.
    pub remote: &'a Remote,
    /// The absolute path of the workspace.
    pub remote_path: &'a str,
    /// The exclude and protect rules.
    pub rules: &'a RuleList,
    /// Which entries are given to the user who logs in although they are not sent.
    pub own: Own,
    /// The paths to transfer. Other paths are neither sent nor deleted. `None` means the whole worktree.
    pub only: Option<&'a [Vec<u8>]>,
    /// Which extraneous entries are deleted.
    pub deletes: Deletes<'a>,
    /// Whether replaced files move into place together at the end.
    pub delay_updates: bool,
    /// Whether the workspace must be new.
    pub claim: Claim,
    /// Whether changes are told and not made.
    pub dry_run: bool,
    /// Where contents of the worktree's files are looked up before the files are read.
    pub content_sources: ContentSources,
}

/// Where a transfer looks up the contents of the worktree's files before it reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContentSources {
    /// In the content cache and in git's index.
    #[default]
    CacheAndGit,
    /// In the content cache.
    Cache,
    /// Nowhere: every file that is compared is read, and the cache learns nothing.
    None,
}

/// Which extraneous entries a transfer deletes.
#[derive(Debug, Clone, Copy)]
pub struct Deletes<'a> {
    /// Only those that a transfer or the continuous layer has put there. Otherwise all of them.
    pub only_placed: bool,
    /// The paths that the continuous layer may have put there since the last transfer.
    pub carried: &'a [Vec<u8>],
    /// Whether entries that were made or changed on the remote move to the trash there.
    pub trash: bool,
    /// Whether a transfer is refused that would delete most of what was put there.
    pub no_mass_deletion: bool,
}

impl Deletes<'_> {
    /// Those of a transfer that only repairs a workspace.
    pub(crate) const REPAIR: Self =
        Self { only_placed: true, carried: &[], trash: true, no_mass_deletion: false };
}

/// Whether the helper on a remote is of further use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Helpers {
    /// Other instances use it.
    Stay,
    /// No instance known here uses it.
    Go,
}

/// The result of a transfer.
#[derive(Debug, Clone)]
pub struct Transferred {
    /// The counts of the transfer.
    pub report: SyncReport,
    /// The address with which the remote was reached, and the key for a session: the remote's session key, or else the key that
    /// logged in.
    pub access: Access,
}

/// What a remote answered about a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The user who logged in, and the name or address of the remote: `dev@box.example`.
    pub login: String,
    /// Whether the workspace is there.
    pub workspace: bool,
}

/// The result of a removal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removed {
    /// The number of removed entries, at all depths.
    pub entries: u64,
    /// Whether the workspace existed.
    pub existed: bool,
    /// The number of entries that could not be removed.
    pub kept_entries: u64,
    /// The first entries that could not be removed.
    pub kept: Vec<KeptEntry>,
}

/// The bulk layer for other machines, over SSH.
#[derive(Debug, Clone)]
pub struct RemoteBulk {
    helper: RemoteHelper,
    connector: Arc<dyn Connector>,
}

impl RemoteBulk {
    /// A layer that starts this helper on the remote.
    pub fn new(helper: RemoteHelper) -> Self {
        Self { helper, connector: Arc::new(Direct) }
    }

    /// Sets where connections come from; by default each use makes its own.
    #[must_use]
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connector = connector;
        self
    }

    /// A directory on the remote.
    fn destination(&self, remote: &Remote, path: &str) -> RemoteDestination {
        remote.destination(path, self.helper.clone()).connector(Arc::clone(&self.connector))
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
        let destination = self.destination(transfer.remote, transfer.remote_path);
        let report = request(transfer, destination)?.run(monitor, prompt, cancel)?;
        let connection = report.connection.as_ref();
        let mut access = Access::from(connection.expect("a run to another machine reports its connection"));
        if let Some(path) = transfer.remote.session_key.clone() {
            access.identity = IdentityUsed::File { path, encrypted: false };
        }
        Ok(Transferred { report, access })
    }

    fn check(
        &self,
        remote: &Remote,
        path: &str,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<Checked, SyncError> {
        let destination = remote.quick_destination(path, self.helper.clone(), CHECK_PATIENCE);
        let destination = destination.connector(Arc::clone(&self.connector));
        let report = ProbeRequest::new(destination).run(prompt, cancel)?;
        let peer = report.connection.peer;
        Ok(Checked { login: format!("{}@{}", peer.user, peer.host_name), workspace: report.exists })
    }

    fn trash(
        &self,
        remote: &Remote,
        path: &str,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<TrashReport, SyncError> {
        let request = TrashRequest::new(self.destination(remote, path));
        when_free(cancel, || request.clone().run(prompt, cancel))
    }

    fn restore(
        &self,
        remote: &Remote,
        path: &str,
        entries: &[Vec<u8>],
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<RestoreReport, SyncError> {
        let request = RestoreRequest::new(self.destination(remote, path), entries)?;
        when_free(cancel, || request.clone().run(prompt, cancel))
    }

    fn remove(
        &self,
        remote: &Remote,
        path: &str,
        prompt: &dyn Prompt,
        progress: &dyn Fn(u64),
        cancel: &Cancel,
    ) -> Result<Removed, SyncError> {
        let request = RemoveRequest::new(self.destination(remote, path)).with_empty_parent(true);
        let report = when_free(cancel, || request.clone().run(prompt, progress, cancel))?;
        Ok(Removed {
            entries: report.removed_entries,
            existed: report.existed,
            kept_entries: report.kept_entries,
            kept: report.kept,
        })
    }

    fn sweep(
        &self,
        remote: &Remote,
        traces: &[String],
        helpers: Helpers,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<(), SyncError> {
        let mut paths = traces.to_vec();
        if let (Helpers::Go, RemoteHelper::Deployed(store)) = (helpers, &self.helper) {
            paths.extend(store.file_names()?);
        }
        if paths.is_empty() {
            return Ok(());
        }
        let destination = self.destination(remote, &remote.service_home);
        LeftoverRequest::new(destination).remove(&paths, prompt, cancel).map(drop)
    }
}

/// Repeats a request for some time while a run holds the workspace's lock.
fn when_free<T>(cancel: &Cancel, request: impl Fn() -> Result<T, SyncError>) -> Result<T, SyncError> {
    let asked = Instant::now();
    loop {
        match request() {
            Err(error) if error.is_busy() && asked.elapsed() < BUSY_PATIENCE && !cancel.is_cancelled() => {
                thread::sleep(BUSY_AGAIN);
            }
            ended => return ended,
        }
    }
}

/// The filter rules of a project.
///
/// # Errors
/// When the Coastfile has more patterns than a run may have rules.
pub(crate) fn rules(coastfile: &Coastfile) -> Result<RuleList, coast_sync::RuleError> {
    rules_of(&coastfile.exclude, &coastfile.protect, coastfile.use_default_rules)
}

/// The filter rules of these patterns of a Coastfile.
///
/// # Errors
/// When there are more patterns than a run may have rules.
pub(crate) fn rules_of(
    excludes: &[String],
    protects: &[String],
    defaults: bool,
) -> Result<RuleList, coast_sync::RuleError> {
    profile::rules(&with_version_control(excludes), protects, defaults)
}

/// The filter rules for the entries that both layers exclude.
///
/// # Errors
/// When there are more patterns than a run may have rules.
pub(crate) fn exclusions(excludes: &[String], defaults: bool) -> Result<RuleList, coast_sync::RuleError> {
    rules_of(excludes, &[], defaults)
}

fn with_version_control(excludes: &[String]) -> Vec<String> {
    VERSION_CONTROL.map(str::to_owned).into_iter().chain(excludes.iter().cloned()).collect()
}

/// The request that carries out a transfer to a destination.
///
/// # Errors
/// When a path of [`Transfer::only`] is invalid.
pub(crate) fn request(
    transfer: &Transfer<'_>,
    destination: impl Into<coast_sync::Destination>,
) -> Result<SyncRequest, SyncError> {
    let Deletes { only_placed, carried, trash, no_mass_deletion } = transfer.deletes;
    let options = Options {
        delete: Some(Delete { only_placed, placed: carried.to_vec(), no_mass_deletion, ..Delete::default() }),
        trash,
        delay_updates: transfer.delay_updates,
        dry_run: transfer.dry_run,
        ownership: Ownership::LoginUser { own: transfer.own },
        // A session may have carried a file before the user made it private.
        privacy: true,
        // The lifecycle needs the new entries: they may vanish from the worktree before the continuous layer's first scan.
        itemize: Itemize::Changes,
        ..profile::options()
    };
    // The trailing slash means the content of the worktree.
    let request = SyncRequest::new(transfer.worktree.join(""), destination)
        .options(options)
        .rules(transfer.rules.clone())
        .claim(transfer.claim)
        .make_parents(true)
        .compress(true)
        .cache(if transfer.content_sources == ContentSources::None {
            CachePlace::Nowhere
        } else {
            CachePlace::Default
        })
        .git(transfer.content_sources == ContentSources::CacheAndGit)
        // The lifecycle ends the old session once the remote is ready.
        .await_ready(transfer.only.is_none() && !transfer.dry_run);
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
            // Both layers exclude directories of the other names, and not files.
            for (name, as_file) in
                [(".git", true), (".svn", false), (".hg", false), (".bzr", false), ("_darcs", false)]
            {
                assert!(root.excludes(name.as_bytes(), EntryKind::Directory), "{name}");
                assert_eq!(root.excludes(name.as_bytes(), EntryKind::Other), as_file, "{name}");
            }
        }
    }
}
