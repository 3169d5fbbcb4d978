//! The project of a command, and how much is known of it. A command that changes the workspace needs the project's directory and its
//! settings. The other commands need only records: they work without the directory, with a wrong Coastfile, and after the project was
//! given another name.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::lifecycle::LifecycleError;
use crate::project::{Place, Project, ProjectError};
use crate::records::Records;
use crate::{Addressed, Coastfile, CoastfileChoice, CoastfileType, Name, Places};

/// The project whose instances a command works on.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The name of the project in the records.
    pub name: Name,
    /// The root of the project. `None` if the project was chosen by its name and cannot be found: instances of any root are meant.
    pub root: Option<PathBuf>,
    /// Whether the user has named the project.
    is_named: bool,
    project: Result<Project, Arc<ProjectError>>,
}

impl From<&Project> for Scope {
    fn from(project: &Project) -> Self {
        project.clone().into()
    }
}

impl From<Project> for Scope {
    fn from(project: Project) -> Self {
        Self {
            name: project.name.clone(),
            root: Some(project.root.clone()),
            is_named: false,
            project: Ok(project),
        }
    }
}

impl From<&Scope> for Scope {
    fn from(scope: &Scope) -> Self {
        scope.clone()
    }
}

impl Scope {
    /// The project of the directory `here`, for a command that may make `instance`. A record of the instance tells the type of the
    /// Coastfile, unless `choice` does.
    ///
    /// # Errors
    /// When the project cannot be found, or its Coastfile cannot be used.
    pub fn to_make(
        places: &Places,
        here: &Path,
        instance: &Name,
        choice: &CoastfileChoice,
    ) -> Result<Self, LifecycleError> {
        let kind = choice.or(|| remembered_type(&Records::new(places.clone()), here, instance));
        Ok(Project::find_typed(here, kind.as_ref())?.into())
    }

    /// The project of the directory `here`, for a command on `instance`, or on all instances. A record of the instance tells the type
    /// of the Coastfile, unless `choice` does.
    ///
    /// If the Coastfile cannot be used, the records made in this directory tell the name of the project, or else as much of the
    /// Coastfile as can be read. If the project has no such instance, but had it under an earlier name, the earlier name is taken.
    ///
    /// # Errors
    /// When the directory cannot be examined, the name of the project cannot be told, or several projects made such an instance here.
    pub fn of_directory(
        places: &Places,
        here: &Path,
        instance: Option<&Name>,
        choice: &CoastfileChoice,
    ) -> Result<Self, LifecycleError> {
        let records = Records::new(places.clone());
        let kind = choice.or(|| remembered_type(&records, here, instance?));
        let place = Place::find(here, kind.as_ref())?;
        let root = place.root.clone();
        let recorded = |why, root: &Path, name| Self {
            name,
            root: Some(root.to_owned()),
            is_named: false,
            project: Err(Arc::new(why)),
        };
        let here = std::fs::canonicalize(here).unwrap_or_else(|_| here.to_owned());
        let mut roots = place.roots(&here);
        roots.insert(0, root.clone());
        let error = match place.project(kind.as_ref()) {
            Ok(project) => {
                let Some(instance) = instance else { return Ok(project.into()) };
                if records.exists(&project.name, instance) {
                    return Ok(project.into());
                }
                for root in &roots {
                    if let Some(earlier) = only_name(&records, root, instance)? {
                        return Ok(Self::under_earlier_name(&project, root, earlier, instance));
                    }
                }
                return Ok(project.into());
            }
            Err(error @ (ProjectError::Coastfile(_) | ProjectError::Name { .. })) => error,
            Err(error) => return Err(error.into()),
        };
        for root in &roots {
            if let Some(instance) = instance
                && let Some(name) = only_name(&records, root, instance)?
            {
                return Ok(recorded(error, root, name));
            }
        }
        let names = records.projects_at(&root, None);
        let read = Coastfile::readable_name(&root, kind.as_ref())
            .or_else(|| root.file_name().unwrap_or(OsStr::new("")).to_str()?.parse().ok());
        // A name that the records know is preferred to a name that only the Coastfile has.
        let name = match read {
            Some(read) if names.is_empty() || names.contains(&read) => read,
            read => match names.into_iter().next().or(read) {
                Some(name) => name,
                None => return Err(error.into()),
            },
        };
        Ok(recorded(error, &root, name))
    }

    /// An instance that `project` has made in the directory `root` when it was called `earlier`.
    fn under_earlier_name(project: &Project, root: &Path, earlier: Name, instance: &Name) -> Self {
        let why = ProjectError::OtherName {
            instance: instance.clone(),
            recorded: earlier.clone(),
            root: root.to_owned(),
            named: project.name.clone(),
        };
        Self { name: earlier, root: Some(root.to_owned()), is_named: false, project: Err(Arc::new(why)) }
    }

