//! The destination tree, and everything that is done to it.
//!
//! [`Target`] knows neither what is under way nor what will be deleted: its verbs create, fix or replace one entry, and it is told
//! which. In a run that changes the tree, each concern has an owner:
//!
//! | owner | owns |
//! |---|---|
//! | [`StagingAreas`](areas::StagingAreas) | the directories in which entries are made |
//! | [`DelayedMoves`](placement::DelayedMoves) | staged entries that move into place at the end |
//! | [`LateDirectories`](late_directories::LateDirectories) | attributes of directories that are set at the end, and rights lent until then |
//! | [`Memory`](memory::Memory) | the content cache |
//! | [`Ledger`] | which entries runs have put there, and the journal |
//! | [`Safety`] | which entries only stay or go as the source has them if runs have put them there |
//! | [`Discards`] | deleted entries that can be brought back |
//! | [`Partials`] | what interrupted runs left of large files |
//! | [`KeptEntries`](kept::KeptEntries) | entries that stay although the source does not have them |

mod ahead;
mod areas;
mod attributes;
mod basis;
mod create;
mod directory;
mod discards;
mod fix;
mod inheritance;
mod kept;
mod known;
mod late_directories;
mod ledger;
mod live;
mod memory;
mod partials;
mod placement;
mod reading;
mod rename;
mod safety;
mod staging;

use std::io;
use std::sync::{Arc, Mutex};

use coast_tree::state::{STAGING_INSIDE, STATE_INSIDE, StateDirectory};
use coast_tree::{
    DirHandle, LockExt, MountId, Name, OwnerNames, Record, RelPath, Root, Stat, Timestamp, Zeros,
};
use coast_wire::{Options, OwnerName, Ownership};

use super::config::{ReceiverConfig, process_umask};
use super::destination::{Destination, FormerMode};
use super::report::Report;
use crate::cache::Remember;
use crate::error::EngineError;
use attributes::Attributes;
use discards::Discards;
use known::Known;
use ledger::Ledger;
use live::{Live, LiveSettings};
use partials::Partials;
use safety::Safety;

pub(crate) use ahead::Ahead;
pub(crate) use attributes::same_time;
pub(crate) use basis::{Bases, Basis};
pub(crate) use create::{Brought, Cloned, StagedFile};
pub(crate) use directory::{DestinationDirectory, DestinationEntry};
pub(crate) use known::Knowledge;
pub(crate) use ledger::Origins;
pub(crate) use rename::Leaving;
pub(crate) use safety::stand_in_record;

/// The destination of a run.
pub(crate) struct Target<'a> {
    tree: Tree,
    attributes: Attributes,
    /// Whether the run made the transfer root.
    created: bool,
    itemized_owner: ItemizedOwner,
    /// Whether parts of interrupted files are kept, and used.
    partial: bool,
    /// Whether entries that no run has put there move to a trash.
    has_trash: bool,
    /// Whether the run is one of many on a stream.
    follows: bool,
    /// In a run that stages contents ahead, the workspace that they are for.
    workspace: Option<Root>,
    ahead: Arc<Ahead>,
    /// Whether runs of zeros become holes (`-S`).
    zeros: Zeros,
    report: &'a Report<'a>,
    /// The mode that the transfer root gets back, unless the sender offers another one. Declared last, so dropped last:
    /// dropping the state directory removes an entry of the root, which needs the rights.
    former_mode: Mutex<FormerMode>,
}

/// What the runs of one stream share.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    pub(crate) knowledge: Arc<Knowledge>,
    pub(crate) ahead: Arc<Ahead>,
    /// In a run that stages contents ahead, the workspace that they are for.
    pub(crate) workspace: Option<Root>,
}

/// The system's answers that a run needs, taken before the process is confined.
#[derive(Clone)]
pub(crate) struct SystemFacts {
    names: Arc<OwnerNames>,
    umask: u32,
}

impl SystemFacts {
    pub(crate) fn read() -> Self {
        Self { names: Arc::new(OwnerNames::load()), umask: process_umask() }
    }
}

/// Which changes of an entry's owner are itemized.
struct ItemizedOwner {
    user: bool,
    group: bool,
}

/// How much of the destination there is.
enum Tree {
    /// A dry run would have made the transfer root.
    Absent,
    /// A dry run changes nothing in this tree.
    DryRun(Box<DryRun>),
    Live(Box<Live>),
}

/// A tree that is only read.
struct DryRun {
    root: Root,
    ledger: Option<Ledger>,
    /// The mount that the trash of a run lies on. None if that cannot be told.
    trash_mount: Option<MountId>,
}

