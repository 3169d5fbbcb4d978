//! The paths that a transfer may have created on the remote: those of the worktree before the transfer, and those that the transfer
//! created. The continuous layer does not know a path that vanished from the worktree before its first scan, and would leave it on
//! the remote for good. The paths are kept in an unnamed file, so that memory does not grow with the tree.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;

use coast_filter::{DirFilter, EntryKind, Filter, NoMergeFiles, Side};
use coast_sync::RuleList;
use coast_tree::{DirHandle, Kind, Listed, LockExt, LockResultExt, Name, RelPath, Root, Visit};

/// Paths in a file. Each ends in a NUL, which no path has.
pub(crate) struct Listing {
    /// The file, or the first error of writing it. No other lock is taken while it is held.
    file: Mutex<Result<BufWriter<File>, io::Error>>,
    /// The filter for entries of the worktree's root.
    filter: DirFilter,
}

/// The paths that vanished from a worktree.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Vanished {
    /// These paths. A vanished directory is listed without the entries below it.
    Paths(Vec<Vec<u8>>),
    /// Every path, or the worktree itself. The disk may have been unmounted, so nothing may be deleted for this.
    Everything,
}

impl Listing {
    /// Lists the entries of a worktree that `rules` do not exclude.
    pub(crate) fn of(worktree: &Path, rules: &RuleList) -> io::Result<Self> {
        let filter = root_filter(rules)?;
        let listing =
            Self { file: Mutex::new(Ok(BufWriter::new(tempfile::tempfile()?))), filter: filter.clone() };
        let root = Root::open(worktree)?;
        let threads = std::thread::available_parallelism().map_or(2, |threads| threads.get().clamp(2, 8));
        coast_tree::walk(&root, threads, &Walk { listing: &listing }, filter);
        Ok(listing)
    }

    /// Adds a path. A write error is returned by [`Listing::vanished`].
    pub(crate) fn add(&self, path: &[u8]) {
        let mut file = self.file.enter();
        if let Ok(writer) = &mut *file
            && let Err(error) = writer.write_all(path).and_then(|()| writer.write_all(b"\0"))
        {
            *file = Err(error);
        }
    }

    /// Hands every listed path to `take`. A path may come twice.
    pub(crate) fn for_each(&self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut file = self.file.enter();
        let writer = file.as_mut().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
        writer.flush()?;
        let mut file = writer.get_ref();
        file.rewind()?;
        // Reading to the end puts the position where the next path is written.
        let mut reader = BufReader::new(file);
        let mut path = Vec::new();
        loop {
            path.clear();
            if reader.read_until(0, &mut path)? == 0 {
                return Ok(());
            }
            path.pop();
            take(&path);
        }
    }

    /// The listed paths that are no longer in the worktree.
    pub(crate) fn vanished(self, worktree: &Path) -> io::Result<Vanished> {
        let filter = self.filter;
        let writer = self.file.into_inner().even_poisoned()?;
        let mut file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        let mut reader = BufReader::new(file);
        let mut vanished: BTreeSet<Vec<u8>> = BTreeSet::new();
        let mut left_some = false;
        let mut path = Vec::new();
        loop {
            path.clear();
            if reader.read_until(0, &mut path)? == 0 {
                break;
            }
            path.pop();
            if has_ancestor_in(&vanished, &path) {
                continue;
            }
            match fs::symlink_metadata(worktree.join(OsStr::from_bytes(&path))) {
                Ok(_) => left_some = true,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
                {
                    vanished.insert(path.clone());
                }
                // An entry that exists and cannot be examined has not vanished.
                Err(_) => left_some = true,
            }
        }
        if vanished.is_empty() {
            return Ok(Vanished::Paths(Vec::new()));
        }
        if !left_some && !has_entries(worktree, &filter)? {
            return Ok(Vanished::Everything);
        }
        // A directory that the transfer created may be listed after its entries.
        let outermost = vanished.iter().filter(|path| !has_ancestor_in(&vanished, path)).cloned();
        Ok(Vanished::Paths(outermost.collect()))
    }
}

/// Whether `rules` exclude every entry of a worktree. A missing worktree is empty.
pub(crate) fn is_empty(worktree: &Path, rules: &RuleList) -> io::Result<bool> {
    Ok(!has_entries(worktree, &root_filter(rules)?)?)
}

fn has_entries(worktree: &Path, filter: &DirFilter) -> io::Result<bool> {
    let listed = match Root::open(worktree).and_then(|root| root.handle().list()) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(false);
        }
        listed => listed?,
    };
    let sent = |entry: &Listed| !filter.excludes(entry.name.as_bytes(), entry_kind(entry.kind));
    Ok(listed.iter().any(sent))
}

pub(crate) fn root_filter(rules: &RuleList) -> io::Result<DirFilter> {
    let invalid =
        |error: &dyn std::error::Error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string());
    let filter = Filter::compile(rules, Side::Sender).map_err(|error| invalid(&error))?;
    filter.root(&NoMergeFiles).map_err(|error| invalid(&error))
}

