//! `rm`: removes an instance with its runner and, unless it shall stay, its directory on the remote.

use coast_sync::{Prompt, SyncError};

use crate::bulk::{Helpers, Removed};
use crate::continuous::Extent;
use crate::event::LifecycleEvent;
use crate::lifecycle::work::{Ending, Work};
use crate::lifecycle::{Lifecycle, LifecycleError};
use crate::record::{Command, Step};
use crate::{Name, Remote};

/// The options of `rm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RmOptions {
    /// Whether the directory on the remote stays.
    pub keep_workspace: bool,
    /// Whether the record is removed even if the runner cannot be.
    pub force: bool,
}

impl Lifecycle<'_> {
    /// Removes an instance.
    ///
    /// # Errors
    /// When there is no such instance, or when a part of it cannot be removed. The next `rm` tries that again.
    pub fn rm(&self, instance: &Name, options: RmOptions) -> Result<(), LifecycleError> {
        let command = if options.keep_workspace { Command::RmKeepingWorkspace } else { Command::Rm };
        // Locking would create a lock file, even for an instance that does not exist.
        self.record(instance)?;
        let lock = self.lock(instance, command.as_str())?;
        // `load_after_finishing_stop` would finish an earlier `stop` first. Here the options of this command decide.
        let Some(record) = self.load(instance)? else {
            self.remove_lock(lock);
            return Err(self.no_instance(instance));
        };
        let mut work = self.work(record, lock, command);
        work.tell_taking_over();
        work.remove(options.force)?;
        self.remove_lock(work.into_lock());
        Ok(())
    }
}

impl Work<'_> {
    /// Removes everything that the record names, and then the record.
    pub(super) fn remove(&mut self, force: bool) -> Result<(), LifecycleError> {
        if self.record.runner.is_some() {
            self.begin(Step::EndSession)?;
        }
        if let Ending::Incomplete(failure) = self.end_following(Extent::Everything)? {
            if !force {
                let hint = format!(
                    "; the {} is left, perhaps with a key in it and a session that goes on: try again, or forget it with: coast rm --force {}",
                    self.record.runner.as_deref().unwrap_or_default(),
                    self.addressed()
                );
                return Err(LifecycleError::Continuous { failure, hint });
            }
            self.tell_left_behind(&failure);
        }
        // A directory that this instance has not claimed belongs to somebody else.
        if !self.keeps_workspace() && self.record.claimed {
            self.remove_workspace()?;
        }
        Ok(self.lifecycle.records.remove(&self.id.project, &self.id.instance)?)
    }

    fn remove_workspace(&mut self) -> Result<(), LifecycleError> {
        let lifecycle = self.lifecycle;
        let remote = lifecycle.remote_of(&self.record)?;
        self.begin(Step::RemoveWorkspace)?;
        let path = &self.record.remote_path;
        let progress = |entries| self.tell(&LifecycleEvent::RemovingWorkspace { entries });
        let removed = lifecycle.bulk.remove(&remote, path, lifecycle.observer, &progress, lifecycle.cancel);
        let removed = removed.map_err(|error| {
            let keep = format!("coast rm --keep-workspace {} leaves it there", self.addressed());
            self.bulk_error(format!("cannot remove {} ({keep})", self.place()), error)
        })?;
        if removed.kept_entries > 0 {
            let Removed { kept_entries: count, kept, .. } = removed;
            let (instance, place) = (self.addressed(), self.place());
            return Err(LifecycleError::Kept { instance, place, count, kept });
        }
        self.tell(&LifecycleEvent::WorkspaceRemoved { entries: removed.entries, existed: removed.existed });
        self.sweep(&remote)
    }

    /// Removes what the instance has left in the account on the remote. The helper goes with the last instance there.
    fn sweep(&self, remote: &Remote) -> Result<(), LifecycleError> {
        let lifecycle = self.lifecycle;
        // Another instance whose record cannot be read may be there.
        let users = lifecycle.records.users_of(&self.record.remote).ok();
        let helpers = if users.is_some_and(|users| users.len() == 1) { Helpers::Go } else { Helpers::Stay };
        let swept =
            lifecycle.bulk.sweep(remote, &self.record.traces, helpers, lifecycle.observer, lifecycle.cancel);
        match swept {
            Err(error @ SyncError::Interrupted) => Err(self.bulk_error(String::new(), error)),
            Err(error) => {
                let name = &self.record.remote;
                let text = format!(
                    "files of coast may be left on {name}: {error}; see: coast remote prune {name} --dry-run"
                );
                Prompt::notice(lifecycle.observer, &text);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}
