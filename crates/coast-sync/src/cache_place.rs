//! The place of what runs remember of their sources: the content cache, one file per source, and the contents of a repository's
//! blobs, one file per repository. Both are below the user's cache directory, so that nothing is written to the source itself.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coast_engine::{KnownContents, Source};
use coast_git::TrackedContents;
use data_encoding::HEXLOWER;

/// Where a run keeps what it remembers of its source: the content cache, and what it learns of the blobs of a git repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CachePlace {
    /// The content cache is `trees/HASH` below `$XDG_CACHE_HOME/coast`, by default `~/.cache/coast`, and the blobs of a repository are
    /// `blobs/HASH`. `HASH` is the hash of the absolute path of the source, or of the repository. Without a home directory nothing is
    /// remembered.
    #[default]
    Default,
    /// The content cache is this file. Its directory is created. Blobs are not remembered.
    File(PathBuf),
    /// Nothing is remembered: every run reads the files that it compares.
    Nowhere,
}

impl CachePlace {
    /// Returns the file of the content cache, after creating its directory. Returns `None` if it has no place; a run without a cache
    /// is slower, not wrong.
    pub(crate) fn file(&self, source: &Source) -> Option<PathBuf> {
        match self {
            Self::File(file) => Some(file.clone()),
            Self::Default | Self::Nowhere => Some(self.directory("trees")?.join(key(source)?)),
        }
    }

    /// Returns what git knows of the source, if the source is the content of a checkout.
    pub(crate) fn tracked_contents(&self, source: &Source) -> Option<Arc<dyn KnownContents>> {
        let Source::Contents(checkout) = source else { return None };
        let known = TrackedContents::at(checkout, &self.directory("blobs")?)?;
        Some(Arc::new(known))
    }

    /// Returns a directory for files of one kind, after creating it.
    fn directory(&self, kind: &str) -> Option<PathBuf> {
        let coast = match self {
            Self::Nowhere | Self::File(_) => return None,
            Self::Default => {
                cache_home(std::env::var_os("XDG_CACHE_HOME"), std::env::home_dir())?.join("coast")
            }
        };
        let directory = coast.join(kind);
        // The directory is private, because its files list the names of the source.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).ok()?;
        Some(directory)
    }
}

/// Returns the user's cache directory by the XDG rules, which ignore a relative path in the variable.
fn cache_home(variable: Option<OsString>, home: Option<PathBuf>) -> Option<PathBuf> {
    let variable = variable.map(PathBuf::from).filter(|path| path.is_absolute());
    variable.or_else(|| home.filter(|home| home.is_absolute()).map(|home| home.join(".cache")))
}

/// Returns the file's name: the hash of the source's absolute path, and of the entry's name if only one entry is sent.
fn key(source: &Source) -> Option<String> {
    let (directory, name): (&Path, &[u8]) = match source {
        Source::Contents(directory) => (directory, b""),
        Source::Entry { parent, name } => (parent, name.as_bytes()),
    };
    let absolute = fs::canonicalize(directory).ok()?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(absolute.as_os_str().as_bytes());
    hasher.update(b"\0");
    hasher.update(name);
    Some(HEXLOWER.encode(hasher.finalize().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_lives_where_xdg_says() {
        let home = || Some(PathBuf::from("/home/dev"));
        assert_eq!(cache_home(Some("/var/cache/dev".into()), home()), Some(PathBuf::from("/var/cache/dev")));
        assert_eq!(cache_home(Some("relative".into()), home()), Some(PathBuf::from("/home/dev/.cache")));
        assert_eq!(cache_home(None, home()), Some(PathBuf::from("/home/dev/.cache")));
        assert_eq!(cache_home(None, None), None);
    }

    #[test]
    fn each_source_has_a_cache_of_its_own() {
        let scratch = tempfile::tempdir().unwrap();
        let contents = Source::Contents(scratch.path().to_owned());
        let again = Source::Contents(scratch.path().join("."));
        let entry =
            Source::Entry { parent: scratch.path().to_owned(), name: coast_tree::Name::new(b"a").unwrap() };
        assert_eq!(key(&contents), key(&again));
        assert_ne!(key(&contents), key(&entry));
        assert_eq!(key(&contents).unwrap().len(), 64);
    }
}
