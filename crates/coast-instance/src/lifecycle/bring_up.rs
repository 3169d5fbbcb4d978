//! The common part of `run`, `assign`, `unassign` and `start`: a worktree is transferred to the workspace, and its edits are carried
//! from then on.

use std::io;
use std::path::Path;
use std::sync::Mutex;

use coast_sync::{
    Cancel, Claim, EngineError, Event, Monitor, Progress, Ready, RuleList, RunsAs, SshError, SyncError,
    SyncReport,
};

use crate::bulk::{self, Deletes, Transfer, Transferred};
use crate::coastfile::Strategy;
use crate::continuous::{
    Access, AfterTransfer, ContinuousError, ContinuousStart, ContinuousStatus, Extent, Failure, InstanceId,
};
use crate::event::LifecycleEvent;
use crate::lifecycle::error::failure_of;
use crate::lifecycle::gap::{Followed, GapState};
use crate::lifecycle::work::{Ending, Work};
use crate::lifecycle::{FollowOptions, Insist, LifecycleError};
use crate::listing::Listing;
use crate::record::{Following, LastTransfer, Record, State, Step, now};
use crate::stale::Stale;
use crate::words::shell_word;
use crate::worktree::WorktreeIdentity;
use crate::{Coastfile, Remote};
use coast_tree::LockExt;

/// What a transfer of the whole worktree is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A new workspace. Each replaced file moves into place as soon as it has arrived.
    New,
    /// Another worktree was asked for. Replaced files move into place together at the end.
    Switch,
    /// The workspace is brought up to date. Replaced files move into place together at the end, and entries that were made on the
    /// remote stay.
    Repair,
}

