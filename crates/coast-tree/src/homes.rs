//! Home directories. A home directory, or a directory that holds one, is never a workspace.

use std::path::{Path, PathBuf};

use crate::accounts;

/// The home directories of this system, and the current directory of this process: a helper starts in the home directory of the
/// SSH user, whom `/etc/passwd` may not list.
#[derive(Debug, Clone)]
pub struct Homes(Vec<PathBuf>);

impl Homes {
    /// The home directories in `/etc/passwd` and of this process, and its current directory.
    pub fn load() -> Self {
        let listed = accounts::users().into_iter().map(|user| user.home);
        Self::of(listed.chain(std::env::home_dir()).chain(std::env::current_dir().ok()))
    }

    /// These home directories. Relative paths are left out.
    pub fn of(homes: impl Iterator<Item = PathBuf>) -> Self {
        let mut all = Vec::new();
        for home in homes.filter(|home| home.is_absolute()) {
            // A path may lead through symlinks, so the real one counts as well.
            all.extend(std::fs::canonicalize(&home).ok());
            all.push(home);
        }
        Self(all)
    }

    /// Why `path` must not be emptied: it is a home directory, or a home directory lies in it.
    pub fn objection(&self, path: &Path) -> Option<String> {
        let home = self.within(path)?;
        Some(match home == path {
            true => "it is somebody's home directory".to_owned(),
            false => format!("{} is in it, which is somebody's home directory", home.display()),
        })
    }

    fn within(&self, path: &Path) -> Option<&Path> {
        self.0.iter().map(PathBuf::as_path).find(|home| home.starts_with(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_and_what_holds_one_are_known() {
        let users = b"root:x:0:0:root:/root:/bin/sh\nbroken:x\ndev:x:1000:1000:,,,:/srv/people/dev:/bin/sh\nnone:x:1:1:::\n";
        let homes = Homes::of(accounts::parse_users(users).map(|user| user.home));
        for (path, held) in [
            ("/srv/people/dev", true),
            ("/srv/people", true),
            ("/srv/people/dev/workspaces/p/i", false),
            ("/srv/people/develop", false),
            ("/root", true),
            ("/data/w/p/i", false),
        ] {
            assert_eq!(homes.within(Path::new(path)).is_some(), held, "{path}");
        }
    }

    #[test]
    fn a_home_behind_a_symlink_is_known_by_both_names() {
        let scratch = tempfile::tempdir().unwrap();
        let top = scratch.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("disk/dev")).unwrap();
        std::os::unix::fs::symlink("disk", top.join("home")).unwrap();
        let homes = Homes::of([top.join("home/dev")].into_iter());
        assert!(homes.within(&top.join("disk")).is_some() && homes.within(&top.join("home/dev")).is_some());
    }

    #[test]
    fn where_this_process_is_counts() {
        assert!(Homes::load().within(&std::env::current_dir().unwrap()).is_some());
    }
}
