//! The state of a directory that has no watch, or whose file system others change: the next scan is compared with it.

use std::collections::BTreeMap;
use std::io;

use coast_tree::{DirHandle, Kind, Name, Timestamp};

/// The entries of a directory as one scan saw them.
#[derive(Debug, Default)]
pub(super) struct Snapshot(BTreeMap<Name, Stamp>);

#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    kind: Kind,
    mode: u32,
    ino: u64,
    size: u64,
    mtime: Timestamp,
    ctime: Timestamp,
}

/// A difference between two snapshots.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// The entry is new, or another one with the same name.
    Appeared(Name, Kind),
    /// The entry changed.
    Changed(Name, Kind),
    /// The entry is gone.
    Gone(Name, Kind),
}

impl Snapshot {
    /// Looks at these entries. Those that are gone by now are left out.
    pub(super) fn of(dir: &DirHandle, names: impl Iterator<Item = Name>) -> io::Result<Self> {
        let mut stamps = BTreeMap::new();
        for name in names {
            if let Some(stat) = dir.stat(&name)? {
                let mut stamp = Stamp {
                    kind: stat.kind,
                    mode: stat.mode,
                    ino: stat.ino,
                    size: stat.size,
                    mtime: stat.mtime,
                    ctime: stat.ctime,
                };
                // What happens in a directory changes its size and times. It has a snapshot of its own.
                if stat.kind == Kind::Directory {
                    (stamp.size, stamp.mtime, stamp.ctime) = (0, Timestamp::default(), Timestamp::default());
                }
                stamps.insert(name, stamp);
            }
        }
        Ok(Self(stamps))
    }

    /// What changed since `before`: first what is gone.
    pub(super) fn since(&self, before: &Self) -> Vec<Difference> {
        let gone = before
            .0
            .iter()
            .filter(|(name, old)| {
                self.0.get(*name).is_none_or(|new| new.kind != old.kind || new.ino != old.ino)
            })
            .map(|(name, old)| Difference::Gone(name.clone(), old.kind));
        let others = self.0.iter().filter_map(|(name, new)| match before.0.get(name) {
            Some(old) if old == new => None,
            Some(old) if old.kind == new.kind && old.ino == new.ino => {
                Some(Difference::Changed(name.clone(), new.kind))
            }
            _ => Some(Difference::Appeared(name.clone(), new.kind)),
        });
        gone.chain(others).collect()
    }
}
