//! A tree that a run changes, with the owners of what the run does to it.

use std::io;

use coast_tree::state::StateDirectory;
use coast_tree::{DirHandle, RelPath, Root, Timestamp};
use coast_wire::Own;

use super::areas::StagingAreas;
use super::discards::Discards;
use super::kept::KeptEntries;
use super::known::Knowledge;
use super::late_directories::LateDirectories;
use super::ledger::{Ledger, Writes};
use super::memory::Memory;
use super::partials::Partials;
use super::placement::DelayedMoves;
use super::safety::Safety;
use crate::cache::Remember;
use crate::receiver::config::LoginUser;

/// A tree that is changed.
pub(super) struct Live {
    pub(super) root: Root,
    pub(super) state: StateDirectory,
    /// A directory of the state directory that only this run uses.
    pub(super) scratch: DirHandle,
    pub(super) areas: StagingAreas,
    pub(super) delayed_moves: DelayedMoves,
    pub(super) late_directories: LateDirectories,
    pub(super) memory: Memory,
    pub(super) ledger: Ledger,
    pub(super) safety: Safety,
    /// None where deleted entries are gone.
    pub(super) discards: Option<Discards>,
    pub(super) partials: Partials,
    pub(super) kept: KeptEntries,
    /// When the run began, by the clock of the destination's file system.
    pub(super) began: Timestamp,
}

/// The settings of a tree that is changed.
pub(super) struct LiveSettings {
    pub(super) remember: Remember,
    /// Whether the run notes in the journal what it does.
    pub(super) journal: bool,
    pub(super) safety: Safety,
    pub(super) process_umask: u32,
    pub(super) delay_updates: bool,
    pub(super) exact_modes: bool,
    /// The user who gets entries that stay although they are not sent, and which of them.
    pub(super) owner_of_kept: Option<(LoginUser, Own)>,
    /// Whether there is a trash.
    pub(super) trash: bool,
    /// Entries that the sender says were put there.
    pub(super) placed: Vec<RelPath>,
}

impl Live {
    /// Prepares the tree below `root` for a run.
    pub(super) fn open(
        root: Root,
        state: StateDirectory,
        knowledge: &Knowledge,
        settings: LiveSettings,
    ) -> io::Result<Self> {
        let scratch = state.staging()?;
        let areas = StagingAreas::open(scratch.clone(), &root, settings.process_umask)?;
        // The usual area was made just now, and on the file system of the workspace.
        let on_target = areas.usual().dir();
        let known = knowledge.current(&state, on_target);
        let writes = Writes { ledger: settings.remember == Remember::Everything, journal: settings.journal };
        Ok(Self {
            began: on_target.stat_self()?.ctime,
            delayed_moves: DelayedMoves::new(&scratch, settings.delay_updates),
            late_directories: LateDirectories::new(&scratch, settings.exact_modes),
            memory: Memory::open(&state, known.clone(), settings.remember),
            ledger: Ledger::open(&state, known, &settings.placed, writes),
            safety: settings.safety,
            discards: settings
                .trash
                .then(|| Discards::new(state.dir.clone(), root.clone(), settings.remember)),
            partials: Partials::new(state.dir.clone()),
            kept: KeptEntries::new(&scratch, settings.owner_of_kept),
            root,
            state,
            scratch,
            areas,
        })
    }
}
