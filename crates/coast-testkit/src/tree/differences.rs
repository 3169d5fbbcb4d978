//! The comparison of two snapshots: the aspects that count, and a line for each difference.

use std::collections::BTreeSet;

use super::snapshot::{Kind, Seen, Snapshot};

/// The aspects in which two trees must be equal. Kind, content, link target and device number always count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aspects {
    mode_bits: u32,
    mtimes: bool,
    users: bool,
    groups: bool,
    acls: bool,
    identity: bool,
}

impl Aspects {
    /// Kind, content, link target, device number.
    pub const CONTENT: Self =
        Self { mode_bits: 0, mtimes: false, users: false, groups: false, acls: false, identity: false };

    /// Every aspect, with inode and change time: an entry that is equal was not touched.
    pub const UNTOUCHED: Self =
        Self { mode_bits: 0o7777, mtimes: true, users: true, groups: true, acls: true, identity: true };

    /// All permission bits count too, except those of symlinks, which have none of their own.
    #[must_use]
    pub const fn with_modes(self) -> Self {
        self.with_mode_bits(0o7777)
    }

    /// These permission bits count too, except those of symlinks.
    #[must_use]
    pub const fn with_mode_bits(self, bits: u32) -> Self {
        Self { mode_bits: bits, ..self }
    }

    /// Access and default ACLs count too.
    #[must_use]
    pub const fn with_acls(self) -> Self {
        Self { acls: true, ..self }
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
    /// The differences between two trees, a line for each. The roots themselves count in [`Aspects::UNTOUCHED`] only.
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
                        ours.differences(theirs, aspects).into_iter().map(|line| format!("{name}: {line}")),
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

    /// Fails unless the trees are equal in these aspects.
    ///
    /// # Panics
    /// When they differ. The message lists all differences.
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

    /// Fails unless the trees are equal in [`Aspects::CONTENT`].
    ///
    /// # Panics
    /// When they differ.
    #[track_caller]
    pub fn assert_same_content(&self, other: &Self) {
        self.assert_same(other, Aspects::CONTENT);
    }

    /// Fails unless this tree is equal to `before` in [`Aspects::UNTOUCHED`].
    ///
    /// # Panics
    /// When an entry was touched.
    #[track_caller]
    pub fn assert_untouched_since(&self, before: &Self) {
        self.assert_same(before, Aspects::UNTOUCHED);
    }
}

impl Seen {
    /// Whether the two entries are equal in these aspects.
    #[must_use]
    pub fn is_like(&self, other: &Self, aspects: Aspects) -> bool {
        self.differences(other, aspects).is_empty()
    }

    fn differences(&self, other: &Self, aspects: Aspects) -> Vec<String> {
        let mut found = Vec::new();
        let mut note =
            |aspect: &str, ours: String, theirs: String| found.push(format!("{aspect} {ours} != {theirs}"));
        if self.kind != other.kind {
            note("content", self.describe(), other.describe());
        }
        let symlink = matches!(self.kind, Kind::Symlink(_));
        if (self.mode ^ other.mode) & aspects.mode_bits != 0 && !symlink {
            note("mode", format!("{:04o}", self.mode), format!("{:04o}", other.mode));
        }
        if aspects.acls && self.acls != other.acls {
            note("ACLs", format!("{:x?}", self.acls), format!("{:x?}", other.acls));
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
