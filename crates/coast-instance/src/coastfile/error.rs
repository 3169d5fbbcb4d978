//! What can be wrong with a Coastfile: each message names the file, the line, the field, what is allowed, and the valid word that
//! is nearest.

use std::io;
use std::path::PathBuf;

use crate::ignores::BadPattern;
use crate::name::BadName;
use crate::words::did_you_mean;

/// Why a Coastfile was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoastfileError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system answered.
        error: io::Error,
    },
    /// Something in it is not allowed.
    #[error("{}:{line}: {fault}", file.display())]
    At {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        fault: Fault,
    },
}

/// What is wrong at some line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It is not TOML.
    #[error("not valid TOML: {0}")]
    Syntax(String),
    /// A value of the wrong type.
    #[error("{field} is {found}; it must be {allowed}")]
    Type {
        /// The field.
        field: &'static str,
        /// The type found.
        found: &'static str,
        /// The type wanted.
        allowed: &'static str,
    },
    /// A word that is not one of those allowed.
    #[error("{field} is {found:?}; it must be {}{}", either(allowed), did_you_mean(found, allowed.iter().copied()))]
    Word {
        /// The field.
        field: &'static str,
        /// The word found.
        found: String,
        /// Those allowed.
        allowed: &'static [&'static str],
    },
    /// A field that there is not.
    #[error("{section} has no field {found:?}; it may have {}{}", allowed.join(", "), did_you_mean(found, allowed.iter().copied()))]
    Field {
        /// The section, in brackets.
        section: &'static str,
        /// The field found.
        found: String,
        /// Those there are.
        allowed: &'static [&'static str],
    },
    /// A name that is none.
    #[error("{field}: {bad}")]
    Name {
        /// The field.
        field: &'static str,
        /// Why.
        bad: BadName,
    },
    /// A pattern that cannot be used by both layers.
    #[error("{field}: the pattern {pattern:?} cannot be used: {why}")]
    Pattern {
        /// The field.
        field: &'static str,
        /// The pattern.
        pattern: String,
        /// Why.
        why: BadPattern,
    },
    /// A text that may not be empty, or has characters that it may not have.
    #[error("{field} is {found:?}; it must be {allowed}")]
    Text {
        /// The field.
        field: &'static str,
        /// The text.
        found: String,
        /// What it must be.
        allowed: &'static str,
    },
    /// The file that is extended cannot be read.
    #[error("extends {file:?}, which cannot be read ({error}); the path is relative to this file")]
    ExtendsUnreadable {
        /// As written.
        file: String,
        /// What the system answered.
        error: io::Error,
    },
    /// The files extend each other in a circle.
    #[error("extends {0:?}, which extends this file in turn; one of them must stand alone")]
    ExtendsItself(String),
    /// Too many files extend each other.
    #[error("extends more than {0} files, one after the other")]
    ExtendsTooMany(usize),
}

/// `"a" or "b"`
fn either(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" or ")
}
