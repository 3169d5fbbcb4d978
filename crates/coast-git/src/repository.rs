//! A git repository and its worktrees, read from git's files as gitrepository-layout(5) and git-worktree(1) describe them. No git
//! program is needed.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use coast_tree::regular_file;

use crate::configuration::is_missing;

/// The number of bytes that are read of a small file of git.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// A repository, found from one of its checkouts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The checkout from which the repository was found.
    pub checkout: PathBuf,
    /// The main checkout; `None` for a bare repository.
    pub main: Option<PathBuf>,
    /// The directory that all checkouts share (`GIT_COMMON_DIR`), without symlinks.
    common: PathBuf,
}

/// A linked worktree: a checkout beside the main one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worktree {
    /// Git's name for the worktree: its directory below `worktrees/`.
    pub name: Vec<u8>,
    /// The directory of the worktree. It may not exist any more.
    pub path: PathBuf,
    /// The checked-out branch, without `refs/heads/`.
    pub branch: Option<Vec<u8>>,
}

impl Repository {
    /// The directory that all checkouts share, without symlinks.
    pub fn common_dir(&self) -> &Path {
        &self.common
    }

    /// The repository whose checkout begins at exactly this directory.
    ///
    /// # Errors
    /// When the files that say where the repository is cannot be read.
    pub fn at(directory: &Path) -> io::Result<Option<Self>> {
        let dot_git = directory.join(".git");
        let metadata = match fs::metadata(&dot_git) {
            Ok(metadata) => metadata,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let checkout = directory.to_owned();
        if metadata.is_dir() {
            return Ok(Some(Self {
                main: Some(checkout.clone()),
                checkout,
                common: fs::canonicalize(dot_git)?,
            }));
        }
        // In a linked worktree or a submodule, `.git` is a file that names the git directory.
        let content = read_small(&dot_git)?;
        let Some(git_dir) = content.strip_prefix(b"gitdir: ") else { return Ok(None) };
        let git_dir = directory.join(as_path(git_dir));
        let common = match read_small(&git_dir.join("commondir")) {
            Ok(common) => git_dir.join(as_path(&common)),
            // A submodule, or a repository whose git directory lies elsewhere. The git directory of a pruned worktree is gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let common = fs::canonicalize(&git_dir).unwrap_or(git_dir);
                return Ok(Some(Self { main: Some(checkout.clone()), checkout, common }));
            }
            Err(error) => return Err(error),
        };
        let common = fs::canonicalize(&common).unwrap_or(common);
        // The common directory of a bare repository has another name than `.git`, or its configuration says `bare`.
        let main =
            common.parent().filter(|_| common.file_name() == Some(OsStr::new(".git")) && !is_bare(&common));
        Ok(Some(Self { main: main.map(Path::to_owned), checkout, common }))
    }

