//! A git repository and its worktrees, read from its files: no git program is needed. The forms are those of gitrepository-layout(5)
//! and git-worktree(1).

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How much of git's small files is read.
const MAX_FILE_BYTES: usize = 64 << 10;

/// A repository, seen from one of its checkouts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repository {
    /// The checkout that it was found from.
    pub(crate) checkout: PathBuf,
    /// The main checkout; a bare repository has none.
    pub(crate) main: Option<PathBuf>,
    /// What all checkouts share.
    common: PathBuf,
}

/// A checkout beside the main one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Worktree {
    /// What git calls it.
    pub(crate) name: Vec<u8>,
    /// Its directory, which may be gone.
    pub(crate) path: PathBuf,
    /// The branch that is checked out, without `refs/heads/`.
    pub(crate) branch: Option<Vec<u8>>,
}

impl Repository {
    /// The repository whose checkout begins at exactly this directory.
    pub(crate) fn at(directory: &Path) -> io::Result<Option<Self>> {
        let dot_git = directory.join(".git");
        let metadata = match fs::metadata(&dot_git) {
            Ok(metadata) => metadata,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let checkout = directory.to_owned();
        if metadata.is_dir() {
            return Ok(Some(Self { main: Some(checkout.clone()), checkout, common: dot_git }));
        }
        // A linked worktree or a submodule: a file that says where the rest is.
        let content = read_small(&dot_git)?;
        let Some(git_dir) = content.strip_prefix(b"gitdir: ") else { return Ok(None) };
        let git_dir = directory.join(as_path(git_dir));
        let common = match read_small(&git_dir.join("commondir")) {
            Ok(common) => git_dir.join(as_path(&common)),
            // A submodule: a repository of its own, kept elsewhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Some(Self { main: Some(checkout.clone()), checkout, common: git_dir }));
            }
            Err(error) => return Err(error),
        };
        let common = fs::canonicalize(&common).unwrap_or(common);
        // A bare repository is not called `.git`, or its parent is no checkout.
        let main =
            common.parent().filter(|_| common.file_name() == Some(OsStr::new(".git")) && !is_bare(&common));
        Ok(Some(Self { main: main.map(Path::to_owned), checkout, common }))
    }

    /// The nearest repository at or above a directory.
    pub(crate) fn above(directory: &Path) -> io::Result<Option<Self>> {
        for ancestor in directory.ancestors() {
            if let Some(found) = Self::at(ancestor)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// All linked worktrees, by name.
    pub(crate) fn worktrees(&self) -> io::Result<Vec<Worktree>> {
        let directory = self.common.join("worktrees");
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut worktrees = Vec::new();
        for entry in entries {
            let entry = entry?;
            let git_dir = entry.path();
            // What git is just making or removing is none.
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

    /// The branch of the main checkout.
    pub(crate) fn main_branch(&self) -> Option<Vec<u8>> {
        let head = read_small(&self.common.join("HEAD")).ok()?;
        head.strip_prefix(b"ref: refs/heads/").map(<[u8]>::to_owned)
    }
}

/// Whether the repository's own configuration says that it has no checkout.
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

/// One of git's small files, without the line's end.
fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = fs::read(path)?;
    content.truncate(MAX_FILE_BYTES);
    while content.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        content.pop();
    }
    Ok(content)
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
