//! All instances of a project, for a command on each of them.

use std::path::{Path, PathBuf};

use crate::records::{RecordError, Records};
use crate::{InstanceId, Name, Places, Scope};

/// An instance of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectInstance {
    /// Its name, and the name of the project in its record: an earlier name, if the project was renamed.
    pub id: InstanceId,
    /// The workspace as `remote:path`. `None` if the record cannot be read.
    pub place: Option<String>,
    /// The root in which it was made, if that is gone. It may be the root of another project whose disk is not mounted.
    pub lost_root: Option<PathBuf>,
}

impl ProjectInstance {
    /// The instances of the project of a directory, sorted by name: those that were made in its root, under the present name or an
    /// earlier one, and those of that name whose own root is gone, because the project may have been moved from there. An instance
    /// whose record cannot be read is among them, so that a command on it tells why.
    ///
    /// # Errors
    /// When the directory of the records cannot be read.
    pub fn of_scope(places: &Places, scope: &Scope) -> Result<Vec<Self>, RecordError> {
        let records = Records::new(places.clone());
        let is_ours = |project: &Name, root: &Path| {
            scope
                .root
                .as_deref()
                .is_none_or(|ours| ours == root || (*project == scope.name && !root.is_dir()))
        };
        let mut found = Vec::new();
        for project in scope.names(places) {
            found.extend(Self::of_records(&records, &project, |root| is_ours(&project, root))?);
        }
        Ok(found)
    }

    /// The instances of the project `name`, of any root, sorted by name.
    ///
    /// # Errors
    /// When the directory of the records cannot be read.
    pub fn of_name(places: &Places, name: &Name) -> Result<Vec<Self>, RecordError> {
        Self::of_records(&Records::new(places.clone()), name, |_| true)
    }

    fn of_records(
        records: &Records,
        project: &Name,
        is_ours: impl Fn(&Path) -> bool,
    ) -> Result<Vec<Self>, RecordError> {
        let mut found = Vec::new();
        for instance in records.instances(project)? {
            let (place, lost_root) = match records.load(project, &instance) {
                // The instance was removed meanwhile.
                Ok(None) => continue,
                Ok(Some(record)) if !is_ours(&record.root) => continue,
                Ok(Some(record)) => (
                    Some(format!("{}:{}", record.remote, record.remote_path)),
                    Some(record.root.to_path_buf()).filter(|root| !root.is_dir()),
                ),
                Err(_) => (None, None),
            };
            found.push(Self { id: InstanceId { project: project.clone(), instance }, place, lost_root });
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Record;

    #[test]
    fn the_instances_of_a_project_are_those_made_in_its_root_and_those_that_lost_theirs() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |path: &str| fs::canonicalize(scratch.path()).unwrap().join(path);
        for root in ["shop", "other"] {
            fs::create_dir(at(root)).unwrap();
        }
        let places = Places::below(&at("home"));
        let records = Records::new(places.clone());
        let name = |text: &str| text.parse::<Name>().unwrap();
        for (project, instance, root) in [
            ("shop", "ours", "shop"),
            ("shop", "moved", "gone"),
            ("shop", "theirs", "other"),
            ("store", "earlier", "shop"),
            ("store", "foreign", "gone"),
        ] {
            let path = format!("/data/workspaces/{project}/{instance}");
            let root = at(root);
            let record = Record::begun(name(project), name(instance), &root, &root, name("box"), path);
            records.save(&record).unwrap();
        }
        fs::write(records.file(&name("shop"), &name("damaged")), "{").unwrap();

        let scope =
            Scope::of_directory(&places, &at("shop"), None, &crate::CoastfileChoice::Remembered).unwrap();
        let shown = |found: Vec<ProjectInstance>| {
            found.iter().map(|instance| instance.id.to_string()).collect::<Vec<_>>()
        };
        let found = ProjectInstance::of_scope(&places, &scope).unwrap();
        assert_eq!(found[0].place, None);
        assert_eq!(found[1].place.as_deref(), Some("box:/data/workspaces/shop/moved"));
        assert_eq!((&found[1].lost_root, &found[2].lost_root), (&Some(at("gone")), &None));
        assert_eq!(shown(found), ["shop/damaged", "shop/moved", "shop/ours", "store/earlier"]);
        let named = ProjectInstance::of_name(&places, &name("store")).unwrap();
        assert_eq!(shown(named), ["store/earlier", "store/foreign"]);
        assert_eq!(ProjectInstance::of_name(&places, &name("none")).unwrap(), []);
    }
}
