//! The users and groups of this system, from `/etc/passwd` and `/etc/group`. A static program has no name service. A process
//! that confines itself reads both files before it does so.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Bytes read of each file at most.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// A line of `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name, in bytes: nothing says that it is UTF-8.
    pub name: Vec<u8>,
    /// The user number.
    pub uid: u32,
    /// The home directory; empty where the line has none.
    pub home: PathBuf,
}

/// The users of this system. The list is empty when `/etc/passwd` cannot be read.
pub fn users() -> Vec<User> {
    parse_users(&read("/etc/passwd")).collect()
}

/// The users in the text of a `passwd` file: lines of `name:password:uid:gid:comment:home:shell`. Other lines are left out.
pub fn parse_users(content: &[u8]) -> impl Iterator<Item = User> {
    lines(content).map(|(name, uid, mut rest)| User {
        name: name.to_vec(),
        uid,
        home: PathBuf::from(OsStr::from_bytes(rest.nth(2).unwrap_or_default())),
    })
}

/// The names and numbers of the users and groups of this system.
#[derive(Debug, Default)]
pub struct OwnerNames {
    users: Table,
    groups: Table,
}

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<u32, Vec<u8>>,
    by_name: HashMap<Vec<u8>, u32>,
}

impl OwnerNames {
    /// Reads `/etc/passwd` and `/etc/group`. A file that cannot be read counts as empty.
    pub fn load() -> Self {
        Self { users: Table::parse(&read("/etc/passwd")), groups: Table::parse(&read("/etc/group")) }
    }

    /// The name of a user.
    pub fn user(&self, uid: u32) -> Option<&[u8]> {
        self.users.by_id.get(&uid).map(Vec::as_slice)
    }

    /// The name of a group.
    pub fn group(&self, gid: u32) -> Option<&[u8]> {
        self.groups.by_id.get(&gid).map(Vec::as_slice)
    }

    /// The number of the user called `name`.
    pub fn uid(&self, name: &[u8]) -> Option<u32> {
        self.users.by_name.get(name).copied()
    }

    /// The number of the group called `name`.
    pub fn gid(&self, name: &[u8]) -> Option<u32> {
        self.groups.by_name.get(name).copied()
    }
}

impl Table {
    fn parse(content: &[u8]) -> Self {
        let mut table = Self::default();
        for (name, id, _) in lines(content) {
            // The first line with a name or a number counts, as in the C library.
            table.by_id.entry(id).or_insert_with(|| name.to_vec());
            table.by_name.entry(name.to_vec()).or_insert(id);
        }
        table
    }
}

/// Lines of `name:password:id:...`, which both files have; with the fields after the number.
fn lines(content: &[u8]) -> impl Iterator<Item = (&[u8], u32, impl Iterator<Item = &[u8]>)> {
    content.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        Some((name, std::str::from_utf8(id).ok()?.parse().ok()?, fields))
    })
}

fn read(path: &str) -> Vec<u8> {
    let mut content = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        // After an error the lines read until then count.
        let _ = file.take(MAX_FILE_BYTES).read_to_end(&mut content);
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0::/root:/bin/sh\n# note\ntoor:x:0:0::/:\nbad:x:y\nroot:x:7:\n\nshort\n";

    #[test]
    fn first_line_of_a_name_or_number_counts() {
        let table = Table::parse(PASSWD);
        assert_eq!(table.by_id.get(&0).unwrap(), b"root");
        assert_eq!(table.by_name.get(&b"toor"[..]), Some(&0));
        assert_eq!(table.by_name.get(&b"root"[..]), Some(&0));
        assert_eq!(table.by_id.len(), 2);
    }

    #[test]
    fn a_user_without_a_home_has_an_empty_one() {
        let users: Vec<_> =
            parse_users(PASSWD).map(|user| (user.uid, user.home.to_str().unwrap().to_owned())).collect();
        assert_eq!(users, [(0, "/root".to_owned()), (0, "/".to_owned()), (7, String::new())]);
    }
}
