//! The source of a run. A path is interpreted as rsync does.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use coast_engine::{EngineError, Source};
use coast_tree::Name;

use crate::SyncError;

/// A source that was found to exist.
pub(crate) struct ResolvedSource {
    pub(crate) source: Source,
    /// Whether the source is a directory, or the content of one.
    pub(crate) is_directory: bool,
}

/// Interprets a source path. A path that ends in `/`, `/.` or `/..` means the content of the directory, every other path the entry
/// itself.
pub(crate) fn resolve(path: &Path) -> Result<ResolvedSource, SyncError> {
    let unusable = |error| SyncError::Engine(EngineError::Source { path: path.to_owned(), error });
    if means_content(path) {
        if !fs::metadata(path).map_err(unusable)?.is_dir() {
            return Err(unusable(std::io::Error::from(std::io::ErrorKind::NotADirectory)));
        }
        return Ok(ResolvedSource { source: Source::Contents(path.to_owned()), is_directory: true });
    }
    let is_directory = fs::symlink_metadata(path).map_err(unusable)?.is_dir();
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(unusable(std::io::Error::from(std::io::ErrorKind::InvalidInput)));
    };
    let parent = if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() };
    let name = Name::new(name.as_bytes())
        .map_err(|error| unusable(std::io::Error::new(std::io::ErrorKind::InvalidInput, error)))?;
    Ok(ResolvedSource { source: Source::Entry { parent, name }, is_directory })
}

/// Returns the directory that the paths of a run with this source are relative to: the source itself if it ends in `/`, `/.` or
/// `/..`, else its parent.
pub fn transfer_root(source: &Path) -> &Path {
    match source.parent() {
        Some(parent) if !means_content(source) => parent,
        _ => source,
    }
}

fn means_content(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    matches!(bytes, b"." | b"..") || [&b"/"[..], b"/.", b"/.."].iter().any(|end| bytes.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_slash_means_the_content() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("dir");
        fs::create_dir(&dir).unwrap();
        fs::write(scratch.path().join("file"), "x").unwrap();
        std::os::unix::fs::symlink("dir", scratch.path().join("link")).unwrap();

        for (name, content, is_directory) in [
            ("dir/", true, true),
            ("dir/.", true, true),
            ("dir/..", true, true),
            ("dir", false, true),
            ("link/", true, true),
            ("link", false, false),
            ("file", false, false),
        ] {
            // `Path::join` would drop nothing, but its `Display` hides the slash: build the bytes.
            let path = PathBuf::from(format!("{}/{name}", scratch.path().display()));
            let resolved = resolve(&path).unwrap();
            assert_eq!(matches!(resolved.source, Source::Contents(_)), content, "{name}");
            assert_eq!(resolved.is_directory, is_directory, "{name}");
        }
    }

    #[test]
    fn a_missing_source_is_refused_with_exit_code_3() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("file"), "x").unwrap();
        for name in ["missing", "missing/", "file/"] {
            let path = PathBuf::from(format!("{}/{name}", scratch.path().display()));
            let error = resolve(&path).map(|_| ()).unwrap_err();
            assert_eq!(error.exit_code(), 3, "{name}: {error}");
        }
    }
}
