//! The content cache of one side for one run: the hashes that earlier runs found, and the hashes that this run finds.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};

use coast_tree::{CacheReader, CacheWriter, ContentHash, DirRecords, LockResultExt, Record, RelPath};

/// The cache of one run. Files can always be hashed again, so a run goes on without a cache when the cache fails.
pub(crate) struct Cache {
    known: CacheReader,
    new: RwLock<Option<(CacheWriter, Target)>>,
}

/// Where the new cache goes when the run is done.
enum Target {
    /// A named file that replaces another.
    Path { temporary: PathBuf, path: PathBuf },
    /// A file of a private directory.
    Entry { dir: coast_tree::DirHandle, temporary: coast_tree::Name, name: coast_tree::Name },
}

/// Whether a run writes a new cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remember {
    /// The new cache replaces the old one.
    Everything,
    /// The old cache stays: the run sees only a part of the tree, or must not write.
    Nothing,
}

impl Cache {
    /// No cache at all.
    pub(crate) fn none() -> Self {
        Self { known: CacheReader::empty(), new: RwLock::new(None) }
    }

    /// The cache in the file `path`, which need not exist.
    pub(crate) fn open(path: Option<&Path>, remember: Remember) -> Self {
        /// Tells apart the runs of one process.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let Some(path) = path else { return Self::none() };
        let known = File::open(path).ok().and_then(|file| CacheReader::open(file).ok());
        let new = path.parent().filter(|_| remember == Remember::Everything).and_then(|parent| {
            fs::create_dir_all(parent).ok()?;
            let mut temporary = path.as_os_str().to_owned();
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            temporary.push(format!(".{}-{number}", std::process::id()));
            let temporary = PathBuf::from(temporary);
            let file =
                File::options().read(true).write(true).create(true).truncate(true).open(&temporary).ok()?;
            Some((CacheWriter::create(file).ok()?, Target::Path { temporary, path: path.to_owned() }))
        });
        Self { known: known.unwrap_or_else(CacheReader::empty), new: RwLock::new(new) }
    }

    /// The cache in the private directory `dir`.
    pub(crate) fn open_in(
        dir: &coast_tree::DirHandle,
        name: &coast_tree::Name,
        temporary: &coast_tree::Name,
        remember: Remember,
    ) -> Self {
        let known = dir.open_file(name).ok().and_then(|(file, _)| CacheReader::open(file).ok());
        // A killed run may have left one.
        let _ = dir.unlink(temporary);
        let new = match remember {
            Remember::Everything => dir.create_file(temporary, 0o600).ok(),
            Remember::Nothing => None,
        };
        let new = new.and_then(|file| CacheWriter::create(file).ok());
        let target = Target::Entry { dir: dir.clone(), temporary: temporary.clone(), name: name.clone() };
        Self {
            known: known.unwrap_or_else(CacheReader::empty),
            new: RwLock::new(new.map(|writer| (writer, target))),
        }
    }

    /// The records of earlier runs for a directory.
    pub(crate) fn directory(&self, path: &RelPath) -> Option<DirRecords> {
        self.known.directory(path).ok().filter(|records| !records.is_empty())
    }

    /// Whether earlier runs knew a file of this size.
    pub(crate) fn has_size(&self, size: u64) -> bool {
        self.known.has_size(size).unwrap_or(false)
    }

    /// Where earlier runs saw this content.
    pub(crate) fn find_content(&self, hash: &ContentHash) -> Vec<RelPath> {
        self.known.find_content(hash).unwrap_or_default()
    }

    /// Adds this run's records for a directory, or for a part of a directory.
    pub(crate) fn append(&self, path: &RelPath, records: Vec<Record>) {
        if let Some((writer, _)) = &*self.new.read().even_poisoned()
            && !records.is_empty()
        {
            // The writer keeps its first error and then refuses to finish.
            let _ = writer.append(path, &records);
        }
    }

    /// Puts the new cache in the place of the old one.
    pub(crate) fn save(&self) {
        let new = self.new.write().even_poisoned().take();
        let Some((writer, target)) = new else { return };
        let written = writer.finish().is_ok();
        if !written || !target.replace() {
            target.remove();
        }
    }
}

impl Drop for Cache {
    /// A run that failed leaves no new cache.
    fn drop(&mut self) {
        if let Some((_, target)) = self.new.get_mut().even_poisoned() {
            target.remove();
        }
    }
}

impl Target {
    /// Whether the new cache took its place.
    fn replace(&self) -> bool {
        match self {
            Self::Path { temporary, path } => fs::rename(temporary, path).is_ok(),
            Self::Entry { dir, temporary, name } => {
                dir.rename_to(temporary, dir, name, coast_tree::Replace::Any).is_ok()
            }
        }
    }

    /// Removes the new cache. The next run replaces or ignores a file that cannot be removed.
    fn remove(&self) {
        let _ = match self {
            Self::Path { temporary, .. } => fs::remove_file(temporary),
            Self::Entry { dir, temporary, .. } => dir.unlink(temporary),
        };
    }
}
