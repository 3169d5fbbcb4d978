//! The place of the content cache of a source: one file per source below the user's cache directory, so that nothing is written to
//! the source itself.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use coast_engine::Source;
use data_encoding::HEXLOWER;

/// Where a run keeps the content cache of its source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CachePlace {
    /// `$XDG_CACHE_HOME/coast/trees/HASH`, by default below `~/.cache`. Without a home directory there is no cache. `HASH` is the
    /// hash of the source's absolute path.
    #[default]
    Default,
    /// This file. Its directory is created.
    File(PathBuf),
    /// No cache: every run reads the files that it compares.
    Nowhere,
}

impl CachePlace {
    /// Returns the cache file, after creating its directory. Returns `None` if it has no place; a run without a cache is slower,
    /// not wrong.
    pub(crate) fn file(&self, source: &Source) -> Option<PathBuf> {
        match self {
            Self::Nowhere => None,
            Self::File(file) => Some(file.clone()),
            Self::Default => {
                let cache_home = cache_home(std::env::var_os("XDG_CACHE_HOME"), std::env::home_dir())?;
                let trees = cache_home.join("coast").join("trees");
                // The directory is private, because the cache lists every name of the source.
                fs::DirBuilder::new().recursive(true).mode(0o700).create(&trees).ok()?;
                Some(trees.join(key(source)?))
            }
        }
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
