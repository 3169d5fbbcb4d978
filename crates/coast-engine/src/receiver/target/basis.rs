//! Bases of deltas: the file as it is at the destination, or what an interrupted run left of it.

use std::fs::File;
use std::io;

use coast_tree::state::{PARTIAL, name};
use coast_tree::{ContentHash, DirHandle, FileIdentity, Kind, Name};

use super::create::StagedFile;
use super::directory::{DestinationDirectory, DestinationEntry};
use super::{Live, Target};

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
    /// Its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.identity.size
    }
}

impl Target<'_> {
    /// Opens the most useful basis for a file.
    pub(crate) fn open_basis(&self, entry: &DestinationEntry<'_>) -> Option<(File, Basis)> {
        let partial = self.partial_files().and_then(|dir| {
            let key = partial_key(&entry.path());
            let (file, stat) = dir.open_file(&key).ok()?;
            Some((file, Basis { place: BasisPlace::Partial(key), identity: FileIdentity::from(&stat) }))
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
        Some((file, Basis { place: BasisPlace::Destination, identity: FileIdentity::from(&stat) }))
    }

    /// Opens the file again that a signature was made of; none when it is no longer that.
    pub(crate) fn reopen_basis(
        &self,
        basis: &Basis,
        directory: &DestinationDirectory,
        name: &Name,
    ) -> io::Result<Option<File>> {
        let (file, stat) = match (&basis.place, directory.handle(), self.partial_files()) {
            (BasisPlace::Destination, Some(dir), _) => dir.open_file(name)?,
            (BasisPlace::Partial(key), _, Some(partial)) => partial.open_file(key)?,
            _ => return Ok(None),
        };
        Ok((FileIdentity::from(&stat) == basis.identity).then_some(file))
    }

    /// Whether an interrupted run left a part of this file.
    pub(crate) fn has_partial(&self, entry: &DestinationEntry<'_>) -> bool {
        self.partial_files()
            .is_some_and(|dir| dir.stat(&partial_key(&entry.path())).is_ok_and(|stat| stat.is_some()))
    }

    /// Removes the part that an interrupted run left, if it was this basis: the file is whole now, or the part is of no use.
    pub(crate) fn forget_partial(&self, basis: &Basis) {
        if let (BasisPlace::Partial(key), Some(dir)) = (&basis.place, self.partial_files()) {
            // A part that stays would be the basis of another run, and checked like any.
            let _ = dir.unlink(key);
        }
    }

    /// Removes the parts that interrupted runs left of any file: every file is whole now, or is no longer wanted.
    pub(crate) fn forget_partials(&self) {
        if let Some(live) = self.live() {
            // A part that stays would be the basis of another run, and checked like any.
            let _ = live.state.forget_partials();
        }
    }

    /// Whether parts of interrupted files are kept (`--partial`).
    pub(crate) fn keeps_partials(&self) -> bool {
        self.partial && self.live().is_some()
    }

    /// Keeps the part of a file that has arrived, for the next run.
    pub(crate) fn keep_partial(&self, path: &[u8], StagedFile { staged, .. }: StagedFile) {
        if let (Some(live), Some(staged)) = (self.live(), staged.defer()) {
            // A part that cannot be kept is sent again.
            let _ = live.state.keep_partial(live.staging.dir(), &staged, &partial_key(path));
        }
    }

    fn partial_files(&self) -> Option<DirHandle> {
        let Live { state, .. } = self.live().filter(|_| self.partial)?;
        state.dir.child(&name(PARTIAL)).ok()
    }
}

/// The name under which an interrupted file is kept.
fn partial_key(path: &[u8]) -> Name {
    let hash = ContentHash::of(path).to_string();
    Name::new(hash.as_bytes()).expect("hexadecimal digits are a name")
}
