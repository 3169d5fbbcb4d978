//! `ls`: all instances of a project, or of all projects.

use crate::lock::{FileLock, Holder};
use crate::record::{Record, RecordError, Records};
use crate::{Name, Places};

/// An instance as it is listed.
#[derive(Debug)]
pub struct Listed {
    /// Its project.
    pub project: Name,
    /// Its name.
    pub instance: Name,
    /// What is remembered of it, or why that cannot be read.
    pub record: Result<Record, RecordError>,
    /// Who works on it.
    pub holder: Option<Holder>,
}

/// The instances of `project`, or of all projects, by name.
///
/// # Errors
/// When the directories cannot be read. A single record that cannot be read is told in its place.
pub fn list(places: &Places, project: Option<&Name>) -> Result<Vec<Listed>, RecordError> {
    let records = Records::new(places.clone());
    let projects = match project {
        Some(project) => vec![project.clone()],
        None => records.projects()?,
    };
    let mut listed = Vec::new();
    for project in projects {
        for instance in records.instances(&project)? {
            let record = match records.load(&project, &instance) {
                Ok(Some(record)) => Ok(record),
                // Removed meanwhile.
                Ok(None) => continue,
                Err(error) => Err(error),
            };
            let holder = FileLock::holder(&records.lock_file(&project, &instance));
            listed.push(Listed { project: project.clone(), instance, record, holder });
        }
    }
    Ok(listed)
}
