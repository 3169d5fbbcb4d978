//! The attributes that new entries get from their directory, whoever makes them. The kernel gives them when an entry is made in the
//! directory; a staged entry gets them from here.

use std::fs::File;
use std::io;

use coast_tree::{Acl, DirHandle, InheritedFlags};

/// The attributes that a directory hands down.
#[derive(Debug, Default)]
pub(super) struct Inheritance {
    /// The group of a directory with the set-group bit.
    pub(super) group: Option<u32>,
    /// The default ACL.
    pub(super) default_acl: Option<Acl>,
    flags: Option<InheritedFlags>,
}

impl Inheritance {
    /// Reads the attributes: three system calls.
    pub(super) fn of(directory: &DirHandle) -> io::Result<Self> {
        let stat = directory.stat_self()?;
        Ok(Self {
            group: (stat.mode & 0o2000 != 0).then_some(stat.gid),
            default_acl: directory.default_acl()?,
            flags: directory.inherited_flags()?,
        })
    }

    /// The access list of a new entry with this mode; none where the mode says everything.
    pub(super) fn access_acl(&self, mode: u32) -> Option<Acl> {
        self.default_acl.as_ref()?.with_permissions(mode)
    }

    /// Gives a new, empty file the flags that it inherits.
    pub(super) fn give_flags(&self, file: &File) -> io::Result<()> {
        self.flags.map_or(Ok(()), |flags| flags.give_to(file))
    }
}
