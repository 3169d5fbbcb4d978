//! Faults of a rule, of the file it came from, or of a merge file met on the way.
//! Text that came out of a merge file is never repeated in a message: the peer chooses which file is merged, so a
//! message that quoted it would let the peer read any line of any file.

use std::io;

/// The fault in the text of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleFault {
    /// The rule starts with no known prefix or name.
    #[error("unknown filter rule")]
    UnknownRule,
    /// A modifier that does not exist, or not for this kind of rule.
    #[error("invalid modifier '{}' in filter rule", char::from(*modifier).escape_default())]
    InvalidModifier {
        /// The modifier, one byte.
        modifier: u8,
    },
    /// The rule has no pattern or file name.
    #[error("unexpected end of filter rule")]
    UnexpectedEnd,
    /// Text follows a list-clearing rule.
    #[error("'!' rule has trailing characters")]
    TrailingCharacters,
    /// A rule names a side although its merge file already does.
    #[error("specified-side merge file contains specified-side filter")]
    SideTwice,
    /// The pattern is longer than [`MAX_PATTERN_BYTES`](crate::MAX_PATTERN_BYTES).
    #[error("filter pattern is longer than {} bytes", crate::MAX_PATTERN_BYTES)]
    TooLong,
    /// The pattern holds a NUL, which no path can.
    #[error("filter pattern contains a NUL byte")]
    Nul,
    /// The list would grow beyond [`MAX_RULES`](crate::MAX_RULES) or
    /// [`MAX_LIST_BYTES`](crate::MAX_LIST_BYTES).
    #[error("more than {} filter rules, or {} bytes of them", crate::MAX_RULES, crate::MAX_LIST_BYTES)]
    TooManyRules,
    /// More than [`MAX_DIR_MERGES`](crate::MAX_DIR_MERGES) per-directory merge files are looked for at once.
    #[error("more than {} per-directory merge files", crate::MAX_DIR_MERGES)]
    TooManyDirMerges,
    /// A line of a canonical list is a rule that should have been expanded before it was sent.
    #[error("merge, clear and CVS rules cannot be part of a canonical rule list")]
    NotCanonical,
}

/// A rule that could not be added to a [`RuleList`](crate::RuleList).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// A rule given as an argument is wrong.
    #[error("{fault}: {}", rule.escape_ascii())]
    Argument {
        /// The rule as given.
        rule: Vec<u8>,
        fault: RuleFault,
    },
    /// A rule in a file is wrong.
    #[error("{fault}: {}line {line}", in_file(file))]
    File {
        /// The file, as the merge rule named it or as its path below the transfer root; empty for content that
        /// was handed over without a name.
        file: Vec<u8>,
        /// The line, counted from 1; the word, where the file is split on whitespace.
        line: usize,
        fault: RuleFault,
    },
    /// A static merge file is missing or cannot be read.
    #[error("cannot read merge file {}: {source}", file.escape_ascii())]
    MergeFile {
        /// The file as the merge rule named it.
        file: Vec<u8>,
        source: io::Error,
    },
    /// Static merge files include each other more than [`MAX_MERGE_DEPTH`](crate::MAX_MERGE_DEPTH) deep.
    #[error("merge files are nested more than {} deep at {}", crate::MAX_MERGE_DEPTH, file.escape_ascii())]
    TooDeep {
        /// The file that was not read any more.
        file: Vec<u8>,
    },
}

fn in_file(file: &[u8]) -> String {
    if file.is_empty() { String::new() } else { format!("{} ", file.escape_ascii()) }
}

/// A per-directory merge file that could not be taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// The file exists and cannot be read.
    #[error("cannot read filter file {}: {source}", path.escape_ascii())]
    Read {
        /// The file, relative to the transfer root; absolute if it is above it.
        path: Vec<u8>,
        source: io::Error,
    },
    /// The file holds a wrong rule, or merges a file that cannot be read.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// More than [`MAX_RULES`](crate::MAX_RULES) rules would hold in one directory.
    #[error("more than {} filter rules hold in directory '{}'", crate::MAX_RULES, path.escape_ascii())]
    TooManyRules {
        /// The directory, relative to the transfer root.
        path: Vec<u8>,
    },
}
