//! The available helpers for other machines, by platform. The remote selects its helper by its own `uname`, in the same exec that
//! starts the helper. All helpers are therefore described in advance, and only a missing helper is read.

use std::env::consts;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coast_ssh::{HelperProgram, HelperSource, SshError};

use crate::SyncError;

/// A helper that was embedded when this crate was built.
struct Embedded {
    /// `OS-ARCH`.
    platform: &'static str,
    /// The blake3 hash of the content, in hexadecimal.
    name: &'static str,
    content: &'static [u8],
}

/// Written by the build script.
static EMBEDDED: &[Embedded] = include!(concat!(env!("OUT_DIR"), "/embedded_helpers.rs"));

/// The file name of a helper, before its platform.
const FILE_PREFIX: &str = "coast-helper-";

/// The name of a directory beside the program that may hold helpers.
const DIRECTORY: &str = "helpers";

/// A system and a processor for which there can be a helper.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    /// The output of `uname -s`.
    system: &'static str,
    /// The output of `uname -m`.
    machine: &'static str,
}

/// Every platform that a remote can have, with its name in file names.
const PLATFORMS: [(&str, Platform); 2] = [
    ("linux-x86_64", Platform { system: "Linux", machine: "x86_64" }),
    ("linux-aarch64", Platform { system: "Linux", machine: "aarch64" }),
];

impl Platform {
    /// Parses `OS-ARCH`, the end of a file name such as `coast-helper-linux-x86_64`.
    fn from_file_suffix(text: &str) -> Option<Self> {
        PLATFORMS.into_iter().find(|(suffix, _)| *suffix == text).map(|(_, platform)| platform)
    }

    /// Returns the platform that this program was built for, if a remote can have it.
    pub fn of_this_program() -> Option<Self> {
        Self::from_file_suffix(&format!("{}-{}", consts::OS, consts::ARCH))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.system, self.machine)
    }
}

/// The available helpers, at most one per platform. The first helper that is added for a platform stays.
#[derive(Debug, Clone, Default)]
pub struct HelperStore {
    helpers: Vec<(Platform, Content)>,
}

#[derive(Debug, Clone)]
enum Content {
    File(PathBuf),
    Embedded(&'static str, EmbeddedBytes),
}

#[derive(Clone)]
struct EmbeddedBytes(&'static [u8]);

impl fmt::Debug for EmbeddedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl HelperStore {
    /// Returns a store without helpers.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Returns the helpers beside the running program (`coast-helper-OS-ARCH`, in the same directory or in `helpers/`), and then
    /// those embedded in it.
    pub fn discover() -> Self {
        let mut store = Self::empty();
        let program = std::env::current_exe().and_then(fs::canonicalize);
        if let Some(directory) = program.as_deref().ok().and_then(Path::parent) {
            store.add_directory(directory);
            store.add_directory(&directory.join(DIRECTORY));
        }
        for embedded in EMBEDDED {
            if let Some(platform) = Platform::from_file_suffix(embedded.platform) {
                store.add(platform, Content::Embedded(embedded.name, EmbeddedBytes(embedded.content)));
            }
        }
        store
    }

    /// Adds every `coast-helper-OS-ARCH` in a directory. A missing directory adds nothing.
    fn add_directory(&mut self, directory: &Path) {
        for (suffix, platform) in PLATFORMS {
            let path = directory.join(format!("{FILE_PREFIX}{suffix}"));
            if path.is_file() {
                self.add_file(platform, path);
            }
        }
    }

    /// Adds the helper in a file, unless the store has a helper for the platform.
    pub fn add_file(&mut self, platform: Platform, path: impl Into<PathBuf>) {
        self.add(platform, Content::File(path.into()));
    }

    /// Whether the store has a helper for the platform.
    pub fn has(&self, platform: &Platform) -> bool {
        self.helpers.iter().any(|(known, _)| known == platform)
    }

    fn add(&mut self, platform: Platform, content: Content) {
        if !self.has(&platform) {
            self.helpers.push((platform, content));
        }
    }

    /// Returns the names that all helpers have as files on a remote.
    ///
    /// # Errors
    /// When a helper cannot be read.
    pub fn file_names(&self) -> Result<Vec<String>, SyncError> {
        let unread = |(path, source): (PathBuf, io::Error)| SshError::HelperSource {
            name: path.display().to_string(),
            source,
        };
        Ok(self
            .programs()
            .map_err(unread)?
            .iter()
            .map(|program| format!("helper-{}", program.name))
            .collect())
    }

    /// Returns all helpers, named by the hash of their content.
    ///
    /// # Errors
    /// The path of a helper that cannot be read, and the system's answer.
    pub(crate) fn programs(&self) -> Result<Vec<HelperProgram>, (PathBuf, io::Error)> {
        let describe = |(platform, content): &(Platform, Content)| {
            let (name, source) = match content {
                Content::File(path) => {
                    let name = hash_of(path).map_err(|error| (path.clone(), error))?;
                    (name, HelperSource::Path(path.clone()))
                }
                Content::Embedded(name, EmbeddedBytes(bytes)) => {
                    let bytes: &'static [u8] = bytes;
                    let provide = move || Ok(Arc::from(bytes));
                    ((*name).to_owned(), HelperSource::Provider(Arc::new(provide)))
                }
            };
            Ok(HelperProgram { platform: Some(platform.to_string()), name, source })
        };
        self.helpers.iter().map(describe).collect()
    }
}

fn hash_of(path: &Path) -> io::Result<String> {
    let (hash, _) = coast_tree::hash_file(&mut File::open(path)?, &mut Vec::new())?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    fn linux() -> Platform {
        Platform::from_file_suffix("linux-x86_64").unwrap()
    }

    #[test]
    fn helpers_in_a_directory_are_found_by_their_names() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("coast-helper-linux-x86_64"), "x").unwrap();
        fs::write(scratch.path().join("coast-helper-plan9-mips"), "x").unwrap();
        fs::create_dir(scratch.path().join("coast-helper-linux-aarch64")).unwrap();
        let mut store = HelperStore::empty();
        store.add_directory(scratch.path());
        store.add_directory(&scratch.path().join("missing"));
        let programs = store.programs().unwrap();
        assert_eq!(programs.len(), 1);
        assert_eq!(programs[0].platform.as_deref(), Some("Linux x86_64"));
        assert_eq!(programs[0].name, HEXLOWER.encode(blake3::hash(b"x").as_bytes()));
    }

    #[test]
    fn the_first_helper_of_a_platform_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let (first, second) = (scratch.path().join("first"), scratch.path().join("second"));
        fs::write(&first, "1").unwrap();
        fs::write(&second, "2").unwrap();
        let mut store = HelperStore::empty();
        store.add_file(linux(), first);
        store.add_file(linux(), second);
        let programs = store.programs().unwrap();
        assert_eq!(programs.len(), 1);
        assert_eq!(programs[0].name, HEXLOWER.encode(blake3::hash(b"1").as_bytes()));
    }

    #[test]
    fn a_helper_that_cannot_be_read_is_named() {
        let mut store = HelperStore::empty();
        store.add_file(linux(), "/no/such/helper");
        let (path, error) = store.programs().unwrap_err();
        assert_eq!((path.as_path(), error.kind()), (Path::new("/no/such/helper"), io::ErrorKind::NotFound));
    }
}
