//! The contents of tracked files, by what git's index says of them and by the blobs that were read before.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::iter::successors;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use coast_engine::{ContentName, Known, KnownContents, Proof};
use coast_tree::{
    ContentHash, Listed, LockExt, Name, RelPath, Root, Stat, Timestamp, file_stat, regular_file,
};
use data_encoding::HEXLOWER;
use sha1::{Digest, Sha1};

use crate::attributes::AttributesFile;
use crate::blobs::{self, Blob, Blobs, MAX_RECORDS};
use crate::configuration::{Configuration, Homes, is_missing, system_files};
use crate::head_log::attributes_since;
use crate::index::TrackedFiles;
use crate::repository::{Repository, git_dir_at};

const ATTRIBUTES: &[u8] = b".gitattributes";
/// The number of bytes that are read of a file of attributes.
const MAX_ATTRIBUTES_BYTES: u64 = 64 << 10;

/// So many files and bytes are read by the run without asking git: to read the index takes longer.
const FEW_FILES: u64 = 256;
const FEW_BYTES: u64 = 8 << 20;

/// Knows the contents of files that git tracks in one checkout.
///
/// A file is believed to have the content of its blob if all of this holds:
///
/// - Its status is exactly what the index has of it, the index was written some time after the file, and nothing but the writing of
///   its content set its times. An edit that keeps size and time changes the ctime.
/// - A run has read a content and found that it has the blob's SHA-1 name and the size of the file. So conversions of line ends,
///   which change the size, are seen.
/// - No file of attributes may have git convert the content otherwise, and each of them is older than the file.
/// - The file was written after the last change of the commit that is checked out, or by the making of the checkout if there was no
///   change: a commit may have taken away attributes under which the file was written.
///
/// In a checkout that was just made, that is every file but the last ones that were written.
pub struct TrackedContents {
    root: Root,
    git_dir: PathBuf,
    common_dir: PathBuf,
    homes: Homes,
    /// The file of the blobs that were read.
    blobs: PathBuf,
    /// The directories of the worktree that hold a file of attributes. No other lock is taken while it is held.
    attributes: Mutex<HashMap<RelPath, Arc<OnceLock<AttributesFile>>>>,
    /// So many files are read by the run without asking git.
    few_files: u64,
    asked_files: AtomicU64,
    asked_bytes: AtomicU64,
    /// What git's files say. Read when it is worth it.
    git: OnceLock<Option<Git>>,
    /// What this run has read and used. No other lock is taken while it is held.
    news: Mutex<News>,
}

#[derive(Default)]
struct News {
    learned: BTreeMap<ContentName, Blob>,
    used: HashSet<ContentName>,
}

/// What git's files say of a checkout.
struct Git {
    files: TrackedFiles,
    blobs: Blobs,
    /// Files of attributes outside of the worktree.
    attributes: Vec<AttributesFile>,
    /// The directories whose files of attributes are tracked.
    tracked_attributes: HashSet<RelPath>,
    /// A file is believed if it was written later. `None`: no file is.
    since: Option<Timestamp>,
}

impl TrackedContents {
    /// The contents of the checkout whose top is `worktree`; `None` for another directory. What was read is remembered below the
    /// directory `store`, which is made, for all checkouts of the repository.
    pub fn at(worktree: &Path, store: &Path) -> Option<Self> {
        Self::with_homes(worktree, store, Homes::of_user(), FEW_FILES)
    }

    fn with_homes(worktree: &Path, store: &Path, homes: Homes, few_files: u64) -> Option<Self> {
        let repository = Repository::at(worktree).ok()??;
        let common_dir = repository.common_dir().to_owned();
        // The directory is private, because the names tell which contents the user has.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(store).ok()?;
        let name = HEXLOWER.encode(blake3::hash(common_dir.as_os_str().as_encoded_bytes()).as_bytes());
        Some(Self {
            root: Root::open(worktree).ok()?,
            git_dir: git_dir_at(worktree).ok()??,
            common_dir,
            homes,
            blobs: store.join(name),
            attributes: Mutex::default(),
            asked_files: AtomicU64::new(0),
            few_files,
            asked_bytes: AtomicU64::new(0),
            git: OnceLock::new(),
            news: Mutex::default(),
        })
    }

    /// What git's files say, once more than a few files were asked for.
    fn git(&self, size: u64) -> Option<&Git> {
        if self.git.get().is_none() {
            let files = self.asked_files.fetch_add(1, Ordering::Relaxed);
            let bytes = self.asked_bytes.fetch_add(size, Ordering::Relaxed).saturating_add(size);
            if files < self.few_files && bytes < FEW_BYTES {
                return None;
            }
        }
        self.git.get_or_init(|| self.read_git()).as_ref()
    }

    fn read_git(&self) -> Option<Git> {
        let configuration = Configuration::read(&self.common_dir, &self.git_dir, &self.homes)?;
        let Configuration { has_other_format, has_filters, .. } = configuration;
        if has_other_format || has_filters || self.has_replaced_objects() {
            return None;
        }
        let before = attributes_since(&self.git_dir);
        let files = TrackedFiles::read(&self.git_dir)?;
        // A checkout that is under way has written files and perhaps the index, and not yet the log.
        let is_locked = ["index.lock", "HEAD.lock"].iter().any(|lock| self.git_dir.join(lock).exists());
        let since = attributes_since(&self.git_dir).filter(|since| !is_locked && before == Some(*since));
        let outside = system_files("gitattributes")
            .into_iter()
            .chain(self.homes.configured("git/attributes"))
            .chain(configuration.attributes_files)
            .chain([self.common_dir.join("info/attributes")]);
        Some(Git {
            attributes: outside.filter_map(|path| outside_attributes(&path)).collect(),
            tracked_attributes: files.directories_with(ATTRIBUTES),
            files,
            blobs: Blobs::read(&self.blobs),
            since,
        })
    }

