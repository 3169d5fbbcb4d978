//! Workspaces below the transfer root, whose state directories lie beside them.
//!
//! The state directory of a workspace ([`state_owner`]) stays as long as the workspace does: a run may be using it. Where rule
//! files have a say, that is not known before everything is judged, and the state directory stays even if the workspace goes;
//! the next run deletes it.

use std::collections::HashSet;

use coast_tree::state::state_owner;
use coast_tree::{DirHandle, Kind, Listed, Name};

use super::extraneous::Fate;

/// The entries of a directory that stay, and that state directories beside them may belong to.
pub(super) struct Workspaces {
    staying: HashSet<Name>,
}

impl Workspaces {
    pub(super) fn of(entries: &[Listed]) -> Self {
        Self { staying: entries.iter().filter_map(|entry| state_owner(&entry.name)).collect() }
    }

    pub(super) fn learn(&mut self, name: &Name, fate: Fate) {
        if fate == Fate::Deleted {
            self.staying.remove(name);
        }
    }

    /// Whether an entry is the state directory of a workspace beside it that stays.
    pub(super) fn is_state_in_use(&self, dir: &DirHandle, entry: &Listed) -> bool {
        entry.kind == Kind::Directory
            && state_owner(&entry.name)
                .is_some_and(|owner| self.staying.contains(&owner) && may_exist(dir, &owner))
    }
}

pub(super) fn may_exist(dir: &DirHandle, name: &Name) -> bool {
    dir.stat(name).map_or(true, |stat| stat.is_some())
}

/// The entries of a directory, those that may be state directories after those that they may belong to.
pub(super) fn states_last(mut entries: Vec<Listed>) -> Vec<Listed> {
    // A state directory may have one of its own, as `.X.coast` is an entry like any.
    entries.sort_by_key(|entry| state_owner(&entry.name).map_or(0, |_| entry.name.as_bytes().len()));
    entries
}
