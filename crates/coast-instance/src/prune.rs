//! What is left on a remote by instances that no record on this machine names: workspaces, helpers, and mutagen's files. Instances of
//! other machines may be among them, because a remote does not say who uses it.

use std::collections::BTreeSet;

use coast_sync::{
    Cancel, LeftoverFile, LeftoverRequest, Prompt, RemoteHelper, RemoveReport, RemoveRequest, SurveyRequest,
    SurveyedWorkspace, SweepReport, SyncError,
};

use crate::records::Records;
use crate::{LifecycleError, Name, Places, Record, Remote};

/// What no instance known here owns on a remote.
#[derive(Debug)]
pub struct Leftovers {
    /// Workspaces and empty directories of projects that can be removed.
    pub workspaces: Vec<LeftWorkspace>,
    /// Helpers and files of mutagen that can be removed.
    pub files: Vec<LeftoverFile>,
    /// What stays.
    pub kept: Vec<KeptPath>,
}

/// A path on the remote that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPath {
    /// The path.
    pub path: String,
    /// Why it stays.
    pub reason: String,
}

impl Leftovers {
    fn keep(&mut self, path: String, reason: &str) {
        self.kept.push(KeptPath { path, reason: reason.to_owned() });
    }
}

/// A workspace that no record on this machine names, or the empty directory of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftWorkspace {
    /// Its absolute path on the remote.
    pub path: String,
    /// What the remote tells of it.
    pub found: SurveyedWorkspace,
}

/// A remote that is searched for leftovers.
#[derive(Debug)]
pub struct Pruning<'a> {
    places: &'a Places,
    name: &'a Name,
    remote: &'a Remote,
    helper: RemoteHelper,
}

impl<'a> Pruning<'a> {
    /// The remote `name`, to which `helper` is deployed.
    pub fn new(places: &'a Places, name: &'a Name, remote: &'a Remote, helper: RemoteHelper) -> Self {
        Self { places, name, remote, helper }
    }

    /// Looks for leftovers. Changes nothing on the remote, but may upload the helper.
    ///
    /// # Errors
    /// When a record cannot be read, since it may name a workspace, and when the remote cannot be asked.
    pub fn look(&self, prompt: &dyn Prompt, cancel: &Cancel) -> Result<Leftovers, LifecycleError> {
        let known = self.known()?;
        let top = format!("{}/workspaces", self.remote.service_home);
        let survey = SurveyRequest::new(self.remote.destination(&top, self.helper.clone()));
        let doing = |what: &str| format!("cannot list the {what} on {}", self.name);
        let survey = survey.run(prompt, cancel).map_err(|error| failed(doing("workspaces"), error))?;
        let files = self.account().list(prompt, cancel).map_err(|error| failed(doing("leftovers"), error))?;
        let has_instances = !Records::new(self.places.clone()).users_of(self.name)?.is_empty();
        let own_helpers = self.own_helpers()?;
        let mut left = Leftovers { workspaces: Vec::new(), files: Vec::new(), kept: Vec::new() };
        if u64::try_from(survey.workspaces.len()).unwrap_or(u64::MAX) < survey.count {
            left.keep(top.clone(), "not all workspaces are listed; repeat this command");
        }
        for found in survey.workspaces {
            let Some(path) = self.path(&found) else {
                left.keep(
                    format!("{top}/{}/{}", found.project, found.instance),
                    "it is not named like an instance",
                );
                continue;
            };
            match known.objection(&found.project, &found.instance, &path) {
                Some(Objection::Own) => {}
                Some(Objection::Known(reason)) => left.kept.push(KeptPath { path, reason }),
                None if found.is_busy => left.keep(path, "a run works on it at this moment"),
                None if found.unreadable => {
                    left.keep(
                        path,
                        "it, or the state directory .NAME.coast beside it, cannot be looked into; is something mounted there, or is \
                         `trash` or `lock` in that directory of another kind than coast makes it?",
                    )
                }
                None => left.workspaces.push(LeftWorkspace { path, found }),
            }
        }
        for file in files {
            if file.in_use {
                left.keep(file.path, "a session may use it");
            } else if !(has_instances && own_helpers.contains(&file.path)) {
                left.files.push(file);
            }
        }
        Ok(left)
    }

