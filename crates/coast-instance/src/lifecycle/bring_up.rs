//! What `run`, `assign`, `unassign` and `start` have in common: a worktree is brought to the workspace, and from then on followed.

use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use coast_sync::{Cancel, Claim, Event, Monitor, Progress, Ready, RuleList, SyncReport};

use crate::bulk::{self, Transfer, Transferred};
use crate::continuous::{Access, ContinuousStart, Extent, Failure};
use crate::event::Happening;
use crate::lifecycle::error::failure_of;
use crate::lifecycle::work::Work;
use crate::lifecycle::{Insist, LifecycleError, gap};
use crate::listing::Listing;
use crate::record::{Following, LastTransfer, Record, RecordError, Records, State, Step, now};
use crate::{Remote, Strategy};

/// Whether replaced files move into place one by one, or together at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Updates {
    AsTheyCome,
    Together,
}

impl Work<'_> {
    /// Brings `worktree` to the workspace on `remote` and has it followed.
    pub(super) fn bring_up(
        &mut self,
        worktree: &Path,
        remote: &Remote,
        updates: Updates,
        insist: Insist,
    ) -> Result<(), LifecycleError> {
        let coastfile = &self.lifecycle.project.coastfile;
        if insist == Insist::OnContinuous && coastfile.workspace_sync == Strategy::Bulk {
            return Err(LifecycleError::BulkOnly);
        }
        let rules = bulk::rules(coastfile)?;
        self.refuse_an_emptied_worktree(worktree, &rules)?;
        let brought = self.bring_and_follow(worktree, remote, &rules, updates, insist);
        self.tell_unended();
        brought
    }

    fn bring_and_follow(
        &mut self,
        worktree: &Path,
        remote: &Remote,
        rules: &RuleList,
        updates: Updates,
        insist: Insist,
    ) -> Result<(), LifecycleError> {
        let coastfile = &self.lifecycle.project.coastfile;
        self.end_old_session()?;

        self.record.worktree = worktree.into();
        // It may have been moved since.
        self.record.root = self.lifecycle.project.root.as_path().into();
        self.record.following = match coastfile.workspace_sync {
            Strategy::Bulk => Following::BulkOnly,
            Strategy::Continuous => Following::Off,
        };
        self.begin(Step::Transfer)?;
        let (listing, access) = match self.transfer(worktree, remote, rules, updates) {
            Ok(transferred) => transferred,
            Err(error) => return Err(self.give_up_following(error)),
        };

        let followed = match coastfile.workspace_sync {
            // What the continuous layer had there when it was wanted goes.
            Strategy::Bulk => Ok(self.end_or_tell(Extent::Everything)?),
            Strategy::Continuous => self.follow(worktree, remote, rules, &access, listing)?,
        };
        match followed {
            Ok(()) => self.rest(State::Running),
            Err(failure) => {
                let Failure { doing, said, .. } = failure.clone();
                self.record.following = Following::Failed { step: doing, said, at: now() };
                self.rest(State::Running)?;
                match insist {
                    Insist::No => {
                        self.tell(&Happening::NotFollowing { failure: &failure });
                        Ok(())
                    }
                    Insist::OnContinuous => {
                        let instance = self.id.instance.clone();
                        Err(LifecycleError::NotFollowing { instance, failure })
                    }
                }
            }
        }
    }

    /// An empty worktree is a disk that is not mounted, or a directory that was made anew, more often than the wish to have
    /// an empty workspace: what services wrote there would go, too.
    fn refuse_an_emptied_worktree(&self, worktree: &Path, rules: &RuleList) -> Result<(), LifecycleError> {
        let brought = self.record.last_transfer.is_some_and(|transfer| transfer.files > 0);
        // One that is missing or cannot be read is an error of the transfer.
        if brought && worktree.is_dir() && crate::listing::is_empty(worktree, rules).unwrap_or(false) {
            return Err(LifecycleError::EmptyWorktree {
                instance: self.id.instance.clone(),
                path: worktree.to_owned(),
            });
        }
        Ok(())
    }

    /// The transfer failed, and what followed before has ended: so the key has no use until the next command, and whoever edits has to
    /// know that it is for nothing.
    fn give_up_following(&mut self, error: LifecycleError) -> LifecycleError {
        let LifecycleError::Bulk { .. } = &error else { return error };
        if self.record.following == Following::BulkOnly || self.is_new() {
            return error;
        }
        let state = self.record.state;
        // Where that cannot be recorded the key is in the record, and what failed first is what matters.
        if self.end_or_tell(Extent::Access).is_err() {
            return error;
        }
        let step = "bringing the worktree to the remote".to_owned();
        self.record.following = Following::Failed { step, said: error.to_string(), at: now() };
        // Still in the middle of the transfer, as far as the next command is concerned.
        if let Err(error) = self.rest(state) {
            return error;
        }
        let (instance, worktree) = (self.id.instance.clone(), self.record.worktree.clone());
        LifecycleError::Unfollowed { instance, worktree, error: Box::new(error) }
    }

    /// Nothing may follow the old worktree while the new one is brought.
    fn end_old_session(&mut self) -> Result<(), LifecycleError> {
        if self.end_following(Extent::Session)?.is_ok() {
            return Ok(());
        }
        // With the container, whatever runs in it ends too. If that fails as well, the record has it, and it is told at the end.
        let _left = self.end_following(Extent::Everything)?;
        Ok(())
    }

    /// Ends what may be there, so that nothing follows that is said not to, and no key is left where nothing uses it. What cannot be
    /// ended now is told, and tried again by `stop` and `rm`; that a session may still run is told at the end of the command.
    fn end_or_tell(&mut self, extent: Extent) -> Result<(), LifecycleError> {
        if let Err(failure) = self.end_following(extent)?
            && self.record.unended.is_none()
        {
            self.tell_left_behind(&failure);
        }
        Ok(())
    }

    fn transfer(
        &mut self,
        worktree: &Path,
        remote: &Remote,
        rules: &RuleList,
        updates: Updates,
    ) -> Result<(Option<Listing>, Access), LifecycleError> {
        let lifecycle = self.lifecycle;
        let follows = lifecycle.project.coastfile.workspace_sync == Strategy::Continuous;
        let listing = if follows {
            Some(Listing::of(worktree, rules).map_err(|error| source(worktree, error))?)
        } else {
            None
        };
        let transfer_cancel = Cancel::new();
        let _hook = lifecycle.cancel.on_cancel({
            let transfer_cancel = transfer_cancel.clone();
            move || transfer_cancel.cancel()
        });
        let claim = if self.record.claimed || self.adopts { Claim::Workspace } else { Claim::NewWorkspace };
        let claimed = Record { claimed: true, ..self.record.clone() };
        let monitor = Remembering {
            inner: lifecycle.observer,
            listing: listing.as_ref(),
            records: &lifecycle.records,
            claimed: &claimed,
            saved: Mutex::new(Ok(self.record.claimed)),
            cancel: transfer_cancel,
        };
        let transfer = Transfer {
            worktree,
            remote,
            remote_path: &self.record.remote_path,
            rules,
            only: None,
            delay_updates: updates == Updates::Together,
            claim,
        };
        let transferred = lifecycle.bulk.transfer(&transfer, &monitor, lifecycle.observer, &monitor.cancel);
        self.record.claimed = monitor.saved.into_inner().unwrap_or_else(PoisonError::into_inner)?;
        let Transferred { report, access } = transferred.map_err(|error| match error {
            error if claim == Claim::NewWorkspace && error.is_refused() => self.occupied(error),
            error => self.bulk_error("the transfer", error),
        })?;
        self.tell(&Happening::Transferred { report: &report });
        self.record.last_transfer = Some(counts(&report));
        Ok((listing, access))
    }

    fn occupied(&self, error: coast_sync::SyncError) -> LifecycleError {
        let place = format!("{}:{}", self.record.remote, self.record.remote_path);
        LifecycleError::Occupied { instance: self.id.instance.clone(), place, error }
    }

    pub(super) fn bulk_error(&self, what: &str, error: coast_sync::SyncError) -> LifecycleError {
        match error {
            coast_sync::SyncError::Interrupted => LifecycleError::Interrupted { at: self.step() },
            error => {
                let doing = format!("{what} to {}:{} failed", self.record.remote, self.record.remote_path);
                LifecycleError::Bulk { doing, error }
            }
        }
    }

    /// Has the worktree followed, and brings after what changed in between.
    fn follow(
        &mut self,
        worktree: &Path,
        remote: &Remote,
        rules: &RuleList,
        access: &Access,
        listing: Option<Listing>,
    ) -> Result<Result<(), Failure>, LifecycleError> {
        let lifecycle = self.lifecycle;
        let coastfile = &lifecycle.project.coastfile;
        let (id, image, remote_path) = (
            self.id.clone(),
            self.record.image.clone().or_else(|| coastfile.shell_image.clone()),
            self.record.remote_path.clone(),
        );
        let start = ContinuousStart {
            id: &id,
            worktree,
            remote_path: &remote_path,
            access,
            excludes: &coastfile.exclude,
            default_rules: coastfile.use_default_rules,
            image: image.as_deref(),
            network: &coastfile.shell_network,
        };
        let started =
            lifecycle.continuous.start(&start, &mut |step| self.record_step(step), lifecycle.cancel);
        let started = match started {
            Ok(started) => started,
            Err(error) => {
                let failure = failure_of(error, self.step())?;
                self.end_or_tell(Extent::Access)?;
                return Ok(Err(failure));
            }
        };
        // Whatever followed before has ended with that.
        self.record.unended = None;
        if let Some(name) = &self.record.container {
            self.tell(&Happening::Container { name, change: started.container });
        }
        self.begin(Step::Gap)?;
        let between = gap::Between { worktree, remote, rules, listing, first: started.status };
        let followed = self.close_gap(between)?;
        if followed.is_err() {
            self.end_or_tell(Extent::Access)?;
        }
        if let Ok(status) = &followed {
            self.tell(&Happening::Following { status });
            self.record.following = Following::Yes;
        }
        Ok(followed.map(|_| ()))
    }
}

/// A worktree that cannot be read, as the bulk layer would say it.
fn source(worktree: &Path, error: io::Error) -> LifecycleError {
    let error = coast_sync::EngineError::Source { path: worktree.to_owned(), error };
    LifecycleError::Bulk { doing: "the transfer failed".to_owned(), error: error.into() }
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

/// Passes everything on, and remembers what is new on the remote, and that the workspace is this instance's.
struct Remembering<'a> {
    inner: &'a dyn Monitor,
    listing: Option<&'a Listing>,
    records: &'a Records,
    /// The record once the workspace is claimed.
    claimed: &'a Record,
    /// Whether the record on the disk says so.
    saved: Mutex<Result<bool, RecordError>>,
    /// Ends the transfer when that could not be written.
    cancel: Cancel,
}

impl Monitor for Remembering<'_> {
    fn event(&self, event: &Event<'_>) {
        if let (Event::Changed { path, change }, Some(listing)) = (event, self.listing)
            && change.new
            // The workspace itself.
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
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*saved, Ok(false)) {
            *saved = self.records.save(self.claimed).map(|()| true);
            if saved.is_err() {
                self.cancel.cancel();
            }
        }
        self.inner.ready(ready);
    }
}
