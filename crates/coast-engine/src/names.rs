//! Names of users and groups, from the system's files: read once, before the helper confines itself, and without the
//! name service that a static program does not have.

use std::collections::HashMap;
use std::io::Read;

/// Bytes read of each file at most.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// The users and groups of this system.
#[derive(Debug, Default)]
pub(crate) struct OwnerNames {
    users: Table,
    groups: Table,
}

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<u32, Vec<u8>>,
    by_name: HashMap<Vec<u8>, u32>,
}

impl OwnerNames {
    /// Reads `/etc/passwd` and `/etc/group`; what cannot be read is empty.
    pub(crate) fn load() -> Self {
        Self { users: Table::read("/etc/passwd"), groups: Table::read("/etc/group") }
    }

    pub(crate) fn user(&self, uid: u32) -> Option<&[u8]> {
        self.users.by_id.get(&uid).map(Vec::as_slice)
    }

    pub(crate) fn group(&self, gid: u32) -> Option<&[u8]> {
        self.groups.by_id.get(&gid).map(Vec::as_slice)
    }

    pub(crate) fn uid(&self, name: &[u8]) -> Option<u32> {
        self.users.by_name.get(name).copied()
    }

    pub(crate) fn gid(&self, name: &[u8]) -> Option<u32> {
        self.groups.by_name.get(name).copied()
    }
}

impl Table {
    fn read(path: &str) -> Self {
        let mut content = Vec::new();
        if let Ok(file) = std::fs::File::open(path) {
            let _ = file.take(MAX_FILE_BYTES).read_to_end(&mut content);
        }
        Self::parse(&content)
    }

    /// Lines of `name:password:id:...`, as both files have them.
    fn parse(content: &[u8]) -> Self {
        let mut table = Self::default();
        for line in content.split(|&byte| byte == b'\n') {
            let mut fields = line.split(|&byte| byte == b':');
            let (Some(name), Some(_), Some(id)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let Some(id) = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok()) else { continue };
            // The first line that has it counts, as in the C library.
            table.by_id.entry(id).or_insert_with(|| name.to_vec());
            table.by_name.entry(name.to_vec()).or_insert(id);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn first_line_of_a_name_or_number_counts() {
        let table =
            Table::parse(b"root:x:0:0::/root:/bin/sh\n# note\ntoor:x:0:0::/:\nbad:x:y\nroot:x:7:\n\nshort\n");
        assert_eq!(table.by_id.get(&0).unwrap(), b"root");
        assert_eq!(table.by_name.get(&b"toor"[..]), Some(&0));
        assert_eq!(table.by_name.get(&b"root"[..]), Some(&0));
        assert_eq!(table.by_id.len(), 2);
    }
}