    /// Removes a workspace, unless a record names it by now. None if one does.
    ///
    /// # Errors
    /// When the records cannot be read, and when the removal ended early.
    pub fn remove_workspace(
        &self,
        workspace: &LeftWorkspace,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<Option<RemoveReport>, LifecycleError> {
        if self
            .known()?
            .objection(&workspace.found.project, &workspace.found.instance, &workspace.path)
            .is_some()
        {
            return Ok(None);
        }
        let request = RemoveRequest::new(self.remote.destination(&workspace.path, self.helper.clone()));
        let request = request.with_empty_parent(!workspace.found.instance.is_empty());
        let removed = request.run(prompt, &|_| {}, cancel);
        removed.map(Some).map_err(|error| failed(format!("cannot remove {}", workspace.path), error))
    }

    /// Removes helpers and files of mutagen.
    ///
    /// # Errors
    /// When the remote cannot be asked.
    pub fn remove_files(
        &self,
        files: &[LeftoverFile],
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<SweepReport, LifecycleError> {
        let paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
        let removed = self.account().remove(&paths, prompt, cancel);
        removed.map_err(|error| failed(format!("cannot remove leftovers on {}", self.name), error))
    }

    fn account(&self) -> LeftoverRequest {
        LeftoverRequest::new(self.remote.destination(&self.remote.service_home, self.helper.clone()))
    }

    /// The path of a workspace. None if coast would not name it so.
    fn path(&self, found: &SurveyedWorkspace) -> Option<String> {
        let project: Name = found.project.parse().ok()?;
        if found.instance.is_empty() {
            return Some(format!("{}/workspaces/{project}", self.remote.service_home));
        }
        Some(self.remote.workspace(&project, &found.instance.parse().ok()?))
    }

    /// The instances that records name, on all remotes: one machine may have two names.
    fn known(&self) -> Result<Known<'_>, LifecycleError> {
        let records = Records::new(self.places.clone());
        let mut instances = Vec::new();
        for project in records.projects()? {
            for instance in records.instances(&project)? {
                instances.extend(records.load(&project, &instance)?);
            }
        }
        Ok(Known { remote: self.name, instances })
    }

    /// The names of the helpers that this program uses.
    fn own_helpers(&self) -> Result<BTreeSet<String>, LifecycleError> {
        let RemoteHelper::Deployed(store) = &self.helper else { return Ok(BTreeSet::new()) };
        let names = store.file_names().map_err(|error| failed("reading the helpers".to_owned(), error))?;
        Ok(names.into_iter().collect())
    }
}

/// The instances that records on this machine name.
struct Known<'a> {
    /// The remote that is searched.
    remote: &'a Name,
    instances: Vec<Record>,
}

/// Why a workspace is not left over.
#[derive(Debug, PartialEq, Eq)]
enum Objection {
    /// It is that of an instance on this remote.
    Own,
    /// It may be that of an instance. The text says of which, and why that is not sure.
    Known(String),
}

impl Known<'_> {
    /// A workspace is not left over if an instance has its path, and not if an instance has its name: the path in the record may
    /// lead to it through a symlink, and the remote in the record may be the same machine.
    fn objection(&self, project: &str, instance: &str, path: &str) -> Option<Objection> {
        let has_path = |record: &&Record| record.remote_path == path;
        if self.instances.iter().filter(has_path).any(|record| record.remote == *self.remote) {
            return Some(Objection::Own);
        }
        let has_name =
            |record: &&Record| record.project.as_str() == project && record.instance.as_str() == instance;
        let record = self.instances.iter().find(|record| has_path(record) || has_name(record))?;
        Some(Objection::Known(format!(
            "{}/{} is an instance known here, at {}:{}, which may be the same place; if it is not, remove this by hand",
            record.project, record.instance, record.remote, record.remote_path
        )))
    }
}

fn failed(doing: String, error: SyncError) -> LifecycleError {
    match error {
        SyncError::Interrupted => LifecycleError::Interrupted { at: None },
        error => LifecycleError::Bulk { doing, error, advice: String::new() },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_workspace_with_the_path_or_the_name_of_an_instance_is_not_left_over() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let record = |project, instance, remote, path: &str| {
            let root = Path::new("/shop");
            Record::begun(name(project), name(instance), root, root, name(remote), path.to_owned())
        };
        let remote = name("box");
        let known = Known {
            remote: &remote,
            instances: vec![
                record("shop", "dev-1", "box", "/data/workspaces/shop/dev-1"),
                record("shop", "dev-2", "other", "/data/workspaces/shop/dev-2"),
            ],
        };
        let own = known.objection("shop", "dev-1", "/data/workspaces/shop/dev-1");
        assert_eq!(own, Some(Objection::Own));
        // The service home has a second spelling, or the machine a second name.
        for (instance, path) in
            [("dev-1", "/mnt/data/workspaces/shop/dev-1"), ("dev-2", "/data/workspaces/shop/dev-2")]
        {
            let Some(Objection::Known(reason)) = known.objection("shop", instance, path) else {
                panic!("{path} is left over")
            };
            assert!(reason.contains(&format!("shop/{instance} is an instance known here")), "{reason}");
        }
        assert_eq!(known.objection("shop", "dev-3", "/data/workspaces/shop/dev-3"), None);
        assert_eq!(known.objection("blog", "dev-1", "/data/workspaces/blog/dev-1"), None);
    }
}
