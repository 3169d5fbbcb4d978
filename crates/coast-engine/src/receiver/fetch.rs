//! Answers a sender that asks for one entry of the destination, between two runs of a stream.

use std::io::{self, Read, Write};

use coast_tree::{ContentHasher, DirHandle, FileIdentity, Kind, Name, RelPath, Root, file_stat};
use coast_wire::limits::CHUNK_BYTES;
use coast_wire::{Class, Fetched, Pack, ToSender, WireError};

use super::Receiver;
use crate::Cancel;
use crate::error::EngineError;

impl Receiver {
    /// Answers with the entry at a path of the destination. It waits for no lock: nothing is changed, and an entry that a run replaces
    /// meanwhile is the old one or the new one.
    pub(super) fn answer(
        &self,
        path: &RelPath,
        writer: &mut impl Write,
        cancel: &Cancel,
    ) -> Result<(), EngineError> {
        self.destination.check_in_place()?;
        match &self.destination.root {
            Some(root) => send(root, path, writer, cancel),
            None => Err(refusal(path, "the destination does not exist".to_owned())),
        }
    }
}

/// Sends a regular file or a symlink. A file that is written to meanwhile is refused.
fn send(root: &Root, path: &RelPath, writer: &mut impl Write, cancel: &Cancel) -> Result<(), EngineError> {
    let failed = |error: io::Error| refusal(path, error.to_string());
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(refusal(path, "it is the whole directory".to_owned()));
    };
    let dir = root.dir(&parent).map_err(failed)?;
    let stat = dir.stat(&name).map_err(failed)?;
    match stat.map(|stat| stat.kind) {
        None => Err(refusal(path, "it does not exist".to_owned())),
        Some(Kind::File) => send_file(&dir, &name, path, writer, cancel),
        Some(Kind::Symlink) => {
            let link_target = dir.read_link(&name).map_err(failed)?;
            Ok(tell(Fetched::Symlink(&link_target), writer)?)
        }
        Some(kind) => Err(refusal(path, format!("it is a {kind}, and only files and symlinks are fetched"))),
    }
}

fn send_file(
    dir: &DirHandle,
    name: &Name,
    path: &RelPath,
    writer: &mut impl Write,
    cancel: &Cancel,
) -> Result<(), EngineError> {
    let failed = |error: io::Error| refusal(path, error.to_string());
    let changed = || refusal(path, "it changed while it was read; try again".to_owned());
    let (file, before) = dir.open_file(name).map_err(failed)?;
    #[allow(clippy::cast_possible_truncation)] // The mask leaves 12 bits.
    let mode = (before.mode & 0o7777) as u16;
    tell(Fetched::File { size: before.size, mode }, writer)?;
    let mut hasher = ContentHasher::new();
    let mut chunk = Vec::new();
    let mut left = before.size;
    while left > 0 {
        if cancel.is_cancelled() {
            return Err(EngineError::Interrupted);
        }
        chunk.clear();
        let wanted = left.min(CHUNK_BYTES as u64);
        if (&file).take(wanted).read_to_end(&mut chunk).map_err(failed)? as u64 != wanted {
            return Err(changed());
        }
        hasher.update(&chunk);
        tell(Fetched::Content(&chunk), writer)?;
        left -= wanted;
    }
    let after = file_stat(&file).map_err(failed)?;
    if FileIdentity::from(&before) != FileIdentity::from(&after) {
        return Err(changed());
    }
    Ok(tell(Fetched::End { hash: *hasher.finish().as_bytes() }, writer)?)
}

fn refusal(path: &RelPath, reason: String) -> EngineError {
    EngineError::Fetch { path: path.clone(), reason }
}

fn tell(fetched: Fetched<'_>, writer: &mut impl Write) -> Result<(), WireError> {
    let mut pack = Pack::new(Class::Control);
    pack.push(&ToSender::Fetched(fetched))?;
    writer.write_all(&pack.seal(None)?)?;
    Ok(writer.flush()?)
}
