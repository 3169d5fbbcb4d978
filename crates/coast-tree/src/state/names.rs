//! The names of state directories and of their entries.

use crate::{ContentHash, Name};

/// The state directory's name when it must lie inside the workspace.
pub const STATE_INSIDE: &str = ".coast-state";

/// The name of a staging directory that must lie inside the workspace. No run sends, deletes or takes for content an entry of
/// this name.
pub const STAGING_INSIDE: &str = ".coast-staging";

/// The name of the lock in the state directory.
pub const LOCK: &str = "lock";

/// The name of the content cache in the state directory.
pub const CACHE: &str = "cache";

/// The name of a content cache that is being written.
pub const NEW_CACHE: &str = "cache.new";

/// The name of the ledger in the state directory.
pub const LEDGER: &str = "ledger";

/// The name of a ledger that is being written.
pub const NEW_LEDGER: &str = "ledger.new";

/// The name of a ledger into which those of earlier runs are being merged.
pub const MERGED_LEDGER: &str = "ledger.merged";

/// The name of the journal in the state directory.
pub const JOURNAL: &str = "journal";

/// The name of a journal that is being written.
pub const NEW_JOURNAL: &str = "journal.new";

/// The name of the file with the contents that a run about everything has put at the destination so far.
pub const PLACEMENTS: &str = "placements";

/// The name of the directory of deleted entries that can be brought back.
pub(super) const TRASH: &str = "trash";

/// The name of the file by which the file system's clock is measured.
pub const CLOCK: &str = "clock";

/// The name of the directory of interrupted files.
pub const PARTIAL: &str = "partial";

/// The name of the directory of contents that were staged before the run that puts them into place.
pub const AHEAD: &str = "ahead";

pub(super) const STAGING: &str = "staging";

/// The longest name that `.{name}.coast` has room for, in bytes.
pub(super) const MAX_HIDDEN_BYTES: usize = 255 - ".".len() - ".coast".len();
const HIDDEN_HASH_BYTES: usize = 16;

/// A constant of this module as a name.
pub fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("a constant without a slash")
}

/// The name `.{name}.coast` of the state directory for the entry `of`. A name that is too long for that is cut, and a hash of
/// the whole name follows.
pub fn hidden_name(of: &Name) -> Name {
    let of = of.as_bytes();
    let (begins, hash) = match of.len() {
        0..=MAX_HIDDEN_BYTES => (of, String::new()),
        _ => (&of[..MAX_HIDDEN_BYTES - HIDDEN_HASH_BYTES], ContentHash::of(of).to_string()),
    };
    let hash = hash.as_bytes().get(..HIDDEN_HASH_BYTES).unwrap_or_default();
    Name::new(&[b".", begins, hash, b".coast"].concat())
        .expect("as short as it has to be, and without a slash")
}

/// The entry that the state directory called `name` belongs to. None if that is no name of a state directory.
pub fn state_owner(name: &Name) -> Option<Name> {
    Name::new(name.as_bytes().strip_prefix(b".")?.strip_suffix(b".coast")?).ok()
}
