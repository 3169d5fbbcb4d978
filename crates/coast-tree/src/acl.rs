//! POSIX access control lists, as far as a new file inherits one from the default list of its directory.
//!
//! The kernel applies a default list when an entry is created in the directory. A file that is staged elsewhere and moved into
//! the directory gets nothing from it. [`Acl::permissions`] and [`Acl::with_permissions`] compute the mode and the access list that
//! the kernel would give it. Linux only: on other systems no directory has a default list.
//!
//! The format is that of the extended attributes `system.posix_acl_access` and `system.posix_acl_default`
//! (`include/uapi/linux/posix_acl_xattr.h`); the rules of inheritance are those of `acl(5)`.

use std::io;
use std::os::fd::AsFd;

use crate::DirHandle;

/// A valid access control list: one entry each for the owner, the owning group and all others, any number of named users and
/// groups, and a mask, which a list with named entries must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    tag: Tag,
    /// Read, write and execute, within `0o7`.
    permissions: u16,
    /// Number of a named user or group. Other entries have `u32::MAX`.
    id: u32,
}

/// In the order in which the entries of a list stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tag {
    Owner,
    NamedUser,
    OwningGroup,
    NamedGroup,
    Mask,
    Other,
}

impl Tag {
    const ALL: [(Self, u16); 6] = [
        (Self::Owner, 0x01),
        (Self::NamedUser, 0x02),
        (Self::OwningGroup, 0x04),
        (Self::NamedGroup, 0x08),
        (Self::Mask, 0x10),
        (Self::Other, 0x20),
    ];

    fn from_number(number: u16) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == number).map(|(tag, _)| *tag)
    }

    fn number(self) -> u16 {
        Self::ALL[self as usize].1
    }

    fn is_named(self) -> bool {
        matches!(self, Self::NamedUser | Self::NamedGroup)
    }
}

/// Version of the attribute's format, its first four bytes.
const VERSION: u32 = 2;

const ENTRY_BYTES: usize = 8;

impl Acl {
    /// The permission bits that a file with this access list shows: those of the owner, of the mask (of the owning group, where
    /// there is no mask) and of all others.
    ///
    /// In a directory with this default list, a new file gets no other permission bits than these: they do what the umask does in
    /// a directory without a default list.
    pub fn permissions(&self) -> u32 {
        let group = self.find(Tag::Mask).or(self.find(Tag::OwningGroup));
        [self.find(Tag::Owner), group, self.find(Tag::Other)]
            .into_iter()
            .fold(0, |bits, permissions| bits << 3 | u32::from(permissions.unwrap_or(0)))
    }

    /// This list with the permission bits of `mode`, as `chmod` sets them. None if the mode says everything that the list
    /// would: it has neither a mask nor named entries.
    pub fn with_permissions(&self, mode: u32) -> Option<Self> {
        self.find(Tag::Mask)?;
        let mut list = self.clone();
        for entry in &mut list.entries {
            let shift = match entry.tag {
                Tag::Owner => 6,
                Tag::Mask => 3,
                Tag::Other => 0,
                Tag::NamedUser | Tag::OwningGroup | Tag::NamedGroup => continue,
            };
            entry.permissions = (mode >> shift & 0o7) as u16;
        }
        Some(list)
    }

    fn find(&self, tag: Tag) -> Option<u16> {
        self.entries.iter().find(|entry| entry.tag == tag).map(|entry| entry.permissions)
    }

    /// Reads the value of an attribute. None for a list without entries, which stands for no list.
    fn from_bytes(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        let (version, rest) = bytes.split_first_chunk::<4>().ok_or("it is too short")?;
        if u32::from_le_bytes(*version) != VERSION {
            return Err("its version is unknown");
        }
        let (entries, rest) = rest.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err("its last entry is cut off");
        }
        let entries: Vec<Entry> = entries
            .iter()
            .map(|&[t0, t1, p0, p1, i0, i1, i2, i3]| {
                let tag =
                    Tag::from_number(u16::from_le_bytes([t0, t1])).ok_or("an entry's tag is unknown")?;
                let permissions = u16::from_le_bytes([p0, p1]);
                let id = u32::from_le_bytes([i0, i1, i2, i3]);
                if permissions > 0o7 {
                    Err("an entry has unknown permissions")
                } else {
                    Ok(Entry { tag, permissions, id })
                }
            })
            .collect::<Result<_, _>>()?;
        if entries.is_empty() {
            return Ok(None);
        }
        let count = |tag| entries.iter().filter(|entry| entry.tag == tag).count();
        let ordered = entries.is_sorted_by_key(|entry| entry.tag);
        let complete = [Tag::Owner, Tag::OwningGroup, Tag::Other].into_iter().all(|tag| count(tag) == 1);
        let named = entries.iter().any(|entry| entry.tag.is_named());
        if !ordered || !complete || count(Tag::Mask) > 1 || named && count(Tag::Mask) == 0 {
            return Err("its entries are not those of a valid list");
        }
        Ok(Some(Self { entries }))
    }

    /// The value of the attribute.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4 + self.entries.len() * ENTRY_BYTES);
        bytes.extend(VERSION.to_le_bytes());
        for entry in &self.entries {
            bytes.extend(entry.tag.number().to_le_bytes());
            bytes.extend(entry.permissions.to_le_bytes());
            bytes.extend(entry.id.to_le_bytes());
        }
        bytes
    }
}

