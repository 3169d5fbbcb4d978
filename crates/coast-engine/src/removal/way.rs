//! The way from the top of the file system to the directory that a workspace lies in, gone one component at a time, so that
//! nobody can bend it while root goes it.

use std::collections::VecDeque;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use coast_tree::{DirHandle, Kind, Name, Root};

use crate::error::EngineError;

/// The most symlinks on one way, as in Linux.
const MAX_LINKS: usize = 40;

/// How deep a workspace lies at least: what is nearer to the top belongs to the system.
const MIN_COMPONENTS: usize = 2;

/// The way to a workspace.
#[derive(Debug)]
pub(super) struct Way {
    /// The directory that it lies in.
    pub(super) parent: DirHandle,
    /// Its name there.
    pub(super) name: Name,
    /// Its path, without symlinks.
    pub(super) path: PathBuf,
}

/// What a component of the way asks for.
enum Step {
    Top,
    Up,
    Down(Name),
}

impl Way {
    /// Goes the way to `path`, which is not looked at itself. None when a directory on the way does not exist.
    ///
    /// A symlink on the way is followed where only root or this user could have put it there: it and the directory that
    /// it lies in belong to one of them, and nobody else may replace it. All others are refused.
    pub(super) fn to(path: &Path) -> Result<Option<Self>, EngineError> {
        let failed =
            |error| EngineError::Destination { path: path.to_owned(), doing: "finding the way to it", error };
        let refused = |reason: String| EngineError::Refused { path: path.to_owned(), reason };
        // A relative path starts where the process is, as for a transfer.
        let absolute = std::env::current_dir().map_err(failed)?.join(path);
        let mut steps = steps(absolute.as_os_str().as_bytes()).map_err(failed)?;
        if steps.iter().any(|step| matches!(step, Step::Up)) {
            return Err(refused("its path holds \"..\"; give the path without".to_owned()));
        }
        let Some(Step::Down(name)) = steps.pop_back() else { return Err(refused(too_near_the_top())) };

        let mut gone: Vec<(Name, DirHandle)> = Vec::new();
        let top = Root::open(Path::new("/")).map_err(failed)?.handle();
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
            match here.stat(&next).map_err(failed)? {
                None => return Ok(None),
                Some(stat) if stat.kind == Kind::Symlink => {
                    links += 1;
                    let link = joined(&gone, &next);
                    if links > MAX_LINKS {
                        return Err(refused(format!(
                            "there are too many symlinks on the way, {} is one",
                            link.display()
                        )));
                    }
                    if !is_trusted(here, stat.uid).map_err(failed)? {
                        return Err(refused(format!(
                            "the symlink {} on the way there could be bent by others (it belongs to user {}, or its \
                             directory can be written by others); give the path without it",
                            link.display(),
                            stat.uid
                        )));
                    }
                    let target = here.read_link(&next).map_err(failed)?;
                    for step in self::steps(&target).map_err(failed)?.into_iter().rev() {
                        steps.push_front(step);
                    }
                }
                Some(_) => {
                    let dir = match here.child_to_search(&next) {
                        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                        dir => dir.map_err(failed)?,
                    };
                    gone.push((next, dir));
                }
            }
        }
        if gone.len() + 1 < MIN_COMPONENTS {
            return Err(refused(too_near_the_top()));
        }
        let path = joined(&gone, &name);
        let parent = gone.pop().map_or(top, |(_, dir)| dir);
        Ok(Some(Self { parent, name, path }))
    }
}

fn too_near_the_top() -> String {
    format!("a workspace lies at least {MIN_COMPONENTS} directories deep")
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
        match Way::to(path) {
            Err(error @ EngineError::Refused { .. }) => error.to_string(),
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
            let way = Way::to(&path.join("data/./p//").join(end)).unwrap().unwrap();
            assert_eq!(way.path, path.join("data/p").join(end));
            assert_eq!(way.name.as_bytes(), end.as_bytes());
            assert_eq!(way.parent.stat(&Name::new(b"i").unwrap()).unwrap().unwrap().kind, Kind::Directory);
        }
        assert!(Way::to(&path.join("data/q/i")).unwrap().is_none());
    }

    #[test]
    fn what_is_near_the_top_and_what_climbs_is_refused() {
        for path in ["/", "//", "/.", "/data", "/data/", "/./data"] {
            assert!(
                refusal(Path::new(path)).contains("two") || refusal(Path::new(path)).contains('2'),
                "{path}"
            );
        }
        for path in ["/data/w/..", "/data/../etc", "/data/w/p/../../.."] {
            assert!(refusal(Path::new(path)).contains(".."), "{path}");
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
            let way = Way::to(&link.join("p/i")).unwrap().unwrap();
            assert_eq!(way.path, data.join("p/i"), "{}", target.display());
            fs::remove_file(link).unwrap();
        }
        symlink("/", path.join("links/top")).unwrap();
        assert!(refusal(&path.join("links/top/data")).contains('2'), "the real path counts");
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
        assert!(Way::to(&link.join("p/i")).unwrap().is_some());

        for (mode, owner, trusted) in
            [(0o777, 0, false), (0o775, 0, false), (0o1777, 0, true), (0o755, 12_345, false)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            lchown(&path, Some(owner), None).unwrap();
            let way = Way::to(&link.join("p/i"));
            assert_eq!(way.is_ok(), trusted, "{mode:o} of {owner}: {way:?}");
            // What is no symlink may lie in any directory.
            assert!(Way::to(&path.join("data/p/i")).unwrap().is_some());
        }
    }
}
