//! Renames that the sender has announced.

use std::collections::HashMap;
use std::sync::Mutex;

use coast_tree::{Kind, LockExt, RelPath};
use coast_wire::Options;
use coast_wire::limits::MAX_RENAMES;

use super::Transfer;
use super::part::Part;
use crate::error::EngineError;
use crate::receiver::target::DestinationDirectory;

/// The renames that are not carried out yet.
#[derive(Default)]
pub(super) struct Renames {
    /// The old path of each new one. The lock is held while an entry moves, so that no other thread finds the source's own entry at
    /// the old path meanwhile. Locks of the target and of the deletion are taken while it is held, never the other way round.
    pending: Mutex<HashMap<RelPath, RelPath>>,
}

impl Renames {
    /// # Errors
    /// When there are too many, or a path is none that an entry can have.
    pub(super) fn of(options: &Options) -> Result<Self, EngineError> {
        let renamed = options.follow.iter().flat_map(|follow| &follow.renamed);
        let paths =
            |renamed: &coast_wire::Renamed| Ok((RelPath::new(&renamed.to)?, RelPath::new(&renamed.from)?));
        let pending = renamed.map(paths).collect::<Result<HashMap<_, _>, coast_tree::BadPath>>();
        let pending = pending.map_err(|_| EngineError::Protocol("it sent a path that no file can have"))?;
        if pending.len() > MAX_RENAMES {
            return Err(EngineError::Protocol("it announced more renames than it may"));
        }
        Ok(Self { pending: Mutex::new(pending) })
    }
}

/// Moves entries of the destination to those names of a part to which the source has renamed them. Called before the directory of
/// the part is listed, and before what is known of it is read. An entry that may not move is brought like any other.
pub(super) fn carry_out(
    transfer: &Transfer<'_>,
    part: &Part,
    directory: &DestinationDirectory,
) -> Result<(), EngineError> {
    let mut pending = transfer.renames.pending.enter();
    let Some(dir) = directory.handle().filter(|_| !pending.is_empty()) else { return Ok(()) };
    for entry in &part.entries {
        let Ok(to) = part.path.join(&entry.name) else { continue };
        // The source has an entry at this path again, so the one that is there stays.
        pending.retain(|_, from| *from != to);
        let Some(from) = pending.remove(&to) else { continue };
        let kind = entry.kind();
        let is_free = dir.stat(&entry.name).is_ok_and(|existing| existing.is_none());
        // The others are made anew as quickly.
        if !is_free || !matches!(kind, Kind::File | Kind::Directory) {
            continue;
        }
        let Some(leaving) = transfer.deletion.leaving(&from, &to, kind)? else { continue };
        if transfer.target.rename(&leaving, (&part.path, dir, &entry.name)) {
            transfer.deletion.has_left(from);
        }
    }
    Ok(())
}
