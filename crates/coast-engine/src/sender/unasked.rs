//! Contents of small files that go with the offer, before the receiver asks for them: in a run about a few paths that just changed it
//! would ask for all of them, and a save costs one way and no more.

use std::io::{self, Read};

use coast_tree::{ContentHash, DirHandle, FileIdentity, Kind, Name, Stat, Timestamp, file_stat};
use coast_wire::limits::MAX_UNASKED_BYTES;

use super::answer::ATTEMPTS;
use super::window::Window;

/// The content of a small file. Its room in the window is taken.
pub(super) struct Unasked {
    pub(super) bytes: Vec<u8>,
    pub(super) hash: ContentHash,
    /// From before the file was looked at.
    pub(super) observed_at: Timestamp,
}

/// Reads the content of a small file, and brings `stat` up to date with it. None for a file that is large or is no regular one, that
/// the window has no room for, and that changes while it is read or cannot be read: the receiver asks for it, and that is answered
/// as usual.
///
/// # Errors
/// None but the system's answer to a look at an open file.
pub(super) fn read(
    window: &Window,
    dir: &DirHandle,
    name: &Name,
    stat: &mut Stat,
) -> io::Result<Option<Unasked>> {
    for _ in 0..ATTEMPTS {
        if stat.kind != Kind::File || stat.size > MAX_UNASKED_BYTES {
            return Ok(None);
        }
        let observed_at = Timestamp::now();
        let Ok((file, opened)) = dir.open_file(name) else { return Ok(None) };
        *stat = opened;
        let Some(length) = usize::try_from(opened.size).ok().filter(|_| opened.size <= MAX_UNASKED_BYTES)
        else {
            return Ok(None);
        };
        if !window.try_take_unasked(length) {
            return Ok(None);
        }
        // Room for one byte more shows a file that grew.
        let mut bytes = Vec::with_capacity(length + 1);
        let read = (&file).take(opened.size + 1).read_to_end(&mut bytes);
        let after = file_stat(&file)?;
        if read.is_ok_and(|read| read == length) && FileIdentity::from(&after) == FileIdentity::from(&opened)
        {
            let hash = ContentHash::of(&bytes);
            return Ok(Some(Unasked { bytes, hash, observed_at }));
        }
        window.release_unasked(length);
        *stat = after;
    }
    Ok(None)
}