impl Work<'_> {
    /// Transfers `worktree` to the workspace on `remote` and has its edits carried.
    pub(super) fn bring_up(
        &mut self,
        worktree: &Path,
        remote: &Remote,
        purpose: Purpose,
        mut options: FollowOptions,
    ) -> Result<(), LifecycleError> {
        if let Some(image) = options.image.take() {
            self.record.image = Some(image);
        }
        let coastfile = &self.lifecycle.project.project()?.coastfile;
        if options.insist == Insist::OnContinuous && coastfile.workspace_sync == Strategy::Bulk {
            return Err(LifecycleError::BulkOnly);
        }
        let rules = bulk::rules(coastfile)?;
        self.refuse_an_emptied_worktree(worktree, &rules)?;
        let ended = self.transfer_and_follow(worktree, remote, &rules, purpose, options);
        self.tell_unended();
        ended
    }

    fn transfer_and_follow(
        &mut self,
        worktree: &Path,
        remote: &Remote,
        rules: &RuleList,
        purpose: Purpose,
        options: FollowOptions,
    ) -> Result<(), LifecycleError> {
        let strategy = self.lifecycle.project.project()?.coastfile.workspace_sync;
        self.check_reach(options.force)?;
        self.prepare_to_follow(worktree, remote)?;
        if !self.record.claimed {
            // A `run` that is killed now has nothing on the remote but an empty directory.
            self.begin(Step::Transfer)?;
        }
        self.note_carried(rules);
        let mut handover = Handover { worktree, force: options.force, ended: None };
        let insist = options.insist;
        let (listing, access) = match self.transfer(&mut handover, remote, rules, (purpose, options)) {
            Ok(transferred) => transferred,
            Err(error) => {
                return Err(match handover.ended {
                    Some(Ok(())) => self.give_up_following(error),
                    Some(Err(error)) => error,
                    None => self.unchanged(error),
                });
            }
        };

        if strategy == Strategy::Bulk {
            // The project may have used the continuous layer before.
            self.end_or_tell(Extent::Everything)?;
            return self.finish(State::Running);
        }
        let remote = &self.record.as_used(remote);
        match self.follow(worktree, remote, rules, &access, listing)? {
            Followed::Yes(status) => {
                self.tell(&LifecycleEvent::Following { status: &status, stale: self.record.stale.as_ref() });
                self.record.following = Following::Yes;
                self.finish(State::Running)
            }
            Followed::No(failure) => self.rest_without_following(failure, insist),
        }
    }

    fn rest_without_following(&mut self, failure: Failure, insist: Insist) -> Result<(), LifecycleError> {
        self.record.following = Following::failed(failure.clone(), now());
        self.finish(State::Running)?;
        let layer = self.record.layer;
        match insist {
            Insist::No => {
                let instance = &self.addressed();
                self.tell(&LifecycleEvent::NotFollowing { instance, layer, failure: &failure });
                Ok(())
            }
            Insist::OnContinuous => {
                Err(LifecycleError::NotFollowing { instance: self.addressed(), layer, failure })
            }
        }
    }

    /// Refuses an empty worktree if the last transfer had files.
    pub(super) fn refuse_an_emptied_worktree(
        &self,
        worktree: &Path,
        rules: &RuleList,
    ) -> Result<(), LifecycleError> {
        if is_emptied(&self.record, worktree, rules) {
            return Err(LifecycleError::EmptyWorktree {
                instance: self.addressed(),
                path: worktree.to_owned(),
            });
        }
        Ok(())
    }

    /// After a failed transfer no session runs. So the key is removed until the next command, and the error says that edits are not
    /// carried.
    fn give_up_following(&mut self, error: LifecycleError) -> LifecycleError {
        let (LifecycleError::Bulk { .. } | LifecycleError::MassDeletion { .. }) = &error else {
            return error;
        };
        if self.record.following == Following::BulkOnly || self.is_new() {
            return error;
        }
        let state = self.record.state;
        // If the record cannot be written, it still names the key, and the error of the transfer is the one to report.
        if self.end_or_tell(Extent::Access).is_err() {
            return error;
        }
        let failure = Failure::new(Failure::TRANSFER, "transferring the worktree to the remote", &error);
        self.record.following = Following::failed(failure, now());
        // The next command must take over from the transfer.
        if let Err(error) = self.finish(state) {
            return error;
        }
        let (instance, worktree) = (self.addressed(), self.record.worktree.clone());
        LifecycleError::Unfollowed { instance, worktree, error: Box::new(error) }
    }

    /// Has the layer note the edits of `worktree` from now on, so that those made during the transfer are carried after it.
    fn prepare_to_follow(&self, worktree: &Path, remote: &Remote) -> Result<(), LifecycleError> {
        let coastfile = &self.lifecycle.project.project()?.coastfile;
        let Some(layer) = coastfile.workspace_sync.layer() else { return Ok(()) };
        let identity = WorktreeIdentity::of(worktree).ok().flatten();
        let start =
            session_start(&self.id, worktree, identity.as_ref(), remote, &self.record.remote_path, coastfile);
        match self.lifecycle.layers.get(layer).prepare(&start, self.lifecycle.cancel) {
            Err(ContinuousError::Interrupted) => Err(LifecycleError::Interrupted { at: self.step() }),
            // Starting the session fails for the same reason, and then it is told.
            _ => Ok(()),
        }
    }

    /// Checks, before the remote is connected to, that the layer can be reached in which the old session may run. With `force`
    /// nothing is checked.
    fn check_reach(&mut self, force: bool) -> Result<(), LifecycleError> {
        if force || !self.may_have_session() {
            return Ok(());
        }
        match self.continuous().reach(self.lifecycle.cancel) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.old_session(failure_of(error, self.step())?)),
        }
    }

    /// Called once the remote is ready, before anything changes in the workspace: ends the session of the old worktree, and records
    /// that the workspace belongs to this instance and becomes `worktree`. If the session may go on after that, the record is put
    /// back as it was, and an error returned; with `force` the record names the session, and `tell_unended` warns.
    fn take_over_workspace(&mut self, worktree: &Path, force: bool) -> Result<(), LifecycleError> {
        // This command may have noted in its own copy where it goes.
        let on_disk = self.lifecycle.records.load(&self.id.project, &self.id.instance)?;
        let before = on_disk.unwrap_or_else(|| self.record.clone());
        let strategy = self.lifecycle.project.project()?.coastfile.workspace_sync;
        let keeps_layer = strategy.layer().is_none_or(|layer| layer == self.record.layer);
        let extent = if keeps_layer { Extent::Session } else { Extent::Everything };
        if let Ending::Incomplete(_) = self.end_following(extent)? {
            // Removing the runner ends the session, too.
            let ending = self.end_following(Extent::Everything)?;
            if let (Ending::Incomplete(failure), Some(_), false) = (ending, &self.record.unended, force) {
                self.record = before;
                self.lifecycle.records.save(&self.record)?;
                return Err(self.old_session(failure));
            }
        }
        let project = self.lifecycle.project.project()?;
        self.record.worktree = worktree.into();
        self.record.wanted = None;
        // The transfer reports a worktree that cannot be examined.
        self.record.identity = WorktreeIdentity::of(worktree).ok().flatten();
        // The project may have been moved since the last command.
        self.record.root = project.root.as_path().into();
        self.record.coastfile_type = project.coastfile.kind.clone();
        self.record.following = match project.coastfile.workspace_sync {
            Strategy::Bulk => Following::BulkOnly,
            Strategy::Continuous(_) => Following::Off,
        };
        if let (Some(layer), None) = (strategy.layer(), &self.record.runner) {
            self.record.layer = layer;
        }
        self.begin(Step::Transfer)?;
        if !self.record.claimed {
            let claimed = Record { claimed: true, ..self.record.clone() };
            self.lifecycle.records.save(&claimed)?;
            self.record.claimed = true;
        }
        Ok(())
    }

    fn old_session(&self, failure: Failure) -> LifecycleError {
        let unended = self.record.unended.as_ref();
        LifecycleError::OldSession {
            worktree: unended.map_or(&self.record.worktree, |unended| &unended.worktree).clone(),
            runner: self.record.runner.clone().unwrap_or_default(),
            failure,
        }
    }

    /// The error of a transfer that failed before the old session was ended.
    fn unchanged(&self, error: LifecycleError) -> LifecycleError {
        if !self.may_have_session() || matches!(error, LifecycleError::Interrupted { .. }) {
            return error;
        }
        LifecycleError::Unchanged { worktree: self.record.worktree.clone(), error: Box::new(error) }
    }

    /// Ends the session and removes as much more as `extent` says. The observer is told of a runner that is left. `stop` and `rm` try
    /// again; `tell_unended` warns of a session that may still run.
    fn end_or_tell(&mut self, extent: Extent) -> Result<(), LifecycleError> {
        if let Ending::Incomplete(failure) = self.end_following(extent)?
            && self.record.unended.is_none()
        {
            self.tell_left_behind(&failure);
        }
        Ok(())
    }

    /// Transfers the worktree of `handover`, which takes place as soon as the remote is ready.
    fn transfer(
        &mut self,
        handover: &mut Handover<'_>,
        remote: &Remote,
        rules: &RuleList,
        (purpose, options): (Purpose, FollowOptions),
    ) -> Result<(Option<Listing>, Access), LifecycleError> {
        let lifecycle = self.lifecycle;
        let worktree = handover.worktree;
        let layer = lifecycle.project.project()?.coastfile.workspace_sync.layer();
        let listing = match layer {
            Some(layer) if layer.needs_transfers() => {
                Some(Listing::of(worktree, rules).map_err(|error| unreadable(worktree, error))?)
            }
            _ => None,
        };
        let transfer_cancel = Cancel::new();
        let _hook = lifecycle.cancel.on_cancel({
            let transfer_cancel = transfer_cancel.clone();
            move || transfer_cancel.cancel()
        });
        let claim = if self.record.claimed || self.adopts { Claim::Workspace } else { Claim::NewWorkspace };
        let remote_path = self.record.remote_path.clone();
        let carried = self.carried();
        let paths = carried.paths().unwrap_or_default();
        let repairs = purpose == Purpose::Repair;
        // What an interrupted switch has put there goes when the switch is finished or undone.
        let switching = self.record.unfinished().is_some_and(|(command, _)| !command.repairs());
        let deletes = Deletes {
            only_placed: repairs,
            carried: &paths,
            trash: !options.no_trash,
            no_mass_deletion: repairs && !switching && !options.allow_mass_deletion,
        };
        let transfer = Transfer {
            worktree,
            remote,
            remote_path: &remote_path,
            rules,
            own: lifecycle.project.project()?.coastfile.own,
            only: None,
            deletes,
            delay_updates: purpose != Purpose::New,
            claim,
            dry_run: false,
            content_sources: options.content_sources,
        };
        let monitor = HandoverAndListing {
            inner: lifecycle.observer,
            listing: listing.as_ref(),
            handover: Mutex::new((self, handover)),
            cancel: transfer_cancel,
        };
        let transferred = lifecycle.bulk.transfer(&transfer, &monitor, lifecycle.observer, &monitor.cancel);
        drop(monitor);
        let Transferred { report, access } = transferred.map_err(|error| match error {
            error if claim == Claim::NewWorkspace && error.is_refused() => self.occupied(error),
            error if error.is_mass_deletion() => {
                LifecycleError::MassDeletion { instance: self.addressed(), error }
            }
            error => self.bulk_error(format!("the transfer to {} failed", self.place()), error),
        })?;
        self.tell(&LifecycleEvent::Transferred { report: &report });
        self.record.as_root |=
            report.connection.as_ref().is_some_and(|reached| reached.runs_as == RunsAs::Root);
        self.record.transferred(counts(&report), Stale::of(&report));
        // The remote knows these paths now.
        self.tell_uncarried(carried.forget());
        Ok((listing, access))
    }

    fn occupied(&self, error: SyncError) -> LifecycleError {
        LifecycleError::Occupied { instance: self.id.instance.clone(), place: self.place(), error }
    }

    /// The error of a transfer or a removal; `doing` begins the message.
    pub(super) fn bulk_error(&self, doing: String, error: SyncError) -> LifecycleError {
        match error {
            SyncError::Interrupted => LifecycleError::Interrupted { at: self.step() },
            error if error.is_not_root() && self.record.as_root => {
                LifecycleError::NotRoot { doing, remote: self.record.remote.clone(), error }
            }
            error => {
                let advice = self.advice(&error);
                LifecycleError::Bulk { doing, error, advice }
            }
        }
    }

    /// The commands that mend the remote, if they can mend this error, to be written after it.
    fn advice(&self, error: &SyncError) -> String {
        let Ok(remote) = self.lifecycle.remote_of(&self.record) else { return String::new() };
        let name = &self.record.remote;
        let replace = format!("coast remote add --replace {name} {}", remote.address());
        let is_place = error.exit_code() == 3
            && !error.is_busy()
            && !error.is_refused()
            && !matches!(error, SyncError::Engine(EngineError::Source { .. }));
        if matches!(error, SyncError::Ssh(ssh) if is_refused_key(ssh)) {
            // The error ends with a list of the keys.
            format!("\ngive the remote another key with: {replace} --key PATH")
        } else if is_place {
            let key =
                remote.key.as_deref().map(|key| format!(" --key {}", shell_word(key))).unwrap_or_default();
            format!(
                "; see what is missing there with: coast remote setup {name}; or keep workspaces in another directory with: \
                 {replace}{key} --service-home DIR"
            )
        } else {
            String::new()
        }
    }

    /// Has the edits of the worktree carried, and closes the gap between the transfer and the first scan.
    fn follow(
        &mut self,
        worktree: &Path,
        remote: &Remote,
        rules: &RuleList,
        access: &Access,
        listing: Option<Listing>,
    ) -> Result<Followed, LifecycleError> {
        let lifecycle = self.lifecycle;
        let coastfile = &lifecycle.project.project()?.coastfile;
        let (id, remote_path) = (self.id.clone(), self.record.remote_path.clone());
        let identity = self.record.identity.clone();
        let start = session_start(&id, worktree, identity.as_ref(), remote, &remote_path, coastfile);
        let after = AfterTransfer { access, complete: self.record.stale.is_none() };
        let continuous = self.continuous();
        let watch = |status: &ContinuousStatus| lifecycle.tell_session(status);
        let mut begin = |step| self.record_step(step);
        let started = match continuous.start(&start, &after, &mut begin, &watch, lifecycle.cancel) {
            Ok(started) => started,
            Err(error) => {
                let failure = failure_of(error, self.step())?;
                self.end_or_tell(Extent::Access)?;
                return Ok(Followed::No(failure));
            }
        };
        if let Some(listing) = &listing {
            self.tell_uncarried(self.carried().begin(listing));
        }
        self.record.note_traces(started.traces);
        // Starting a session ends every other session of the instance.
        self.record.unended = None;
        if let Some(runner) = &self.record.runner {
            self.tell(&LifecycleEvent::Runner { runner, change: started.runner });
        }
        if !self.record.layer.needs_transfers() {
            // The layer has tried again what the transfer could not bring.
            self.record.stale = self.record.stale.take().filter(|_| !started.status.problems.is_empty());
            return Ok(Followed::Yes(Box::new(started.status)));
        }
        self.begin(Step::Gap)?;
        let followed = self.close_gap(GapState {
            worktree,
            remote,
            rules,
            own: lifecycle.project.project()?.coastfile.own,
            listing,
            first: started.status,
        })?;
        if let Followed::No(_) = &followed {
            self.end_or_tell(Extent::Access)?;
        }
        Ok(followed)
    }
}

