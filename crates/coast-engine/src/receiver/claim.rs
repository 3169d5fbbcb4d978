//! What a run takes its destination for, and what may not be taken for that: a run that deletes what the source does not
//! have must not meet what was never a workspace, least of all as root.

use std::io;
use std::path::Path;

use coast_tree::Root;

use crate::homes::Homes;

/// What a run takes its destination for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Claim {
    /// Whatever the user names, as with rsync.
    #[default]
    Anything,
    /// A workspace, which holds nothing but what runs bring and what services make in it. With deletion that is never a
    /// home directory, what holds one, or a directory of the system.
    Workspace,
    /// A workspace that is not there yet, or is empty.
    NewWorkspace,
}

/// Directories that every Linux system has for itself. What is below them may be a workspace.
const SYSTEM: [&str; 18] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/sbin",
    "/var",
];

/// What speaks against a claim.
#[derive(Debug, Default)]
pub(super) struct Objections {
    /// Against any run.
    pub(super) any: Option<String>,
    /// Against one that deletes.
    pub(super) deleting: Option<String>,
}

impl Claim {
    /// Looks at a destination, whose absolute path is `path`.
    pub(super) fn objections(self, path: &Path, root: &Root) -> io::Result<Objections> {
        if self == Self::Anything {
            return Ok(Objections::default());
        }
        let occupied = self == Self::NewWorkspace && !root.handle().list()?.is_empty();
        Ok(Objections {
            any: occupied.then(|| "there is something in it already".to_owned()),
            deleting: no_workspace(path, &Homes::load()),
        })
    }
}

/// Why a directory cannot be a workspace.
fn no_workspace(path: &Path, homes: &Homes) -> Option<String> {
    if SYSTEM.iter().any(|own| path == Path::new(own)) {
        return Some("it is a directory of the system".to_owned());
    }
    let home = homes.within(path)?;
    Some(match home == path {
        true => "it is somebody's home directory".to_owned(),
        false => format!("{} is in it, which is somebody's home directory", home.display()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_and_directories_of_the_system_are_no_workspaces() {
        let homes = Homes::of([Path::new("/srv/people/dev").to_owned()].into_iter());
        for path in ["/", "/etc", "/usr", "/srv/people/dev", "/srv/people", "/srv"] {
            assert!(no_workspace(Path::new(path), &homes).is_some(), "{path}");
        }
        for path in ["/data/workspaces/p/i", "/srv/people/dev/workspace", "/usr/share/site", "/workspace"] {
            assert_eq!(no_workspace(Path::new(path), &homes), None, "{path}");
        }
    }

    #[test]
    fn only_a_new_workspace_has_to_be_empty() {
        let scratch = tempfile::tempdir().unwrap();
        let root = Root::open(scratch.path()).unwrap();
        let any = |claim: Claim| claim.objections(scratch.path(), &root).unwrap().any;
        assert_eq!(any(Claim::NewWorkspace), None);
        std::fs::write(scratch.path().join("precious"), "").unwrap();
        assert!(any(Claim::NewWorkspace).is_some());
        assert_eq!((any(Claim::Workspace), any(Claim::Anything)), (None, None));
    }
}