    /// The nearest repository at or above a directory.
    ///
    /// # Errors
    /// As [`Repository::at`].
    pub fn above(directory: &Path) -> io::Result<Option<Self>> {
        for ancestor in directory.ancestors() {
            if let Some(found) = Self::at(ancestor)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// All linked worktrees, sorted by git's names.
    ///
    /// # Errors
    /// When the list of them cannot be read.
    pub fn worktrees(&self) -> io::Result<Vec<Worktree>> {
        let directory = self.common.join("worktrees");
        let Some(entries) = if_found(fs::read_dir(&directory))? else { return Ok(Vec::new()) };
        let mut worktrees = Vec::new();
        for entry in entries {
            let entry = entry?;
            let git_dir = entry.path();
            // Without the file `gitdir` the worktree is just being made or removed.
            let Ok(dot_git) = read_small(&git_dir.join("gitdir")) else { continue };
            let dot_git = git_dir.join(as_path(&dot_git));
            let Some(path) = dot_git.parent() else { continue };
            let head = read_small(&git_dir.join("HEAD")).unwrap_or_default();
            worktrees.push(Worktree {
                name: entry.file_name().as_bytes().to_owned(),
                path: fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
                branch: head.strip_prefix(b"ref: refs/heads/").map(<[u8]>::to_owned),
            });
        }
        worktrees.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(worktrees)
    }

    /// Whether a directory is the top of a checkout of this repository: the main one, or a worktree that the repository knows at
    /// this place. The copy of a worktree's directory is no worktree.
    ///
    /// # Errors
    /// As [`Repository::at`] and [`Repository::worktrees`].
    pub fn has_checkout_at(&self, directory: &Path) -> io::Result<bool> {
        if Self::at(directory)?.is_none_or(|found| found.common != self.common) {
            return Ok(false);
        }
        if !directory.join(".git").is_file() {
            return Ok(true);
        }
        let directory = fs::canonicalize(directory)?;
        // The main checkout of a submodule has a file, too; it is not listed, and its repository is its own.
        Ok(self.worktrees()?.iter().any(|worktree| worktree.path == directory) || !self.is_linked(&directory))
    }

    /// Whether the `.git` file of a directory names the administrative directory of a linked worktree.
    fn is_linked(&self, directory: &Path) -> bool {
        let dot_git = read_small(&directory.join(".git")).unwrap_or_default();
        let git_dir = dot_git.strip_prefix(b"gitdir: ").map(|path| directory.join(as_path(path)));
        let git_dir = git_dir.and_then(|path| fs::canonicalize(path).ok());
        git_dir.is_none_or(|path| path != self.common)
    }

    /// Whether a branch of this name exists, checked out or not. A repository in the reftable format seems to have none.
    ///
    /// # Errors
    /// When the list of packed references cannot be read.
    pub fn has_branch(&self, name: &[u8]) -> io::Result<bool> {
        let name = as_path(name);
        let is_plain = name.components().all(|component| matches!(component, Component::Normal(_)));
        if !is_plain || name.as_os_str().is_empty() {
            return Ok(false);
        }
        if self.common.join("refs/heads").join(name).is_file() {
            return Ok(true);
        }
        let packed = regular_file::open(&self.common.join("packed-refs"));
        let Some(packed) = if_found(packed)? else { return Ok(false) };
        // A line is a hash, a space and a reference.
        let reference = [b" refs/heads/", name.as_os_str().as_bytes()].concat();
        for line in BufReader::new(packed).split(b'\n') {
            if line?.ends_with(&reference) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The branch of the main checkout.
    pub fn main_branch(&self) -> Option<Vec<u8>> {
        let head = read_small(&self.common.join("HEAD")).ok()?;
        head.strip_prefix(b"ref: refs/heads/").map(<[u8]>::to_owned)
    }
}

/// The git directory of the nearest checkout at or above a directory, without symlinks: the directory `.git` of a main checkout, or
/// the directory that the file `.git` of another checkout names.
///
/// # Errors
/// When an entry `.git` cannot be read.
pub fn git_dir_above(directory: &Path) -> io::Result<Option<PathBuf>> {
    for ancestor in directory.ancestors() {
        if let Some(git_dir) = git_dir_at(ancestor)? {
            return Ok(Some(git_dir));
        }
    }
    Ok(None)
}

/// The git directory of the checkout that begins at exactly this directory, as [`git_dir_above`] tells it.
///
/// # Errors
/// When the entry `.git` cannot be read.
pub fn git_dir_at(checkout: &Path) -> io::Result<Option<PathBuf>> {
    let dot_git = checkout.join(".git");
    match fs::metadata(&dot_git) {
        Ok(metadata) if metadata.is_dir() => fs::canonicalize(dot_git).map(Some),
        Ok(_) => Ok(read_small(&dot_git)?.strip_prefix(b"gitdir: ").map(|git_dir| {
            let git_dir = checkout.join(as_path(git_dir));
            fs::canonicalize(&git_dir).unwrap_or(git_dir)
        })),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the repository's configuration says `core.bare = true`.
fn is_bare(common: &Path) -> bool {
    let config = read_small(&common.join("config")).unwrap_or_default();
    let mut in_core = false;
    String::from_utf8_lossy(&config).lines().any(|line| {
        let line = line.trim().to_ascii_lowercase();
        if line.starts_with('[') {
            in_core = line.starts_with("[core]");
        }
        in_core
            && line.split_once('=').is_some_and(|(key, value)| key.trim() == "bare" && value.trim() == "true")
    })
}

/// Reads a small file of git, without the end of the line.
fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    regular_file::open(path)?.take(MAX_FILE_BYTES).read_to_end(&mut content)?;
    while content.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        content.pop();
    }
    Ok(content)
}

pub(crate) fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// The value, or `None` if the system answered that there is no such file.
fn if_found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_directory_of_a_linked_worktree_is_found() {
        let scratch = tempfile::tempdir().unwrap();
        let worktree = &fs::canonicalize(scratch.path()).unwrap();
        let git_dir = || git_dir_at(worktree).unwrap();
        assert_eq!(git_dir(), None);
        fs::write(worktree.join(".git"), "gitdir: ../main/.git/worktrees/one\n").unwrap();
        assert_eq!(git_dir(), Some(worktree.join("../main/.git/worktrees/one")));
        fs::write(worktree.join(".git"), "something else").unwrap();
        assert_eq!(git_dir(), None);
        fs::remove_file(worktree.join(".git")).unwrap();
        fs::create_dir(worktree.join(".git")).unwrap();
        assert_eq!(git_dir(), Some(worktree.join(".git")));
    }
}
