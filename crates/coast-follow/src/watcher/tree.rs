//! The watched directories of the worktree: those that the rules do not exclude.
//!
//! # No gap
//! A directory is watched before it is listed, and listed before it is reported. A change before the listing is found by the run that
//! sends the directory; a change after it causes an event. Watching and listing may see different directories if one was moved away
//! in between; the rename is an event of the directory above, which is watched already, and the new name is entered when the event
//! comes.
//!
//! # Watches and moved directories
//! The kernel has one watch for each directory, wherever the directory moves. So `watched` tells which path a watch stands for now. A
//! walk that sees the state after a rename gives the watch to the new path before the event of the rename is read. When the old
//! path is forgotten then, the watch no longer belongs to it and stays.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use coast_engine::{TreeMergeFiles, Whose};
use coast_filter::{DirFilter, EntryKind, Filter, RuleError, RuleList, Side};
use coast_tree::{DirHandle, Kind, Listed, LockExt, LockResultExt, Name, RelPath, Root, Visit, walk_from};

use super::event::WatchNumber;
use super::file_system::is_shared;
use super::links::Changed;
use super::queue::Queue;
use super::snapshot::{Difference, Snapshot};
use crate::batch::remove_below;
use crate::exclusions::excludes;
use crate::identity::{Identity, LostRoot};

/// Threads that walk the whole tree. A subtree is walked by one.
const THREADS: usize = 2;

/// See the [module](self).
pub(super) struct Tree {
    path: PathBuf,
    identity: Identity,
    filter: Filter,
    /// The names of rule files in the tree.
    rule_files: Vec<Vec<u8>>,
    directories: BTreeMap<RelPath, Directory>,
    watched: HashMap<WatchNumber, RelPath>,
    /// How many directories have a snapshot.
    scanned: usize,
    /// How many directories are watched at most.
    max_watches: usize,
    /// Whether there are more directories than watches.
    used_up: bool,
    /// How many entries the last survey has found.
    surveyed: u64,
}

#[derive(Debug)]
struct Directory {
    /// `None` if the directory could not be watched.
    watch: Option<WatchNumber>,
    filter: DirFilter,
    /// The state at the last scan, if events do not tell all that happens here.
    snapshot: Option<Snapshot>,
}

