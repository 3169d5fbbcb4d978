//! The messages between a Sender and a Receiver.
//!
//! Messages borrow from the frame they were decoded from, so content is never copied on the way in. Paths,
//! names and link targets are bytes here; the engine turns them into checked types before it uses one.

use serde::{Deserialize, Serialize};

use crate::failure::FailureKind;
use crate::fetch::Fetched;
use crate::options::Options;

/// The blake3 of a file's whole content.
pub type HashBytes = [u8; 32];

/// Names a regular file of this run: its directory part and its place in that part's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileId {
    /// The part's number, see [`Part::id`].
    pub part: u32,
    /// Index into [`Part::entries`] of that part.
    pub index: u32,
}

/// Seconds and nanoseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// Seconds since the epoch.
    pub secs: i64,
    /// Nanoseconds after the second, below 1,000,000,000.
    pub nanos: u32,
}

/// From the side that has the files to the side that shall have them.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ToReceiver<'a> {
    /// First message: what to do.
    Start(Options),
    /// The metadata of the transfer root itself, when the root is a directory of the transfer.
    Root(#[serde(borrow)] Entry<'a>),
    /// Names of owners, before the first entry that uses their numbers.
    Owners {
        #[serde(borrow)]
        users: Vec<OwnerName<'a>>,
        #[serde(borrow)]
        groups: Vec<OwnerName<'a>>,
    },
    /// One directory, or a part of one.
    Part(#[serde(borrow)] Part<'a>),
    /// The answer to a need of [`Want::Hash`].
    Hash { file: FileId, hash: HashBytes },
    /// Answer to [`Want::Content`] or [`Want::Delta`]: a file of at most
    /// [`MAX_WHOLE_BYTES`](crate::limits::MAX_WHOLE_BYTES).
    Whole {
        file: FileId,
        #[serde(borrow, with = "serde_bytes")]
        content: &'a [u8],
        hash: HashBytes,
        /// Its modification time when it was read, when times are kept.
        mtime: Option<Time>,
    },
    /// A piece of a large file. Pieces may arrive out of order.
    Chunk {
        file: FileId,
        /// Which try this is; a file that changed while it was read is sent again from the start.
        attempt: u32,
        /// The piece's number, from 0.
        sequence: u32,
        #[serde(borrow)]
        piece: Piece<'a>,
    },
    /// The file could not be sent.
    Gone { file: FileId, reason: Gone },
    /// Every directory has been offered.
    WalkDone {
        /// Whether something could not be read so far; then nothing may be deleted.
        source_errors: bool,
    },
    /// Nothing to say, still alive.
    Alive,
    /// In place of a run, on a stream that carries several: asks for the entry at this path of the destination.
    Fetch {
        #[serde(borrow, with = "serde_bytes")]
        path: &'a [u8],
    },
    /// In place of a part: its entries in short. The part itself follows if [`ToSender::Differs`] asks for it.
    Digest(#[serde(borrow)] PartDigest<'a>),
    /// From now on the receiver asks for the whole content of files of fewer bytes than this, also where it has a basis. 0 ends that.
    WholeBelow(u64),
}

/// The content of a [`ToReceiver::Chunk`].
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Piece<'a> {
    /// Content bytes that follow those of the piece before.
    Content(#[serde(borrow, with = "serde_bytes")] &'a [u8]),
    /// A delta against the basis whose signature was sent, producing the bytes that follow.
    Delta(#[serde(borrow, with = "serde_bytes")] &'a [u8]),
    /// Zeros that follow, which the source keeps no content for: at most
    /// [`MAX_HOLE_BYTES`](crate::limits::MAX_HOLE_BYTES) of them, and at least one.
    Hole(u64),
    /// The end of the file.
    End {
        /// Size of the whole content in bytes.
        size: u64,
        /// Hash of the whole content.
        hash: HashBytes,
        /// Its modification time when it was read, when times are kept.
        mtime: Option<Time>,
    },
}

/// Why a file could not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gone {
    /// It no longer exists.
    Vanished,
    /// It could not be opened or read.
    Unreadable,
    /// It changed at every try to read it.
    Changing,
    /// It has become larger than [`FileContents::DeferAbove`](crate::FileContents::DeferAbove) since it was offered.
    Deferred,
}

/// All entries of a directory, or those of a range of names when the directory is large.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Part<'a> {
    /// Number of this part: 0, 1, 2 ... in the order sent.
    pub id: u32,
    /// The part in which this directory itself was an entry; none for the root.
    pub parent: Option<u32>,
    /// The directory, relative to the transfer root; empty for the root.
    #[serde(borrow, with = "serde_bytes")]
    pub path: &'a [u8],
    /// Says which names that are not in `entries` the source lacks.
    #[serde(borrow)]
    pub range: Range<'a>,
    /// The entries, sorted by the bytes of their names.
    #[serde(borrow)]
    pub entries: Vec<Entry<'a>>,
}

/// A part in short, for a receiver that probably has its entries already. The part says all names of its range.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct PartDigest<'a> {
    /// As in [`Part`], with which it shares the numbers.
    pub id: u32,
    /// As in [`Part`].
    pub parent: Option<u32>,
    /// As in [`Part`].
    #[serde(borrow, with = "serde_bytes")]
    pub path: &'a [u8],
    /// The part speaks for the names that are greater than this one; for all of them, if none.
    #[serde(borrow)]
    pub after: Option<&'a serde_bytes::Bytes>,
    /// And not greater than this one, the last entry's; none in the directory's last part.
    #[serde(borrow)]
    pub up_to: Option<&'a serde_bytes::Bytes>,
    /// The number of entries.
    pub entries: u32,
    /// The first half of the blake3 hash of the entries, in a form that both sides derive from what they have.
    pub digest: [u8; 16],
}

