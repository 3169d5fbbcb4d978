//! Every limit on what a peer may send, in one place.
//!
//! The other side is hostile until its bytes are checked: each length is compared with a constant of this
//! file before anything is allocated for it, and each credit is counted by the side that grants it. What a path and a
//! set of filter rules may be is for `coast-tree` and `coast-filter` to say, which read more of them than a peer sends.

/// Bytes of a frame's payload before compression. Content is packed into frames of about
/// [`PACK_BYTES`]; the head room is for a directory part or a signature.
pub const MAX_FRAME_BYTES: usize = 6 << 20;

/// Bytes at which a pack of small files is closed. Large enough that a cipher packet, a system call and a
/// zstd frame header cost nothing per file, small enough that both ends work on several at once.
pub const PACK_BYTES: usize = 1 << 20;

/// Bytes at which a pack of small files that is not compressed is closed. A larger one compresses nothing better, and leaves the
/// processor's cache.
pub const PLAIN_PACK_BYTES: usize = 256 << 10;

/// Bytes at which a pack of small files is closed where the link is so slow that a high level of compression pays: in 4 MiB zstd finds
/// 4 % more than in 1 MiB. With a quarter more for the last file it fits into a frame.
pub const LARGE_PACK_BYTES: usize = 4 << 20;
const _: () = assert!(LARGE_PACK_BYTES + LARGE_PACK_BYTES / 4 < MAX_FRAME_BYTES);

/// Content bytes of one chunk of a large file.
pub const CHUNK_BYTES: usize = 1 << 20;

/// A file up to this many bytes travels whole in one message; a larger one in chunks.
pub const MAX_WHOLE_BYTES: u64 = CHUNK_BYTES as u64;

/// Delta bytes of one chunk: what was gathered, the literals of a window that matched nothing, the blocks that were
/// held back before, and their commands.
pub const MAX_DELTA_BYTES: usize = 5 << 20;

/// Zeros that one piece of a large file may stand for, in bytes. Hashing as many takes the receiver a tenth of a second.
pub const MAX_HOLE_BYTES: u64 = 256 << 20;

/// Bytes of a block up to which a file is diffed, so that nine blocks held back fit into one chunk. Files of more
/// than some 130 GB are sent whole.
pub const MAX_DIFF_BLOCK_BYTES: u32 = 384 << 10;

/// Entries in one part of a directory's listing.
pub const MAX_PART_ENTRIES: usize = 8 << 10;

/// Entries (each directory part counts one more) that the sender may have offered and the receiver not yet
/// settled. This is the window that bounds the memory of both sides, whatever the size of the tree.
pub const WINDOW_ENTRIES: usize = 48 << 10;

/// Chunks of one large file that a sender may let overtake one that leaves late.
pub const MAX_OVERTAKING_CHUNKS: u32 = 32;

/// Chunks of one large file that a receiver holds ahead of the next one in order; workers that bring later ones wait.
pub const MAX_CHUNKS_HELD: u32 = 64;

/// Threads that work on either side. More wait for the cipher, which is one thread.
pub const MAX_WORKERS: u32 = 8;

/// How far ahead of the next one a chunk can be at all: what is held, what waits (one for each worker), and what may
/// overtake. Beyond that the sender breaks its own rule.
pub const MAX_CHUNKS_AHEAD: u32 = MAX_CHUNKS_HELD + MAX_WORKERS + MAX_OVERTAKING_CHUNKS;

/// A file up to this many bytes may travel with the offer of its directory, before it is asked for.
pub const MAX_UNASKED_BYTES: u64 = 64 << 10;

/// Bytes of content that nobody asked for, in the parts that the sender has offered and the receiver has not settled.
pub const UNASKED_WINDOW_BYTES: usize = 4 << 20;

/// Renames that a sender may announce in a run.
pub const MAX_RENAMES: usize = 1024;

/// Bytes of a symlink's target (`PATH_MAX` on Linux).
pub const MAX_TARGET_BYTES: usize = 4096;

/// Bytes of a signature.
pub const MAX_SIGNATURE_BYTES: usize = 4 << 20;

/// Bytes of signatures that the receiver may have sent and whose deltas have not yet arrived.
pub const SIGNATURE_WINDOW_BYTES: usize = 16 << 20;

/// Bytes of a message for people that one side sends the other.
pub const MAX_TEXT_BYTES: usize = 4 << 10;

/// Streams that carry one run to the receiver. OpenSSH lets ten commands run on a connection by default.
pub const MAX_STREAMS: u8 = 8;

/// Bytes that one of several streams carries before the next one takes its turn: two of OpenSSH's packets.
pub const STRIPE_BYTES: usize = 64 << 10;

/// Users, and groups, whose names a sender may tell in a run; each tree has the few of its machine.
pub const MAX_OWNER_NAMES: usize = 64 << 10;

/// Entries that one answer names as left behind; more are only counted.
pub const MAX_KEPT_NAMED: usize = 100;

/// Entries of a trash that one answer names; more are only counted.
pub const MAX_TRASHED_NAMED: usize = 4000;

/// Bytes of the paths of these entries. With what surrounds each path they fit into [`MAX_ANSWER_BYTES`].
pub const MAX_TRASHED_PATH_BYTES: usize = 2 << 20;

/// Workspaces, and leftovers of an account, that one answer names; more are only counted.
pub const MAX_SURVEYED: u64 = 4000;

/// Bytes that answers to one question may have in all.
pub const MAX_ANSWER_BYTES: u64 = 4 << 20;
