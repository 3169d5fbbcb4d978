//! Contents that are staged ahead of the run that puts them into place: those of large files in a run that follows others. While
//! such a content is on its way, nobody waits for the lock of the workspace.
//!
//! Invariant: a content is used only by the process that has staged and verified it. It lies in a private directory, where nobody
//! else writes.

use std::collections::HashMap;
use std::sync::Mutex;

use coast_tree::state::{AHEAD, name};
use coast_tree::{ContentHash, Kind, LockExt, RelPath, Root, Stat, Timestamp, file_stat};
use coast_wire::{EntryKind, Update};

use super::Target;
use super::create::Cloned;
use super::directory::DestinationEntry;
use super::staging::chmod_file;
use crate::receiver::failure::{Doing, Failure};

/// How many contents are known. If there are more, all are forgotten, and sent again.
const MAX_AHEAD: usize = 1024;

/// The contents that this process has staged ahead, by the paths of the files.
#[derive(Default)]
pub(crate) struct Ahead {
    /// No other lock is taken while it is held.
    contents: Mutex<HashMap<RelPath, AheadContent>>,
}

/// A content in the directory of those that were staged ahead.
#[derive(Clone, Copy)]
struct AheadContent {
    ino: u64,
    size: u64,
    mtime: Timestamp,
    hash: ContentHash,
}

impl AheadContent {
    fn new(stat: &Stat, hash: ContentHash) -> Self {
        Self { ino: stat.ino, size: stat.size, mtime: stat.mtime, hash }
    }

    fn is(&self, stat: &Stat) -> bool {
        stat.kind == Kind::File && (stat.ino, stat.size, stat.mtime) == (self.ino, self.size, self.mtime)
    }
}

impl Ahead {
    fn get(&self, path: &RelPath) -> Option<AheadContent> {
        self.contents.enter().get(path).copied()
    }

    fn note(&self, path: RelPath, content: AheadContent) {
        let mut contents = self.contents.enter();
        if contents.len() >= MAX_AHEAD {
            contents.clear();
        }
        contents.insert(path, content);
    }
}

impl Target<'_> {
    /// Whether a content of this size was staged ahead for an entry.
    pub(crate) fn is_ahead(&self, entry: &DestinationEntry<'_>, size: u64) -> bool {
        self.ahead_of(entry).is_some_and(|content| content.size == size)
    }

    /// Makes a file from the content that was staged ahead for it, if that is this content.
    pub(crate) fn place_ahead(
        &self,
        entry: &DestinationEntry<'_>,
        hash: ContentHash,
    ) -> Result<Cloned, Failure> {
        let content = self.ahead_of(entry).filter(|content| content.hash == hash);
        let Some((content, live)) = content.zip(self.live()) else { return Ok(Cloned::NotFound) };
        let (path, own) = (entry.directory.path(), &entry.offered.name);
        let Ok(dir) = live.state.dir.child(&name(AHEAD)).and_then(|dir| Root::from_dir(dir).dir(path)) else {
            return Ok(Cloned::NotFound);
        };
        let staged = self.area_for(entry)?.take_in(&dir, own);
        // It may be gone, or lie on another file system than the place of the file.
        let Ok(staged) = staged else { return Ok(Cloned::NotFound) };
        let file = staged.open().doing("cannot open what was staged")?;
        if !content.is(&file_stat(&file).doing("cannot read its attributes")?) {
            return Ok(Cloned::NotFound);
        }
        // It was made for a place where nothing was before.
        let mode = self.desired_here(entry)?.mode.unwrap_or(0o600);
        chmod_file(&file, mode).doing("cannot set its mode")?;
        entry.inheritance()?.give_flags(&file).doing("cannot set the attributes it inherits")?;
        let record = self.finish(entry, (staged, file), hash, None)?;
        self.report.cloned(content.size);
        self.report_created(entry, EntryKind::File, Update::Local);
        Ok(Cloned::Placed(record))
    }

    /// Notes a content that this run has staged ahead.
    pub(super) fn note_ahead(&self, entry: &DestinationEntry<'_>, hash: ContentHash) {
        if !self.stages_ahead() {
            return;
        }
        let (dir, name) = (entry.directory.handle(), &entry.offered.name);
        let stat = dir.and_then(|dir| dir.stat(name).ok()?);
        if let (Some(stat), Ok(path)) = (stat, entry.directory.path().join(name)) {
            self.ahead.note(path, AheadContent::new(&stat, hash));
        }
    }

    /// Removes the contents that were staged ahead and not used by the runs after that.
    pub(super) fn forget_ahead(&self) {
        let unused = std::mem::take(&mut *self.ahead.contents.enter());
        let Some(root) = self.root() else { return };
        for path in unused.keys() {
            if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
                // It was put into place, or another process has removed it.
                let _ = root.dir(&parent).and_then(|dir| dir.unlink(&name));
            }
        }
    }

    /// Whether this run stages contents ahead.
    pub(super) fn stages_ahead(&self) -> bool {
        self.workspace.is_some()
    }

    fn ahead_of(&self, entry: &DestinationEntry<'_>) -> Option<AheadContent> {
        if !self.follows || self.stages_ahead() {
            return None;
        }
        self.ahead.get(&entry.directory.path().join(&entry.offered.name).ok()?)
    }
}