/// The names a part speaks for.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Range<'a> {
    /// Only those listed: the source was given as one name, or could not be read to its end.
    Listed,
    /// All names greater than `after` (or all, if none) and, unless this is the last part, not greater than the
    /// last entry's.
    Names {
        /// The last name of the part before.
        #[serde(borrow)]
        after: Option<&'a serde_bytes::Bytes>,
        /// Whether this is the directory's last part.
        last: bool,
    },
    /// Those listed, and these: the source does not have them. They are sorted by their bytes.
    Lacks(#[serde(borrow)] Vec<&'a serde_bytes::Bytes>),
}

/// One entry of a directory.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry<'a> {
    /// Its name, one component.
    #[serde(borrow, with = "serde_bytes")]
    pub name: &'a [u8],
    /// The kind, with whatever belongs to it.
    #[serde(borrow)]
    pub what: What<'a>,
    /// Permission bits, set-id and sticky bits, within `0o7777`.
    pub mode: u16,
    /// Modification time, when times are kept or compared.
    pub mtime: Option<Time>,
    /// User and group number, when either is kept.
    pub owner: Option<(u32, u32)>,
}

/// The kind of an entry, with the facts that only this kind has.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum What<'a> {
    File {
        size: u64,
        /// Its content's hash, when the sender knows it.
        hash: Option<HashBytes>,
        /// Its content, if it is likely to be asked for: of at most [`MAX_UNASKED_BYTES`](crate::limits::MAX_UNASKED_BYTES), and with
        /// its hash.
        #[serde(borrow)]
        content: Option<&'a serde_bytes::Bytes>,
    },
    Directory,
    Symlink(#[serde(borrow, with = "serde_bytes")] &'a [u8]),
    Fifo,
    Socket,
    /// A character device, with its number.
    CharDevice(u64),
    /// A block device, with its number.
    BlockDevice(u64),
}

/// A user's or group's number and name.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct OwnerName<'a> {
    /// The number on the sender.
    pub id: u32,
    /// The name on the sender.
    #[serde(borrow, with = "serde_bytes")]
    pub name: &'a [u8],
}

