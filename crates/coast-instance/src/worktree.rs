//! The identity of a worktree: what distinguishes the directory of a worktree from another directory that stands at its path later,
//! such as the empty mount point of a disk, or a checkout that was made again.
//!
//! - The git directory: that of the main checkout, or the one that git keeps for a linked worktree. A worktree that loses it is
//!   another one. A directory that becomes a repository stays the same.
//! - The time at which the directory was made, where the file system knows it, and the inode number, where the file system keeps it.
//!   FAT, network shares, FUSE and overlays give new inode numbers at each mount, so these are not remembered there.
//! - The identifier of the file system (`f_fsid`). It counts only where no time of making is known, because some file systems take
//!   it from the device number, which may be another one after the next start of the machine. The device number itself is not
//!   remembered for the same reason.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::stored_path::StoredPath;
use coast_git::git_dir_above;

/// The identity of a worktree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorktreeIdentity {
    /// The git directory of the checkout that the directory is in, without symlinks.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    git_dir: Option<StoredPath>,
    /// The time at which the directory was made, in nanoseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    made: Option<u64>,
    /// The inode number of the directory.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    inode: Option<u64>,
    /// The identifier of the file system.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    file_system: Option<u64>,
}

/// The state of a worktree's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorktreeState {
    /// It is there.
    There,
    /// There is no directory at its path.
    Gone,
    /// Another directory stands at its path.
    Another,
    /// It could not be examined. The text says why.
    Unknown(String),
}

impl WorktreeState {
    /// The state of the worktree at `path`. Without an identity every directory there is taken for it.
    pub fn of(path: &Path, identity: Option<&WorktreeIdentity>) -> Self {
        match WorktreeIdentity::of(path) {
            Ok(Some(now)) if identity.is_none_or(|identity| identity.is_that_of(&now)) => Self::There,
            Ok(Some(_)) => Self::Another,
            Ok(None) => Self::Gone,
            Err(error) => Self::Unknown(error.to_string()),
        }
    }

    /// Whether the worktree is known to be gone, or replaced by another directory.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Gone | Self::Another)
    }
}

impl WorktreeIdentity {
    /// The identity of the directory at `path`; `None` if there is none.
    ///
    /// # Errors
    /// When it cannot be examined.
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => metadata,
            Ok(_) => return Ok(None),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let made = metadata.created().ok().and_then(|made| made.duration_since(SystemTime::UNIX_EPOCH).ok());
        Ok(Some(Self {
            git_dir: git_dir_above(path)?.as_deref().map(StoredPath::from),
            made: made.and_then(|made| u64::try_from(made.as_nanos()).ok()),
            inode: keeps_inodes(path)?.then(|| metadata.ino()),
            // Zero is the answer of file systems that have none.
            file_system: Some(rustix::fs::statvfs(path)?.f_fsid).filter(|id| *id != 0),
        }))
    }

    /// Whether `now`, the identity of a directory at the same path, is that of the same worktree.
    fn is_that_of(&self, now: &Self) -> bool {
        let differs = |before: Option<u64>, now: Option<u64>| {
            before.zip(now).is_some_and(|(before, now)| before != now)
        };
        let lost_git = self.git_dir.is_some() && self.git_dir != now.git_dir;
        let knows_time = self.made.is_some() && now.made.is_some();
        !lost_git
            && !differs(self.made, now.made)
            && !differs(self.inode, now.inode)
            && (knows_time || !differs(self.file_system, now.file_system))
    }
}

/// Whether an inode number on the file system of `path` is the same after the file system was mounted again.
#[cfg(target_os = "linux")]
fn keeps_inodes(path: &Path) -> io::Result<bool> {
    /// FAT, exFAT, FUSE, 9P, SMB in three versions, VirtualBox's shared folders and overlayfs, as in linux/magic.h.
    const GIVES_NEW: [u32; 9] = [
        0x4d44,
        0x2011_bab0,
        0x6573_5546,
        0x0102_1997,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x786f_4256,
        0x794c_7630,
    ];
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the numbers have 32 bits; the field is signed, and wider on some machines"
    )]
    let kind = rustix::fs::statfs(path)?.f_type as u32;
    Ok(!GIVES_NEW.contains(&kind))
}

#[cfg(not(target_os = "linux"))]
#[allow(clippy::unnecessary_wraps, reason = "it fails on Linux")]
fn keeps_inodes(_path: &Path) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(
        git_dir: Option<&str>,
        made: Option<u64>,
        inode: Option<u64>,
        file_system: Option<u64>,
    ) -> WorktreeIdentity {
        WorktreeIdentity { git_dir: git_dir.map(|path| Path::new(path).into()), made, inode, file_system }
    }

    #[test]
    fn a_directory_stays_the_same_across_a_start_of_the_machine_and_another_one_does_not() {
        let known = |git| identity(git, Some(1), Some(2), Some(3));
        let remembered = known(Some("/p/.git"));
        for (now, same) in [
            (known(Some("/p/.git")), true),
            // Another number of the device.
            (identity(Some("/p/.git"), Some(1), Some(2), Some(9)), true),
            // A file system that lost its times, such as a network share.
            (identity(Some("/p/.git"), None, Some(2), Some(3)), true),
            (identity(Some("/p/.git"), None, Some(2), Some(9)), false),
            (identity(Some("/p/.git"), Some(9), Some(2), Some(3)), false),
            (identity(Some("/p/.git"), Some(1), Some(9), Some(3)), false),
            (known(Some("/p/.git/worktrees/a")), false),
            (known(None), false),
        ] {
            assert_eq!(remembered.is_that_of(&now), same, "{now:?}");
        }
        assert!(known(None).is_that_of(&known(Some("/p/.git"))), "a repository was made there");
    }

    #[test]
    fn a_directory_made_again_is_another_one() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("wt");
        assert_eq!(WorktreeState::of(&path, None), WorktreeState::Gone);
        fs::create_dir(&path).unwrap();
        let identity = WorktreeIdentity::of(&path).unwrap().unwrap();
        fs::write(path.join("file"), "").unwrap();
        assert_eq!(WorktreeState::of(&path, Some(&identity)), WorktreeState::There);
        // The first directory lives on, so that the second one cannot get its inode number.
        fs::rename(&path, scratch.path().join("away")).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(WorktreeState::of(&path, Some(&identity)), WorktreeState::Another);
        assert_eq!(WorktreeState::of(&path, None), WorktreeState::There);
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(WorktreeState::of(&path, Some(&identity)), WorktreeState::Gone);
        let text = serde_json::to_string(&identity).unwrap();
        assert_eq!(serde_json::from_str::<WorktreeIdentity>(&text).unwrap(), identity);
    }
}
