//! Names of projects and instances. A name is valid in the name of a container, in a label, as a directory on the remote and as a
//! file on this machine.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name, in bytes.
const MAX_NAME_BYTES: usize = 63;

/// The name of a project or an instance: 1 to 63 letters, digits, `-`, `_` and `.`, the first and the last of them a letter or
/// a digit.
///
/// Parsing allows two dots in a row, because older instances may have such names. [`Name::check_new`] refuses them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// The error of a text that is not a valid [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a valid name: 1 to {MAX_NAME_BYTES} letters (a-z, A-Z), digits, '-', '_' and '.', beginning and ending \
     with a letter or a digit, without \"..\""
)]
pub struct BadName(pub String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name for a new project or instance.
    ///
    /// # Errors
    /// When the text is not a valid name, or has two dots in a row, which Docker does not allow in the name of a container.
    pub fn new(text: &str) -> Result<Self, BadName> {
        let name: Self = text.parse()?;
        name.check_new()?;
        Ok(name)
    }

    /// Checks that a new project or instance may have this name.
    ///
    /// # Errors
    /// When the name has two dots in a row.
    pub fn check_new(&self) -> Result<(), BadName> {
        if self.0.contains("..") { Err(BadName(self.0.clone())) } else { Ok(()) }
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bytes = text.as_bytes();
        let inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        let valid = bytes.len() <= MAX_NAME_BYTES
            && bytes.iter().all(inner)
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.last().is_some_and(u8::is_ascii_alphanumeric);
        if valid { Ok(Self(text.to_owned())) } else { Err(BadName(text.to_owned())) }
    }
}

impl TryFrom<String> for Name {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The name in quotes, for messages.
impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_valid_in_containers_labels_and_paths() {
        for text in ["p", "dev-1", "shop.api_2", "A", "0", &"x".repeat(63)] {
            assert_eq!(text.parse::<Name>().unwrap().as_str(), text);
        }
        for text in ["", "-a", "a-", ".a", "a.", "_", "a/b", "a b", "..", "ä", "a\n", "a:b", &"x".repeat(64)]
        {
            assert_eq!(text.parse::<Name>(), Err(BadName(text.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn two_dots_are_read_and_are_for_nothing_new() {
        let old: Name = "a..b".parse().unwrap();
        let said = old.check_new().unwrap_err().to_string();
        assert!(
            said.starts_with("\"a..b\" is not a valid name: ") && said.ends_with("without \"..\""),
            "{said}"
        );
        assert_eq!(Name::new("a..b"), Err(BadName("a..b".to_owned())));
        assert_eq!(Name::new("a b"), Err(BadName("a b".to_owned())));
        assert_eq!(Name::new("a.b.c").unwrap().as_str(), "a.b.c");
    }

    #[test]
    fn a_wrong_name_in_a_file_is_an_error_there() {
        assert!(serde_json::from_str::<Name>("\"../etc\"").unwrap_err().to_string().contains("../etc"));
        assert_eq!(serde_json::to_string(&"dev-1".parse::<Name>().unwrap()).unwrap(), "\"dev-1\"");
    }
}