    /// The project `name`, for a command on `instance`. Its directory is the one in the record of the instance.
    ///
    /// # Errors
    /// When there is no such instance, or its record cannot be read.
    pub fn of_name(
        places: &Places,
        name: &Name,
        instance: &Name,
        choice: &CoastfileChoice,
    ) -> Result<Self, LifecycleError> {
        let records = Records::new(places.clone());
        let Some(record) = records.load(name, instance)? else {
            return Err(LifecycleError::no_instance(&records, name, instance));
        };
        let root = record.root.to_path_buf();
        let project = if root.is_dir() {
            let kind = choice.or(|| record.coastfile_type.clone());
            Project::find_typed(&root, kind.as_ref()).and_then(|project| {
                if (&project.name, &project.root) == (name, &root) {
                    return Ok(project);
                }
                let (instance, recorded) = (instance.clone(), name.clone());
                Err(ProjectError::OtherName { instance, recorded, root, named: project.name })
            })
        } else {
            Err(ProjectError::DirectoryGone { instance: instance.clone(), project: name.clone(), root })
        };
        let is_named = true;
        Ok(match project {
            Ok(project) => Self { is_named, ..project.into() },
            Err(why) => Self { name: name.clone(), root: None, is_named, project: Err(Arc::new(why)) },
        })
    }

    /// Checks that the project `name`, which the user has named, has an instance.
    ///
    /// # Errors
    /// When it has none, or the records cannot be listed.
    pub fn check_name(places: &Places, name: &Name) -> Result<(), LifecycleError> {
        let records = Records::new(places.clone());
        if !records.instances(name)?.is_empty() {
            return Ok(());
        }
        let mut known = records.projects()?;
        known.retain(|project| records.instances(project).is_ok_and(|instances| !instances.is_empty()));
        Err(LifecycleError::NoProject { project: name.clone(), known })
    }

    /// An instance of the project, in the words of a command that is suggested to the user.
    pub fn addressed(&self, instance: &Name) -> Addressed {
        Addressed::new(instance, Some(&self.name).filter(|_| self.is_named))
    }

    /// The project with its settings.
    ///
    /// # Errors
    /// When its directory is gone, or its Coastfile cannot be used.
    pub fn project(&self) -> Result<&Project, LifecycleError> {
        self.project.as_ref().map_err(|why| LifecycleError::Unsettled(Arc::clone(why)))
    }

    /// Why the settings of the project cannot be used, for a warning of a command that needs only records. `None` if they can, or if
    /// the directory of the project is gone: then they are not missed.
    pub fn warning(&self) -> Option<String> {
        match &self.project {
            Err(why) if !matches!(**why, ProjectError::DirectoryGone { .. }) => Some(format!(
                "{why}\nthis command needs only the records of the project {:?}, and goes on",
                self.name
            )),
            _ => None,
        }
    }

    /// The names of the projects whose instances were made in this directory, sorted: the project's name, and its earlier names.
    pub fn names(&self, places: &Places) -> Vec<Name> {
        let records = Records::new(places.clone());
        let earlier = self.root.iter().flat_map(|root| records.projects_at(root, None));
        let names: BTreeSet<Name> = std::iter::once(self.name.clone()).chain(earlier).collect();
        names.into_iter().collect()
    }
}

/// The type of the Coastfile that the last command on `instance` used, as its record says. The record is the one made nearest to the
/// directory `here`, at it or above it. If there is none, because the project was moved, it is the one of the project that the
/// Coastfile of the directory names.
fn remembered_type(records: &Records, here: &Path, instance: &Name) -> Option<CoastfileType> {
    let place = Place::find(here, None).ok()?;
    let names = records.projects().ok()?;
    let made: Vec<_> = names.iter().filter_map(|name| records.load(name, instance).ok().flatten()).collect();
    let here = std::fs::canonicalize(here).ok()?;
    // A linked worktree is not below the root of the project.
    let nearest = place
        .roots(&here)
        .iter()
        .chain([&place.root])
        .find_map(|root| made.iter().find(|record| *record.root == *root));
    let moved = || {
        let name = place.project(None).ok()?.name;
        made.iter().find(|record| record.project == name && !record.root.is_dir())
    };
    nearest.or_else(moved)?.coastfile_type.clone()
}

/// The only name under which an instance was made in the directory `root`; `None` if there is no such instance.
fn only_name(records: &Records, root: &Path, instance: &Name) -> Result<Option<Name>, ProjectError> {
    let names = records.projects_at(root, Some(instance));
    match names.as_slice() {
        [] => Ok(None),
        [name] => Ok(Some(name.clone())),
        _ => Err(ProjectError::SeveralNames { instance: instance.clone(), root: root.to_owned(), names }),
    }
}

#[cfg(test)]
mod tests;
