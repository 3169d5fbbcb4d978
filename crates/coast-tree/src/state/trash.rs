//! The trash: entries that runs deleted and that no run had put there. They can be brought back for some time.
//!
//! It is the directory `trash` of the state directory. Each run has a *batch* in it, named after its time: `SECONDS` while the run
//! fills it, and `SECONDS.BYTES` once it is complete. In a batch, the entries have their paths from the workspace. The directories
//! on the way have the attributes that they had there.
//!
//! Other users may own what is in a batch, so every step goes through open directories and follows no symlink.

use std::cmp::Reverse;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use super::names::{TRASH, name};
use crate::{DirHandle, Kind, Listed, LockExt, Name, RelPath, Replace, Root, Stat, remove_entry};

/// How long a batch is kept.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The size of all batches together up to which batches are kept, in bytes. The last batch is kept whatever its size: it goes when
/// another one takes its place.
const MAX_BYTES: u64 = 1 << 30;

/// How often another name is tried for a batch.
const MAX_NAMES: u64 = 1000;

/// The name of a directory in the trash that is on its way to the workspace. It is no name of a batch.
const MAKING: &str = "making";

/// The trash of a workspace.
#[derive(Debug)]
pub struct Trash {
    dir: DirHandle,
}

/// The entries that one run deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchEntry {
    name: Name,
    /// The time of the run, in seconds since the epoch.
    pub at: u64,
    /// The size of all files, in bytes. None if the run that filled it was killed and no run has measured it since.
    pub bytes: Option<u64>,
}

