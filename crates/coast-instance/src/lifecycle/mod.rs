//! The life of an instance: `run`, `assign`, `unassign`, `start`, `stop`, `rm`, and what is asked about it in between.
//!
//! Every command that changes an instance holds the instance's lock. Before each step it writes the step into the record and flushes
//! the record to the disk. So after a kill at any moment the record names every step that may have begun. Every step can be repeated,
//! whether it was begun, finished or neither. So the next command takes over by its own steps: those of `run`, `assign` and `start`
//! lead to the same result from any state, those of `stop` and `rm` remove everything that exists. There are two exceptions. A `stop`
//! that did not finish is finished first, by any command. A removal that did not finish is finished by `rm` and by `run`, which then
//! begins anew; every other command restores the instance, so that only `rm` and `run` delete a workspace.

mod asking;
mod assign;
mod bring_up;
mod error;
mod explain;
mod flush;
mod gap;
mod hold;
mod list;
mod mend;
mod resolve;
mod restore;
mod resume;
mod rm;
mod run;
mod start;
mod status;
mod stop;
mod trusting;
mod work;

use std::io;

use coast_sync::Cancel;

use crate::bulk::{Bulk, ContentSources};
use crate::continuous::{ContinuousStatus, InstanceId};
use crate::event::{LifecycleEvent, Observer};
use crate::lifecycle::gap::exact;
use crate::lock::FileLock;
use crate::record::{Command, Record};
use crate::records::Records;
use crate::{Addressed, Layer, Layers, Name, Places, Remote, Remotes, Scope};

pub use asking::{Edits, InstanceStatus, Questions};
pub use error::{LifecycleError, Unfinished};
pub use explain::Explanation;
pub use list::{Listed, list};
pub use resolve::Resolution;
pub use resume::Resumed;
pub use rm::RmOptions;
pub use run::RunOptions;
pub use status::Check;
pub use trusting::Trust;

/// Whether it is an error if edits cannot be carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Insist {
    /// A warning.
    #[default]
    No,
    /// An error, after the rest of the command is done.
    OnContinuous,
}

/// The options of commands after which edits are carried.
#[derive(Debug, Clone, Default)]
pub struct FollowOptions {
    /// Whether it is an error if edits cannot be carried.
    pub insist: Insist,
    /// Whether to go on if the old session may still run and cannot be ended. It may then transfer files of its worktree again.
    pub force: bool,
    /// Whether deleted entries that were made or changed on the remote are gone, instead of moving to the trash there.
    pub no_trash: bool,
    /// Whether `start` may delete most of what earlier transfers have put on the remote.
    pub allow_mass_deletion: bool,
    /// Where the transfer looks up the contents of the worktree's files before it reads them.
    pub content_sources: ContentSources,
    /// The image for [`MutagenLayer`](crate::MutagenLayer), in place of the one in the record and of the Coastfile's. The record
    /// keeps it.
    pub image: Option<String>,
    /// What happens if the user does not trust the settings of the project yet.
    pub trust: Trust,
}

impl From<Insist> for FollowOptions {
    fn from(insist: Insist) -> Self {
        Self { insist, ..Self::default() }
    }
}

/// The commands on the instances of one project.
pub struct Lifecycle<'a> {
    places: &'a Places,
    records: Records,
    project: Scope,
    bulk: &'a dyn Bulk,
    layers: Layers<'a>,
    observer: &'a dyn Observer,
    cancel: &'a Cancel,
}

impl<'a> Lifecycle<'a> {
    /// The commands for `project` with these layers. `run`, `assign`, `unassign` and `start` need the settings of the project.
    pub fn new(
        places: &'a Places,
        project: impl Into<Scope>,
        bulk: &'a dyn Bulk,
        layers: Layers<'a>,
        observer: &'a dyn Observer,
        cancel: &'a Cancel,
    ) -> Self {
        let records = Records::new(places.clone());
        Self { places, records, project: project.into(), bulk, layers, observer, cancel }
    }

    /// The record of an instance at this moment.
    ///
    /// # Errors
    /// When there is no such instance.
    pub fn record(&self, instance: &Name) -> Result<Record, LifecycleError> {
        self.load(instance)?.map_or_else(|| Err(self.no_instance(instance)), Ok)
    }