impl<'a> Target<'a> {
    /// Prepares an opened destination for a run.
    pub(crate) fn open(
        destination: Destination,
        Shared { knowledge, ahead, workspace }: Shared,
        config: &ReceiverConfig,
        SystemFacts { names, umask: process_umask }: SystemFacts,
        options: &Options,
        report: &'a Report<'a>,
    ) -> Result<Self, EngineError> {
        let Destination { root, rename, created, former_mode, state, peeked, .. } = destination;
        // A file system that keeps no owners cannot give a workspace away. An explicit `-o`, `-g` or `--chown` is tried all the same.
        let given_away = matches!(options.ownership, Ownership::LoginUser { .. });
        let keeps_owners = state.as_ref().is_none_or(StateDirectory::is_private);
        let ownership = if given_away && !keeps_owners { &Ownership::Receiver } else { &options.ownership };
        let attributes = Attributes::new(options, ownership, config.umask, config.login, names)?;
        let placed = placed_by_others(options)?;
        // The state directory of a single entry does not outlive the run unless it holds a trash.
        let has_trash = options.trash && (rename.is_none() || options.delete.is_some());
        let tree = match (root, state) {
            (Some(root), Some(state)) => {
                let settings = LiveSettings {
                    remember: if config.some_paths { Remember::Nothing } else { Remember::Everything },
                    journal: config.some_paths || options.follow.is_some(),
                    // What is staged ahead is this program's alone.
                    safety: if workspace.is_some() { Safety::default() } else { Safety::of(options)? },
                    process_umask,
                    // A guarded entry is looked at just before it is replaced.
                    delay_updates: options.delay_updates && options.follow.is_none(),
                    exact_modes: attributes.keeps_modes(),
                    // A run for some paths leaves the others alone.
                    owner_of_kept: attributes.owner_of_kept(ownership).filter(|_| !config.some_paths),
                    trash: has_trash,
                    placed,
                };
                if !config.some_paths
                    && let Err(error) = state.take_in_trash_inside()
                {
                    report.notice(&format!(
                        "cannot move the trash of {STATE_INSIDE} to that beside the destination: {error}"
                    ));
                }
                let live = Live::open(root, state, &knowledge, settings).map_err(|error| {
                    EngineError::Destination {
                        path: config.destination.clone(),
                        doing: "preparing the private state directory",
                        error,
                    }
                })?;
                Tree::Live(Box::new(live))
            }
            (Some(root), None) => {
                let known = peeked.dir.as_ref().map(|state| Arc::new(Known::read(state)));
                let ledger = known.map(|known| Ledger::read(known, &placed));
                Tree::DryRun(Box::new(DryRun { root, ledger, trash_mount: peeked.mount }))
            }
            (None, _) => Tree::Absent,
        };
        let target = Self {
            tree,
            attributes,
            created,
            itemized_owner: ItemizedOwner { user: options.owner, group: options.group },
            partial: options.partial,
            follows: options.follow.is_some(),
            has_trash,
            workspace,
            ahead,
            zeros: if options.sparse { Zeros::Holes } else { Zeros::Written },
            report,
            former_mode: Mutex::new(former_mode),
        };
        if target.stages_ahead() {
            target.forget_ahead();
        }
        Ok(target)
    }

    /// The transfer root; none in a dry run that would have made it.
    pub(crate) fn root(&self) -> Option<&Root> {
        match &self.tree {
            Tree::Absent => None,
            Tree::DryRun(dry) => Some(&dry.root),
            Tree::Live(live) => Some(&live.root),
        }
    }

    /// Whether the run is one of many on a stream.
    pub(crate) fn follows(&self) -> bool {
        self.follows
    }

