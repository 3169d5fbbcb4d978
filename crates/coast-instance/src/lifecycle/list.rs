//! `ls`: the instances of one project, or of all projects.

use crate::lock::{FileLock, Holder};
use crate::record::Record;
use crate::records::{RecordError, Records};
use crate::{Name, Places};

/// An instance in a list.
#[derive(Debug)]
pub struct Listed {
    /// The name of its project.
    pub project: Name,
    /// The name of the instance.
    pub instance: Name,
    /// The record, or the error of reading it.
    pub record: Result<Record, RecordError>,
    /// The command that holds the lock.
    pub holder: Option<Holder>,
}

/// The instances of `project`, or of all projects, sorted by name.
///
/// # Errors
/// When a directory cannot be read. An unreadable record is an error in its entry alone.
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
                // The instance was removed meanwhile.
                Ok(None) => continue,
                Err(error) => Err(error),
            };
            let holder = FileLock::holder(&records.lock_file(&project, &instance));
            listed.push(Listed { project: project.clone(), instance, record, holder });
        }
    }
    Ok(listed)
}
