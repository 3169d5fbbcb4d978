//! `run`: makes an instance.

use std::path::{Path, PathBuf};

use crate::lifecycle::bring_up::Purpose;
use crate::lifecycle::{FollowOptions, Lifecycle, LifecycleError, Unfinished};
use crate::lock::FileLock;
use crate::record::{Command, Record};
use crate::remotes::RemotesEditor;
use crate::{Name, Remote};

/// The options of `run`.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// The worktree to follow; by default the project's root.
    pub worktree: Option<PathBuf>,
    /// The remote of the instance; by default the only one.
    pub remote: Option<Name>,
    /// Whether to take over an existing directory that no known instance has made. Entries that the worktree does not have are deleted
    /// in it.
    pub adopt: bool,
    /// What to do if edits cannot be carried or the session of an earlier `run` cannot be ended, and the image.
    pub follow: FollowOptions,
}

impl Lifecycle<'_> {
    /// Makes an instance: transfers the worktree and has its edits carried. An earlier `run` that did not finish is finished. Entries
    /// that could not be transferred are in [`Record::stale`].
    ///
    /// # Errors
    /// When the instance exists already, its worktree or remote cannot be used, or the transfer failed.
    pub fn run(&self, instance: &Name, options: RunOptions) -> Result<Record, LifecycleError> {
        let project = self.project.project()?;
        project.check_new()?;
        let begun = self.load(instance)?;
        self.check_trust(begun.as_ref(), &options.follow)?;
        let lock = self.lock(instance, Command::Run.as_str())?;
        let (begun, lock) = self.load_after_finishing_stop(instance, lock)?;
        let (begun, lock) = self.removed(begun, lock)?;
        if let Some(record) = &begun
            && record.claimed
            && !matches!(record.unfinished(), Some((Command::Run, _)))
        {
            return Err(LifecycleError::Exists {
                instance: self.addressed(instance),
                unfinished: Unfinished::of(record, &self.addressed(instance)),
            });
        }
        let fresh = begun.is_none();
        let worktree = match (options.worktree, &begun) {
            (Some(worktree), _) => worktree,
            (None, Some(begun)) => begun.worktree.to_path_buf(),
            (None, None) => match project.root_worktree() {
                Ok(root) => root,
                Err(error) => {
                    self.remove_lock(lock);
                    return Err(error.into());
                }
            },
        };
        let (record, remote) =
            match self.place(instance, (&project.root, &worktree), options.remote.as_ref(), begun) {
                Ok(placed) => placed,
                Err(error) => {
                    if fresh {
                        self.remove_lock(lock);
                    }
                    return Err(error);
                }
            };
        let mut work = self.work(record, lock, Command::Run);
        work.adopts = options.adopt;
        if !fresh {
            work.tell_taking_over();
        }
        match work.bring_up(&worktree, &remote, Purpose::New, options.follow) {
            Ok(()) => Ok(work.into_parts().0),
            Err(error) => {
                if !work.record.claimed && !matches!(error, LifecycleError::Interrupted { .. }) {
                    // The instance has nothing on the remote, so it is forgotten.
                    self.records.remove(&self.project.name, instance)?;
                    self.remove_lock(work.into_lock());
                }
                Err(error)
            }
        }
    }

    /// Finishes a removal that did not finish.
    fn removed(
        &self,
        begun: Option<Record>,
        lock: FileLock,
    ) -> Result<(Option<Record>, FileLock), LifecycleError> {
        let Some(record) = begun else { return Ok((None, lock)) };
        let Some((command, _)) = record.unfinished().filter(|(command, _)| command.removes()) else {
            return Ok((Some(record), lock));
        };
        let mut work = self.work(record, lock, command);
        work.tell_taking_over();
        work.remove(false)?;
        Ok((None, work.into_lock()))
    }

    /// The record to begin with. Its remote cannot be removed while the record exists.
    fn place(
        &self,
        instance: &Name,
        (root, worktree): (&Path, &Path),
        wanted: Option<&Name>,
        begun: Option<Record>,
    ) -> Result<(Record, Remote), LifecycleError> {
        // The editor holds the lock of the remotes, so that the chosen remote cannot be removed before the record is saved.
        let editor = RemotesEditor::open(self.places)?;
        if let Some(record) = begun {
            if wanted.is_some_and(|wanted| *wanted != record.remote) {
                return Err(LifecycleError::OtherRemote {
                    instance: self.addressed(instance),
                    begun: record.remote,
                });
            }
            let remote = record.as_used(editor.remotes().get(&record.remote)?);
            return Ok((record, remote));
        }
        let (name, remote) = editor.remotes().choose(wanted)?;
        let path = remote.workspace(&self.project.name, instance);
        let coastfile_type = self.project.project()?.coastfile.kind.clone();
        let record =
            Record::begun(self.project.name.clone(), instance.clone(), root, worktree, name.clone(), path);
        let record = Record { coastfile_type, ..record };
        self.records.save(&record)?;
        Ok((record, remote.clone()))
    }
}