    /// Whether nothing is changed.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.live().is_none()
    }

    fn live(&self) -> Option<&Live> {
        match &self.tree {
            Tree::Live(live) => Some(live),
            Tree::Absent | Tree::DryRun(_) => None,
        }
    }

    fn ledger(&self) -> Option<&Ledger> {
        match &self.tree {
            Tree::Absent => None,
            Tree::DryRun(dry) => dry.ledger.as_ref(),
            Tree::Live(live) => Some(&live.ledger),
        }
    }

    /// The directory of an entry, if it may be changed.
    fn live_handle<'e>(&self, entry: &DestinationEntry<'e>) -> Option<&'e DirHandle> {
        self.live().and(entry.directory.handle())
    }

    /// When the run began, by the clock of the destination's file system; none in a dry run.
    pub(crate) fn began(&self) -> Option<Timestamp> {
        self.live().map(|live| live.began)
    }

    /// The directory for lists that grow with the tree; none in a dry run, which writes no file.
    pub(crate) fn list_directory(&self) -> Option<&DirHandle> {
        self.live().map(|live| &live.scratch)
    }

    /// Learns the names of the sender's user and group numbers.
    pub(crate) fn learn_owners(
        &self,
        users: &[OwnerName<'_>],
        groups: &[OwnerName<'_>],
    ) -> Result<(), EngineError> {
        self.attributes.learn(users, groups)
    }

    /// Whether an entry has the name of a directory of ours in the workspace: a staging directory, or a state directory of this
    /// run or of a run by another user, who may find no place for it beside the workspace.
    pub(crate) fn is_reserved(&self, directory: &RelPath, entry: &Name) -> bool {
        if entry.as_bytes() == STAGING_INSIDE.as_bytes() {
            return true;
        }
        directory.is_root()
            && (entry.as_bytes() == STATE_INSIDE.as_bytes()
                || self.live().is_some_and(|live| live.state.is_called(entry)))
    }

    /// Fails when somebody removed the directories that the run works in: then nothing arrives any more.
    pub(crate) fn check_still_there(&self) -> Result<(), EngineError> {
        let root = self.root().map(|root| (root.handle(), "the destination"));
        let staging =
            self.live().map(|live| (live.areas.usual().dir().clone(), "the private state directory"));
        for (dir, what) in root.into_iter().chain(staging) {
            if dir.stat_self().is_ok_and(|stat| stat.nlink == 0) {
                let doing = format!("{what} was removed while the run went on; run it again");
                return Err(EngineError::FileIo { doing, error: io::ErrorKind::NotFound.into() });
            }
        }
        Ok(())
    }

    /// Removes the staging directory that an interrupted run left in a directory, unless another run uses it. Answers whether it
    /// is gone; in a dry run, whether it would be.
    pub(crate) fn sweep(&self, path: &RelPath, directory: &DirHandle) -> bool {
        match self.live() {
            Some(_) => self.change_in(path, directory, || areas::sweep(directory)).unwrap_or(false),
            None => areas::may_sweep(directory),
        }
    }

    /// See [`LateDirectories::change_in`](late_directories::LateDirectories::change_in).
    pub(crate) fn change_in<T>(
        &self,
        path: &RelPath,
        dir: &DirHandle,
        mut change: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        match self.live() {
            Some(live) => live.late_directories.change_in(path, dir, change),
            None => change(),
        }
    }

    /// Whether earlier runs knew a file of this size, which may have moved.
    pub(crate) fn may_have_content_of(&self, size: u64) -> bool {
        self.live().is_some_and(|live| live.memory.has_size(size))
    }

    /// Remembers contents of a directory, of which `known` was known, for the next run.
    pub(crate) fn remember(&self, directory: &RelPath, records: Vec<Record>, known: &Origins) {
        if let Some(live) = self.live() {
            live.ledger.contents_placed(directory, &records, known);
            live.memory.remember(directory, records);
        }
    }

    /// See [`Ledger::origins_in`].
    pub(crate) fn origins_in(&self, directory: &RelPath) -> Origins {
        self.ledger().map(|ledger| ledger.origins_in(directory)).unwrap_or_default()
    }

    /// See [`Ledger::placed`].
    pub(crate) fn note_one_placed(&self, directory: &RelPath, name: &Name) {
        if let Some(live) = self.live() {
            live.ledger.placed(directory, name);
        }
    }

    /// See [`Ledger::note`].
    pub(crate) fn note_placed<'n>(&self, directory: &RelPath, names: impl IntoIterator<Item = &'n Name>) {
        if let Some(live) = self.live() {
            live.ledger.note(directory, names);
        }
    }

    /// See [`Ledger::directory_placed`].
    pub(crate) fn note_directory_placed(&self, directory: &RelPath, name: &Name) {
        if let Some(live) = self.live() {
            live.ledger.directory_placed(directory, name);
        }
    }

    /// See [`Ledger::gone`].
    pub(crate) fn note_gone(&self, directory: &RelPath, name: &Name) {
        if let Some(live) = self.live() {
            live.ledger.gone(directory, name);
        }
    }

    /// Puts the new ledger and the new cache in the places of the old ones, or ends the journal of the run.
    pub(crate) fn settle_knowledge(&self) {
        if let Some(live) = self.live() {
            let settled = live.ledger.settle(&live.root, &live.memory, self.report);
            let absorbed = live.memory.save() && settled;
            live.ledger.settle_journal(&live.state.dir, absorbed, self.report);
        }
    }

    /// Whether entries that no run has put there move to a trash when they go. A dry run answers for the real one.
    pub(crate) fn has_trash(&self) -> bool {
        self.has_trash
    }

    /// In a dry run, whether no rename reaches the trash from a directory. Only mounts are foretold, and no other borders within a file
    /// system.
    pub(crate) fn is_beyond_trash(&self, dir: &DirHandle) -> bool {
        let Tree::DryRun(dry) = &self.tree else { return false };
        dry.trash_mount.is_some_and(|trash| dir.mount().is_ok_and(|mount| mount != trash))
    }

    /// Keeps a file that is about to be replaced in the trash, because no run has put it there as it is. Where the trash cannot have it,
    /// that is told: the source's file takes its place in any case.
    pub(crate) fn keep_replaced(&self, entry: &DestinationEntry<'_>, existing: &Stat) {
        let (path, Some(dir)) = (entry.path(), entry.directory.handle()) else { return };
        let kept = match self.discards() {
            Some(discards) => discards.keep(entry.directory.path(), dir, &entry.offered.name, existing),
            None if self.is_beyond_trash(dir) => Err(io::ErrorKind::CrossesDevices.into()),
            None => Ok(()),
        };
        match kept {
            Ok(()) => self.report.replaced(&path),
            // It went, or a try before this one has kept it.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => {}
            Err(error) => {
                let text = format!(
                    "no run has put it there as it is, and it is replaced without a copy in the trash: {error}"
                );
                self.report.kept(&path, &text);
            }
        }
    }

    /// Moves an entry of the directory at `parent` to the trash.
    ///
    /// # Errors
    /// [`io::ErrorKind::CrossesDevices`] when the entry is on another file system. Then it is where it was.
    pub(crate) fn discard(
        &self,
        parent: &RelPath,
        dir: &DirHandle,
        name: &Name,
        stat: &Stat,
    ) -> io::Result<()> {
        self.discards()
            .map_or(Ok(()), |discards| self.change_in(parent, dir, || discards.put(parent, dir, name, stat)))
    }

    /// Makes a directory in the trash like the one at `path`.
    pub(crate) fn discard_directory(&self, path: &RelPath) -> io::Result<()> {
        self.discards().map_or(Ok(()), |discards| discards.put_directory(path))
    }

    fn discards(&self) -> Option<&Discards> {
        self.live().and_then(|live| live.discards.as_ref())
    }

    /// The parts of interrupted files, where the run keeps and uses them (`--partial`).
    pub(crate) fn partials(&self) -> Option<&Partials> {
        self.live().filter(|_| self.partial).map(|live| &live.partials)
    }

    /// Where the basis of a delta may lie.
    pub(crate) fn bases(&self) -> Bases<'_> {
        Bases { partials: self.partials(), workspace: self.workspace.as_ref() }
    }

    /// Notes an entry that stays although the source does not have it.
    pub(crate) fn note_kept(&self, path: &RelPath) -> Result<(), EngineError> {
        self.live().map_or(Ok(()), |live| live.kept.note(path))
    }

    /// See [`Live::move_updates`].
    pub(crate) fn move_updates(&self) -> Result<(), EngineError> {
        self.live().map_or(Ok(()), |live| live.move_updates(self.report))
    }

    /// See [`Live::move_where_directories_were`].
    pub(crate) fn move_where_directories_were(&self) -> Result<(), EngineError> {
        self.live().map_or(Ok(()), |live| live.move_where_directories_were(self.report))
    }

    /// See [`KeptEntries::give_away`](kept::KeptEntries::give_away).
    pub(crate) fn give_away(&self) -> Result<(), EngineError> {
        self.live().map_or(Ok(()), |live| live.kept.give_away(&live.root, self.report))
    }

    /// Removes the parts that interrupted runs left of any file, and what was staged ahead: every file is whole now, or is no longer
    /// wanted.
    pub(crate) fn forget_partials(&self) {
        if let Some(live) = self.live() {
            live.partials.forget_all();
            if !self.follows {
                // What cannot be removed is removed by another run.
                let _ = live.state.remove_ahead();
            }
        }
    }

    /// Sets the attributes of directories that waited for the end.
    pub(crate) fn set_late_directories(&self) -> Result<(), EngineError> {
        let Some(live) = self.live() else { return Ok(()) };
        live.late_directories.set(&live.root, self.report)?;
        if let Err(error) = self.former_mode.enter().restore() {
            self.report.problem(b"", "cannot give the directory its mode back", &error);
        }
        Ok(())
    }

    /// Frees the lock of the workspace. Nothing of this run may change the workspace afterwards.
    pub(crate) fn unlock(&self) {
        if let Some(live) = self.live() {
            live.state.unlock();
        }
    }

    /// Removes what only this run needed.
    pub(crate) fn clean_up(&self) {
        if let Some(live) = self.live() {
            live.ledger.finish();
            if let Some(discards) = &live.discards
                && let Err(error) = discards.finish()
            {
                self.report.notice(&format!("cannot tidy the trash of the destination: {error}"));
            }
            live.areas.clean_up();
            // A leftover is removed by the next run.
            let _ = live.state.clean_up();
        }
    }
}

/// The entries that the sender says were put there, checked.
fn placed_by_others(options: &Options) -> Result<Vec<RelPath>, EngineError> {
    let placed = options.delete.iter().flat_map(|delete| &delete.placed);
    placed
        .map(|path| RelPath::new(path))
        .collect::<Result<_, _>>()
        .map_err(|_| EngineError::Protocol("it sent a path that no file can have"))
}
