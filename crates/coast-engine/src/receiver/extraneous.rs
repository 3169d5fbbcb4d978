//! What the destination has and the source has not: remembered while directories are looked at, deleted last.
//!
//! Only what was seen when its directory was looked at is ever deleted, and only if it is still the same entry then:
//! what appears while the run goes on stays.
//!
//! The state directory of a workspace below this one ([`state_owner`]) stays as long as that workspace does: a run may be
//! using it. Where rule files have a say, that is not known before everything is judged, and it stays even if the workspace
//! goes; the next run deletes it.

use std::collections::{HashMap, HashSet};
use std::io;

use coast_filter::DirFilter;
use coast_tree::state::state_owner;
use coast_tree::{DirHandle, Kind, Listed, Name, RelPath, Root, Stat};
use coast_wire::{Event, ProblemKind};
use serde::{Deserialize, Serialize};

use super::Run;
use super::judge::{Judge, Within, unreadable_rules};
use super::site::{Failure, Site};
use super::spill::{Spill, spill_failed};
use super::staging::Staging;
use crate::error::EngineError;

/// An entry to be deleted. A directory comes after all that is in it.
#[derive(Serialize, Deserialize)]
pub(super) struct Extraneous {
    /// Relative to the transfer root.
    #[serde(with = "serde_bytes")]
    path: Vec<u8>,
    directory: bool,
    /// Something in it stays. It is remembered all the same where rsync tries to delete it, which counts against a limit.
    stays: bool,
    seen: Seen,
    top: Top,
}

/// The topmost extraneous entry above (or at) an entry.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Top {
    /// How many directories above it stay.
    depth: usize,
    /// Whether it makes way for an entry of another kind: then it is not asked for protection, and not counted for
    /// `--max-delete`.
    makes_way: bool,
}

/// What tells an entry apart from one that took its name later: inode numbers are given out again, but not with the
/// time of the last change of content. Not the ctime: deleting one of a file's names changes that of the others.
#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Seen {
    ino: u64,
    /// Seconds and nanoseconds; none for a directory, which changes with each deletion in it.
    mtime: Option<(i64, u32)>,
}

impl Extraneous {
    fn new(path: &RelPath, stat: &Stat, top: Top) -> Self {
        let directory = stat.kind == Kind::Directory;
        Self { path: path.as_bytes().to_vec(), directory, stays: false, seen: Seen::from(stat), top }
    }
}

impl Seen {
    fn from(stat: &Stat) -> Self {
        let mtime = (stat.kind != Kind::Directory).then(|| (stat.mtime.secs(), stat.mtime.nanos()));
        Self { ino: stat.ino, mtime }
    }
}

/// The rules of a directory when it is looked at.
enum Rules {
    Ask(DirFilter),
    /// They are asked at the end.
    Later,
    /// Nothing in it is deleted.
    NoDeletion,
}

/// What the rules say of an entry at the end.
enum Verdict {
    Delete,
    Protected,
    /// A directory above it is protected, and told of itself.
    InProtected,
}

/// What became of an extraneous entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Deleted,
    Kept,
}

/// The entries of a directory that state directories beside them belong to.
struct Workspaces {
    staying: HashSet<Name>,
}

impl Workspaces {
    fn of(entries: &[Listed]) -> Self {
        Self { staying: entries.iter().filter_map(|entry| state_owner(&entry.name)).collect() }
    }

    fn learn(&mut self, name: &Name, fate: Fate) {
        if fate == Fate::Deleted {
            self.staying.remove(name);
        }
    }

    /// Whether an entry is the state directory of what stays beside it.
    fn use_state(&self, dir: &DirHandle, entry: &Listed) -> bool {
        entry.kind == Kind::Directory
            && state_owner(&entry.name)
                .is_some_and(|owner| self.staying.contains(&owner) && may_exist(dir, &owner))
    }
}

fn may_exist(dir: &DirHandle, name: &Name) -> bool {
    dir.stat(name).map_or(true, |stat| stat.is_some())
}

/// The entries of a directory, those that may be state directories after those that they may belong to.
fn states_last(mut entries: Vec<Listed>) -> Vec<Listed> {
    // A state directory may have one of its own, as `.X.coast` is an entry like any.
    entries.sort_by_key(|entry| state_owner(&entry.name).map_or(0, |_| entry.name.as_bytes().len()));
    entries
}

