//! The errors of a Coastfile. Each message names the file, the line, the field, the allowed values and the most similar valid word.

use std::io;
use std::path::PathBuf;

use super::CoastfileType;
use crate::ignores::BadPattern;
use crate::name::BadName;
use crate::words::did_you_mean;

/// The error of reading a Coastfile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum CoastfileError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", file.display())]
    Read { file: PathBuf, error: io::Error },
    /// There is no Coastfile of the wanted type.
    #[error("there is no {} in {}; {}", wanted.file_names().join(" or "), root.display(), types(wanted.as_str(), found))]
    NoType { root: PathBuf, wanted: CoastfileType, found: Vec<CoastfileType> },
    /// A line of the file is invalid.
    #[error("{}:{line}: {fault}", file.display())]
    At { file: PathBuf, line: usize, fault: Fault },
}

/// The fault of a line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum Fault {
    /// The file is not TOML.
    #[error("not valid TOML: {0}")]
    Syntax(String),
    /// A value has the wrong type.
    #[error("{field} is {found}; it must be {allowed}")]
    Type { field: &'static str, found: &'static str, allowed: &'static str },
    /// A word is not one of the allowed words.
    #[error("{field} is {found:?}; it must be {}{}", either(allowed), did_you_mean(found, allowed.iter().copied()))]
    Word { field: &'static str, found: String, allowed: &'static [&'static str] },
    /// The section has no such field.
    #[error("{section} has no field {found:?}; it may have {}{}", allowed.join(", "), did_you_mean(found, allowed.iter().copied()))]
    Field { section: &'static str, found: String, allowed: &'static [&'static str] },
    /// A field stands outside of its section.
    #[error("{found:?} is a field of {section}; write it below a line {section}")]
    Misplaced { section: &'static str, found: String },
    /// A section has a name that is most likely a slip.
    #[error("there is no section [{found}]; did you mean [{meant}]?")]
    Section { found: String, meant: &'static str },
    /// A name is invalid.
    #[error("{field}: {bad}")]
    Name { field: &'static str, bad: BadName },
    /// A pattern cannot be used by both layers.
    #[error("{field}: the pattern {pattern:?} cannot be used: {why}")]
    Pattern { field: &'static str, pattern: String, why: BadPattern },
    /// A text is empty or has forbidden characters.
    #[error("{field} is {found:?}; it must be {allowed}")]
    Text { field: &'static str, found: String, allowed: &'static str },
    /// The extended file cannot be read.
    #[error("extends {file:?}, which cannot be read ({error}); the path is relative to this file")]
    ExtendsUnreadable { file: String, error: io::Error },
    /// The files extend each other in a circle.
    #[error("extends {0:?}, which extends this file in turn; one of them must stand alone")]
    ExtendsItself(String),
    /// The chain of extended files is too long.
    #[error("extends more than {0} files, one after the other")]
    ExtendsTooMany(usize),
}

fn types(wanted: &str, found: &[CoastfileType]) -> String {
    let found: Vec<&str> = found.iter().map(CoastfileType::as_str).collect();
    match found.as_slice() {
        [] => "it has no Coastfile with a type; for the one without a type, use --type default".to_owned(),
        found => format!(
            "it has the types {}, and `default` for the Coastfile without a type{}",
            found.join(", "),
            did_you_mean(wanted, found.iter().copied())
        ),
    }
}

/// `"a" or "b"`
fn either(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" or ")
}
