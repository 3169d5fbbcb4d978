//! A path in a JSON file. A path that is UTF-8 is stored as text, any other path as its bytes in hexadecimal digits.

use std::ffi::OsString;
use std::ops::Deref;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A path in a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredPath(PathBuf);

/// The two forms of a path in JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Text(String),
    Bytes { hex: String },
}

impl Deref for StoredPath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl From<&Path> for StoredPath {
    fn from(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl Serialize for StoredPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let form = match self.0.to_str() {
            Some(text) => Form::Text(text.to_owned()),
            None => Form::Bytes { hex: HEXLOWER_PERMISSIVE.encode(self.0.as_os_str().as_bytes()) },
        };
        form.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for StoredPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(text) => Ok(Self(text.into())),
            Form::Bytes { hex } => {
                let bytes = HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).map_err(|_| {
                    serde::de::Error::custom("`hex` must be an even number of hexadecimal digits")
                })?;
                Ok(Self(OsString::from_vec(bytes).into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_comes_back_as_it_was() {
        for bytes in [&b"/plain"[..], "/ä ö".as_bytes(), b"/latin \xe9", b"/a\nb", b""] {
            let path = StoredPath(OsString::from_vec(bytes.to_vec()).into());
            let text = serde_json::to_string(&path).unwrap();
            assert_eq!(serde_json::from_str::<StoredPath>(&text).unwrap(), path, "{text}");
        }
        assert_eq!(serde_json::to_string(&StoredPath("/a".into())).unwrap(), "\"/a\"");
        assert!(serde_json::from_str::<StoredPath>(r#"{"hex":"2"}"#).is_err());
        assert!(serde_json::from_str::<StoredPath>(r#"{"hex":"zz"}"#).is_err());
    }
}
