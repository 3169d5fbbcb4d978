//! The mode, owner and time that an entry gets at the destination, by rsync's rules.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use coast_tree::{Acl, Kind, LockExt, OwnerNames, Stat, Timestamp};
use coast_wire::limits::MAX_OWNER_NAMES;
use coast_wire::{Options, Own, OwnerName, Ownership};

use crate::error::EngineError;
use crate::receiver::config::LoginUser;
use crate::receiver::offered::{Offered, OfferedEntry};

/// The mode of a directory that is to have `mode`. Without `-p` (`exact` is false) it keeps the set-group bit that it got from the
/// directory it is in.
pub(super) fn with_inherited_group_bit(mode: u32, present: u32, exact: bool) -> u32 {
    if exact { mode } else { mode | (present & 0o2000) }
}

/// The attributes that an entry gets; none where an attribute stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct DesiredAttributes {
    pub(super) mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Timestamp>,
}

impl DesiredAttributes {
    /// The mode that a directory gets at the end of the run, where its owner needs more rights until then.
    pub(super) fn late_mode(&self) -> Option<u32> {
        self.mode.filter(|mode| mode & 0o700 != 0o700)
    }

    /// The attributes that an entry has.
    pub(super) fn exactly(stat: &Stat) -> Self {
        Self { mode: Some(stat.mode), uid: Some(stat.uid), gid: Some(stat.gid), mtime: Some(stat.mtime) }
    }
}

/// The numbers of the user and the group that an entry gets; none where it keeps its own.
#[derive(Debug, Clone, Copy, Default)]
struct DesiredOwner {
    user: Option<u32>,
    group: Option<u32>,
}

/// Whether rsync calls two times the same: it compares whole seconds, which every file system keeps.
pub(crate) fn same_time(one: Timestamp, other: Timestamp) -> bool {
    one.secs() == other.secs()
}

/// The rules of a run.
pub(super) struct Attributes {
    perms: bool,
    executability: bool,
    privacy: bool,
    times: bool,
    owner: bool,
    group: bool,
    umask: u32,
    /// The owner of every entry, whatever the source says.
    fixed: DesiredOwner,
    /// The sender's user numbers and ours, filled as the sender tells names. Neither map's lock is held while the other is
    /// taken.
    users: Mutex<HashMap<u32, u32>>,
    groups: Mutex<HashMap<u32, u32>>,
    names: Arc<OwnerNames>,
    may_chown: bool,
    /// The number of the process' user.
    user: u32,
}

impl Attributes {
    pub(super) fn new(
        options: &Options,
        ownership: &Ownership,
        umask: u32,
        login: Option<LoginUser>,
        names: Arc<OwnerNames>,
    ) -> Result<Self, EngineError> {
        let user = rustix::process::geteuid();
        let may_chown = user.is_root();
        let fixed = match ownership {
            Ownership::LoginUser { .. } if may_chown => {
                let login = login.unwrap_or_else(LoginUser::current);
                DesiredOwner { user: Some(login.uid), group: Some(login.gid) }
            }
            Ownership::Receiver | Ownership::LoginUser { .. } => DesiredOwner::default(),
            Ownership::Fixed { user, group } => DesiredOwner {
                user: resolve(user.as_ref(), "user", |name| names.uid(name))?,
                group: resolve(group.as_ref(), "group", |name| names.gid(name))?,
            },
        };
        Ok(Self {
            perms: options.perms,
            executability: options.executability,
            privacy: options.privacy,
            times: options.times,
            owner: options.owner && may_chown,
            group: options.group,
            umask,
            fixed,
            users: Mutex::default(),
            groups: Mutex::default(),
            names,
            may_chown,
            user: user.as_raw(),
        })
    }