/// Which list of a file or directory.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
enum ListKind {
    Access,
    Default,
}

impl Acl {
    /// Makes this the access list of an open file or directory, and with that sets its permission bits.
    ///
    /// Like `chmod`, it may clear the set-group-id bit. A mode that has set-id bits is to be set after the list.
    ///
    /// # Errors
    /// The system's answer; [`io::ErrorKind::Unsupported`] where the file system keeps no lists.
    pub fn set_access(&self, file: impl AsFd) -> io::Result<()> {
        attribute::set(file.as_fd(), ListKind::Access, &self.to_bytes())
    }

    /// The access list of an open file; none where its mode says everything.
    ///
    /// # Errors
    /// The error of the system, and [`io::ErrorKind::InvalidData`] for a list that is not valid.
    pub fn access_of(file: impl AsFd) -> io::Result<Option<Self>> {
        let Some(bytes) = attribute::get(file.as_fd(), ListKind::Access)? else { return Ok(None) };
        Self::from_bytes(&bytes).map_err(|why| {
            io::Error::new(io::ErrorKind::InvalidData, format!("the file's ACL cannot be used: {why}"))
        })
    }
}

impl DirHandle {
    /// The default list of this directory. None where it has none, also because the file system keeps none.
    ///
    /// One system call, of about a microsecond on ext4 and tmpfs; two for a list of more than 60 entries.
    ///
    /// # Errors
    /// The system's answer, and [`io::ErrorKind::InvalidData`] for a list that is not valid.
    pub fn default_acl(&self) -> io::Result<Option<Acl>> {
        let Some(bytes) = attribute::get(self.as_fd(), ListKind::Default)? else { return Ok(None) };
        Acl::from_bytes(&bytes).map_err(|why| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the directory's default ACL cannot be used: {why}"),
            )
        })
    }

    /// Makes `acl` the access list of an entry that is no symlink. It is opened to be searched only, so that nothing happens to
    /// a FIFO or a device. Needs `/proc`.
    ///
    /// # Errors
    /// The error of the system.
    pub fn set_access_acl(&self, name: &crate::Name, acl: &Acl) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{Mode, OFlags, openat};
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            acl.set_access(openat(self.as_fd(), name.as_bytes(), flags, Mode::empty())?)
        }
        #[cfg(not(target_os = "linux"))]
        acl.set_access(self.open_file(name)?.0)
    }

    /// Removes the default list of this directory, so that it hands nothing down. It need not have one.
    ///
    /// # Errors
    /// The system's answer.
    pub fn remove_default_acl(&self) -> io::Result<()> {
        attribute::remove(self.as_fd(), ListKind::Default)
    }
}

#[cfg(target_os = "linux")]
mod attribute {
    use std::ffi::CStr;
    use std::io;
    use std::os::fd::{AsRawFd, BorrowedFd};

    use rustix::buffer::spare_capacity;
    use rustix::fs::XattrFlags;
    use rustix::io::Errno;

    use super::ListKind;

    /// Bytes for the first try to read a list: room for 60 entries.
    const USUAL_BYTES: usize = 484;

    /// The most that the kernel keeps in one attribute, in bytes.
    const MOST_BYTES: usize = 64 << 10;