    /// Whether git puts other contents in the place of some blobs, git-replace(1).
    fn has_replaced_objects(&self) -> bool {
        let loose = fs::read_dir(self.common_dir.join("refs/replace"));
        let packed = regular_file::open(&self.common_dir.join("packed-refs"))
            .and_then(|file| regular_file::read_opened(file, 64 << 20));
        let is_packed = match packed {
            Ok(packed) => bstr::ByteSlice::contains_str(&*packed, " refs/replace/"),
            Err(error) => !is_missing(&error),
        };
        is_packed || loose.is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Whether the content of a file is that of its blob.
    fn is_as_in_repository(&self, git: &Git, directory: &RelPath, path: &RelPath, stat: &Stat) -> bool {
        let written = stat.ctime;
        let holds = |attributes: &AttributesFile| {
            attributes.changed < written && !attributes.may_convert(path.as_bytes())
        };
        git.since.is_some_and(|since| since < written)
            && git.attributes.iter().all(holds)
            && successors(Some(directory.clone()), RelPath::parent).all(|above| {
                match self.attributes_in(&above) {
                    Some(file) => holds(file.get_or_init(|| self.read_attributes(&above))),
                    // A tracked file of attributes that is gone may have been there.
                    None => !git.tracked_attributes.contains(&above),
                }
            })
    }

    /// The file of attributes of a directory, which is read once it is needed.
    fn attributes_in(&self, directory: &RelPath) -> Option<Arc<OnceLock<AttributesFile>>> {
        self.attributes.enter().get(directory).cloned()
    }

    fn read_attributes(&self, directory: &RelPath) -> AttributesFile {
        let read = || -> io::Result<AttributesFile> {
            let name = Name::new(ATTRIBUTES).map_err(io::Error::other)?;
            let (file, stat) = self.root.dir(directory)?.open_file(&name)?;
            let content = read_all(file)?;
            let base = if directory.is_root() { 0 } else { directory.as_bytes().len() + 1 };
            Ok(AttributesFile::new(&content, base, stat.ctime.max(stat.mtime)))
        };
        read().unwrap_or_else(|_| AttributesFile::unreadable())
    }
}

/// A file of attributes outside of the worktree, if there is one.
fn outside_attributes(path: &Path) -> Option<AttributesFile> {
    let read = || -> io::Result<AttributesFile> {
        let file = regular_file::open(path)?;
        let stat = file_stat(&file)?;
        Ok(AttributesFile::new(&read_all(file)?, 0, stat.ctime.max(stat.mtime)))
    };
    match read() {
        Ok(file) => Some(file),
        Err(error) if is_missing(&error) => None,
        Err(_) => Some(AttributesFile::unreadable()),
    }
}

fn read_all(file: impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(MAX_ATTRIBUTES_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_ATTRIBUTES_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(content)
}

impl KnownContents for TrackedContents {
    fn enter(&self, directory: &RelPath, listed: &[Listed]) {
        // Where the file system does not tell cases apart, git reads a file of another spelling. Elsewhere that file is not found, and
        // counts as one that cannot be read.
        if listed.iter().any(|entry| entry.name.as_bytes().eq_ignore_ascii_case(ATTRIBUTES)) {
            self.attributes.enter().insert(directory.clone(), Arc::default());
        }
    }

    fn look_up(&self, directory: &RelPath, name: &Name, stat: &Stat) -> Known {
        let known = || {
            let git = self.git(stat.size)?;
            let path = directory.join(name).ok()?;
            let blob = git.files.blob(path.as_bytes(), stat)?;
            match git.blobs.get(&blob) {
                None => Some(Known::Named(blob)),
                Some(Blob { size, hash }) => {
                    let is_known = size == stat.size && self.is_as_in_repository(git, directory, &path, stat);
                    self.news.enter().used.insert(blob);
                    is_known.then_some(Known::Content(hash))
                }
            }
        };
        known().unwrap_or(Known::Nothing)
    }

    fn proof<'a>(&'a self, name: ContentName, size: u64) -> Box<dyn Proof + 'a> {
        Box::new(BlobProof {
            contents: self,
            name,
            size,
            hasher: Sha1::new_with_prefix(format!("blob {size}\0")),
        })
    }

    fn save(&self) {
        let news = std::mem::take(&mut *self.news.enter());
        if !news.learned.is_empty() {
            // The next run reads the files again.
            let _ = blobs::add(&self.blobs, &news.learned, |name| news.used.contains(name));
        }
    }
}

impl fmt::Debug for TrackedContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackedContents").field("git_dir", &self.git_dir).finish_non_exhaustive()
    }
}

/// Computes the name that git gives to a content.
struct BlobProof<'a> {
    contents: &'a TrackedContents,
    name: ContentName,
    size: u64,
    hasher: Sha1,
}

impl Proof for BlobProof<'_> {
    fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    fn finish(self: Box<Self>, hash: ContentHash) {
        let Self { contents, name, size, hasher } = *self;
        if hasher.finalize().as_slice() != name.0 {
            return;
        }
        let mut news = contents.news.enter();
        if news.learned.len() < MAX_RECORDS {
            news.learned.insert(name, Blob { size, hash });
        }
    }
}

#[cfg(test)]
mod tests;
