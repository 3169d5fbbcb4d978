//! The staging areas of a run: wherever a rename can reach the place of an entry.
//!
//! The usual area lies in the private state directory, where no watcher of the workspace sees it. A rename does not cross mounts,
//! also not two mounts of one file system, so a mount in the workspace has an area of its own: the directory
//! [`STAGING_INSIDE`] at the top of the mount, or in the directory of the entry where that cannot be made. Some borders show only
//! when a rename fails (subvolumes, quota projects); behind them an area is made in the directory of the entry.
//!
//! No run sends, deletes or takes for content what has the name [`STAGING_INSIDE`]. Each run that uses such a directory holds a
//! shared lock on it and works in a numbered directory in it. A run that meets one without a lock removes it.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use coast_tree::state::{
    CLOCK, STAGING_INSIDE, keeps_privacy, make_staging, name, open_private, try_lock_directory,
};
use coast_tree::{DirHandle, Kind, Listed, LockExt, MountId, Name, RelPath, Root, remove_entry};
use rustix::fs::FlockOperation;

use super::staging::{Staged, StagingArea};

/// The names of the areas in [`STAGING_INSIDE`] begin with this. A number follows.
const RUN_PREFIX: &str = "run-";

/// How often a directory that other runs remove or lock is tried again.
const MAX_TRIES: u32 = 1000;

/// The staging areas of a run.
pub(super) struct StagingAreas {
    usual: Arc<StagingArea>,
    /// The mount that the usual area can reach.
    mount: MountId,
    /// Whether `others` has something, so that runs in one mount take no lock.
    has_others: AtomicBool,
    /// Areas by the directory that they lie in. Held while an area is made; no other lock is taken meanwhile.
    others: Mutex<BTreeMap<RelPath, Inside>>,
    process_umask: u32,
}

/// An area inside the workspace.
#[derive(Clone)]
struct Inside {
    area: Arc<StagingArea>,
    mount: MountId,
    /// The directory that holds `shared`.
    directory: DirHandle,
    /// The directory [`STAGING_INSIDE`], locked for sharing as long as it is open.
    shared: DirHandle,
    /// The name of the area in `shared`.
    own: Name,
}

impl StagingAreas {
    /// Begins with the area `staging` of the private state directory. Where that cannot reach the transfer root, the usual area
    /// is one in the root.
    pub(super) fn open(staging: DirHandle, root: &Root, process_umask: u32) -> io::Result<Self> {
        let (top, path) = (root.handle(), RelPath::root());
        let mount = top.mount()?;
        let mut others = BTreeMap::new();
        let reaches = staging.mount()? == mount && staging.stat_self()?.dev == top.stat_self()?.dev;
        let usual = if reaches {
            StagingArea::new(staging, None, process_umask)
        } else {
            let inside = Inside::make(&path, &top, mount, process_umask)?;
            let area = inside.area.clone();
            others.insert(path, inside);
            area
        };
        let has_others = AtomicBool::new(!others.is_empty());
        Ok(Self { usual, mount, has_others, others: Mutex::new(others), process_umask })
    }

    /// The area that reaches the transfer root.
    pub(super) fn usual(&self) -> &StagingArea {
        &self.usual
    }

    /// Whether the system takes some of these bits from entries that are made.
    pub(super) fn masks(&self, mode: u32) -> bool {
        mode & self.process_umask != 0
    }

    /// The area for entries of the directory `dir` at `path`. `mount` is that directory's.
    pub(super) fn area_for(
        &self,
        root: &Root,
        path: &RelPath,
        dir: &DirHandle,
        mount: MountId,
    ) -> io::Result<Arc<StagingArea>> {
        if mount == self.mount && !self.has_others.load(Ordering::Acquire) {
            return Ok(self.usual.clone());
        }
        let mut others = self.others.enter();
        if let Some(inside) = nearest(&others, path).filter(|inside| inside.mount == mount) {
            return Ok(inside.area.clone());
        }
        if mount == self.mount {
            return Ok(self.usual.clone());
        }
        let (top_path, top) = top_of_mount(root, path, dir, mount)?;
        match Inside::make(&top_path, &top, mount, self.process_umask) {
            Ok(inside) => Ok(self.add(&mut others, top_path, inside)),
            Err(_) if top_path != *path => {
                let inside = Inside::make(path, dir, mount, self.process_umask)?;
                Ok(self.add(&mut others, path.clone(), inside))
            }
            Err(error) => Err(error),
        }
    }

    /// The area in the directory of an entry, for a place that the other areas could not reach.
    pub(super) fn area_beside(&self, path: &RelPath, dir: &DirHandle) -> io::Result<Arc<StagingArea>> {
        let mut others = self.others.enter();
        if let Some(inside) = others.get(path) {
            return Ok(inside.area.clone());
        }
        let inside = Inside::make(path, dir, dir.mount()?, self.process_umask)?;
        Ok(self.add(&mut others, path.clone(), inside))
    }

    /// An entry that was left in the area that lies in the directory `place`, or in the private state directory.
    pub(super) fn adopt(&self, place: Option<&RelPath>, staged: &[u8]) -> Option<Staged> {
        let others = self.others.enter();
        let area = place.map_or(Some(&self.usual), |place| Some(&others.get(place)?.area))?;
        Some(area.adopt(Name::new(staged).ok()?))
    }

