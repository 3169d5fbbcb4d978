//! Comparing two snapshots: which aspects count, and every difference as a line that a person can read.

use std::collections::BTreeSet;

use crate::snapshot::{Kind, Seen, Snapshot};

/// What two trees are compared by. Kind, content, link target and device number always count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aspects {
    modes: bool,
    mtimes: bool,
    users: bool,
    groups: bool,
    identity: bool,
}

impl Aspects {
    /// Kind, content, link target, device number.
    pub const CONTENT: Self =
        Self { modes: false, mtimes: false, users: false, groups: false, identity: false };

    /// Nothing at all may differ: also inode, mtime and ctime are the same, so nothing was touched.
    pub const UNTOUCHED: Self = Self { modes: true, mtimes: true, users: true, groups: true, identity: true };

    /// Permission bits count too (but for symlinks, which have none of their own).
    #[must_use]
    pub const fn with_modes(self) -> Self {
        Self { modes: true, ..self }
    }

    /// Modification times count too.
    #[must_use]
    pub const fn with_mtimes(self) -> Self {
        Self { mtimes: true, ..self }
    }

    /// Owners count too.
    #[must_use]
    pub const fn with_users(self) -> Self {
        Self { users: true, ..self }
    }

    /// Groups count too.
    #[must_use]
    pub const fn with_groups(self) -> Self {
        Self { groups: true, ..self }
    }
}

impl Snapshot {
    /// Every difference between the trees below the two roots, a line each; the roots themselves are not compared.
    #[must_use]
    pub fn differences(&self, other: &Self, aspects: Aspects) -> Vec<String> {
        let paths: BTreeSet<_> = self.entries.keys().chain(other.entries.keys()).collect();
        let mut lines = Vec::new();
        for path in paths.into_iter().filter(|path| aspects == Aspects::UNTOUCHED || path.as_slice() != b".")
        {
            let name = path.escape_ascii();
            match (self.entries.get(path), other.entries.get(path)) {
                (Some(ours), Some(theirs)) => {
                    lines.extend(
                        ours.differences(theirs, aspects).into_iter().map(|what| format!("{name}: {what}")),
                    );
                }
                (Some(ours), None) => {
                    lines.push(format!("{name}: {}, only in {}", ours.describe(), self.root.display()));
                }
                (None, Some(theirs)) => {
                    lines.push(format!("{name}: {}, only in {}", theirs.describe(), other.root.display()));
                }
                (None, None) => {}
            }
        }
        lines
    }

    /// Fails with all differences when the trees are not equal in these aspects.
    ///
    /// # Panics
    /// When they differ.
    #[track_caller]
    pub fn assert_same(&self, other: &Self, aspects: Aspects) {
        let differences = self.differences(other, aspects);
        assert!(
            differences.is_empty(),
            "{} and {} differ:\n  {}",
            self.root.display(),
            other.root.display(),
            differences.join("\n  ")
        );
    }

    /// Fails when kinds, contents, link targets or device numbers differ.
    #[track_caller]
    pub fn assert_same_content(&self, other: &Self) {
        self.assert_same(other, Aspects::CONTENT);
    }

    /// Fails when anything of this tree was touched since `before`: content, mode, owner, inode, mtime or ctime.
    #[track_caller]
    pub fn assert_untouched_since(&self, before: &Self) {
        self.assert_same(before, Aspects::UNTOUCHED);
    }
}

impl Seen {
    fn differences(&self, other: &Self, aspects: Aspects) -> Vec<String> {
        let mut found = Vec::new();
        let mut note =
            |what: &str, ours: String, theirs: String| found.push(format!("{what} {ours} != {theirs}"));
        if self.kind != other.kind {
            note("is a", self.describe(), other.describe());
        }
        if aspects.modes && self.mode != other.mode && !matches!(self.kind, Kind::Symlink(_)) {
            note("mode", format!("{:04o}", self.mode), format!("{:04o}", other.mode));
        }
        if aspects.mtimes && self.mtime != other.mtime {
            note("mtime", stamp(self.mtime), stamp(other.mtime));
        }
        if aspects.users && self.uid != other.uid {
            note("owner", self.uid.to_string(), other.uid.to_string());
        }
        if aspects.groups && self.gid != other.gid {
            note("group", self.gid.to_string(), other.gid.to_string());
        }
        if aspects.identity && self.ino != other.ino {
            note("inode", self.ino.to_string(), other.ino.to_string());
        }
        if aspects.identity && self.ctime != other.ctime {
            note("ctime", stamp(self.ctime), stamp(other.ctime));
        }
        found
    }
}

fn stamp((seconds, nanoseconds): (i64, i64)) -> String {
    format!("{seconds}.{nanoseconds:09}")
}
