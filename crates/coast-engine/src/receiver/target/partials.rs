//! What interrupted runs left of large files (`--partial`), in the private state directory.

use std::fs::File;
use std::io;
use std::sync::OnceLock;

use coast_tree::state::{PARTIAL, name, open_private};
use coast_tree::{ContentHash, DirHandle, Name, Stat, clone_contents, file_stat, remove_entry};

use super::create::StagedFile;
use super::staging::Staged;

/// The parts of files that interrupted runs left.
pub(crate) struct Partials {
    /// The private state directory.
    state: DirHandle,
    /// The directory with the parts, as the run found it when it first needed one. None if there was no such directory.
    found: OnceLock<Option<DirHandle>>,
}

impl Partials {
    pub(super) fn new(state: DirHandle) -> Self {
        Self { state, found: OnceLock::new() }
    }

    /// The name under which the part of a file is kept.
    pub(super) fn key(path: &[u8]) -> Name {
        let hash = ContentHash::of(path).to_string();
        Name::new(hash.as_bytes()).expect("hexadecimal digits are a name")
    }

    /// Whether an interrupted run left a part of this file.
    pub(crate) fn has(&self, path: &[u8]) -> bool {
        self.files().is_some_and(|files| files.stat(&Self::key(path)).is_ok_and(|stat| stat.is_some()))
    }

    /// Opens a part.
    pub(super) fn open(&self, key: &Name) -> io::Result<(File, Stat)> {
        self.files().ok_or(io::ErrorKind::NotFound)?.open_file(key)
    }

    /// Keeps the part of a file that has arrived, for the next run. A part that cannot be kept is sent again.
    pub(crate) fn keep(&self, path: &[u8], StagedFile { staged, .. }: StagedFile) {
        let _ = self.try_keep(&staged, &Self::key(path));
    }

    /// Moves the part to the state directory, or copies it where no rename reaches that from its staging area.
    fn try_keep(&self, staged: &Staged, key: &Name) -> io::Result<()> {
        let files = open_private(&self.state, &name(PARTIAL), None)?;
        match staged.move_to(&files, key) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                let from = staged.open()?;
                // A leftover of an earlier run.
                let _ = files.unlink(key);
                let to = files.create_file(key, 0o600)?;
                clone_contents(&from, &to, file_stat(&from)?.size).map(|_| ())
            }
            moved => moved,
        }
    }

    /// Removes a part. One that stays is the basis of another run, which verifies what it makes of it.
    pub(super) fn forget(&self, key: &Name) {
        let _ = self.files().map(|files| files.unlink(key));
    }

    /// Removes all parts: every file is whole now, or is no longer wanted.
    pub(super) fn forget_all(&self) {
        let _ = remove_entry(&self.state, &name(PARTIAL));
    }

    fn files(&self) -> Option<&DirHandle> {
        self.found.get_or_init(|| self.state.child(&name(PARTIAL)).ok()).as_ref()
    }
}