impl Trash {
    /// The trash in the state directory `state`; none if nothing was ever deleted.
    pub fn open(state: &DirHandle) -> io::Result<Option<Self>> {
        match state.child(&name(TRASH)) {
            Ok(dir) => Ok(Some(Self { dir })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The trash in the state directory `state`, which is made if it is missing.
    pub fn make(state: &DirHandle) -> io::Result<Self> {
        match state.mkdir(&name(TRASH), 0o700) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        Ok(Self { dir: state.child(&name(TRASH))? })
    }

    /// The batches, the latest first.
    pub fn batches(&self) -> io::Result<Vec<BatchEntry>> {
        let mut batches: Vec<BatchEntry> = self.dir.list()?.iter().filter_map(BatchEntry::of).collect();
        batches.sort_by_key(|batch| Reverse(batch.at));
        Ok(batches)
    }

    /// The directory of a batch.
    pub fn directory(&self, batch: &BatchEntry) -> io::Result<DirHandle> {
        self.dir.child(&batch.name)
    }

    /// Begins a batch at the time `now`, in seconds since the epoch. `root` is the workspace.
    pub fn begin(&self, now: u64, root: &Root) -> io::Result<Batch> {
        for at in now..now.saturating_add(MAX_NAMES) {
            let taken = self.batches()?.iter().any(|batch| batch.at == at);
            if taken {
                continue;
            }
            let own = batch_name(at, None);
            match self.dir.mkdir(&own, 0o700) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => {
                    made?;
                    let dir = self.dir.child(&own)?;
                    return Ok(Batch {
                        trash: self.dir.clone(),
                        at,
                        filled: Mutex::new(Filled { bytes: 0, last: (RelPath::root(), dir.clone()) }),
                        top: dir,
                        root: root.clone(),
                    });
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Makes the directory `name` in `to` with the owner and the mode of `model`, a directory of a batch. It gets them in the trash,
    /// before it moves: in `to`, others could put another directory in its place first.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when the name is taken, and [`io::ErrorKind::CrossesDevices`] when `to` lies on another mount.
    pub fn put_like(&self, model: &DirHandle, to: &DirHandle, name: &Name) -> io::Result<()> {
        let making = super::names::name(MAKING);
        // A killed process left it.
        remove_entry(&self.dir, &making)?;
        self.dir.mkdir(&making, 0o700)?;
        let made = self.dir.child(&making)?;
        let moved = make_like(&made, &model.stat_self()?)
            .and_then(|()| self.dir.rename_to(&making, to, name, Replace::Never));
        if moved.is_err() {
            let _ = self.dir.rmdir(&making);
        }
        moved
    }

    /// Records that `bytes` of the files of a batch are no longer in it. A batch that is empty is removed.
    pub fn shrink(&self, batch: &BatchEntry, bytes: u64) -> io::Result<()> {
        match self.dir.rmdir(&batch.name) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            removed => return removed,
        }
        match batch.bytes {
            Some(before) if bytes > 0 && before > 0 => {
                let left = batch_name(batch.at, Some(before.saturating_sub(bytes)));
                self.dir.rename_to(&batch.name, &self.dir, &left, Replace::Never)
            }
            _ => Ok(()),
        }
    }

    /// Removes the batches that are too old at the time `now`, and the oldest ones while all together are too large. No run may be
    /// filling a batch. One that a killed run left is measured.
    pub fn prune(&self, now: u64) -> io::Result<()> {
        let oldest = now.saturating_sub(MAX_AGE.as_secs());
        let mut bytes = 0_u64;
        let mut batches = self.batches()?;
        // After a clock was set back, a batch lies in the future. It counts as the oldest.
        batches.sort_by_key(|batch| (batch.at > now, Reverse(batch.at)));
        for (number, batch) in batches.iter_mut().enumerate() {
            let too_old = batch.at < oldest;
            if batch.bytes.is_none() && !too_old {
                let measured = self.size_of(batch)?;
                bytes = bytes.saturating_add(measured);
                batch.name = self.give_size(batch, measured)?;
            }
            bytes = bytes.saturating_add(batch.bytes.unwrap_or(0));
            if too_old || (number > 0 && bytes > MAX_BYTES) {
                remove_entry(&self.dir, &batch.name)?;
            }
        }
        Ok(())
    }

    /// Takes in the batches of another trash of the same workspace.
    ///
    /// # Errors
    /// [`io::ErrorKind::CrossesDevices`] when the other trash lies on another mount. Then its batches are where they were.
    pub fn take_in(&self, other: &Self) -> io::Result<()> {
        for batch in other.batches()? {
            let own = self.batches()?;
            let at = (batch.at..=batch.at.saturating_add(MAX_NAMES))
                .find(|at| own.iter().all(|own| own.at != *at))
                .ok_or(io::ErrorKind::AlreadyExists)?;
            other.dir.rename_to(&batch.name, &self.dir, &batch_name(at, batch.bytes), Replace::Never)?;
        }
        Ok(())
    }

    /// Gives a batch of unknown size the name of one of `bytes` bytes.
    fn give_size(&self, batch: &BatchEntry, bytes: u64) -> io::Result<Name> {
        let measured = batch_name(batch.at, Some(bytes));
        self.dir.rename_to(&batch.name, &self.dir, &measured, Replace::Never)?;
        Ok(measured)
    }

    /// The size of all files in a batch, in bytes. A directory that cannot be read counts as empty.
    fn size_of(&self, batch: &BatchEntry) -> io::Result<u64> {
        let top = Root::from_dir(self.directory(batch)?);
        let mut bytes = 0_u64;
        let mut pending = vec![RelPath::root()];
        while let Some(path) = pending.pop() {
            let Ok((entries, dir)) = top.dir(&path).and_then(|dir| Ok((dir.list()?, dir))) else { continue };
            for Listed { name, kind, .. } in entries {
                match kind {
                    Kind::Directory => pending.extend(path.join(&name)),
                    Kind::File => {
                        let size = dir.stat(&name).ok().flatten().map_or(0, |stat| stat.size);
                        bytes = bytes.saturating_add(size);
                    }
                    _ => {}
                }
            }
        }
        Ok(bytes)
    }
}

impl BatchEntry {
    fn of(listed: &Listed) -> Option<Self> {
        let text = std::str::from_utf8(listed.name.as_bytes()).ok()?;
        let (at, bytes) = match text.split_once('.') {
            Some((at, bytes)) => (at, Some(bytes.parse().ok()?)),
            None => (text, None),
        };
        let name = listed.name.clone();
        (listed.kind == Kind::Directory).then_some(Self { name, at: at.parse().ok()?, bytes })
    }
}

fn batch_name(at: u64, bytes: Option<u64>) -> Name {
    let text = bytes.map_or_else(|| at.to_string(), |bytes| format!("{at}.{bytes}"));
    Name::new(text.as_bytes()).expect("digits and a dot")
}

/// Gives a new directory the owner and the mode of another one. Its owner may read and write it in any case.
fn make_like(dir: &DirHandle, stat: &Stat) -> io::Result<()> {
    // A user without rights keeps the directory, which is theirs.
    let _ = dir.chown_self(Some(stat.uid), Some(stat.gid));
    dir.chmod_self(stat.mode | 0o700)
}

/// A batch that a run fills.
#[derive(Debug)]
pub struct Batch {
    trash: DirHandle,
    at: u64,
    top: DirHandle,
    root: Root,
    /// Guards what is known of the batch. No other lock is taken while it is held.
    filled: Mutex<Filled>,
}

#[derive(Debug)]
struct Filled {
    bytes: u64,
    /// The directory that the last entry went to. Entries come directory by directory.
    last: (RelPath, DirHandle),
}

impl Batch {
    /// Moves the entry `name` of the directory `dir`, whose path in the workspace is `parent`, to the batch.
    ///
    /// # Errors
    /// [`io::ErrorKind::CrossesDevices`] when the entry lies on another mount. Then it is where it was.
    pub fn put(&self, parent: &RelPath, dir: &DirHandle, name: &Name, stat: &Stat) -> io::Result<()> {
        self.fill(parent, stat, |batch| dir.rename_to(name, batch, name, Replace::Never))
    }

    /// Gives the file `name` of the directory `dir` a second name in the batch. It is about to be replaced.
    ///
    /// # Errors
    /// As [`Batch::put`], and when the file system or the system's rules for other users' files allow no second name.
    pub fn keep(&self, parent: &RelPath, dir: &DirHandle, name: &Name, stat: &Stat) -> io::Result<()> {
        self.fill(parent, stat, |batch| dir.link_to(name, batch, name))
    }

    fn fill(
        &self,
        parent: &RelPath,
        stat: &Stat,
        put: impl FnOnce(&DirHandle) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut filled = self.filled.enter();
        if filled.last.0 != *parent {
            filled.last = (parent.clone(), self.directory(parent)?);
        }
        put(&filled.last.1)?;
        if stat.kind == Kind::File {
            filled.bytes = filled.bytes.saturating_add(stat.size);
        }
        Ok(())
    }

    /// Makes a directory in the batch like the one at `path` in the workspace, with those above it.
    pub fn put_directory(&self, path: &RelPath) -> io::Result<()> {
        self.directory(path).map(drop)
    }

    fn directory(&self, path: &RelPath) -> io::Result<DirHandle> {
        let mut here = self.top.clone();
        let mut there = self.root.handle();
        for component in path.components() {
            let name = Name::new(component).map_err(io::Error::other)?;
            there = there.child(&name)?;
            match here.mkdir(&name, 0o700) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => here = here.child(&name)?,
                made => {
                    made?;
                    here = here.child(&name)?;
                    make_like(&here, &there.stat_self()?)?;
                }
            }
        }
        Ok(here)
    }

    /// Ends the batch: records its size, and removes batches of earlier runs that are too old, or together too large.
    pub fn finish(self) -> io::Result<()> {
        let bytes = self.filled.enter().bytes;
        let (filling, filled) = (batch_name(self.at, None), batch_name(self.at, Some(bytes)));
        self.trash.rename_to(&filling, &self.trash, &filled, Replace::Never)?;
        Trash { dir: self.trash }.prune(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::scratch::{Scratch, name, rel};

    const DAY: u64 = 24 * 60 * 60;

    fn put(trash: &Trash, scratch: &Scratch, at: u64, path: &str) {
        let batch = trash.begin(at, &scratch.root()).unwrap();
        let path = rel(path.as_bytes());
        let (parent, name) = (path.parent().unwrap(), path.file_name().unwrap());
        let dir = scratch.root().dir(&parent).unwrap();
        let stat = dir.stat(&name).unwrap().unwrap();
        batch.put(&parent, &dir, &name, &stat).unwrap();
        batch.finish().unwrap();
    }

    #[test]
    fn an_entry_moves_with_its_directories() {
        let scratch = Scratch::new().file("a/b/c", "content").dir("state");
        fs::set_permissions(scratch.path("a/b"), std::os::unix::fs::PermissionsExt::from_mode(0o750))
            .unwrap();
        let state = scratch.root().handle().child(&name("state")).unwrap();
        assert!(Trash::open(&state).unwrap().is_none());
        let trash = Trash::make(&state).unwrap();
        put(&trash, &scratch, 1000, "a/b/c");
        assert!(!scratch.path("a/b/c").exists());
        let batch = trash.batches().unwrap().remove(0);
        assert_eq!((batch.at, batch.bytes), (1000, Some(7)));
        assert_eq!(fs::read(scratch.path("state/trash/1000.7/a/b/c")).unwrap(), b"content");
        let mode = fs::metadata(scratch.path("state/trash/1000.7/a/b")).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o750);
    }

    #[test]
    fn a_batch_that_loses_entries_counts_less_and_goes_with_the_last_one() {
        let scratch = Scratch::new().file("a/b", "content").file("a/c", "more").dir("state").dir("back");
        let state = scratch.root().handle().child(&name("state")).unwrap();
        let trash = Trash::make(&state).unwrap();
        put(&trash, &scratch, 1000, "a/b");
        let only = || trash.batches().unwrap().remove(0);
        trash.shrink(&only(), 3).unwrap();
        assert_eq!((only().at, only().bytes), (1000, Some(4)));
        trash.shrink(&only(), 9).unwrap();
        assert_eq!(only().bytes, Some(0));
        fs::remove_dir_all(scratch.path("state/trash/1000.0/a")).unwrap();
        trash.shrink(&only(), 0).unwrap();
        assert_eq!(trash.batches().unwrap(), []);
    }

    #[test]
    fn a_directory_on_the_way_back_is_like_the_one_in_the_trash() {
        let scratch = Scratch::new().file("a/b", "content").dir("state").dir("back");
        let at = |path| scratch.root().dir(&rel(path)).unwrap();
        let trash = Trash::make(&at("state")).unwrap();
        // A process that was killed left it.
        fs::create_dir_all(scratch.path("state/trash/making/left")).unwrap();
        at("").chmod(&name("a"), 0o2750).unwrap();
        trash.put_like(&at("a"), &at("back"), &name("new")).unwrap();
        assert_eq!(at("back/new").stat_self().unwrap().mode, 0o2750);
        let again = trash.put_like(&at("a"), &at("back"), &name("new")).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_dir(scratch.path("state/trash")).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_run_left_is_measured() {
        let scratch = Scratch::new().dir("state/trash/1000/a/b").file("target", "not in the trash");
        let state = scratch.root().handle().child(&name("state")).unwrap();
        let trash = Trash::open(&state).unwrap().unwrap();
        let batch = scratch.path("state/trash/1000");
        fs::write(batch.join("a/b/c"), "content").unwrap();
        fs::File::create(batch.join("large")).unwrap().set_len(MAX_BYTES).unwrap();
        std::os::unix::fs::symlink(scratch.path("target"), batch.join("link")).unwrap();
        trash.prune(2000).unwrap();
        let kept = || trash.batches().unwrap();
        assert_eq!(kept()[0].bytes, Some(MAX_BYTES + 7));
        // It makes room for the next one.
        fs::write(scratch.path("e"), "x").unwrap();
        put(&trash, &scratch, 3000, "e");
        assert_eq!(kept().iter().map(|batch| batch.at).collect::<Vec<_>>(), [3000]);
    }

    #[test]
    fn batches_of_one_second_have_names_of_their_own() {
        let scratch = Scratch::new().file("root/x", "").file("state/x", "");
        let root = Root::open(&scratch.path("root")).unwrap();
        let trash = Trash::make(&scratch.root().handle().child(&name("state")).unwrap()).unwrap();
        for _ in 0..3 {
            trash.begin(1000, &root).unwrap().finish().unwrap();
        }
        let mut names: Vec<String> = fs::read_dir(scratch.path("state/trash"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["1000.0", "1001.0", "1002.0"]);
    }

    #[test]
    fn batches_of_another_trash_are_taken_in_whatever_their_times() {
        let last = u64::MAX;
        let scratch = Scratch::new()
            .file(&format!("a/trash/{last}/x"), "")
            .file("a/trash/1000.1/x", "x")
            .file("b/trash/1000.1/y", "y");
        let state = |name_: &str| scratch.root().handle().child(&name(name_)).unwrap();
        let trash = |name| Trash::open(&state(name)).unwrap().unwrap();
        trash("b").take_in(&trash("a")).unwrap();
        let times: Vec<u64> = trash("b").batches().unwrap().iter().map(|batch| batch.at).collect();
        assert_eq!(times, [last, 1001, 1000]);
        // No later time is left, so the batch stays where it is.
        fs::create_dir(scratch.path(&format!("a/trash/{last}.0"))).unwrap();
        assert!(trash("b").take_in(&trash("a")).is_err());
        assert!(scratch.path(&format!("a/trash/{last}.0")).exists());
    }

    #[test]
    fn old_batches_and_what_is_too_much_go_but_never_the_last_one() {
        let scratch = Scratch::new().dir("state");
        let state = scratch.root().handle().child(&name("state")).unwrap();
        let trash = Trash::make(&state).unwrap();
        let large = |file: &str| {
            fs::File::create(scratch.path(file)).unwrap().set_len(MAX_BYTES / 2 + 1).unwrap();
        };
        let kept = || -> Vec<u64> { trash.batches().unwrap().iter().map(|batch| batch.at).collect() };
        for (at, file) in [(DAY, "a"), (2 * DAY, "b")] {
            fs::write(scratch.path(file), "x").unwrap();
            put(&trash, &scratch, at, file);
        }
        assert_eq!(kept(), [2 * DAY, DAY]);
        large("c");
        put(&trash, &scratch, 8 * DAY + 1, "c");
        assert_eq!(kept(), [8 * DAY + 1, 2 * DAY], "a batch of more than seven days goes");
        large("d");
        put(&trash, &scratch, 8 * DAY + 1, "d");
        assert_eq!(kept(), [8 * DAY + 2], "the oldest go while all are too large");
        // A batch of a clock that was ahead is older than all others.
        fs::write(scratch.path("e"), "x").unwrap();
        put(&trash, &scratch, 100 * DAY, "e");
        assert_eq!(kept(), [100 * DAY]);
        large("f");
        put(&trash, &scratch, 8 * DAY + 2, "f");
        assert_eq!(kept(), [100 * DAY, 8 * DAY + 2]);
        large("g");
        put(&trash, &scratch, 8 * DAY + 2, "g");
        assert_eq!(kept(), [8 * DAY + 3]);
        trash.prune(8 * DAY + 3).unwrap();
        assert_eq!(kept(), [8 * DAY + 3]);
        trash.prune(16 * DAY).unwrap();
        assert_eq!(kept(), Vec::<u64>::new());
    }
}