/// From the side that shall have the files to the side that has them.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ToSender<'a> {
    /// First message: the options were understood, and this is who does the work.
    Ready(Ready),
    /// Asks for hashes or content of files of one part.
    Needs {
        part: u32,
        /// At most one need a file at a time.
        #[serde(borrow)]
        needs: Vec<Need<'a>>,
    },
    /// Everything about this part is settled; the sender forgets it.
    Settled { part: u32 },
    /// Something to tell the user on the sender's side.
    Event(#[serde(borrow)] Event<'a>),
    /// The receiver has finished.
    Finished(ReceiverStats),
    /// The receiver gives up; nothing more comes.
    Failed {
        kind: FailureKind,
        #[serde(borrow)]
        text: &'a str,
    },
    /// Nothing to say, still alive.
    Alive,
    /// Answers [`ToReceiver::Fetch`].
    Fetched(#[serde(borrow)] Fetched<'a>),
    /// The destination does not have exactly the entries of this part, of which only the digest was sent. Asks for the part.
    Differs { part: u32 },
    /// Bytes of the stream that have arrived since the last such message, and the microseconds that the receiver's reader waited for them.
    /// Sent only if [`Options::report_arrivals`](crate::Options::report_arrivals) is set.
    Arrived { bytes: u64, waited_micros: u64 },
}

/// Who does the receiver's work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The receiver's effective user.
    pub uid: u32,
    /// Whether it confined itself to the workspace.
    pub confined: bool,
}

/// A need for one file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Need<'a> {
    /// Index into the part's entries.
    pub index: u32,
    #[serde(borrow)]
    pub want: Want<'a>,
}

/// The form in which the receiver needs a file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Want<'a> {
    Hash,
    /// All its content, since no basis is of use.
    Content,
    /// A delta against the basis with this signature.
    Delta(#[serde(borrow, with = "serde_bytes")] &'a [u8]),
}

/// Something that happened to one path, or to the run.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Event<'a> {
    /// An entry was changed (or would be, in a dry run).
    Changed {
        /// Relative to the transfer root.
        #[serde(borrow, with = "serde_bytes")]
        path: &'a [u8],
        change: Change,
    },
    /// An extraneous entry was deleted (or would be).
    Deleted {
        /// Relative to the transfer root.
        #[serde(borrow, with = "serde_bytes")]
        path: &'a [u8],
        /// Whether it was a directory.
        directory: bool,
        /// Who had put it there.
        origin: Origin,
    },
    /// A file that no run had put there as it is was replaced (or would be). As it was, it is in the trash.
    Replaced {
        /// Relative to the transfer root.
        #[serde(borrow, with = "serde_bytes")]
        path: &'a [u8],
    },
    /// A run that is safe in one direction left an entry as it is, because something else than a run made or changed it.
    Conflict {
        /// Relative to the transfer root.
        #[serde(borrow, with = "serde_bytes")]
        path: &'a [u8],
        kind: ConflictKind,
    },
    /// A file is left as it is for another run, because it is larger than [`FileContents::DeferAbove`](crate::FileContents::DeferAbove).
    Deferred {
        /// Relative to the transfer root.
        #[serde(borrow, with = "serde_bytes")]
        path: &'a [u8],
    },
    /// Something failed; the run goes on.
    Problem {
        /// The entry, relative to the transfer root.
        #[serde(borrow, with = "serde_bytes")]
        path: &'a [u8],
        kind: ProblemKind,
        /// Says what was being done and what the system answered.
        #[serde(borrow)]
        text: &'a str,
    },
    /// For the user's information.
    Notice {
        #[serde(borrow)]
        text: &'a str,
    },
}

/// Why an entry of the destination is left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConflictKind {
    /// It was made there.
    Made,
    /// A run put it there, and it was changed or made anew since.
    Changed,
}

/// Who has put an entry at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// A run, and it was not changed since as far as is known.
    Run,
    /// A run, and it was changed there since.
    Changed,
    /// Something at the destination.
    Destination,
}