pub(crate) fn entry_kind(kind: Kind) -> EntryKind {
    if kind == Kind::Directory { EntryKind::Directory } else { EntryKind::Other }
}

fn has_ancestor_in(paths: &BTreeSet<Vec<u8>>, path: &[u8]) -> bool {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.map(|(index, _)| &path[..index]).any(|ancestor| paths.contains(ancestor))
}

/// Adds every entry of a walk to a listing.
struct Walk<'a> {
    listing: &'a Listing,
}

impl Visit for Walk<'_> {
    type Context = DirFilter;

    fn directory(
        &self,
        path: &RelPath,
        _dir: &DirHandle,
        filter: DirFilter,
        listed: Vec<Listed>,
    ) -> Vec<(Name, DirFilter)> {
        let mut enter = Vec::new();
        for entry in listed {
            let is_directory = entry.kind == Kind::Directory;
            if filter.excludes(entry.name.as_bytes(), entry_kind(entry.kind)) {
                continue;
            }
            // A path that is too long for a system call is not transferred either.
            let Ok(child) = path.join(&entry.name) else { continue };
            self.listing.add(child.as_bytes());
            if is_directory && let Ok(below) = filter.enter(entry.name.as_bytes(), &NoMergeFiles) {
                enter.push((entry.name, below));
            }
        }
        enter
    }

    /// Ignores a directory that cannot be read: the transfer does not send it either.
    fn failed(&self, _path: &RelPath, _filter: DirFilter, _error: io::Error) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worktree(paths: &[&str]) -> tempfile::TempDir {
        let scratch = tempfile::tempdir().unwrap();
        for path in paths {
            let path = scratch.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        scratch
    }

    fn vanished(listing: Listing, worktree: &Path) -> Vec<String> {
        match listing.vanished(worktree).unwrap() {
            Vanished::Paths(paths) => {
                paths.into_iter().map(|path| String::from_utf8(path).unwrap()).collect()
            }
            Vanished::Everything => panic!("everything"),
        }
    }

    #[test]
    fn what_vanished_is_told_by_its_outermost_path() {
        let scratch = worktree(&[
            "a",
            "keep",
            "dir/one",
            "dir/sub/two",
            "half/gone",
            "half/there",
            "node_modules/x",
            "a\nb",
        ]);
        let mut rules = RuleList::new();
        rules.exclude(b"node_modules").unwrap();
        let listing = Listing::of(scratch.path(), &rules).unwrap();
        // Made by the transfer, children first.
        listing.add(b"made/while/sending");
        listing.add(b"made");
        listing.add(b"keep");
        for path in ["a", "half/gone", "node_modules/x", "a\nb"] {
            fs::remove_file(scratch.path().join(path)).unwrap();
        }
        fs::remove_dir_all(scratch.path().join("dir")).unwrap();
        assert_eq!(vanished(listing, scratch.path()), ["a", "a\nb", "dir", "half/gone", "made"]);
    }

    #[test]
    fn nothing_vanishes_from_a_tree_that_stays() {
        let scratch = worktree(&["a", "dir/b"]);
        let listing = Listing::of(scratch.path(), &RuleList::new()).unwrap();
        fs::write(scratch.path().join("new"), "").unwrap();
        assert_eq!(vanished(listing, scratch.path()), Vec::<String>::new());
        let empty = worktree(&[]);
        assert_eq!(
            vanished(Listing::of(empty.path(), &RuleList::new()).unwrap(), empty.path()),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_new_name_for_all_there_was_is_an_edit() {
        let scratch = worktree(&["src/a", "node_modules/x"]);
        let mut rules = RuleList::new();
        rules.exclude(b"node_modules").unwrap();
        let listing = Listing::of(scratch.path(), &rules).unwrap();
        fs::rename(scratch.path().join("src"), scratch.path().join("lib")).unwrap();
        assert_eq!(vanished(listing, scratch.path()), ["src"]);
        assert!(!is_empty(scratch.path(), &rules).unwrap());
        fs::remove_dir_all(scratch.path().join("lib")).unwrap();
        assert!(is_empty(scratch.path(), &rules).unwrap(), "what is left out is nothing");
        assert!(is_empty(&scratch.path().join("missing"), &rules).unwrap());
    }

    #[test]
    fn an_emptied_worktree_is_no_edit() {
        let scratch = worktree(&["a", "dir/b"]);
        let listing = Listing::of(scratch.path(), &RuleList::new()).unwrap();
        fs::remove_file(scratch.path().join("a")).unwrap();
        fs::remove_dir_all(scratch.path().join("dir")).unwrap();
        assert_eq!(listing.vanished(scratch.path()).unwrap(), Vanished::Everything);
        assert!(Listing::of(&scratch.path().join("missing"), &RuleList::new()).is_err());
    }
}
