//! The destination tree, and everything that is done to it.
//!
//! [`Target`] owns the transfer root, the staging area, the content cache and the attributes that wait for the end of the run.
//! It knows neither what is under way nor what will be deleted: its verbs bring one entry, and it is told which.

mod areas;
mod attributes;
mod basis;
mod create;
mod directory;
mod fix;
mod inheritance;
mod late_directories;
mod memory;
mod owner;
mod placement;
mod staging;

use std::io;
use std::sync::Mutex;

use coast_tree::state::{CACHE, CLOCK, NEW_CACHE, STAGING_INSIDE, STATE_INSIDE, StateDirectory, name};
use coast_tree::{ClockStep, DirHandle, Name, RelPath, Root, Timestamp, Zeros};
use coast_wire::{Options, OwnerName, Ownership};

use super::Receiver;
use super::destination::{Destination, FormerMode};
use super::report::Report;
use super::spill::{Spill, StoredPath};
use crate::cache::{Cache, Remember};
use crate::error::EngineError;
use areas::StagingAreas;
use attributes::Attributes;
use late_directories::LateDirectory;
use placement::Deferred;

pub(crate) use attributes::same_time;
pub(crate) use basis::Basis;
pub(crate) use create::{Cloned, StagedFile};
pub(crate) use directory::{DestinationDirectory, DestinationEntry};
pub(crate) use staging::process_umask;

/// The destination of a run.
pub(crate) struct Target<'a> {
    tree: Tree,
    attributes: Attributes,
    /// Whether the run made the transfer root.
    created: bool,
    /// Whether changes of user and of group are itemized.
    itemizes_owner: (bool, bool),
    /// The user and group that get the entries which stay although the source does not have them.
    workspace_owner: Option<(u32, u32)>,
    /// Whether replaced entries wait until the end of the run.
    delay_updates: bool,
    /// Whether parts of interrupted files are kept, and used.
    partial: bool,
    /// Whether runs of zeros become holes (`-S`).
    zeros: Zeros,
    report: &'a Report<'a>,
    /// The mode that the transfer root gets back, unless the sender offers another one. Dropped last.
    former_mode: Mutex<FormerMode>,
}

/// How much of the destination there is.
enum Tree {
    /// A dry run would have made the transfer root.
    Absent,
    /// A dry run changes nothing in this tree.
    DryRun(Root),
    Live(Box<Live>),
}

/// A tree that is changed.
struct Live {
    root: Root,
    state: StateDirectory,
    /// A directory of the state directory that only this run uses.
    scratch: DirHandle,
    areas: StagingAreas,
    cache: Cache,
    /// None where the clock of the file system could not be measured: then nothing is remembered.
    clock_step: Option<ClockStep>,
    /// When the run began, by the clock of the destination's file system.
    began: Timestamp,
    /// Replaced entries that move into place together.
    deferred: Spill<Deferred>,
    /// Entries that wait until a directory has made way for them.
    in_the_way: Spill<Deferred>,
    /// Entries that stay although the source does not have them.
    kept: Spill<StoredPath>,
    late_directories: Spill<LateDirectory>,
}

impl<'a> Target<'a> {
    /// Prepares an opened destination for a run.
    pub(crate) fn open(
        Receiver { config, destination, names, process_umask }: Receiver,
        options: &Options,
        report: &'a Report<'a>,
    ) -> Result<Self, EngineError> {
        let Destination { root, created, former_mode, state, .. } = destination;
        // A file system that keeps no owners cannot give a workspace away. An explicit `-o`, `-g` or `--chown` is tried all the same.
        let given_away = options.ownership == Ownership::LoginUser;
        let keeps_owners = state.as_ref().is_none_or(StateDirectory::is_private);
        let ownership = if given_away && !keeps_owners { &Ownership::Receiver } else { &options.ownership };
        let attributes = Attributes::new(options, ownership, config.umask, config.login, names)?;
        let tree = match (root, state) {
            (Some(root), Some(state)) => {
                let remember = if config.some_paths { Remember::Nothing } else { Remember::Everything };
                let live = Live::open(root, state, remember, process_umask).map_err(|error| {
                    EngineError::Destination {
                        path: config.destination,
                        doing: "preparing the private state directory",
                        error,
                    }
                })?;
                Tree::Live(Box::new(live))
            }
            (Some(root), None) => Tree::DryRun(root),
            (None, _) => Tree::Absent,
        };
        // A run for some paths leaves the others alone.
        let workspace_owner = attributes.whole_workspace_owner(ownership).filter(|_| !config.some_paths);
        Ok(Self {
            tree,
            attributes,
            created,
            itemizes_owner: (options.owner, options.group),
            workspace_owner,
            delay_updates: options.delay_updates,
            partial: options.partial,
            zeros: if options.sparse { Zeros::Holes } else { Zeros::Written },
            report,
            former_mode: Mutex::new(former_mode),
        })
    }

    /// The transfer root; none in a dry run that would have made it.
    pub(crate) fn root(&self) -> Option<&Root> {
        match &self.tree {
            Tree::Absent => None,
            Tree::DryRun(root) => Some(root),
            Tree::Live(live) => Some(&live.root),
        }
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

    /// Removes what only this run needed.
    pub(crate) fn clean_up(&self) {
        if let Some(live) = self.live() {
            live.areas.clean_up();
            // A leftover is removed by the next run.
            let _ = live.state.clean_up();
        }
    }
}

impl Live {
    fn open(root: Root, state: StateDirectory, remember: Remember, process_umask: u32) -> io::Result<Self> {
        let scratch = state.staging()?;
        let areas = StagingAreas::open(scratch.clone(), &root, process_umask)?;
        // The usual area was made just now, and on the file system of the workspace.
        let on_target = areas.usual().dir();
        let began = on_target.stat_self()?.ctime;
        let clock_step = ClockStep::measure(on_target, &name(CLOCK)).ok();
        let cache = match state.is_private() {
            true => Cache::open_in(&state.dir, &name(CACHE), &name(NEW_CACHE), remember),
            false => Cache::none(),
        };
        let dir = Some(&scratch);
        Ok(Self {
            began,
            deferred: Spill::new(dir, "deferred"),
            in_the_way: Spill::new(dir, "in-the-way"),
            kept: Spill::new(dir, "kept"),
            late_directories: Spill::new(dir, "directories"),
            root,
            state,
            scratch,
            areas,
            cache,
            clock_step,
        })
    }
}