/// The kinds of problems that an entry can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ProblemKind {
    /// A source entry vanished between listing and reading.
    Vanished,
    /// A source entry could not be read.
    SourceRead,
    /// A destination entry could not be read, written or replaced, for a reason that lies in the destination or its system:
    /// permissions, another mount, a read-only or full file system, a name that is too long.
    Destination,
    /// An entry of this kind is not transferred under the options given.
    Skipped,
    /// An extraneous entry was left, because it changed or appeared while the run went on.
    Kept,
    /// A source file changed each time it was read.
    Changing,
    /// A destination entry was left as it is, because it changed, vanished or appeared during the run, or because it lies
    /// below a protected path. In a destination that is in use this is no failure.
    DestinationChanged,
}

/// The changes of an entry, in the terms of `--itemize-changes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub update: Update,
    pub kind: EntryKind,
    /// Whether it is new at the destination; then the rest is not looked at.
    pub new: bool,
    /// The content (or a link's target, or a device's number) differs.
    pub content: bool,
    pub size: bool,
    /// The modification time differs.
    pub time: Option<TimeChange>,
    pub perms: bool,
    pub owner: bool,
    pub group: bool,
}

impl Change {
    /// No difference of an entry of this kind.
    pub const fn none(kind: EntryKind) -> Self {
        Self {
            update: Update::Attributes,
            kind,
            new: false,
            content: false,
            size: false,
            time: None,
            perms: false,
            owner: false,
            group: false,
        }
    }
}

/// How a modification time changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeChange {
    /// To the source's time.
    Kept,
    /// To the time of the transfer.
    Now,
}

/// How an entry was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Update {
    /// Content was transferred from the source.
    Transferred,
    /// Created or changed at the destination without content from the source.
    Local,
    /// Only attributes of the entry were changed.
    Attributes,
}

/// An entry's kind as `--itemize-changes` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    File,
    Directory,
    Symlink,
    Device,
    /// A FIFO or a socket.
    Special,
}

/// Counts of the side that has the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderStats {
    pub files: u64,
    pub directories: u64,
    /// Entries of other kinds offered.
    pub others: u64,
    /// Total size of the files offered, in bytes.
    pub total_bytes: u64,
    /// Files read to be hashed, without being sent.
    pub hashed_files: u64,
    /// Source entries that vanished.
    pub vanished: u64,
    /// Source entries that could not be read.
    pub unreadable: u64,
}

/// Counts of the side that gets the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverStats {
    /// Files created or updated with content from the sender.
    pub transferred_files: u64,
    /// Size of those files, in bytes.
    pub transferred_bytes: u64,
    /// Content bytes that came as they are.
    pub literal_bytes: u64,
    /// Content bytes taken from a basis.
    pub matched_bytes: u64,
    /// Files made from another file of the destination (moved or copied at the source).
    pub cloned_files: u64,
    /// Size of those files, in bytes.
    pub cloned_bytes: u64,
    /// Entries of any kind that did not exist before.
    pub created: u64,
    /// Extraneous entries that were deleted at the destination.
    pub deleted: u64,
    /// Those of them that no run had put there.
    pub deleted_made_there: u64,
    /// Those of them that are in the trash.
    pub trashed: u64,
    /// Files that were replaced, and that are in the trash as they were, because no run had put them there so.
    pub replaced_trashed: u64,
    /// Extraneous entries kept because no run had put them there, or because that is not certain and there is no trash. A directory
    /// counts once, with all that is in it.
    pub left_made_there: u64,
    /// Extraneous entries kept because a rule protects them.
    pub protected: u64,
    /// Entries found right and not touched.
    pub untouched: u64,
    /// Entries of which only attributes were changed.
    pub attributes: u64,
    /// Entries given to another owner.
    pub chowned: u64,
    /// Entries that could not be written, replaced or deleted: problems of the kind [`ProblemKind::Destination`].
    pub failed: u64,
    /// Entries that were left as they are: problems of the kind [`ProblemKind::DestinationChanged`].
    pub changed_meanwhile: u64,
    /// Entries that were left as they are in a run that is safe in one direction.
    pub conflicts: u64,
    /// Extraneous entries kept because `--max-delete` was reached.
    pub over_max_delete: u64,
    /// Extraneous entries kept because the source was not read without errors.
    pub deletion_skipped: bool,
}
