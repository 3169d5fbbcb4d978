//! A program that writes to a destination while transfers go on, and a check of what transfers made of that.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fastrand::Rng;

/// How many files of its own the program has at most.
const MAX_OWN: usize = 12;

/// A program that makes, changes and deletes files of a destination. It knows which of them no transfer may touch.
///
/// Its contents begin with an upper-case letter and a number that it uses once, so that none of them is the content of a transfer.
#[derive(Debug)]
pub struct DestinationWriter {
    root: PathBuf,
    /// A directory on the file system of the destination, where files are prepared.
    scratch: PathBuf,
    own: BTreeMap<PathBuf, OwnFile>,
    /// Files of transfers that it has deleted.
    deleted: BTreeSet<PathBuf>,
    /// Its own files that it has deleted. Directories that were kept because of them stay until a transfer looks at them again, and so
    /// do conflicts with them.
    withdrawn: BTreeSet<PathBuf>,
    written: u64,
}

/// A file with a content of the program.
#[derive(Debug)]
struct OwnFile {
    content: Vec<u8>,
    /// Whether a transfer that brings another entry here meets it for certain, and so has to name it. A transfer about some paths does
    /// not look at the others.
    is_met: bool,
}

/// What is at a path.
#[derive(PartialEq, Eq)]
enum Entry {
    File { content: Vec<u8>, is_executable: bool },
    Directory,
    Symlink(PathBuf),
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { content, is_executable } => {
                let start = String::from_utf8_lossy(&content[..content.len().min(8)]);
                write!(f, "a file of {} bytes {start:?}", content.len())?;
                if *is_executable { f.write_str(", executable") } else { Ok(()) }
            }
            Self::Directory => f.write_str("a directory"),
            Self::Symlink(target) => write!(f, "a symlink to {target:?}"),
        }
    }
}

/// What a transfer left as it is, by paths relative to the destination.
#[derive(Debug, Default)]
pub struct Told {
    /// The paths of conflicts.
    pub conflicts: BTreeSet<PathBuf>,
    /// The paths that failed.
    pub problems: BTreeSet<PathBuf>,
}