    /// The record of an instance; `None` if there is no instance. The instance must belong to this project, not to another project of
    /// that name.
    fn load(&self, instance: &Name) -> Result<Option<Record>, LifecycleError> {
        let record = self.records.load(&self.project.name, instance)?;
        if let (Some(record), Some(ours)) = (&record, &self.project.root)
            && *record.root != **ours
            // If the other root is gone, this project was moved from there.
            && record.root.is_dir()
        {
            let theirs = record.root.to_path_buf();
            let ours = ours.clone();
            return Err(LifecycleError::OtherProject { instance: instance.clone(), theirs, ours });
        }
        Ok(record)
    }

    fn id(&self, instance: &Name) -> InstanceId {
        InstanceId { project: self.project.name.clone(), instance: instance.clone() }
    }

    fn addressed(&self, instance: &Name) -> Addressed {
        self.project.addressed(instance)
    }

    fn no_instance(&self, instance: &Name) -> LifecycleError {
        LifecycleError::no_instance(&self.records, &self.project.name, instance)
    }

    /// Acquires an instance's lock. Waits for the present holder and tells the observer of it.
    fn lock(&self, instance: &Name, command: &str) -> Result<FileLock, LifecycleError> {
        let file = self.records.lock_file(&self.project.name, instance);
        let told = |holder: &_| self.observer.lifecycle_event(&LifecycleEvent::Waiting { holder });
        Ok(FileLock::wait_telling(&file, &format!("{command} {instance}"), self.cancel, told)?)
    }

    /// Frees the lock of an instance that does not exist, and removes its file. The directories of the records go with the last file.
    fn remove_lock(&self, lock: FileLock) {
        lock.remove();
        self.records.remove_empty_directories(&self.project.name);
    }

    /// The record of an instance; `None` if there is no instance. A `stop` that did not finish is finished first.
    fn load_after_finishing_stop(
        &self,
        instance: &Name,
        lock: FileLock,
    ) -> Result<(Option<Record>, FileLock), LifecycleError> {
        match self.load(instance)? {
            Some(record) if matches!(record.unfinished(), Some((Command::Stop, _))) => {
                let mut work = self.work(record, lock, Command::Stop);
                work.tell_taking_over();
                if let work::Ending::Incomplete(failure) = work.stop()? {
                    work.tell_left_behind(&failure);
                }
                let (record, lock) = work.into_parts();
                Ok((Some(record), lock))
            }
            record => Ok((record, lock)),
        }
    }

    /// Locks an instance that must exist, for `command`.
    fn open(&self, instance: &Name, command: Command) -> Result<work::Work<'_>, LifecycleError> {
        // Locking would create a lock file, even for an instance that does not exist.
        self.record(instance)?;
        let lock = self.lock(instance, command.as_str())?;
        let (record, lock) = self.load_after_finishing_stop(instance, lock)?;
        let Some(record) = record else {
            // It was removed meanwhile.
            self.remove_lock(lock);
            return Err(self.no_instance(instance));
        };
        Ok(self.work(record, lock, command))
    }

    fn work(&self, record: Record, lock: FileLock, command: Command) -> work::Work<'_> {
        work::Work::new(self, record, lock, command)
    }

    /// Tells the observer of a session that the command waits for.
    fn tell_session(&self, status: &ContinuousStatus) {
        self.observer.lifecycle_event(&LifecycleEvent::Session { status });
    }

    /// The paths that the session does not carry because of what is there on the remote.
    pub(super) fn in_conflict(&self, id: &InstanceId, layer: Layer) -> io::Result<Vec<Vec<u8>>> {
        let status = self.layers.get(layer).status(id, self.cancel);
        let status = status.map_err(io::Error::other)?;
        if status.more_conflicts > 0 {
            return Err(io::Error::other("the session has more conflicts than it names"));
        }
        Ok(status.conflicts.iter().map(|conflict| exact(&conflict.path).to_owned()).collect())
    }

    fn remote_of(&self, record: &Record) -> Result<Remote, LifecycleError> {
        Ok(record.as_used(Remotes::load(self.places)?.get(&record.remote)?))
    }
}

#[cfg(test)]
mod tests;