impl Tree {
    /// A tree in which nothing is watched yet.
    pub(super) fn new(
        path: PathBuf,
        identity: Identity,
        rules: &RuleList,
        max_watches: usize,
    ) -> Result<Self, RuleError> {
        Ok(Self {
            filter: Filter::compile_at(rules, Side::Sender, path.as_os_str().as_bytes())?,
            rule_files: rules.directory_files().map(<[u8]>::to_vec).collect(),
            path,
            identity,
            directories: BTreeMap::new(),
            watched: HashMap::new(),
            scanned: 0,
            max_watches,
            used_up: false,
            surveyed: 0,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path that a watch stands for.
    pub(super) fn watched(&self, watch: WatchNumber) -> Option<&RelPath> {
        self.watched.get(&watch)
    }

    /// How many directories are watched.
    pub(super) fn watches(&self) -> usize {
        self.watched.len()
    }

    /// How many directories are scanned.
    pub(super) fn scanned(&self) -> usize {
        self.scanned
    }

    /// How many entries the last survey has found that are not excluded.
    pub(super) fn surveyed(&self) -> u64 {
        self.surveyed
    }

    /// Whether there are more directories than watches.
    pub(super) fn watches_used_up(&self) -> bool {
        self.used_up
    }

    /// Whether a path is a directory that was entered.
    pub(super) fn has(&self, path: &RelPath) -> bool {
        self.directories.contains_key(path)
    }

    /// Whether a file holds rules for its directory.
    pub(super) fn is_rule_file(&self, name: &Name) -> bool {
        self.rule_files.iter().any(|file| file == name.as_bytes())
    }

    /// Whether an entry of a directory is left alone. Everything in a directory that was not entered is.
    pub(super) fn excludes(&self, dir: &RelPath, name: &Name, kind: EntryKind) -> bool {
        self.directories.get(dir).is_none_or(|found| excludes(&found.filter, name, kind))
    }

    /// Watches the whole tree, keeps the watches that are still right, and takes the others away.
    pub(super) fn enter_all(&mut self, queue: &Queue) -> Result<(), LostRoot> {
        let root = self.identity.open(&self.path)?;
        self.used_up = false;
        let files = self.rule_files_of(&root);
        let filter = self.filter.root(&files).or_else(|_| {
            // A rule file that cannot be read. The run that sends the tree reports it.
            self.filter.root(&coast_filter::NoMergeFiles)
        });
        let Ok(filter) = filter else { return Ok(()) };
        let top = root.handle();
        let watch = queue.watch_root(&top, &self.path);
        self.survey(queue, &root, &files, &RelPath::root(), THREADS, filter, watch);
        Ok(())
    }

    /// Watches a directory that is new at its path, and everything below it. Does nothing if it is gone again, or if the directory
    /// above was not entered.
    pub(super) fn enter(&mut self, queue: &Queue, path: &RelPath) -> Result<(), LostRoot> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return self.enter_all(queue);
        };
        let root = self.identity.open(&self.path)?;
        let Some(filter) = self.directories.get(&parent).map(|above| above.filter.clone()) else {
            return Ok(());
        };
        let Ok(dir) = root.dir(&parent) else { return Ok(()) };
        let watch = queue.watch_child(&dir, &name);
        if let Ok(watch) = watch
            && self.directories.get(path).is_some_and(|known| known.watch == Some(watch))
        {
            // An earlier walk has watched and then listed this directory at this path.
            return Ok(());
        }
        let files = self.rule_files_of(&root);
        self.survey(queue, &root, &files, path, 1, filter, watch);
        Ok(())
    }

    /// Enters a directory again whose rules changed, and everything below it.
    pub(super) fn enter_again(&mut self, queue: &Queue, path: &RelPath) -> Result<(), LostRoot> {
        if let Some(directory) = self.directories.get_mut(path) {
            directory.watch = None;
        }
        self.enter(queue, path)
    }

    /// Forgets a directory that left its path, and everything below it. Returns whether all of it was watched, so that events have told
    /// everything that happened there.
    pub(super) fn forget(&mut self, queue: &Queue, path: &RelPath) -> bool {
        let left = self.take_out(path);
        let was_watched = left.iter().all(|(_, directory)| directory.snapshot.is_none());
        self.end_watches(queue, left);
        was_watched
    }

    fn take_out(&mut self, path: &RelPath) -> Vec<(RelPath, Directory)> {
        let mut left = remove_below(&mut self.directories, path);
        left.extend(self.directories.remove_entry(path));
        self.scanned -= left.iter().filter(|(_, directory)| directory.snapshot.is_some()).count();
        left
    }

    /// Notes that the kernel ended a watch. Returns the path that it stood for.
    pub(super) fn watch_ended(&mut self, watch: WatchNumber) -> Option<RelPath> {
        self.watched.remove(&watch)
    }

    /// Walks the tree from a directory on whose watch was just tried. What was known of it is replaced.
    #[allow(clippy::too_many_arguments, reason = "the start of a walk: each is used once")]
    fn survey(
        &mut self,
        queue: &Queue,
        root: &Root,
        files: &TreeMergeFiles,
        start: &RelPath,
        threads: usize,
        filter: DirFilter,
        watch: io::Result<WatchNumber>,
    ) {
        let old = self.take_out(start);
        let others = self.directories.values().filter(|directory| directory.watch.is_some()).count();
        let left = self.max_watches.saturating_sub(others + 1);
        let survey = Survey {
            queue,
            files,
            found: Mutex::default(),
            left: AtomicUsize::new(left),
            used_up: AtomicBool::new(false),
            entries: AtomicU64::new(0),
        };
        if let Some(watch) = survey.judge(watch) {
            walk_from(root, start, threads, &survey, Above { filter, watch, file_system: None });
        }
        self.used_up |= survey.used_up.into_inner();
        self.surveyed = survey.entries.into_inner();
        for (path, directory) in survey.found.into_inner().even_poisoned() {
            if let Some(watch) = directory.watch {
                self.watched.insert(watch, path.clone());
            }
            self.scanned += usize::from(directory.snapshot.is_some());
            self.directories.insert(path, directory);
        }
        self.end_watches(queue, old);
    }

    /// Takes away the watches of directories that were forgotten, unless a watch stands for another path by now.
    fn end_watches(&mut self, queue: &Queue, left: Vec<(RelPath, Directory)>) {
        for (path, directory) in left {
            let Some(watch) = directory.watch else { continue };
            let stays = self.directories.get(&path).is_some_and(|now| now.watch == Some(watch));
            if !stays && self.watched.get(&watch) == Some(&path) {
                self.watched.remove(&watch);
                queue.unwatch(watch);
            }
        }
    }

    /// Looks at all scanned directories, and returns what changed since the last time. The directories are in the order in which their
    /// paths sort, so that one comes before what is below it.
    pub(super) fn scan(&mut self) -> Result<Vec<(RelPath, Difference)>, LostRoot> {
        let mut differences = Vec::new();
        if self.scanned == 0 {
            return Ok(differences);
        }
        let root = self.identity.open(&self.path)?;
        for (path, directory) in &mut self.directories {
            let Some(before) = &directory.snapshot else { continue };
            // A directory that is gone is a difference of the one above.
            let Ok(now) = snapshot(&root, path, &directory.filter) else { continue };
            differences.extend(now.since(before).into_iter().map(|difference| (path.clone(), difference)));
            directory.snapshot = Some(now);
        }
        Ok(differences)
    }

    /// The paths of files that changed, in directories that were entered. Lists every directory, and looks at a file only if it is not
    /// known which ones changed.
    pub(super) fn names_of(&self, changed: &Changed) -> Result<Vec<RelPath>, LostRoot> {
        let root = self.identity.open(&self.path)?;
        let mut names = Vec::new();
        for (path, directory) in &self.directories {
            let Ok(dir) = root.dir(path) else { continue };
            let Ok(listed) = dir.list() else { continue };
            let last_change = |name: &Name| Some(dir.stat(name).ok()??.ctime);
            let linked = listed.into_iter().filter(|entry| {
                entry.kind == Kind::File
                    && changed.has(entry.ino, || last_change(&entry.name))
                    && !excludes(&directory.filter, &entry.name, EntryKind::Other)
            });
            names.extend(linked.filter_map(|entry| path.join(&entry.name).ok()));
        }
        Ok(names)
    }

    /// Opens the directory of an entry.
    pub(super) fn open(&self, dir: &RelPath) -> io::Result<DirHandle> {
        let root = self.identity.open(&self.path).map_err(io::Error::other)?;
        root.dir(dir)
    }

    fn rule_files_of(&self, root: &Root) -> TreeMergeFiles {
        TreeMergeFiles::new(root.clone(), Whose::Sender(self.path.clone()))
    }
}

/// One walk that watches and lists.
struct Survey<'a> {
    queue: &'a Queue,
    files: &'a TreeMergeFiles,
    found: Mutex<Vec<(RelPath, Directory)>>,
    /// How many more directories may be watched.
    left: AtomicUsize,
    used_up: AtomicBool,
    /// How many entries were found that are not excluded.
    entries: AtomicU64,
}

