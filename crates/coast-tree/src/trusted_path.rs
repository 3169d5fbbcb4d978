//! A path, opened one component at a time from the top of the file system, so that no other user can change where it leads
//! while root opens it.

use std::collections::VecDeque;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::{DirHandle, Kind, Name, Root};

/// The most symlinks in one path, as in Linux.
const MAX_LINKS: usize = 40;

/// The open directory that holds the entry which a path names.
#[derive(Debug)]
pub struct ResolvedParent {
    /// The directory.
    pub parent: DirHandle,
    /// The entry's name in it.
    pub name: Name,
    /// The entry's absolute path, without symlinks.
    pub path: PathBuf,
}

/// Why a path is not opened.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // The fields say what they are.
pub enum PathError {
    /// The path is `/`, or ends in `..`.
    #[error("the path does not end in a name")]
    NoName,
    /// Following the path's symlinks does not end.
    #[error("there are too many symlinks on the way, {} is one", link.display())]
    TooManyLinks { link: PathBuf },
    /// Another user than root and the one of this process could have put the symlink there, or could replace it.
    #[error(
        "the symlink {} on the way there could be bent by others (it belongs to user {owner}, or its directory can be \
         written by others); give the path without it",
        link.display()
    )]
    Untrusted { link: PathBuf, owner: u32 },
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A component of a path.
enum Step {
    Top,
    Up,
    Down(Name),
}

impl ResolvedParent {
    /// Opens the directory that holds the entry `path`, which itself is not looked at. None when a directory on the way does
    /// not exist. A relative path starts at the process' current directory.
    ///
    /// A symlink on the way is followed only where nobody but root and this process' user could have put it there or could
    /// replace it: both the symlink and its directory belong to one of them, and others may not write in the directory.
    ///
    /// # Errors
    /// [`PathError`].
    pub fn of(path: &Path) -> Result<Option<Self>, PathError> {
        let absolute = std::env::current_dir()?.join(path);
        let mut steps = steps(absolute.as_os_str().as_bytes())?;
        let Some(Step::Down(name)) = steps.pop_back() else { return Err(PathError::NoName) };

        let mut gone: Vec<(Name, DirHandle)> = Vec::new();
        let top = Root::open(Path::new("/"))?.handle();
        let mut links = 0;
        while let Some(step) = steps.pop_front() {
            let next = match step {
                Step::Top => {
                    gone.clear();
                    continue;
                }
                Step::Up => {
                    gone.pop();
                    continue;
                }
                Step::Down(next) => next,
            };
            let here = gone.last().map_or(&top, |(_, dir)| dir);
            match here.stat(&next)? {
                None => return Ok(None),
                Some(stat) if stat.kind == Kind::Symlink => {
                    links += 1;
                    let link = joined(&gone, &next);
                    if links > MAX_LINKS {
                        return Err(PathError::TooManyLinks { link });
                    }
                    if !is_trusted(here, stat.uid)? {
                        return Err(PathError::Untrusted { link, owner: stat.uid });
                    }
                    let target = here.read_link(&next)?;
                    for step in self::steps(&target)?.into_iter().rev() {
                        steps.push_front(step);
                    }
                }
                Some(_) => {
                    let dir = match here.child_to_search(&next) {
                        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                        dir => dir?,
                    };
                    gone.push((next, dir));
                }
            }
        }
        let path = joined(&gone, &name);
        let parent = gone.pop().map_or(top, |(_, dir)| dir);
        Ok(Some(Self { parent, name, path }))
    }
}

/// The steps of a path or of a symlink's target.
fn steps(path: &[u8]) -> io::Result<VecDeque<Step>> {
    let mut steps = VecDeque::new();
    if path.first() == Some(&b'/') {
        steps.push_back(Step::Top);
    }
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => steps.push_back(Step::Up),
            name => steps.push_back(Step::Down(Name::new(name).map_err(io::Error::other)?)),
        }
    }
    Ok(steps)
}