impl DestinationWriter {
    /// A program that writes below `root`, and prepares files in `scratch`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, scratch: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            scratch: scratch.into(),
            own: BTreeMap::new(),
            deleted: BTreeSet::new(),
            withdrawn: BTreeSet::new(),
            written: 0,
        }
    }

    /// Makes, changes or deletes a file of its own. Transfers may go on meanwhile. Returns what it did.
    pub fn act(&mut self, rng: &mut Rng, name: &OsStr) -> String {
        let content = self.content(rng);
        if (rng.u8(..3) == 0 || self.own.len() >= MAX_OWN)
            && let Some(path) = rng.choice(self.own.keys()).cloned()
        {
            let full = self.root.join(&path);
            if rng.bool() {
                fs::remove_file(full).unwrap();
                self.own.remove(&path);
                let line = format!("destination: remove {path:?}");
                self.deleted.insert(path.clone());
                self.withdrawn.insert(path);
                return line;
            }
            fs::write(full, &content).unwrap();
            self.own.get_mut(&path).unwrap().content = content;
            return format!("destination: change {path:?}");
        }
        // In one step and only at a free path: what a transfer places at the same time stays.
        let dir = self.any_directory(rng);
        let path = dir.join(name);
        let prepared = self.scratch.join("prepared");
        fs::write(&prepared, &content).unwrap();
        let made = fs::hard_link(&prepared, self.root.join(&path));
        fs::remove_file(prepared).unwrap();
        if made.is_ok() {
            let is_met = !self.deleted.contains(&path);
            self.own.insert(path.clone(), OwnFile { content, is_met });
        }
        format!("destination: make {path:?}: {made:?}")
    }

    /// Changes or deletes a file of a transfer. No transfer may go on meanwhile: it looks at a file, and then replaces it. Returns what
    /// it did.
    pub fn act_on_placed(&mut self, rng: &mut Rng) -> String {
        let placed = list(&self.root).into_iter().filter_map(|(path, entry)| {
            let is_file = matches!(entry, Entry::File { .. });
            (is_file && !self.own.contains_key(&path)).then_some(path)
        });
        let Some(path) = rng.choice(placed.collect::<Vec<_>>()) else { return String::new() };
        let full = self.root.join(&path);
        if rng.bool() {
            fs::remove_file(full).unwrap();
            self.deleted.insert(path.clone());
            return format!("destination: remove placed {path:?}");
        }
        let content = self.content(rng);
        fs::write(full, &content).unwrap();
        self.own.insert(path.clone(), OwnFile { content, is_met: false });
        format!("destination: change placed {path:?}")
    }

    /// Gives one of its files to the `source`, if the source may have a file at that path: from then on it belongs to the transfers.
    /// Returns the path.
    pub fn give(&mut self, rng: &mut Rng, source: &Path) -> Option<PathBuf> {
        let is_sent = |path: &&PathBuf| path.components().all(|name| name.as_os_str() != ".git");
        let path = rng.choice(self.own.keys().filter(is_sent).collect::<Vec<_>>())?.clone();
        let to = source.join(&path);
        // Not by a symlink.
        let is_real = to.parent()?.canonicalize().ok()? == source.canonicalize().ok()?.join(path.parent()?);
        if !is_real || to.is_symlink() {
            return None;
        }
        fs::write(to, &self.own[&path].content).ok()?;
        self.own.remove(&path);
        Some(path)
    }

    /// A transfer of everything has looked at each path.
    pub fn all_was_looked_at(&mut self) {
        self.deleted.clear();
        self.withdrawn.clear();
        self.own.values_mut().for_each(|own| own.is_met = true);
    }

    fn content(&mut self, rng: &mut Rng) -> Vec<u8> {
        self.written += 1;
        let mut content = format!("Z{}:", self.written).into_bytes();
        content.resize(content.len() + rng.usize(..200), b'z');
        content
    }

    fn any_directory(&self, rng: &mut Rng) -> PathBuf {
        let mut directories = vec![PathBuf::new()];
        let mut next = 0;
        while let Some(dir) = directories.get(next).cloned() {
            next += 1;
            // It may be gone by now.
            let found = fs::read_dir(self.root.join(&dir)).into_iter().flatten().flatten();
            let subdirectories = found.filter(|found| found.file_type().is_ok_and(|kind| kind.is_dir()));
            directories.extend(subdirectories.map(|found| dir.join(found.file_name())));
        }
        rng.choice(directories).unwrap()
    }

    /// Compares both sides, `.git` excepted. Returns a line for each difference that nothing explains: neither a file of this program nor
    /// what the transfers have `told`.
    #[must_use]
    pub fn unexplained(&self, source: &Path, told: &Told) -> Vec<String> {
        let (here, there) = (list(source), list(&self.root));
        let mut lines = Vec::new();
        for (path, own) in &self.own {
            if fs::read(self.root.join(path)).ok().as_ref() != Some(&own.content) {
                lines
                    .push(format!("{path:?}: the destination's own file was changed: {:?}", there.get(path)));
            }
            let is_other = here.get(path).is_some_and(|entry| there.get(path) != Some(entry));
            if own.is_met && is_other && !told.names(path) {
                lines.push(format!("{path:?}: the conflict with the destination's own file is not told"));
            }
        }
        let paths: BTreeSet<&PathBuf> = here.keys().chain(there.keys()).collect();
        for path in paths {
            let (ours, theirs) = (here.get(path), there.get(path));
            let is_own = self.own.contains_key(path);
            let is_kept =
                |path: &Path| self.own.keys().chain(&self.withdrawn).any(|own| own.starts_with(path));
            let holds_own = theirs == Some(&Entry::Directory) && is_kept(path);
            let is_explained = match (ours, theirs) {
                (ours, theirs) if ours == theirs => true,
                // A directory in conflict stays with all that is in it.
                (None, _) => is_own || holds_own || told.names(path),
                (Some(_), None) => {
                    self.deleted.iter().any(|deleted| path.starts_with(deleted)) || told.names(path)
                }
                (Some(_), Some(_)) => is_own || (holds_own && told.names(path)),
            };
            if !is_explained {
                lines.push(format!("{path:?}: {ours:?} here, {theirs:?} there"));
            }
        }
        for path in &told.conflicts {
            if here.get(path) == there.get(path) && !self.withdrawn.contains(path) {
                lines.push(format!(
                    "{path:?}: told as a conflict, but both sides are equal: {:?}",
                    here.get(path)
                ));
            }
        }
        for path in &told.problems {
            if !self.own.keys().any(|own| own.starts_with(path)) {
                lines.push(format!("{path:?}: told as a problem without a reason"));
            }
        }
        lines
    }
}

impl Told {
    /// Whether a conflict or a problem is about a path or one above it.
    fn names(&self, path: &Path) -> bool {
        self.conflicts.iter().chain(&self.problems).any(|told| path.starts_with(told))
    }
}

/// All entries but `.git`.
fn list(root: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut listing = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        for found in fs::read_dir(&dir).unwrap() {
            let found = found.unwrap();
            if found.file_name() == ".git" {
                continue;
            }
            let path = found.path();
            let kind = found.file_type().unwrap();
            let entry = if kind.is_dir() {
                pending.push(path.clone());
                Entry::Directory
            } else if kind.is_symlink() {
                Entry::Symlink(fs::read_link(&path).unwrap())
            } else {
                let is_executable = found.metadata().unwrap().permissions().mode() & 0o111 != 0;
                Entry::File { content: fs::read(&path).unwrap(), is_executable }
            };
            listing.insert(path.strip_prefix(root).unwrap().to_owned(), entry);
        }
    }
    listing
}
