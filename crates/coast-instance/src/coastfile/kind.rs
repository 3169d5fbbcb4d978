//! The type of a Coastfile: `light` in `Coastfile.remote.light`. A project can have several Coastfiles, and an instance uses one.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest type, in bytes.
const MAX_BYTES: usize = 63;

/// The word for the Coastfile that has no type.
const UNTYPED: &str = "default";

/// The suffix of a Coastfile's name, which is no type.
const SUFFIX: &str = "toml";

/// The part of a file name before the type.
const PREFIX: &str = "Coastfile.remote.";

/// The type of a Coastfile: 1 to 63 letters, digits, `-` and `_`, the first of them a letter or a digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CoastfileType(String);

/// The error of a text that is not a valid [`CoastfileType`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a type of a Coastfile: 1 to {MAX_BYTES} letters (a-z, A-Z), digits, '-' and '_', beginning with a letter or a \
     digit, and not \"{SUFFIX}\"; it is the last part of a file name, such as light in {PREFIX}light"
)]
pub struct BadType(pub String);

impl CoastfileType {
    /// The type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names of a Coastfile of this type. The first that exists is read.
    pub(super) fn file_names(&self) -> [String; 2] {
        [format!("{PREFIX}{}.{SUFFIX}", self.0), format!("{PREFIX}{}", self.0)]
    }

    /// The types of the Coastfiles in a directory, sorted. A directory that cannot be read has none.
    pub(super) fn all_in(root: &Path) -> Vec<Self> {
        let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
        let mut types: Vec<Self> = entries
            .filter_map(|entry| {
                let name = entry.file_name();
                let rest = name.to_str()?.strip_prefix(PREFIX)?;
                rest.strip_suffix(&format!(".{SUFFIX}")).unwrap_or(rest).parse().ok()
            })
            .collect();
        types.sort();
        types.dedup();
        types
    }
}

impl FromStr for CoastfileType {
    type Err = BadType;

    fn from_str(text: &str) -> Result<Self, BadType> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let valid = text.len() <= MAX_BYTES
            && text.bytes().all(plain)
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && ![UNTYPED, SUFFIX].contains(&text);
        if valid { Ok(Self(text.to_owned())) } else { Err(BadType(text.to_owned())) }
    }
}

impl TryFrom<String> for CoastfileType {
    type Error = BadType;

    fn try_from(text: String) -> Result<Self, BadType> {
        text.parse()
    }
}

impl From<CoastfileType> for String {
    fn from(kind: CoastfileType) -> Self {
        kind.0
    }
}

/// The type in quotes, for messages.
impl fmt::Debug for CoastfileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for CoastfileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The Coastfile that a command reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CoastfileChoice {
    /// The one of the instance's last command; for a new instance, the one without a type.
    #[default]
    Remembered,
    /// The one without a type.
    Untyped,
    /// The one of this type.
    Typed(CoastfileType),
}

impl CoastfileChoice {
    /// The type to read, where `remembered` is that of the last command.
    pub(crate) fn or(&self, remembered: impl FnOnce() -> Option<CoastfileType>) -> Option<CoastfileType> {
        match self {
            Self::Remembered => remembered(),
            Self::Untyped => None,
            Self::Typed(kind) => Some(kind.clone()),
        }
    }
}

impl FromStr for CoastfileChoice {
    type Err = BadType;

    /// `default` means the Coastfile without a type.
    fn from_str(text: &str) -> Result<Self, BadType> {
        if text == UNTYPED { Ok(Self::Untyped) } else { text.parse().map(Self::Typed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_one_plain_part_of_a_file_name() {
        for valid in ["light", "ci-2", "A_b", "0"] {
            assert_eq!(valid.parse::<CoastfileType>().unwrap().as_str(), valid);
            assert!(matches!(valid.parse(), Ok(CoastfileChoice::Typed(_))));
        }
        let long = "x".repeat(64);
        for bad in ["", ".", "..", "a/b", "../x", "a.b", "-x", "_x", "toml", "ü", "a b", "a\0", "a\n", &long]
        {
            let error = bad.parse::<CoastfileChoice>().unwrap_err().to_string();
            assert!(error.contains("Coastfile.remote.light"), "{error}");
            assert!(serde_json::from_value::<CoastfileType>(bad.into()).is_err(), "{bad:?}");
        }
        assert_eq!("default".parse(), Ok(CoastfileChoice::Untyped));
        assert!("default".parse::<CoastfileType>().is_err());
    }
}
