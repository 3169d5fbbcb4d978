//! rsync filter rules: one verdict per path.
//!
//! A [`RuleList`] takes rules in the order of the command line, a [`Filter`] is the list compiled for one side of
//! the transfer, and a [`DirFilter`] answers for the names of one directory: on the sending side whether they are
//! hidden from the transfer, on the receiving side whether they are protected from deletion.
//!
//! ```
//! use coast_filter::{EntryKind, Filter, NoMergeFiles, RuleList, Side};
//!
//! let mut rules = RuleList::new();
//! rules.filter(b"P generated/***", &NoMergeFiles)?;
//! rules.exclude(b"node_modules")?;
//! rules.exclude(b"*.o")?;
//!
//! let root = Filter::compile(&rules, Side::Sender)?.root(&NoMergeFiles)?;
//! assert!(root.excludes(b"node_modules", EntryKind::Directory));
//! assert!(!root.excludes(b"generated", EntryKind::Directory));
//!
//! let source = root.enter(b"src", &NoMergeFiles)?;
//! assert!(source.excludes(b"main.o", EntryKind::Other));
//!
//! let root = Filter::compile(&rules, Side::Receiver)?.root(&NoMergeFiles)?;
//! let generated = root.enter(b"generated", &NoMergeFiles)?;
//! assert!(generated.excludes(b"schema.ts", EntryKind::Other), "protected");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Syntax
//!
//! The rules are those of rsync 3.5.0, as its manual page states them under FILTER RULES and as `exclude.c` and
//! `wildmatch.c` implement them:
//!
//! - `-` exclude, `+` include, `H` hide, `S` show, `P` protect, `R` risk, `.` merge, `:` dir-merge, `!` clear, or
//!   the long names. An exclude is a hide and a protect, an include is a show and a risk. The first match wins;
//!   without one, nothing is excluded.
//! - Modifiers `/` (absolute path), `!` (negated), `C` (CVS), `s`, `r` (side), `p` (perishable), `x` (attribute
//!   names, which match no file), and for merge rules `-`, `+`, `e`, `n`, `w`.
//! - A leading `/` anchors a pattern at the transfer root, or at the directory of its merge file; a trailing `/`
//!   matches directories only. `*` and `?` stop at slashes, `**` does not, `dir/***` is the directory and all below
//!   it. `[a-z]`, `[!a-z]`, `[^a-z]`, `[[:alpha:]]` match one byte. A backslash escapes only in patterns with one of
//!   `*?[`. With a slash or `**` the pattern is matched against the end of the path, else against the name.
//!
//! Paths and patterns are bytes; classes like `[:alpha:]` are those of the C locale.
//!
//! Some of what rsync does surprises, and is kept, since both must agree on a tree: a directory's wildcard
//! characters act as such in the anchored rules of its own merge file; a static merge file merged by a
//! per-directory one is read from the transfer root and anchored there; a word-split file splits at the space
//! behind a prefix too, so that its rules need an underscore there.
//!
//! Three things differ. A merge file that exists and cannot be read, and a pattern that is too long, stop the run
//! instead of being ignored. Rules for one side hold on that side only, where rsync forgets it in static files
//! merged by per-directory ones. Wildcard characters in the path of the transfer root itself stand for themselves.
//!
//! # Cost
//!
//! A verdict allocates nothing, and no pattern makes it backtrack: patterns run as bit sets over the bytes of a
//! name. Names and extensions of long lists are looked up in tables; of the other rules only those are tried that begin and end as
//! the name does; and path patterns are matched against the directories of a path once a directory, not once a name.
//!
//! `globset` would have been the engine to build on. It cannot express most of the above (bytes, classes, tails of
//! paths, directories only), knows nothing of the order of rules, and brings a regex engine of 0.9 MiB into a helper
//! of at most 3 MiB. For the ten rules of the documented profile over 100,000 names it takes more than three times
//! as long (`cargo bench -p coast-benches --bench filter`).

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod automaton;
mod block;
mod cvs;
mod error;
mod expand;
mod filter;
mod glob;
mod list;
mod local;
mod merge;
mod parse;
mod pattern;
mod root;
mod rule;

pub use error::{FilterError, RuleError, RuleFault};
pub use filter::{DirFilter, Filter};
pub use list::RuleList;
pub use merge::{MergeFiles, NoMergeFiles};

/// The longest pattern or merge file name, in bytes: what rsync takes, whose paths end at 4096 with a NUL.
pub const MAX_PATTERN_BYTES: usize = 4095;
/// The longest line of [`RuleList::from_lines`]: a pattern, its prefix and modifiers, and a trailing slash.
pub const MAX_RULE_BYTES: usize = MAX_PATTERN_BYTES + 17;
/// The most rules in a list, and in all merge files that hold in one directory.
pub const MAX_RULES: usize = 100_000;
/// The most bytes of patterns in a list.
pub const MAX_LIST_BYTES: usize = 4 << 20;
/// The most per-directory merge files that are looked for at once.
pub const MAX_DIR_MERGES: usize = 256;
/// The largest merge file, in bytes.
pub const MAX_MERGE_FILE_BYTES: usize = 1 << 20;
/// How deep static merge files may include each other, as in rsync.
pub const MAX_MERGE_DEPTH: usize = 32;

/// The side of the transfer that a filter works for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Excluded is hidden from the transfer.
    Sender,
    /// Excluded is protected from deletion.
    Receiver,
}

/// The kinds of entries that rules tell apart. A symbolic link is not a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    Directory,
    Other,
}
