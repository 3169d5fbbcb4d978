//! The files of a worktree that others may not read. Mutagen keeps no modes: every file that it writes gets the session's one file
//! mode, and the execute bits. An edit would open a private file to others on the remote, so the session leaves such files out.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use coast_filter::{DirFilter, NoMergeFiles};
use coast_sync::RuleList;
use coast_tree::{DirHandle, Kind, Listed, LockExt, LockResultExt, Name, RelPath, Root, Visit};

use crate::listing::{entry_kind, root_filter};

/// The mode of files that a session writes, if most files of the worktree may be read by others. Services run as other users than
/// the SSH user.
const READABLE: u32 = 0o644;
/// The bits that let the group and others read.
const READ_BITS: u32 = 0o044;

/// The file mode for a session, and the files that it would open.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Private {
    /// The mode of every file that the session writes, without execute bits.
    pub(crate) file_mode: u32,
    /// The files that this mode would let others or the group read, and that may not be read by them now, in order. A name that is
    /// not UTF-8 is not listed: mutagen never carries it.
    pub(crate) paths: Vec<String>,
}

impl Private {
    /// Examines the entries of a worktree that `rules` do not exclude. In a worktree where most files are private, as one that was
    /// made with the umask 077, the session's mode is the most frequent mode.
    pub(crate) fn of(worktree: &Path, rules: &RuleList) -> io::Result<Self> {
        let walk = Walk::default();
        let threads = std::thread::available_parallelism().map_or(2, |threads| threads.get().clamp(2, 8));
        coast_tree::walk(&Root::open(worktree)?, threads, &walk, root_filter(rules)?);
        let Found { counts, closed } = walk.found.into_inner().even_poisoned();
        let most_frequent =
            counts.iter().max_by_key(|(_, count)| **count).map_or(READABLE, |(mode, _)| *mode);
        let file_mode = if most_frequent & 0o004 != 0 { READABLE } else { most_frequent | 0o600 };
        let opened = |mode: u32| file_mode & READ_BITS & !mode != 0;
        let mut paths: Vec<String> =
            closed.into_iter().filter(|(_, mode)| opened(*mode)).map(|(path, _)| path).collect();
        paths.sort_unstable();
        Ok(Self { file_mode, paths })
    }
}

/// Examines the files of each directory.
#[derive(Default)]
struct Walk {
    /// The files of all directories, which several threads examine. No other lock is taken while it is held.
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    /// The number of files of each mode, without execute bits.
    counts: BTreeMap<u32, u64>,
    /// The files that others or the group may not read, with their modes.
    closed: Vec<(String, u32)>,
}

impl Visit for Walk {
    type Context = DirFilter;

    fn directory(
        &self,
        path: &RelPath,
        dir: &DirHandle,
        filter: DirFilter,
        listed: Vec<Listed>,
    ) -> Vec<(Name, DirFilter)> {
        let mut enter = Vec::new();
        for entry in listed {
            if filter.excludes(entry.name.as_bytes(), entry_kind(entry.kind)) {
                continue;
            }
            match entry.kind {
                Kind::Directory => {
                    if let Ok(below) = filter.enter(entry.name.as_bytes(), &NoMergeFiles) {
                        enter.push((entry.name, below));
                    }
                }
                Kind::File => {
                    // A file that vanished or cannot be examined is not carried either.
                    let Ok(Some(stat)) = dir.stat(&entry.name) else { continue };
                    let mut found = self.found.enter();
                    *found.counts.entry(stat.mode & 0o666).or_default() += 1;
                    if stat.mode & READ_BITS != READ_BITS
                        && let Ok(path) = path.join(&entry.name)
                        && let Ok(path) = std::str::from_utf8(path.as_bytes())
                    {
                        found.closed.push((path.to_owned(), stat.mode));
                    }
                }
                _ => {}
            }
        }
        enter
    }

    /// Ignores a directory that cannot be read: nothing carries it.
    fn failed(&self, _path: &RelPath, _filter: DirFilter, _error: io::Error) {}
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn private(files: &[(&str, u32)]) -> Private {
        let scratch = tempfile::tempdir().unwrap();
        for (path, mode) in files {
            let path = scratch.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(*mode)).unwrap();
        }
        let mut rules = RuleList::new();
        rules.exclude(b"node_modules").unwrap();
        Private::of(scratch.path(), &rules).unwrap()
    }

    #[test]
    fn the_session_leaves_out_what_its_mode_would_open() {
        let files = [
            ("a", 0o644),
            ("run", 0o755),
            ("shared", 0o664),
            ("sub/.env", 0o600),
            ("key", 0o400),
            ("group", 0o640),
            ("tool", 0o700),
            ("node_modules/x", 0o600),
        ];
        let expected = ["group", "key", "sub/.env", "tool"].map(str::to_owned).to_vec();
        assert_eq!(private(&files), Private { file_mode: 0o644, paths: expected });
    }

    #[test]
    fn in_a_private_worktree_the_session_writes_private_files() {
        let files = [("a", 0o600), ("b", 0o600), ("c", 0o700), ("open", 0o644)];
        assert_eq!(private(&files), Private { file_mode: 0o600, paths: Vec::new() });
        let files = [("a", 0o640), ("b", 0o640), ("run", 0o750), ("key", 0o600)];
        assert_eq!(private(&files), Private { file_mode: 0o640, paths: vec!["key".to_owned()] });
        assert_eq!(private(&[]), Private { file_mode: 0o644, paths: Vec::new() });
    }
}