/// Whether nobody but root and this user can have put a symlink of `owner` into `dir`, or can replace it there.
fn is_trusted(dir: &DirHandle, owner: u32) -> io::Result<bool> {
    let me = rustix::process::geteuid().as_raw();
    let ours = |uid: u32| uid == 0 || uid == me;
    let stat = dir.stat_self()?;
    // In a directory with the sticky bit nobody but its owner can take away what belongs to another.
    let kept = stat.mode & 0o022 == 0 || stat.mode & 0o1000 != 0;
    Ok(ours(owner) && ours(stat.uid) && kept)
}

fn joined(gone: &[(Name, DirHandle)], last: &Name) -> PathBuf {
    let names = gone.iter().map(|(name, _)| name).chain([last]);
    let mut path = PathBuf::from("/");
    path.extend(names.map(|name| std::ffi::OsStr::from_bytes(name.as_bytes())));
    path
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};

    use super::*;

    fn refusal(path: &Path) -> String {
        match ResolvedParent::of(path) {
            Err(error) if !matches!(error, PathError::Io(_)) => error.to_string(),
            other => panic!("{}: {other:?}", path.display()),
        }
    }

    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().canonicalize().unwrap();
        fs::create_dir_all(path.join("data/p/i")).unwrap();
        (scratch, path)
    }

    #[test]
    fn the_way_is_found_whether_or_not_its_end_exists() {
        let (_scratch, path) = scratch();
        for end in ["i", "other"] {
            let way = ResolvedParent::of(&path.join("data/./p//").join(end)).unwrap().unwrap();
            assert_eq!(way.path, path.join("data/p").join(end));
            assert_eq!(way.name.as_bytes(), end.as_bytes());
            assert_eq!(way.parent.stat(&Name::new(b"i").unwrap()).unwrap().unwrap().kind, Kind::Directory);
        }
        assert!(ResolvedParent::of(&path.join("data/q/i")).unwrap().is_none());
    }

    #[test]
    fn a_path_without_a_last_name_is_refused() {
        for path in ["/", "//", "/.", "/data/.."] {
            assert!(matches!(ResolvedParent::of(Path::new(path)), Err(PathError::NoName)), "{path}");
        }
    }

    #[test]
    fn a_symlink_of_ones_own_is_followed_however_it_is_written() {
        let (_scratch, path) = scratch();
        let data = path.join("data");
        fs::create_dir(path.join("links")).unwrap();
        for target in [data.clone(), "../data".into(), "../links/../data/.".into(), "abs".into()] {
            let link = path.join("links/to");
            symlink(&target, &link).unwrap();
            if target == Path::new("abs") {
                symlink(&data, path.join("links/abs")).unwrap();
            }
            let way = ResolvedParent::of(&link.join("p/i")).unwrap().unwrap();
            assert_eq!(way.path, data.join("p/i"), "{}", target.display());
            fs::remove_file(link).unwrap();
        }
        symlink("/", path.join("links/top")).unwrap();
        let resolved = ResolvedParent::of(&path.join("links/top/data")).unwrap().unwrap();
        assert_eq!(resolved.path, Path::new("/data"), "the real path counts");
        symlink("circle", path.join("links/circle")).unwrap();
        assert!(refusal(&path.join("links/circle/p/i")).contains("too many symlinks"));
    }

    #[test]
    fn a_symlink_that_others_could_bend_is_refused() {
        assert!(rustix::process::geteuid().is_root(), "needs root, to give a symlink to another user");
        let (_scratch, path) = scratch();
        let link = path.join("link");
        symlink("data", &link).unwrap();
        lchown(&link, Some(12_345), None).unwrap();
        assert!(refusal(&link.join("p/i")).contains("12345"));
        lchown(&link, Some(0), None).unwrap();
        assert!(ResolvedParent::of(&link.join("p/i")).unwrap().is_some());

        for (mode, owner, trusted) in
            [(0o777, 0, false), (0o775, 0, false), (0o1777, 0, true), (0o755, 12_345, false)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            lchown(&path, Some(owner), None).unwrap();
            let way = ResolvedParent::of(&link.join("p/i"));
            assert_eq!(way.is_ok(), trusted, "{mode:o} of {owner}: {way:?}");
            // What is no symlink may lie in any directory.
            assert!(ResolvedParent::of(&path.join("data/p/i")).unwrap().is_some());
        }
    }
}
