//! Checks whether a destination can be a workspace. A run deletes entries that the source lacks, so a directory that was never a
//! workspace is refused.

use std::io;
use std::path::Path;

use coast_tree::{Homes, Root};

/// The kind of directory that a run expects at its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Claim {
    /// Any directory that the user names, as with rsync.
    #[default]
    Anything,
    /// A workspace, which only runs and services write in. A home directory, a directory that holds one, and a directory of the
    /// system are refused.
    Workspace,
    /// A workspace that does not exist yet, or is empty.
    NewWorkspace,
    /// A workspace that exists.
    ExistingWorkspace,
}

/// Directories of every Linux system. A directory below one of them can be a workspace.
const SYSTEM: [&str; 30] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/local",
    "/usr/sbin",
    "/usr/share",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/spool",
    "/var/tmp",
];

impl Claim {
    /// Why the destination `root`, whose absolute path is `path`, is refused.
    pub(super) fn objection(self, path: &Path, root: &Root) -> io::Result<Option<String>> {
        match self {
            Self::Anything => Ok(None),
            Self::NewWorkspace if !root.handle().list()?.is_empty() => {
                Ok(Some("there is something in it already".to_owned()))
            }
            Self::Workspace | Self::NewWorkspace | Self::ExistingWorkspace => {
                Ok(no_workspace(path, &Homes::load()))
            }
        }
    }
}

/// Why a directory cannot be a workspace.
fn no_workspace(path: &Path, homes: &Homes) -> Option<String> {
    let what = match SYSTEM.iter().any(|own| path == Path::new(own)) {
        true => "it is a directory of the system".to_owned(),
        false => homes.objection(path)?,
    };
    Some(format!(
        "{what}, and what the source does not have would be deleted there; name a directory of its own"
    ))
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
        let objection = |claim: Claim| claim.objection(scratch.path(), &root).unwrap();
        assert_eq!(objection(Claim::NewWorkspace), None);
        std::fs::write(scratch.path().join("precious"), "").unwrap();
        assert!(objection(Claim::NewWorkspace).is_some());
        assert_eq!((objection(Claim::Workspace), objection(Claim::Anything)), (None, None));
    }
}
