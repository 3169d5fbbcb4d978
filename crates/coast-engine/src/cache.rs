//! The content cache of one side for one run: the hashes that earlier runs found, and the hashes that this run finds.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use coast_tree::{CacheReader, CacheWriter, ContentHash, DirRecords, LockResultExt, Record, RelPath};

/// The cache of one run. Files can always be hashed again, so a run goes on without a cache when the cache fails.
pub(crate) struct Cache {
    known: Arc<CacheReader>,
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
        Self { known: Arc::new(CacheReader::empty()), new: RwLock::new(None) }
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
            remove_abandoned(parent, path);
            let file =
                File::options().read(true).write(true).create(true).truncate(true).open(&temporary).ok()?;
            // While this run lives, no other run takes the file for one that a killed run has left.
            let _ = file.try_lock();
            Some((CacheWriter::create(file).ok()?, Target::Path { temporary, path: path.to_owned() }))
        });
        Self { known: Arc::new(known.unwrap_or_else(CacheReader::empty)), new: RwLock::new(new) }
    }

    /// The cache `known`, which is the file `name` of the private directory `dir`.
    pub(crate) fn open_in(
        dir: &coast_tree::DirHandle,
        known: Arc<CacheReader>,
        name: &coast_tree::Name,
        temporary: &coast_tree::Name,
        remember: Remember,
    ) -> Self {
        let new = match remember {
            Remember::Everything => {
                // A killed run may have left one.
                let _ = dir.unlink(temporary);
                dir.create_file(temporary, 0o600).ok()
            }
            Remember::Nothing => None,
        };
        let new = new.and_then(|file| CacheWriter::create(file).ok());
        let target = Target::Entry { dir: dir.clone(), temporary: temporary.clone(), name: name.clone() };
        Self { known, new: RwLock::new(new.map(|writer| (writer, target))) }
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

    /// Calls `write` with the new cache, if there is one.
    pub(crate) fn with_writer<T>(&self, write: impl FnOnce(Option<&CacheWriter>) -> T) -> T {
        write(self.new.read().even_poisoned().as_ref().map(|(writer, _)| writer))
    }

    /// Puts the new cache in the place of the old one. Answers whether the new one is there.
    pub(crate) fn save(&self) -> bool {
        let new = self.new.write().even_poisoned().take();
        let Some((writer, target)) = new else { return false };
        let saved = writer.finish().is_ok() && target.replace();
        if !saved {
            target.remove();
        }
        saved
    }
}

/// Removes the new caches that killed runs have left in `directory`: those of `path`, and of every other source whose cache is named
/// by a hash. A run that lives holds a lock on its file.
fn remove_abandoned(directory: &Path, path: &Path) {
    let own = path.file_name().and_then(OsStr::to_str);
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_hash = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some((cache, run)) = name.to_str().and_then(|name| name.rsplit_once('.')) else { continue };
        let is_new_cache = run.split_once('-').is_some_and(|(process, run)| number(process) && number(run));
        if !is_new_cache || !(own == Some(cache) || is_hash(cache)) {
            continue;
        }
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            // Another run may have removed it already. A file that stays does no harm.
            let _ = fs::remove_file(entry.path());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_caches_of_killed_runs_go_and_those_of_living_runs_stay() {
        let scratch = tempfile::tempdir().unwrap();
        let hash = "ab".repeat(32);
        let path = scratch.path().join("cache");
        let file = |name: &str| File::create(scratch.path().join(name)).unwrap();
        let kept = ["cache", "notes.1-2", &hash, &*format!("{hash}.1-x"), &*format!("{hash}.tmp")];
        let gone = ["cache.1-0", &*format!("{hash}.4000000-12")];
        for name in kept.iter().chain(&gone) {
            file(name);
        }
        let living = file("cache.7-1");
        living.lock().unwrap();
        let cache = Cache::open(Some(&path), Remember::Everything);
        let mut left: Vec<String> = fs::read_dir(scratch.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with(&format!("cache.{}-", std::process::id())))
            .collect();
        left.sort();
        let mut wanted: Vec<&str> = kept.iter().copied().chain(["cache.7-1"]).collect();
        wanted.sort_unstable();
        assert_eq!(left, wanted);
        // Another run of this process leaves the file of the first.
        drop(Cache::open(Some(&path), Remember::Everything));
        cache.save();
        assert!(CacheReader::open(File::open(&path).unwrap()).is_ok());
    }
}
