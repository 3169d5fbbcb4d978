//! `rm`: the instance goes, with its shell container and, unless it shall stay, its directory on the remote.

use crate::Name;
use crate::bulk::Removed;
use crate::continuous::Extent;
use crate::event::Happening;
use crate::lifecycle::work::Work;
use crate::lifecycle::{Lifecycle, LifecycleError};
use crate::record::{Command, Step};

/// What `rm` may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RmOptions {
    /// Whether the directory on the remote stays.
    pub keep_workspace: bool,
    /// Whether the instance is forgotten even if its shell container cannot be removed.
    pub force: bool,
}

impl Lifecycle<'_> {
    /// Removes an instance.
    ///
    /// # Errors
    /// When there is no such instance, or something of it cannot be removed. Then the next command tries again.
    pub fn rm(&self, instance: &Name, options: RmOptions) -> Result<(), LifecycleError> {
        let command = if options.keep_workspace { Command::RmKeepingWorkspace } else { Command::Rm };
        let lock = self.lock(instance, command.as_str())?;
        // Not settled first: what was asked for now decides whether the workspace stays.
        let Some(record) = self.load(instance)? else {
            lock.remove();
            return Err(self.no_instance(instance));
        };
        let mut work = self.work(record, lock, command);
        work.take_over();
        work.remove(options.force)?;
        work.into_lock().remove();
        Ok(())
    }
}

impl Work<'_> {
    /// Removes everything that the record speaks of, and the record at last.
    pub(super) fn remove(&mut self, force: bool) -> Result<(), LifecycleError> {
        if self.record.container.is_some() {
            self.begin(Step::EndSession)?;
        }
        if let Err(failure) = self.end_following(Extent::Everything)? {
            if !force {
                let hint = format!(
                    "; the container {} is left, perhaps with a key in it and a session that goes on: try again, or forget it with: coast rm --force {}",
                    self.record.container.as_deref().unwrap_or_default(),
                    self.id.instance
                );
                return Err(LifecycleError::Continuous { failure, hint });
            }
            self.tell_left_behind(&failure);
        }
        // What was never this instance's is not its to remove.
        if !self.keeps_workspace() && self.record.claimed {
            let lifecycle = self.lifecycle;
            let remote = lifecycle.remote_of(&self.record)?;
            self.begin(Step::RemoveWorkspace)?;
            let removed = lifecycle.bulk.remove(
                &remote,
                &self.record.remote_path,
                lifecycle.observer,
                lifecycle.cancel,
            );
            let removed = removed.map_err(|error| match self.bulk_error("the removal", error) {
                LifecycleError::Bulk { error, .. } => LifecycleError::Bulk {
                    doing: format!(
                        "cannot remove {}:{} (coast rm --keep-workspace {} leaves it there)",
                        self.record.remote, self.record.remote_path, self.id.instance
                    ),
                    error,
                },
                error => error,
            })?;
            if removed.kept_entries > 0 {
                let place = format!("{}:{}", self.record.remote, self.record.remote_path);
                let Removed { kept_entries: count, kept, .. } = removed;
                return Err(LifecycleError::Kept { instance: self.id.instance.clone(), place, count, kept });
            }
            self.tell(&Happening::WorkspaceRemoved { entries: removed.entries, existed: removed.existed });
        }
        Ok(self.lifecycle.records.remove(&self.id.project, &self.id.instance)?)
    }
}
