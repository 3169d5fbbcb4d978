//! A path in a text file. Paths are bytes: one that is valid UTF-8 is stored as it is, any other by its bytes in hex.

use std::ffi::OsString;
use std::ops::Deref;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A path that is kept in a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPath(PathBuf);

/// The two forms.
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
            None => {
                let bytes = self.0.as_os_str().as_bytes();
                Form::Bytes { hex: bytes.iter().map(|byte| format!("{byte:02x}")).collect() }
            }
        };
        form.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for StoredPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(text) => Ok(Self(text.into())),
            Form::Bytes { hex } => {
                let bytes = from_hex(&hex).ok_or_else(|| serde::de::Error::custom("a path in hex is not"))?;
                Ok(Self(OsString::from_vec(bytes).into()))
            }
        }
    }
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok())
        .collect()
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
