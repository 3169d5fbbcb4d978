//! Bases of deltas: the file as it is at the destination or in the workspace, or what an interrupted run left of it.

use std::fs::File;
use std::io;

use coast_tree::{FileIdentity, Kind, Name, Root, Stat};

use super::directory::{DestinationDirectory, DestinationEntry};
use super::partials::Partials;

/// The file that a delta refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Basis {
    place: BasisPlace,
    identity: FileIdentity,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum BasisPlace {
    /// The file itself, as it is at the destination.
    Destination,
    /// The part that an interrupted run left, under this name.
    Partial(Name),
    /// The file in the workspace that a content is staged ahead for.
    Workspace,
}

/// Where bases may lie, beside the place of the file itself.
#[derive(Clone, Copy)]
pub(crate) struct Bases<'a> {
    pub(super) partials: Option<&'a Partials>,
    /// The workspace that contents are staged ahead for.
    pub(super) workspace: Option<&'a Root>,
}

impl Bases<'_> {
    /// Whether there may be a basis for a file that does not exist at its place.
    pub(crate) fn has(self, entry: &DestinationEntry<'_>) -> bool {
        self.partials.is_some_and(|partials| partials.has(&entry.path())) || self.workspace.is_some()
    }

    fn open_in_workspace(self, directory: &DestinationDirectory, name: &Name) -> io::Result<(File, Stat)> {
        self.workspace.ok_or(io::ErrorKind::NotFound)?.dir(directory.path())?.open_file(name)
    }
}

impl Basis {
    /// Opens the most useful basis for a file.
    pub(crate) fn open(entry: &DestinationEntry<'_>, bases: Bases<'_>) -> Option<(File, Self)> {
        let partial = bases.partials.and_then(|partials| {
            let key = Partials::key(&entry.path());
            let (file, stat) = partials.open(&key).ok()?;
            Some((file, Self { place: BasisPlace::Partial(key), identity: FileIdentity::from(&stat) }))
        });
        let existing = entry.existing.filter(|existing| existing.kind == Kind::File);
        // Of two bases the longer one has more to offer.
        if let Some(partial) = partial
            && existing.is_none_or(|existing| existing.size < partial.1.size())
        {
            return Some(partial);
        }
        let (place, opened) = match existing {
            Some(_) => (BasisPlace::Destination, entry.directory.handle()?.open_file(&entry.offered.name)),
            None => (BasisPlace::Workspace, bases.open_in_workspace(entry.directory, &entry.offered.name)),
        };
        let (file, stat) = opened.ok()?;
        Some((file, Self { place, identity: FileIdentity::from(&stat) }))
    }

    /// Opens the file again that a signature was made of: the file `name` of a directory. None when it is no longer that, or
    /// cannot be opened.
    pub(crate) fn reopen(
        &self,
        directory: &DestinationDirectory,
        name: &Name,
        bases: Bases<'_>,
    ) -> Option<File> {
        let opened = match &self.place {
            BasisPlace::Destination => directory.handle()?.open_file(name),
            BasisPlace::Partial(key) => bases.partials?.open(key),
            BasisPlace::Workspace => bases.open_in_workspace(directory, name),
        };
        let (file, stat) = opened.ok()?;
        (FileIdentity::from(&stat) == self.identity).then_some(file)
    }

    /// Removes the part that an interrupted run left, if it was this basis: the file is whole now, or the part is of no use.
    pub(crate) fn forget_partial(&self, bases: Bases<'_>) {
        if let (BasisPlace::Partial(key), Some(partials)) = (&self.place, bases.partials) {
            partials.forget(key);
        }
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.identity.size
    }
}
