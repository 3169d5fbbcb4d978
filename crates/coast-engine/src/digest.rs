//! The digest of a part's entries, which both sides compute from what they have.
//!
//! Two lists of entries have the same digest only if a receiver that has the one does nothing for the other: names, kinds, contents
//! and link targets are the same, and so is what the options transfer of modes and times.

use coast_wire::{Entry, Options, What};

/// How entries are digested in a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntryDigester {
    perms: bool,
    executability: bool,
    privacy: bool,
    times: bool,
}

impl EntryDigester {
    /// None for a run whose entries have more than a receiver can tell of its own ones, or which is not about whole directories.
    pub(crate) fn of(options: &Options) -> Option<Self> {
        let Options { perms, executability, privacy, times, .. } = *options;
        let names_owners = options.owner || options.group;
        let is_whole = options.recursive && options.follow.is_none();
        (is_whole && !names_owners).then_some(Self { perms, executability, privacy, times })
    }

    /// Whether entries are digested with their times.
    pub(crate) fn has_times(&self) -> bool {
        self.times
    }

    /// The digest of entries that are sorted by name. None if the content of a file is not known.
    pub(crate) fn digest(&self, entries: &[Entry<'_>]) -> Option<[u8; 16]> {
        let mut hasher = blake3::Hasher::new();
        for entry in entries {
            self.add(&mut hasher, entry)?;
        }
        hasher.finalize().as_bytes().first_chunk().copied()
    }

    fn add(&self, hasher: &mut blake3::Hasher, entry: &Entry<'_>) -> Option<()> {
        let hash;
        let (kind, number, content): (u8, u64, &[u8]) = match &entry.what {
            What::File { size, hash: known, content: None } => {
                hash = (*known)?;
                (0, *size, &hash)
            }
            What::File { content: Some(_), .. } => return None,
            What::Directory => (1, 0, b""),
            What::Symlink(target) => (2, 0, target),
            What::Fifo => (3, 0, b""),
            What::Socket => (4, 0, b""),
            What::CharDevice(device) => (5, *device, b""),
            What::BlockDevice(device) => (6, *device, b""),
        };
        let time = entry.mtime.filter(|_| self.times).map_or((0, 0), |time| (time.secs, time.nanos));
        hasher.update(&[kind]);
        hasher.update(&number.to_le_bytes());
        hasher.update(&self.mode(entry).to_le_bytes());
        hasher.update(&time.0.to_le_bytes());
        hasher.update(&time.1.to_le_bytes());
        for bytes in [entry.name, content] {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
        Some(())
    }

    /// The bits of the mode by which an existing entry may be changed.
    fn mode(&self, entry: &Entry<'_>) -> u16 {
        match entry.what {
            // Of symlinks no mode is transferred.
            What::Symlink(_) => 0,
            _ if self.perms => entry.mode,
            What::File { .. } => {
                let executable = self.executability && entry.mode & 0o111 != 0;
                let readable = if self.privacy { entry.mode & 0o044 } else { 0 };
                readable | u16::from(executable)
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use coast_wire::Time;

    use super::*;

    fn file<'a>(name: &'a [u8], content: u8, mode: u16, secs: i64) -> Entry<'a> {
        let what = What::File { size: 1, hash: Some([content; 32]), content: None };
        Entry { name, what, mode, mtime: Some(Time { secs, nanos: 0 }), owner: None }
    }

    fn options(change: impl FnOnce(&mut Options)) -> Options {
        let mut options = Options { recursive: true, ..Options::default() };
        change(&mut options);
        options
    }

    #[test]
    fn entries_that_differ_in_what_is_transferred_have_other_digests() {
        let of = |options: &Options, entries: &[Entry<'_>]| {
            EntryDigester::of(options).unwrap().digest(entries).unwrap()
        };
        let plain = options(|_| ());
        let first = || file(b"a", 1, 0o644, 5);
        let digest = of(&plain, &[first()]);
        assert_eq!(of(&plain, &[file(b"a", 1, 0o755, 6)]), digest);
        for other in [
            vec![],
            vec![file(b"b", 1, 0o644, 5)],
            vec![file(b"a", 2, 0o644, 5)],
            vec![first(), file(b"b", 1, 0o644, 5)],
            vec![Entry { what: What::Directory, ..first() }],
            vec![Entry { what: What::Symlink(b"x"), ..first() }],
        ] {
            assert_ne!(of(&plain, &other), digest, "{other:?}");
        }
        for (options, other, is_same) in [
            (options(|options| options.times = true), file(b"a", 1, 0o644, 6), false),
            (options(|options| options.perms = true), file(b"a", 1, 0o600, 5), false),
            (options(|options| options.executability = true), file(b"a", 1, 0o755, 5), false),
            (options(|options| options.executability = true), file(b"a", 1, 0o600, 5), true),
            (options(|options| options.privacy = true), file(b"a", 1, 0o640, 5), false),
            (options(|options| options.privacy = true), file(b"a", 1, 0o755, 5), true),
        ] {
            assert_eq!(of(&options, &[first()]) == of(&options, &[other]), is_same, "{options:?}");
        }
    }

    #[test]
    fn only_contents_that_are_known_have_a_digest() {
        let digester = EntryDigester::of(&options(|_| ())).unwrap();
        let what = What::File { size: 1, hash: None, content: None };
        assert_eq!(digester.digest(&[Entry { what, ..file(b"a", 1, 0, 0) }]), None);
        assert!(EntryDigester::of(&options(|options| options.owner = true)).is_none());
        assert!(EntryDigester::of(&options(|options| options.recursive = false)).is_none());
    }
}