impl Run<'_> {
    /// Remembers the entries of a directory that the source does not have.
    pub(super) fn look_at_extraneous(
        &self,
        path: &RelPath,
        dir: &DirHandle,
        extraneous: Vec<Listed>,
    ) -> Result<(), Failure> {
        if extraneous.is_empty() {
            return Ok(());
        }
        let top = Top { depth: path.depth(), makes_way: false };
        match self.filter_of(path)? {
            Rules::Ask(filter) => {
                let mut workspaces = Workspaces::of(&extraneous);
                for entry in states_last(extraneous) {
                    if Judge::protects(&filter, &entry.name, entry.kind, Within::Kept) {
                        self.count(|stats| stats.protected += 1);
                        self.keep(path, &entry.name)?;
                    } else if workspaces.use_state(dir, &entry) {
                        self.count(|stats| stats.protected += 1);
                    } else {
                        let fate = self.remember_extraneous(path, dir, &entry, Some(&filter), top)?;
                        workspaces.learn(&entry.name, fate);
                    }
                }
            }
            Rules::Later => {
                for entry in extraneous {
                    self.remember_extraneous(path, dir, &entry, None, top)?;
                }
            }
            Rules::NoDeletion => {
                for entry in extraneous {
                    self.keep(path, &entry.name)?;
                }
            }
        }
        Ok(())
    }

    /// A directory where the source has something else goes with what is extraneous, unless it holds something
    /// protected; what is staged for its place comes after that. Without deletion only an empty one gives way.
    pub(super) fn remember_in_the_way(&self, site: &Site<'_>) -> Result<(), Failure> {
        let (Some(dir), Some(existing)) =
            (site.dir, site.existing.filter(|stat| stat.kind == Kind::Directory))
        else {
            return Ok(());
        };
        let Ok(full) = site.part.path.join(&site.entry.name) else { return Ok(()) };
        let top = Top { depth: site.part.path.depth(), makes_way: true };
        let below = match self.filter_of(&site.part.path)? {
            Rules::Ask(filter) => self.remember_below(&full, dir, &site.entry.name, Some(&filter), top)?,
            Rules::Later => self.remember_below(&full, dir, &site.entry.name, None, top)?,
            Rules::NoDeletion => Fate::Kept,
        };
        if below == Fate::Deleted {
            self.push(Extraneous::new(&full, &existing, top))?;
        }
        Ok(())
    }

    fn push(&self, item: Extraneous) -> Result<(), Failure> {
        let list = if item.top.makes_way { &self.lists.making_way } else { &self.lists.extraneous };
        list.push(&item).map_err(|error| Failure::Run(spill_failed(error)))
    }

    /// The rules of a directory.
    fn filter_of(&self, path: &RelPath) -> Result<Rules, Failure> {
        let (Some(judge), Some(root)) = (&self.judge, &self.root) else { return Ok(Rules::NoDeletion) };
        if judge.is_late() {
            return Ok(Rules::Later);
        }
        match judge.directory(root, path) {
            Ok(filter) => Ok(Rules::Ask(filter)),
            Err(error) => {
                let error = unreadable_rules(error).map_err(Failure::Run)?;
                self.problem(path.as_bytes(), "cannot read its filter rules", &error);
                Ok(Rules::NoDeletion)
            }
        }
    }

    /// Remembers an entry and all below it, children first; a directory that holds something protected stays.
    fn remember_extraneous(
        &self,
        path: &RelPath,
        dir: &DirHandle,
        entry: &Listed,
        filter: Option<&DirFilter>,
        top: Top,
    ) -> Result<Fate, Failure> {
        let Ok(full) = path.join(&entry.name) else { return Ok(Fate::Kept) };
        let stat = match dir.stat(&entry.name) {
            Ok(Some(stat)) => stat,
            Ok(None) => return Ok(Fate::Deleted),
            Err(error) => {
                self.problem(full.as_bytes(), "cannot read its attributes", &error);
                return Ok(Fate::Kept);
            }
        };
        if stat.kind == Kind::Directory
            && self.remember_below(&full, dir, &entry.name, filter, top)? == Fate::Kept
        {
            self.keep(path, &entry.name)?;
            if path.depth() > top.depth {
                self.push(Extraneous { stays: true, ..Extraneous::new(&full, &stat, top) })?;
            }
            return Ok(Fate::Kept);
        }
        if self.appeared(&stat) {
            let text = "it was not deleted: it appeared or was changed while the run went on";
            self.event(Event::Problem { path: full.as_bytes(), kind: ProblemKind::Kept, text });
            self.keep(path, &entry.name)?;
            return Ok(Fate::Kept);
        }
        self.push(Extraneous::new(&full, &stat, top))?;
        Ok(Fate::Deleted)
    }

    /// Whether something of an entry changed since the run began, by the file system's own clock. Its directory may be
    /// looked at long after that. A file one of whose other names was replaced looks so too, and stays until the next run.
    fn appeared(&self, stat: &Stat) -> bool {
        self.began.is_some_and(|began| stat.ctime > began)
    }

    fn remember_below(
        &self,
        path: &RelPath,
        parent: &DirHandle,
        name: &Name,
        filter: Option<&DirFilter>,
        top: Top,
    ) -> Result<Fate, Failure> {
        let Some(root) = &self.root else { return Ok(Fate::Kept) };
        let entered = parent.child(name).and_then(|dir| {
            let mut listed = dir.list()?;
            listed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            let filter = filter.map(|filter| Judge::enter(filter, root, name)).transpose();
            Ok((dir, listed, filter.map_err(io::Error::other)?))
        });
        let (dir, listed, filter) = match entered {
            Ok(entered) => entered,
            Err(error) => {
                self.problem(path.as_bytes(), "cannot read the directory", &error);
                return Ok(Fate::Kept);
            }
        };
        let mut fate = Fate::Deleted;
        let mut workspaces = Workspaces::of(&listed);
        for entry in states_last(listed) {
            let protects = |filter| {
                Judge::protects(filter, &entry.name, entry.kind, Within::Removed)
                    || workspaces.use_state(&dir, &entry)
            };
            if filter.as_ref().is_some_and(protects) {
                self.count(|stats| stats.protected += 1);
                fate = Fate::Kept;
                continue;
            }
            let one = self.remember_extraneous(path, &dir, &entry, filter.as_ref(), top)?;
            if one == Fate::Kept {
                fate = Fate::Kept;
            }
            workspaces.learn(&entry.name, one);
        }
        Ok(fate)
    }

    /// Remembers an entry that stays, if whole workspaces are given to someone.
    fn keep(&self, path: &RelPath, name: &Name) -> Result<(), Failure> {
        let given_away = self.attributes.whole_workspace_owner(&self.options).is_some() && !self.some_paths;
        if !given_away || self.options.dry_run {
            return Ok(());
        }
        let Ok(full) = path.join(name) else { return Ok(()) };
        self.lists.kept.push(&full.as_bytes().to_vec()).map_err(|error| Failure::Run(spill_failed(error)))
    }

    /// Deletes what was remembered, what makes way first. Not called when the source could not be read without errors.
    pub(super) fn delete_extraneous(&self) -> Result<(), EngineError> {
        let mut deleted = 0;
        match self.judge.as_ref().filter(|judge| judge.is_late()) {
            Some(judge) => {
                let making_way = self.judge_late(judge, &self.lists.making_way, "judged-making-way")?;
                let extraneous = self.judge_late(judge, &self.lists.extraneous, "judged")?;
                self.delete_all(&making_way, &mut deleted)?;
                self.delete_all(&extraneous, &mut deleted)?;
            }
            None => {
                self.delete_all(&self.lists.making_way, &mut deleted)?;
                self.delete_all(&self.lists.extraneous, &mut deleted)?;
            }
        }
        self.count(|stats| stats.deleted = deleted);
        Ok(())
    }

    /// Judges what was remembered by the rule files that are there now, all of it before the first deletion takes
    /// such a file away.
    fn judge_late(
        &self,
        judge: &Judge,
        items: &Spill<Extraneous>,
        name: &str,
    ) -> Result<Spill<Extraneous>, EngineError> {
        let judged = Spill::new(self.staging.as_ref().map(Staging::dir), name).map_err(spill_failed)?;
        let Some(root) = &self.root else { return Ok(judged) };
        let mut filters = HashMap::new();
        let mut last_top: Option<RelPath> = None;
        for item in items.drain().map_err(spill_failed)? {
            let item = item.map_err(spill_failed)?;
            let path = RelPath::new(&item.path).map_err(|error| spill_failed(io::Error::other(error)))?;
            // Filters are kept for one extraneous tree at a time.
            let top = ancestor(&path, item.top.depth + 1);
            if last_top.as_ref() != Some(&top) {
                filters.clear();
                last_top = Some(top);
            }
            match self.late_verdict(judge, root, &item, &path, &mut filters)? {
                Verdict::Delete => judged.push(&item).map_err(spill_failed)?,
                Verdict::Protected => {
                    self.count(|stats| stats.protected += 1);
                    self.keep_late(&path)?;
                }
                Verdict::InProtected => {}
            }
        }
        Ok(judged)
    }

    fn late_verdict(
        &self,
        judge: &Judge,
        root: &Root,
        item: &Extraneous,
        path: &RelPath,
        filters: &mut HashMap<RelPath, Option<DirFilter>>,
    ) -> Result<Verdict, EngineError> {
        let depth = path.depth();
        let first = item.top.depth + usize::from(item.top.makes_way);
        for level in first..depth {
            let (dir, entry) = (ancestor(path, level), ancestor(path, level + 1));
            let Some(name) = entry.file_name() else { continue };
            let kind = if level + 1 < depth || item.directory { Kind::Directory } else { Kind::File };
            let within = if level == item.top.depth { Within::Kept } else { Within::Removed };
            if !filters.contains_key(&dir) {
                let filter = match judge.directory(root, &dir) {
                    Ok(filter) => Some(filter),
                    Err(error) => {
                        self.problem(
                            dir.as_bytes(),
                            "cannot read its filter rules",
                            &unreadable_rules(error)?,
                        );
                        None
                    }
                };
                filters.insert(dir.clone(), filter);
            }
            // Rules that cannot be read may protect anything.
            let protected =
                filters[&dir].as_ref().is_none_or(|filter| Judge::protects(filter, &name, kind, within))
                    || (kind == Kind::Directory
                        && state_owner(&name)
                            .is_some_and(|owner| root.dir(&dir).map_or(true, |dir| may_exist(&dir, &owner))));
            if protected {
                return Ok(if level + 1 == depth { Verdict::Protected } else { Verdict::InProtected });
            }
        }
        Ok(Verdict::Delete)
    }

    fn keep_late(&self, path: &RelPath) -> Result<(), EngineError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        match self.keep(&parent, &name) {
            Err(Failure::Run(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn delete_all(&self, items: &Spill<Extraneous>, deleted: &mut u64) -> Result<(), EngineError> {
        let limit = self.options.delete.as_ref().and_then(|delete| delete.max).unwrap_or(u64::MAX);
        for item in items.drain().map_err(spill_failed)? {
            let Extraneous { path, directory, stays, seen, top } = item.map_err(spill_failed)?;
            if self.stop.is_stopped() {
                return Ok(());
            }
            let counts = !(top.makes_way && path.iter().filter(|&&byte| byte == b'/').count() == top.depth);
            if counts && *deleted >= limit {
                self.count(|stats| stats.over_max_delete += 1);
                continue;
            }
            if stays {
                continue;
            }
            match self.delete(&path, directory, &seen) {
                Ok(Fate::Deleted) => {
                    *deleted += u64::from(counts);
                    self.event(Event::Deleted { path: &path, directory });
                }
                Ok(Fate::Kept) => {
                    let text = "it was not deleted: it appeared or was replaced while the run went on";
                    self.event(Event::Problem { path: &path, kind: ProblemKind::Kept, text });
                }
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    let text = "the directory was not deleted: something in it stays";
                    self.event(Event::Problem { path: &path, kind: ProblemKind::Kept, text });
                    self.keep_late(
                        &RelPath::new(&path).map_err(|error| spill_failed(io::Error::other(error)))?,
                    )?;
                }
                Err(error) => self.problem(&path, "cannot delete it", &error),
            }
        }
        Ok(())
    }

    fn delete(&self, path: &[u8], directory: bool, seen: &Seen) -> io::Result<Fate> {
        let path = RelPath::new(path).map_err(io::Error::other)?;
        let (Some(root), Some(parent), Some(name)) = (&self.root, path.parent(), path.file_name()) else {
            return Ok(Fate::Kept);
        };
        let dir = match root.dir(&parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Fate::Deleted),
            dir => dir?,
        };
        match dir.stat(&name)? {
            None => return Ok(Fate::Deleted),
            Some(stat) if Seen::from(&stat) != *seen => return Ok(Fate::Kept),
            Some(_) => {}
        }
        if self.options.dry_run {
            return Ok(Fate::Deleted);
        }
        self.change_in(&parent, &dir, || if directory { dir.rmdir(&name) } else { dir.unlink(&name) })?;
        Ok(Fate::Deleted)
    }
}

/// The first `depth` components of a path.
fn ancestor(path: &RelPath, depth: usize) -> RelPath {
    let mut ancestor = path.clone();
    while ancestor.depth() > depth {
        ancestor = ancestor.parent().unwrap_or_else(RelPath::root);
    }
    ancestor
}