/// The session of an instance that follows `worktree`.
pub(super) fn session_start<'a>(
    id: &'a InstanceId,
    worktree: &'a Path,
    identity: Option<&'a WorktreeIdentity>,
    remote: &'a Remote,
    remote_path: &'a str,
    coastfile: &'a Coastfile,
) -> ContinuousStart<'a> {
    ContinuousStart {
        id,
        worktree,
        identity,
        remote,
        remote_path,
        excludes: &coastfile.exclude,
        protects: &coastfile.protect,
        default_rules: coastfile.use_default_rules,
        own: coastfile.own,
    }
}

/// Whether a worktree is empty, and the last transfer had files. More often than a wish to empty the workspace, it is a disk that is
/// not mounted, or a directory that was made again; the files of services in the workspace would be deleted, too.
pub(super) fn is_emptied(record: &Record, worktree: &Path, rules: &RuleList) -> bool {
    let had_files = record.last_transfer.is_some_and(|transfer| transfer.files > 0);
    // The transfer reports a worktree that is missing or cannot be read.
    had_files && worktree.is_dir() && crate::listing::is_empty(worktree, rules).unwrap_or(false)
}

/// The error of a worktree that cannot be read, in the form of the bulk layer's own.
fn unreadable(worktree: &Path, error: io::Error) -> LifecycleError {
    let error = EngineError::Source { path: worktree.to_owned(), error };
    let advice = String::new();
    LifecycleError::Bulk { doing: "the transfer failed".to_owned(), error: error.into(), advice }
}