    /// Removes the areas that lie in the workspace.
    pub(super) fn clean_up(&self) {
        for inside in self.others.enter().values() {
            inside.remove();
        }
    }

    fn add(&self, others: &mut BTreeMap<RelPath, Inside>, path: RelPath, inside: Inside) -> Arc<StagingArea> {
        let area = inside.area.clone();
        others.insert(path, inside);
        self.has_others.store(true, Ordering::Release);
        area
    }
}

/// The area in the directory `path` or in the nearest one above it.
fn nearest<'a>(others: &'a BTreeMap<RelPath, Inside>, path: &RelPath) -> Option<&'a Inside> {
    let mut at = Some(path.clone());
    while let Some(path) = at {
        if let Some(inside) = others.get(&path) {
            return Some(inside);
        }
        at = path.parent();
    }
    None
}

/// The topmost directory of a mount above (or at) `path`.
fn top_of_mount(
    root: &Root,
    path: &RelPath,
    dir: &DirHandle,
    mount: MountId,
) -> io::Result<(RelPath, DirHandle)> {
    let mut top = (path.clone(), dir.clone());
    while let Some(parent) = top.0.parent() {
        let above = root.dir(&parent)?;
        if above.mount()? != mount {
            break;
        }
        top = (parent, above);
    }
    Ok(top)
}

impl Inside {
    /// Makes an area in the directory `directory` of the workspace, which is at `place`.
    fn make(place: &RelPath, directory: &DirHandle, mount: MountId, process_umask: u32) -> io::Result<Self> {
        let staging = name(STAGING_INSIDE);
        for number in 0..MAX_TRIES {
            let shared = open_private(directory, &staging, None)?;
            // A run that removes a leftover holds the lock for that short time.
            if !try_lock_directory(&shared, FlockOperation::NonBlockingLockShared)? {
                std::thread::yield_now();
                continue;
            }
            let own = Name::new(format!("{RUN_PREFIX}{number}").as_bytes()).map_err(io::Error::other)?;
            match make_staging(&shared, &own) {
                // Another run has this number, or has just removed the directory.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {}
                made => {
                    let area = made?;
                    let area = StagingArea::new(area, Some(place.clone()), process_umask);
                    return Ok(Self { area, mount, directory: directory.clone(), shared, own });
                }
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "other runs use the staging directory all the time"))
    }

    fn remove(&self) {
        // A leftover is removed by the next run.
        let _ = remove_entry(&self.shared, &self.own);
        // Not empty while another run uses it.
        let _ = self.directory.rmdir(&name(STAGING_INSIDE));
    }
}

/// Removes the staging directory that an interrupted run left in a directory, and answers whether it is gone. One that another
/// run uses stays, and so does one that holds anything but what runs make there: an entry is removed by its name in an open
/// directory that was checked, so nothing else goes, whatever somebody moves to these names.
pub(super) fn sweep(directory: &DirHandle) -> io::Result<bool> {
    let Some(leftover) = Leftover::open(directory)? else { return Ok(false) };
    if !try_lock_directory(&leftover.shared, FlockOperation::NonBlockingLockExclusive)? {
        return Ok(false);
    }
    for (own, area, files) in &leftover.areas {
        for file in files {
            area.unlink(file)?;
        }
        leftover.shared.rmdir(own)?;
    }
    directory.rmdir(&name(STAGING_INSIDE))?;
    Ok(true)
}

/// Whether [`sweep`] would remove the staging directory of a directory, if no other run uses it.
pub(super) fn may_sweep(directory: &DirHandle) -> bool {
    Leftover::open(directory).is_ok_and(|leftover| leftover.is_some())
}

/// A staging directory that holds only what runs make there.
struct Leftover {
    shared: DirHandle,
    /// Name, directory and files of each area.
    areas: Vec<(Name, DirHandle, Vec<Name>)>,
}

impl Leftover {
    /// None for a directory that holds something else, and for one that other users can change.
    fn open(directory: &DirHandle) -> io::Result<Option<Self>> {
        let staging = name(STAGING_INSIDE);
        if directory.stat(&staging)?.is_none_or(|stat| stat.kind != Kind::Directory) {
            return Ok(None);
        }
        let shared = directory.child(&staging)?;
        if !is_ours(&shared)? {
            return Ok(None);
        }
        let mut areas = Vec::new();
        for Listed { name: own, kind, .. } in shared.list()? {
            if kind != Kind::Directory || !own.as_bytes().starts_with(RUN_PREFIX.as_bytes()) {
                return Ok(None);
            }
            let area = shared.child(&own)?;
            let is_staged = |listed: &Listed| {
                listed.kind != Kind::Directory
                    && (listed.name.as_bytes().iter().all(u8::is_ascii_digit) || listed.name == name(CLOCK))
            };
            let listed = area.list()?;
            if !is_ours(&area)? || !listed.iter().all(is_staged) {
                return Ok(None);
            }
            areas.push((own, area, listed.into_iter().map(|listed| listed.name).collect()));
        }
        Ok(Some(Self { shared, areas }))
    }
}

/// Whether a directory is this user's, and closed to others as far as its file system can close it.
fn is_ours(dir: &DirHandle) -> io::Result<bool> {
    let stat = dir.stat_self()?;
    let ours = stat.uid == rustix::process::geteuid().as_raw();
    Ok(ours && (stat.mode & 0o077 == 0 || !keeps_privacy(dir)?))
}