    fn name(which: ListKind) -> &'static CStr {
        match which {
            ListKind::Access => c"system.posix_acl_access",
            ListKind::Default => c"system.posix_acl_default",
        }
    }

    pub(super) fn get(fd: BorrowedFd<'_>, which: ListKind) -> io::Result<Option<Vec<u8>>> {
        let read = |capacity| {
            let mut value = Vec::with_capacity(capacity);
            let read = match rustix::fs::fgetxattr(fd, name(which), spare_capacity(&mut value)) {
                // The descriptor is only to search.
                Err(Errno::BADF) => {
                    rustix::fs::getxattr(proc_path(fd), name(which), spare_capacity(&mut value))
                }
                read => read,
            };
            read.map(|_| value)
        };
        match read(USUAL_BYTES)
            .or_else(|error| if error == Errno::RANGE { read(MOST_BYTES) } else { Err(error) })
        {
            Ok(value) => Ok(Some(value)),
            Err(Errno::NODATA | Errno::NOTSUP | Errno::NOSYS) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn set(fd: BorrowedFd<'_>, which: ListKind, value: &[u8]) -> io::Result<()> {
        match rustix::fs::fsetxattr(fd, name(which), value, XattrFlags::empty()) {
            Err(Errno::BADF) => {
                Ok(rustix::fs::setxattr(proc_path(fd), name(which), value, XattrFlags::empty())?)
            }
            set => Ok(set?),
        }
    }

    pub(super) fn remove(fd: BorrowedFd<'_>, which: ListKind) -> io::Result<()> {
        let removed = match rustix::fs::fremovexattr(fd, name(which)) {
            Err(Errno::BADF) => rustix::fs::removexattr(proc_path(fd), name(which)),
            removed => removed,
        };
        match removed {
            Err(Errno::NODATA | Errno::NOTSUP | Errno::NOSYS) => Ok(()),
            removed => Ok(removed?),
        }
    }

    /// Stands for the open file itself, whatever its name leads to meanwhile.
    fn proc_path(fd: BorrowedFd<'_>) -> String {
        format!("/proc/self/fd/{}", fd.as_raw_fd())
    }
}

#[cfg(not(target_os = "linux"))]
mod attribute {
    use std::io;
    use std::os::fd::BorrowedFd;

    use super::ListKind;

    pub(super) fn get(_: BorrowedFd<'_>, _: ListKind) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    pub(super) fn set(_: BorrowedFd<'_>, _: ListKind, _: &[u8]) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "access control lists are set on Linux only"))
    }

    pub(super) fn remove(_: BorrowedFd<'_>, _: ListKind) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::ffi::OsStr;
    use std::process::Command;

    use super::*;
    use crate::Replace;
    use crate::scratch::{Scratch, name};

    fn run(program: &str, arguments: &[&OsStr]) -> String {
        let ran = Command::new(program).args(arguments).output().unwrap();
        assert!(ran.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    }

    const NO_ID: u32 = u32::MAX;

    /// Gives the directory `sub` of a new tree this default list, in the words of `setfacl`.
    fn with_default(list: &str) -> (Scratch, DirHandle) {
        let scratch = Scratch::new().dir("sub").dir("staging");
        run("setfacl", &["-d".as_ref(), "-m".as_ref(), list.as_ref(), scratch.path("sub").as_os_str()]);
        let sub = scratch.root().handle().child(&name("sub")).unwrap();
        (scratch, sub)
    }

    fn acl_of(scratch: &Scratch, path: &str) -> String {
        run("getfacl", &["-cpn".as_ref(), scratch.path(path).as_os_str()])
    }

    /// A list without a mask, one with named entries, one that takes everything away, one with a mask alone.
    const LISTS: [&str; 4] = [
        "u::rwx,g::r-x,o::---",
        "u::rwx,u:1234:rw-,g::r-x,g:4321:rwx,m::rwx,o::r--",
        "u::---,u:1234:rwx,g::---,m::---,o::---",
        "u::rw-,g::rwx,m::r-x,o::--x",
    ];

    #[test]
    fn file_moved_into_a_directory_is_as_if_it_had_been_made_there() {
        for list in LISTS {
            let (scratch, sub) = with_default(list);
            let staging = scratch.root().handle().child(&name("staging")).unwrap();
            let default = sub.default_acl().unwrap().unwrap();
            for mode in [0o644, 0o755, 0o600, 0o777, 0o070, 0] {
                let made = format!("made-{mode:o}");
                sub.create_file(&name(&made), mode).unwrap();

                let staged = name("staged");
                let file = staging.create_file(&staged, 0o600).unwrap();
                let mode = mode & default.permissions();
                match default.with_permissions(mode) {
                    Some(access) => access.set_access(&file).unwrap(),
                    None => staging.chmod(&staged, mode).unwrap(),
                }
                staging.rename_to(&staged, &sub, &name("moved"), Replace::Any).unwrap();
                assert_eq!(
                    acl_of(&scratch, "sub/moved"),
                    acl_of(&scratch, &format!("sub/{made}")),
                    "{list} {mode:o}"
                );
                assert_eq!(sub.stat(&name("moved")).unwrap().unwrap().mode, mode, "{list}");
            }
        }
    }

    #[test]
    fn permissions_set_by_a_list_are_those_that_chmod_sets() {
        for list in LISTS {
            let (scratch, sub) = with_default(list);
            let default = sub.default_acl().unwrap().unwrap();
            for mode in [0o640, 0o777, 0o4711] {
                sub.create_file(&name("made"), 0o600).unwrap();
                sub.chmod(&name("made"), mode).unwrap();
                let file = sub.create_file(&name("set"), 0o600).unwrap();
                match default.with_permissions(mode) {
                    Some(access) => access.set_access(&file).unwrap(),
                    None => sub.chmod(&name("set"), mode & 0o777).unwrap(),
                }
                assert_eq!(sub.stat(&name("set")).unwrap().unwrap().mode, mode & 0o777);
                sub.chmod(&name("set"), mode).unwrap();
                assert_eq!(acl_of(&scratch, "sub/set"), acl_of(&scratch, "sub/made"), "{list} {mode:o}");
                sub.unlink(&name("set")).unwrap();
                sub.unlink(&name("made")).unwrap();
            }
        }
    }

    #[test]
    fn default_list_is_read_set_and_removed_also_when_the_directory_is_only_searched() {
        let (scratch, sub) = with_default(LISTS[1]);
        let parent = scratch.root().handle();
        let searched = parent.child_to_search(&name("staging")).unwrap();
        assert_eq!(searched.default_acl().unwrap(), None);
        searched.remove_default_acl().unwrap();

        let list = sub.default_acl().unwrap().unwrap();
        attribute::set(searched.as_fd(), ListKind::Default, &list.to_bytes()).unwrap();
        assert_eq!(searched.default_acl().unwrap(), Some(list));
        let defaults = |path: &str| {
            acl_of(&scratch, path)
                .lines()
                .filter(|line| line.starts_with("default:"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(defaults("staging"), defaults("sub"));
        searched.remove_default_acl().unwrap();
        sub.remove_default_acl().unwrap();
        assert_eq!(
            (sub.default_acl().unwrap(), defaults("sub").len(), defaults("staging").len()),
            (None, 0, 0)
        );
    }

    #[test]
    fn list_of_many_entries_is_read() {
        let users: Vec<String> = (0..200).map(|uid| format!("u:{}:r", 5000 + uid)).collect();
        let (_scratch, sub) = with_default(&format!("{},m::rwx", users.join(",")));
        let list = sub.default_acl().unwrap().unwrap();
        assert_eq!(list.entries.iter().filter(|entry| entry.tag == Tag::NamedUser).count(), 200);
    }

    #[test]
    fn file_system_without_lists_has_none() {
        let proc = crate::Root::open("/proc".as_ref()).unwrap().handle();
        assert_eq!(proc.default_acl().unwrap(), None);
        proc.remove_default_acl().unwrap();
    }

    #[test]
    fn only_valid_lists_are_taken_from_bytes() {
        let entry = |tag, permissions, id| Entry { tag, permissions, id };
        let (owner, group, other) =
            (entry(Tag::Owner, 7, NO_ID), entry(Tag::OwningGroup, 5, NO_ID), entry(Tag::Other, 0, NO_ID));
        let (user, mask) = (entry(Tag::NamedUser, 6, 1234), entry(Tag::Mask, 6, NO_ID));
        let bytes = |entries: &[Entry]| Acl { entries: entries.to_vec() }.to_bytes();

        for valid in [
            &[owner, group, other][..],
            &[owner, group, mask, other],
            &[owner, user, user, group, mask, other],
        ] {
            assert_eq!(Acl::from_bytes(&bytes(valid)), Ok(Some(Acl { entries: valid.to_vec() })));
        }
        assert_eq!(Acl::from_bytes(&bytes(&[])), Ok(None));
        for invalid in [
            &[owner, group][..],
            &[owner, other, group],
            &[owner, user, group, other],
            &[owner, owner, group, other],
            &[owner, group, mask, mask, other],
            &[entry(Tag::Owner, 8, NO_ID), group, other],
        ] {
            assert!(Acl::from_bytes(&bytes(invalid)).is_err(), "{invalid:?}");
        }
        let mut bytes = bytes(&[owner, group, other]);
        for cut in [0, 3, 5, bytes.len() - 1] {
            assert!(Acl::from_bytes(&bytes[..cut]).is_err(), "{cut}");
        }
        bytes[0] = 1;
        assert!(Acl::from_bytes(&bytes).is_err());
    }
}