fn counts(report: &SyncReport) -> LastTransfer {
    let (sender, receiver) = (&report.run.sender, &report.run.receiver);
    LastTransfer {
        at: now(),
        milliseconds: u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX),
        sent_files: receiver.transferred_files,
        sent_bytes: receiver.transferred_bytes,
        deleted: receiver.deleted,
        files: sender.files,
        code: report.exit_code(),
    }
}

/// The change of a workspace from what it was to a copy of `worktree`.
struct Handover<'a> {
    worktree: &'a Path,
    /// Whether it takes place although the old session may go on.
    force: bool,
    /// The outcome; `None` while the remote is not ready.
    ended: Option<Result<(), LifecycleError>>,
}

/// Passes every event on. Adds new entries to the listing, and has the handover take place as soon as the remote is ready.
struct HandoverAndListing<'a, 'l, 'h> {
    inner: &'a dyn Monitor,
    listing: Option<&'a Listing>,
    /// Guards the instance and its handover. Held while the handover takes place, which tells the observer: locks of the observer are
    /// taken after this one.
    handover: Mutex<(&'a mut Work<'l>, &'a mut Handover<'h>)>,
    /// Ends the transfer if the handover fails.
    cancel: Cancel,
}

impl Monitor for HandoverAndListing<'_, '_, '_> {
    fn event(&self, event: &Event<'_>) {
        if let (Event::Changed { path, change }, Some(listing)) = (event, self.listing)
            && change.new
            // The workspace itself is not listed.
            && *path != b"."
        {
            listing.add(path);
        }
        self.inner.event(event);
    }

    fn started(&self, progress: &std::sync::Arc<Progress>) {
        self.inner.started(progress);
    }

    fn ready(&self, ready: &Ready) {
        let mut guard = self.handover.enter();
        let (work, handover) = &mut *guard;
        let ended = work.take_over_workspace(handover.worktree, handover.force);
        if ended.is_err() {
            self.cancel.cancel();
        }
        handover.ended = Some(ended);
        drop(guard);
        self.inner.ready(ready);
    }
}

/// Whether the server has accepted no key.
fn is_refused_key(error: &SshError) -> bool {
    match error {
        SshError::NoAcceptableKey { .. } => true,
        SshError::Jump { source, .. } => is_refused_key(source),
        _ => false,
    }
}