    /// Learns the names of the sender's numbers.
    pub(super) fn learn(&self, users: &[OwnerName<'_>], groups: &[OwnerName<'_>]) -> Result<(), EngineError> {
        let learn = |numbers: &Mutex<HashMap<u32, u32>>,
                     owners: &[OwnerName<'_>],
                     ours: &dyn Fn(&[u8]) -> Option<u32>| {
            let mut numbers = numbers.enter();
            numbers.extend(owners.iter().filter_map(|owner| Some((owner.id, ours(owner.name)?))));
            if numbers.len() > MAX_OWNER_NAMES {
                return Err(EngineError::Protocol("it sent names of more owners than it may"));
            }
            Ok(())
        };
        learn(&self.users, users, &|name| self.names.uid(name))?;
        learn(&self.groups, groups, &|name| self.names.gid(name))
    }

    /// The attributes that `entry` gets where `existing` (if anything) is now. `default_acl` is the one of the entry's directory.
    pub(super) fn desired(
        &self,
        entry: &OfferedEntry,
        existing: Option<&Stat>,
        default_acl: Option<&Acl>,
    ) -> DesiredAttributes {
        let DesiredOwner { user: uid, group: gid } = self.owner(entry);
        let has_mode = !matches!(entry.what, Offered::Symlink(_));
        DesiredAttributes {
            mode: has_mode.then(|| self.mode(entry, existing, default_acl)),
            uid,
            gid,
            mtime: entry.mtime.filter(|_| self.times),
        }
    }

    fn mode(&self, entry: &OfferedEntry, existing: Option<&Stat>, default_acl: Option<&Acl>) -> u32 {
        if self.perms {
            return entry.mode;
        }
        // An existing entry keeps its bits. An entry that replaces another kind is new, but for a device, FIFO or socket,
        // which in rsync takes over the bits of anything but a directory.
        let special = matches!(entry.what, Offered::Special(..));
        let kept =
            existing.filter(|stat| stat.kind == entry.kind() || (special && stat.kind != Kind::Directory));
        let Some(kept) = kept else {
            // A default ACL takes the place of the umask.
            return entry.mode & 0o777 & default_acl.map_or(!self.umask, Acl::permissions);
        };
        let mut mode = kept.mode;
        if !matches!(entry.what, Offered::File { .. }) {
            return mode;
        }
        if self.executability {
            if entry.mode & 0o111 == 0 {
                mode &= !0o111;
            } else if kept.mode & 0o111 == 0 {
                mode |= (mode & 0o444) >> 2;
            }
        }
        if self.privacy {
            for (read, all) in [(0o040, 0o070), (0o004, 0o007)] {
                if entry.mode & read == 0 {
                    mode &= !all;
                }
            }
        }
        mode
    }

    fn owner(&self, entry: &OfferedEntry) -> DesiredOwner {
        let map =
            |numbers: &Mutex<HashMap<u32, u32>>, id: u32| numbers.enter().get(&id).copied().unwrap_or(id);
        let uid = entry.owner.filter(|_| self.owner).map(|(uid, _)| map(&self.users, uid));
        let gid = entry.owner.filter(|_| self.group).map(|(_, gid)| map(&self.groups, gid));
        DesiredOwner {
            user: self.fixed.user.filter(|_| self.may_chown).or(uid),
            group: self.fixed.group.or(gid).filter(|&gid| self.may_give_group(gid)),
        }
    }

    /// Only root gives a file to any group; others to one of their own.
    fn may_give_group(&self, gid: u32) -> bool {
        self.may_chown
            || rustix::process::getegid().as_raw() == gid
            || rustix::process::getgroups()
                .is_ok_and(|groups| groups.iter().any(|group| group.as_raw() == gid))
    }

    /// Whether this process may change the mode and the times of an entry.
    pub(super) fn may_change(&self, existing: &Stat) -> bool {
        self.may_chown || existing.uid == self.user
    }

    /// Whether the source's modes are kept (`-p`).
    pub(super) fn keeps_modes(&self) -> bool {
        self.perms
    }

    /// The user who gets entries that stay at the destination although they are not sent, and which of these entries.
    pub(super) fn owner_of_kept(&self, ownership: &Ownership) -> Option<(LoginUser, Own)> {
        match (ownership, self.fixed) {
            (Ownership::LoginUser { own }, DesiredOwner { user: Some(uid), group: Some(gid) })
                if *own != Own::None =>
            {
                Some((LoginUser { uid, gid }, *own))
            }
            _ => None,
        }
    }
}

/// A user or group of `--chown`: a name of this system, or a number.
fn resolve(
    given: Option<&serde_bytes::ByteBuf>,
    what: &'static str,
    by_name: impl Fn(&[u8]) -> Option<u32>,
) -> Result<Option<u32>, EngineError> {
    let Some(given) = given else { return Ok(None) };
    let number = || std::str::from_utf8(given).ok()?.parse().ok();
    match by_name(given).or_else(number) {
        Some(id) => Ok(Some(id)),
        None => Err(EngineError::UnknownOwner { what, name: given.escape_ascii().to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_a_name_of_this_system_or_a_number_and_else_named_in_the_error() {
        let by_name = |name: &[u8]| (name == b"me").then_some(7);
        let resolve = |text: &str| resolve(Some(&text.as_bytes().to_vec().into()), "user", by_name);
        assert_eq!(resolve("me").unwrap(), Some(7));
        assert_eq!(resolve("12").unwrap(), Some(12));
        let error = resolve("nobody-here").unwrap_err();
        assert!(matches!(error, EngineError::UnknownOwner { what: "user", .. }), "{error:?}");
        assert_eq!(error.exit_code(), 1);
        assert!(error.to_string().contains("the user nobody-here: there is none"), "{error}");
    }
}
