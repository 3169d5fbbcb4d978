//! `ls`: the instances of one project, or of all projects.

use crate::lifecycle::asking::{InstanceStatus, Questions};
use crate::records::{RecordError, Records};
use crate::{Name, Places};

/// An instance in a list.
#[derive(Debug)]
pub struct Listed {
    /// The name of its project.
    pub project: Name,
    /// The name of the instance.
    pub instance: Name,
    /// Its status, or the error of reading its record.
    pub status: Result<InstanceStatus, RecordError>,
}

/// The instances of these projects, or of all projects, sorted by name. All of them are asked at once.
///
/// # Errors
/// When a directory cannot be read. An unreadable record is an error in its entry alone.
pub fn list(
    places: &Places,
    projects: Option<&[Name]>,
    questions: &Questions<'_>,
) -> Result<Vec<Listed>, RecordError> {
    let records = Records::new(places.clone());
    let projects = match projects {
        Some(projects) => projects.to_vec(),
        None => records.projects()?,
    };
    let (mut found, mut asked) = (Vec::new(), Vec::new());
    for project in projects {
        for instance in records.instances(&project)? {
            // Without a record the instance was removed meanwhile.
            let Some(record) = records.load(&project, &instance).transpose() else { continue };
            let read = record.map(|record| {
                let holder = records.holder(&project, &instance);
                asked.push((record, holder));
            });
            found.push((project.clone(), instance, read));
        }
    }
    let mut statuses = questions.ask(places, asked).into_iter();
    let listed = found.into_iter().map(|(project, instance, read)| {
        let status = read.map(|()| statuses.next().expect("there is a status for each record"));
        Listed { project, instance, status }
    });
    Ok(listed.collect())
}
