//! The options of a run, as one message.

use serde::{Deserialize, Serialize};

/// The options of a run that the receiver must know; named after rsync's options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Filter rules, one canonical line each.
    pub rules: Vec<serde_bytes::ByteBuf>,
    /// `-r`: directories are sent with all that is below them.
    pub recursive: bool,
    /// `-l`: symlinks are sent as symlinks.
    pub links: bool,
    /// `--devices`: character and block devices are made again.
    pub devices: bool,
    /// `--specials`: FIFOs and sockets are made again.
    pub specials: bool,
    /// `-p`: permission bits are those of the source.
    pub perms: bool,
    /// `-E`: files are executable where they are at the source.
    pub executability: bool,
    /// The group, or all others, lose every permission for an existing file that the source's file does not let them read.
    pub privacy: bool,
    /// `-t`: modification times are those of the source.
    pub times: bool,
    /// `-o`: owners are those of the source.
    pub owner: bool,
    /// `-g`: groups are those of the source.
    pub group: bool,
    /// `-c`: content decides even when size and time are equal.
    pub checksum: bool,
    /// Who the entries shall belong to, where `owner` and `group` do not say.
    pub ownership: Ownership,
    /// Whether extraneous entries are deleted.
    pub delete: Option<Delete>,
    /// An entry that is deleted, or that an entry of another kind replaces, moves to the trash of the destination if no run has put it
    /// there or if it may have been changed there since. A run for a single entry has a trash only if it deletes.
    pub trash: bool,
    /// `-n`: changes are told and not made.
    pub dry_run: bool,
    /// `--partial`: what arrived of a large file is kept (outside of the workspace) for the next run.
    pub partial: bool,
    /// `-S`: zeros become holes at the destination, also where the source has none.
    pub sparse: bool,
    /// Replaced files move into place together, at the end.
    pub delay_updates: bool,
    /// Which changes are told.
    pub itemize: Itemize,
    /// Settings of a run that follows others on one stream; none for every other run.
    pub follow: Option<Follow>,
    /// The receiver reports the bytes that [arrive](crate::ToSender::Arrived). The sender sets it. A run that follows others ignores it.
    pub report_arrivals: bool,
    /// `-v`, or anything else that wants [`Notice`](crate::Event::Notice)s about skipped entries.
    pub verbose: bool,
}

/// The settings of one of many runs on a stream. Such a run is safe in one direction: an entry of the destination that something
/// else than a run has made or changed is neither replaced nor deleted, but told as a [`Conflict`](crate::Event::Conflict).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follow {
    /// How much of the source the run is about.
    pub extent: Extent,
    /// Paths at and below which the source wins, as in a run on a stream of its own.
    pub take_source: Vec<serde_bytes::ByteBuf>,
    /// Renames of the source: at most [`MAX_RENAMES`](crate::limits::MAX_RENAMES). Of each the source has the new path and lacks the old
    /// one, and the run is about both. The receiver moves its own entry if it may; otherwise the content is transferred.
    pub renamed: Vec<Renamed>,
    /// What becomes of the contents of files.
    pub contents: FileContents,
}

impl Follow {
    /// Files of more bytes than this are left for another run.
    pub fn defer_above(&self) -> u64 {
        match self.contents {
            FileContents::DeferAbove(bytes) => bytes,
            FileContents::Place | FileContents::StageOnly => u64::MAX,
        }
    }
}

/// What a run on a stream of many does with the contents of files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileContents {
    /// Every file is brought.
    #[default]
    Place,
    /// A file of more bytes than this is left as it is where its content would have to be sent, unless the run before has staged its
    /// content. It is told as [`Deferred`](crate::Event::Deferred), and another run brings it. A run about some paths also leaves a
    /// larger file as it is where only its hash would tell whether it is right.
    DeferAbove(u64),
    /// Contents are only staged, in the private state directory of the workspace and without its lock. The next run that is about such a
    /// file, and has its hash, finds the content there.
    StageOnly,
}

/// A rename of an entry of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renamed {
    /// The old path.
    pub from: serde_bytes::ByteBuf,
    /// The new path.
    pub to: serde_bytes::ByteBuf,
}

/// How much of the source a run is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Extent {
    /// All of it.
    #[default]
    Everything,
    /// Some paths. Nothing of the rest is touched, neither its owner nor what is remembered of it.
    Paths,
}

/// Who the entries at the destination shall belong to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ownership {
    /// To whoever the receiver runs as.
    #[default]
    Receiver,
    /// To the user who logged in.
    LoginUser {
        /// The entries that are given to the user although they are not sent.
        own: Own,
    },
    /// `--chown=USER:GROUP`, names or numbers.
    Fixed {
        /// User, if it is to be set.
        user: Option<serde_bytes::ByteBuf>,
        /// Group, if it is to be set.
        group: Option<serde_bytes::ByteBuf>,
    },
}

/// Which entries are given to the user who logged in, of those that stay at the destination although they are not sent: excluded
/// and protected entries, and all others where nothing is deleted (`--own`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Own {
    /// All of them.
    All,
    /// Those that belong to root. A service that runs as a user of its own keeps its files.
    #[default]
    Root,
    /// None.
    None,
}

/// How extraneous entries are deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// `--max-delete=N`: no more than this many entries are deleted.
    pub max: Option<u64>,
    /// Entries that no run has put there stay. Without a trash, entries that may have been changed or made anew there stay, too.
    pub only_placed: bool,
    /// Entries that something else than a run has put there for the source: they count as put there by a run. Paths are relative
    /// to the transfer root.
    pub placed: Vec<Vec<u8>>,
    /// Nothing is deleted, and the run fails, if three things come together: more than [`MASS_DELETION`] entries that runs have put there
    /// would be deleted; these are more than half of those that are there; and the source has at most half as many entries as make
    /// the workspace [`whole`](Self::whole). Entries that `placed` names count as put there by a run. Entries in protected and
    /// excluded directories are not counted.
    pub no_mass_deletion: bool,
    /// How many entries were there before the runs just before this one. What those runs have deleted, and did not make again, counts as
    /// if this run deleted it. 0 if no run came just before.
    pub there_before: u64,
    /// How many entries make the workspace whole, for the limit above. More entries than these came later, and may be deleted again. 0, or
    /// a number above that of the entries that are there, stands for all that are there.
    pub whole: u64,
}

/// The number of entries that may be deleted however few there are; see [`Delete::no_mass_deletion`].
pub const MASS_DELETION: u64 = 100;

/// Which changes the receiver tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Itemize {
    #[default]
    Nothing,
    /// Each entry that changes.
    Changes,
}
