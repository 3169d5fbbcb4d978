//! Bases of deltas: the file as it is at the destination, or what an interrupted run left of it.

use std::fs::File;

use coast_tree::{FileIdentity, Kind, Name};

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
}

impl Basis {
    /// Opens the most useful basis for a file.
    pub(crate) fn open(entry: &DestinationEntry<'_>, partials: Option<&Partials>) -> Option<(File, Self)> {
        let partial = partials.and_then(|partials| {
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
        existing?;
        let (file, stat) = entry.directory.handle()?.open_file(&entry.offered.name).ok()?;
        Some((file, Self { place: BasisPlace::Destination, identity: FileIdentity::from(&stat) }))
    }

    /// Opens the file again that a signature was made of: the file `name` of a directory. None when it is no longer that, or
    /// cannot be opened.
    pub(crate) fn reopen(
        &self,
        directory: &DestinationDirectory,
        name: &Name,
        partials: Option<&Partials>,
    ) -> Option<File> {
        let opened = match &self.place {
            BasisPlace::Destination => directory.handle()?.open_file(name),
            BasisPlace::Partial(key) => partials?.open(key),
        };
        let (file, stat) = opened.ok()?;
        (FileIdentity::from(&stat) == self.identity).then_some(file)
    }

    /// Removes the part that an interrupted run left, if it was this basis: the file is whole now, or the part is of no use.
    pub(crate) fn forget_partial(&self, partials: Option<&Partials>) {
        if let (BasisPlace::Partial(key), Some(partials)) = (&self.place, partials) {
            partials.forget(key);
        }
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.identity.size
    }
}
