//! The life of an instance: `run`, `assign`, `unassign`, `start`, `stop`, `rm`, and what is asked about it in between.
//!
//! Every command that changes an instance holds its lock, and writes the step it is about to begin into the record, durably, before
//! it begins it. So whatever kills a command, the record says what may have been begun. Every step can be done again after it was
//! begun, ended, or neither; so the next command takes over by doing its own steps: those of `run`, `assign` and `start` bring
//! the instance to the same end from wherever it was, those of `stop` and `rm` remove whatever is there. Only a `stop` that was
//! killed is brought to its end first, by whichever command comes next. A removal is brought to its end by `rm`, and by `run`, which
//! begins anew; every other command undoes it: nothing else than these two deletes a workspace.

mod assign;
mod bring_up;
mod error;
mod flush;
mod gap;
mod list;
mod rm;
mod run;
mod start;
mod status;
mod stop;
mod work;

use coast_sync::Cancel;

use crate::bulk::Bulk;
use crate::continuous::{Continuous, InstanceId};
use crate::event::{Happening, Observer};
use crate::lock::FileLock;
use crate::record::{Command, Record, Records};
use crate::{Name, Places, Project, Remote, Remotes};

pub use error::LifecycleError;
pub use list::{Listed, list};
pub use rm::RmOptions;
pub use run::RunOptions;
pub use status::InstanceStatus;

/// Whether it is an error when edits cannot follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Insist {
    /// It is a warning.
    #[default]
    No,
    /// It is an error, at the end of a command that has done all the rest.
    OnContinuous,
}

/// The commands on the instances of one project.
pub struct Lifecycle<'a> {
    places: &'a Places,
    records: Records,
    project: &'a Project,
    bulk: &'a dyn Bulk,
    continuous: &'a dyn Continuous,
    observer: &'a dyn Observer,
    cancel: &'a Cancel,
}

impl<'a> Lifecycle<'a> {
    /// The commands for `project`, with these two layers.
    pub fn new(
        places: &'a Places,
        project: &'a Project,
        bulk: &'a dyn Bulk,
        continuous: &'a dyn Continuous,
        observer: &'a dyn Observer,
        cancel: &'a Cancel,
    ) -> Self {
        let records = Records::new(places.clone());
        Self { places, records, project, bulk, continuous, observer, cancel }
    }

    /// The record of an instance, as it is at this moment.
    ///
    /// # Errors
    /// When there is no such instance.
    pub fn record(&self, instance: &Name) -> Result<Record, LifecycleError> {
        self.load(instance)?.map_or_else(|| Err(self.no_instance(instance)), Ok)
    }

    /// The record of an instance, which must belong to this project and not to another of its name. None when there is no
    /// instance.
    fn load(&self, instance: &Name) -> Result<Option<Record>, LifecycleError> {
        let record = self.records.load(&self.project.name, instance)?;
        if let Some(record) = &record
            && *record.root != *self.project.root
            // Where that is gone, the project was moved here.
            && record.root.is_dir()
        {
            let theirs = record.root.to_path_buf();
            let ours = self.project.root.clone();
            return Err(LifecycleError::OtherProject { instance: instance.clone(), theirs, ours });
        }
        Ok(record)
    }

    fn id(&self, instance: &Name) -> InstanceId {
        InstanceId { project: self.project.name.clone(), instance: instance.clone() }
    }

    fn no_instance(&self, instance: &Name) -> LifecycleError {
        // Only for the message: a directory that cannot be listed has nothing to offer.
        let known = self.records.instances(&self.project.name).unwrap_or_default();
        LifecycleError::NoInstance { project: self.project.name.clone(), instance: instance.clone(), known }
    }

    /// Takes an instance's lock, after whoever holds it now.
    fn lock(&self, instance: &Name, command: &str) -> Result<FileLock, LifecycleError> {
        let file = self.records.lock_file(&self.project.name, instance);
        let told = |holder: &_| self.observer.happened(&Happening::Waiting { holder });
        Ok(FileLock::wait_telling(&file, &format!("{command} {instance}"), self.cancel, told)?)
    }

    /// The record of an instance, once a `stop` that was killed has been brought to its end. None when there is no instance.
    fn settled(&self, instance: &Name, lock: FileLock) -> Result<(Option<Record>, FileLock), LifecycleError> {
        match self.load(instance)? {
            Some(record) if matches!(record.unfinished(), Some((Command::Stop, _))) => {
                let mut work = self.work(record, lock, Command::Stop);
                work.take_over();
                if let Err(failure) = work.stop()? {
                    work.tell_left_behind(&failure);
                }
                let (record, lock) = work.into_parts();
                Ok((Some(record), lock))
            }
            record => Ok((record, lock)),
        }
    }

    /// The same, for a command that needs an instance.
    fn open(&self, instance: &Name, command: Command) -> Result<work::Work<'_>, LifecycleError> {
        let lock = self.lock(instance, command.as_str())?;
        let (record, lock) = self.settled(instance, lock)?;
        let Some(record) = record else {
            // The lock's file was made for nothing.
            lock.remove();
            return Err(self.no_instance(instance));
        };
        Ok(self.work(record, lock, command))
    }

    fn work(&self, record: Record, lock: FileLock, command: Command) -> work::Work<'_> {
        work::Work::new(self, record, lock, command)
    }

    fn remote_of(&self, record: &Record) -> Result<Remote, LifecycleError> {
        Ok(Remotes::load(self.places)?.get(&record.remote)?.clone())
    }
}

#[cfg(test)]
mod tests;
