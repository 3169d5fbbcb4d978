//! The release that a program belongs to. A program compares its own with that of the daemon, and takes the daemon over where that
//! is an older one.

use std::fs;
use std::os::unix::fs::MetadataExt;

use coast_instance::StoredPath;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::PROTOCOL;

/// The release of a program. These are the fields of the daemon's status that every version has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Release {
    /// The version, `1.2.3`.
    pub(crate) version: String,
    /// The version of the API.
    pub(crate) protocol: u32,
    /// The file of the program when its process began.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) program: Option<ProgramFile>,
}

/// A file that a process was started from. A file that replaces it at the same path is another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramFile {
    /// The absolute path.
    pub path: StoredPath,
    /// The number of its device.
    pub device: u64,
    /// The number of its inode.
    pub inode: u64,
    /// The time of its last change, in nanoseconds since the epoch.
    pub modified: i64,
}

/// The daemon's release, seen from a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The program can use the daemon.
    Usable,
    /// The program takes its place.
    Older,
    /// The program is older than the daemon, and the daemon no longer understands it.
    TooNew,
}

impl Release {
    /// The release of this process.
    pub(crate) fn of_this_process() -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { version, protocol: PROTOCOL, program: ProgramFile::of_this_process() }
    }

    /// How `daemon` stands to this release. Of two daemons of one version, the one whose file has been replaced since it began is the
    /// older one. A version that is none counts as the older one.
    pub(crate) fn judge(&self, daemon: &Release) -> Standing {
        let version = |release: &Self| Version::parse(&release.version).ok();
        let (own, its) = (version(self), version(daemon));
        if its < own {
            return Standing::Older;
        }
        if daemon.protocol != self.protocol {
            return if its == own && daemon.protocol < self.protocol {
                Standing::Older
            } else {
                Standing::TooNew
            };
        }
        let was_replaced = match (&self.program, &daemon.program) {
            (Some(own), Some(its)) => own.path == its.path && own != its,
            _ => false,
        };
        if its == own && was_replaced { Standing::Older } else { Standing::Usable }
    }
}

impl ProgramFile {
    /// The file of this process; `None` if the system does not tell.
    fn of_this_process() -> Option<Self> {
        let path = std::env::current_exe().ok()?;
        // Under Linux this is the file itself, also when another one stands at its path already.
        let metadata = fs::metadata("/proc/self/exe").or_else(|_| fs::metadata(&path)).ok()?;
        let modified = metadata.mtime().checked_mul(1_000_000_000)?.checked_add(metadata.mtime_nsec())?;
        Some(Self { path: path.as_path().into(), device: metadata.dev(), inode: metadata.ino(), modified })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn release(version: &str, protocol: u32, inode: u64) -> Release {
        let program = ProgramFile { path: Path::new("/bin/coast").into(), device: 1, inode, modified: 5 };
        Release { version: version.to_owned(), protocol, program: Some(program) }
    }

    #[test]
    fn a_daemon_of_an_older_version_is_taken_over_and_a_newer_one_is_used_if_it_understands() {
        let own = release("0.10.0", 2, 7);
        for older in ["0.9.9", "0.10.0-rc.1", "no version"] {
            for protocol in [1, 2, 3] {
                assert_eq!(own.judge(&release(older, protocol, 7)), Standing::Older, "{older}");
            }
        }
        assert_eq!(own.judge(&release("0.10.1", 2, 8)), Standing::Usable);
        assert_eq!(own.judge(&release("0.10.1", 3, 8)), Standing::TooNew);
        assert_eq!(own.judge(&release("0.10.1", 1, 8)), Standing::TooNew);
    }

    #[test]
    fn of_two_daemons_of_one_version_the_one_whose_file_was_replaced_is_older() {
        let own = release("1.0.0", 2, 7);
        assert_eq!(own.judge(&own), Standing::Usable);
        assert_eq!(own.judge(&release("1.0.0", 2, 6)), Standing::Older);
        assert_eq!(own.judge(&release("1.0.0", 1, 7)), Standing::Older);
        assert_eq!(own.judge(&release("1.0.0", 3, 7)), Standing::TooNew);
        let mut elsewhere = release("1.0.0", 2, 6);
        elsewhere.program.as_mut().unwrap().path = Path::new("/home/me/coast").into();
        assert_eq!(own.judge(&elsewhere), Standing::Usable);
        assert_eq!(own.judge(&Release { program: None, ..elsewhere }), Standing::Usable);
    }

    #[test]
    fn the_file_of_this_process_is_known() {
        let own = ProgramFile::of_this_process().unwrap();
        assert_eq!(own.inode, fs::metadata(std::env::current_exe().unwrap()).unwrap().ino());
        assert_eq!(Some(own), ProgramFile::of_this_process());
    }
}