/// Handed down by a directory to each subdirectory.
struct Above {
    filter: DirFilter,
    /// The watch of the subdirectory.
    watch: Option<WatchNumber>,
    file_system: Option<FileSystem>,
}

#[derive(Clone, Copy)]
struct FileSystem {
    device: u64,
    is_shared: bool,
}

impl Survey<'_> {
    fn watch_child(&self, dir: &DirHandle, name: &Name) -> io::Result<WatchNumber> {
        let less = |left: usize| left.checked_sub(1);
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => self.queue.watch_child(dir, name),
            Err(_) => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    /// What to do with a directory after an attempt to watch it: enter it with this watch, or `None`: it is gone.
    fn judge(&self, watch: io::Result<WatchNumber>) -> Option<Option<WatchNumber>> {
        match watch {
            Ok(watch) => Some(Some(watch)),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => None,
                io::ErrorKind::StorageFull | io::ErrorKind::OutOfMemory => {
                    self.used_up.store(true, Ordering::Relaxed);
                    Some(None)
                }
                _ => Some(None),
            },
        }
    }

    fn file_system(&self, dir: &DirHandle, above: Option<FileSystem>) -> io::Result<FileSystem> {
        let device = dir.stat_self()?.dev;
        match above {
            Some(above) if above.device == device => Ok(above),
            _ => Ok(FileSystem { device, is_shared: is_shared(dir)? }),
        }
    }
}

impl Visit for Survey<'_> {
    type Context = Above;

    fn directory(
        &self,
        path: &RelPath,
        dir: &DirHandle,
        above: Above,
        listed: Vec<Listed>,
    ) -> Vec<(Name, Above)> {
        let filter = match path.file_name() {
            None => above.filter,
            Some(name) => match above.filter.enter(name.as_bytes(), self.files) {
                Ok(filter) => filter,
                // The run that sends the directory reports a rule file that cannot be used.
                Err(_) => above.filter,
            },
        };
        let Ok(file_system) = self.file_system(dir, above.file_system) else { return Vec::new() };
        let mut subdirectories = Vec::new();
        let mut names = Vec::with_capacity(listed.len());
        for entry in listed {
            if excludes(&filter, &entry.name, filter_kind(entry.kind)) {
                continue;
            }
            if entry.kind == Kind::Directory
                && let Some(watch) = self.judge(self.watch_child(dir, &entry.name))
            {
                let above = Above { filter: filter.clone(), watch, file_system: Some(file_system) };
                subdirectories.push((entry.name.clone(), above));
            }
            names.push(entry.name);
        }
        self.entries.fetch_add(names.len() as u64, Ordering::Relaxed);
        let snapshot = (above.watch.is_none() || file_system.is_shared)
            .then(|| Snapshot::of(dir, names.into_iter()).unwrap_or_default());
        let directory = Directory { watch: above.watch, filter, snapshot };
        self.found.enter().push((path.clone(), directory));
        subdirectories
    }

    /// A directory that cannot be read is tried again when its attributes change. The run that sends it reports it.
    fn failed(&self, _: &RelPath, _: Above, _: io::Error) {}
}

fn filter_kind(kind: Kind) -> EntryKind {
    if kind == Kind::Directory { EntryKind::Directory } else { EntryKind::Other }
}

fn snapshot(root: &Root, path: &RelPath, filter: &DirFilter) -> io::Result<Snapshot> {
    let dir = root.dir(path)?;
    let listed = dir.list()?.into_iter();
    let taking_part = listed.filter(|entry| !excludes(filter, &entry.name, filter_kind(entry.kind)));
    Snapshot::of(&dir, taking_part.map(|entry| entry.name))
}
