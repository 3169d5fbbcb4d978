//! The eleven letters of `--itemize-changes`, as rsync's manual defines them.

use coast_sync::{Change, EntryKind, TimeChange, Update};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Itemizer {
    /// Whether the destination is on another machine. rsync prints `<` for a sent entry and `>` for a received entry; a local
    /// run receives.
    pub(crate) remote: bool,
    /// Whether `-c` was given. Only then rsync says whether a file's content differs.
    pub(crate) checksum: bool,
}

/// The word in place of the letters for a deleted entry.
pub(crate) const DELETING: &str = "*deleting  ";

impl Itemizer {
    /// Returns the eleven letters for one change.
    pub(crate) fn letters(self, change: &Change) -> String {
        let update = match change.update {
            Update::Transferred if self.remote => '<',
            Update::Transferred => '>',
            Update::Local => 'c',
            Update::Attributes => '.',
        };
        let kind = match change.kind {
            EntryKind::File => 'f',
            EntryKind::Directory => 'd',
            EntryKind::Symlink => 'L',
            EntryKind::Device => 'D',
            EntryKind::Special => 'S',
        };
        if change.new {
            return format!("{update}{kind}+++++++++");
        }
        let letter = |differs: bool, letter: char| if differs { letter } else { '.' };
        let content = change.content && (self.checksum || change.kind != EntryKind::File);
        let size = change.size && change.kind != EntryKind::Symlink;
        let time = match change.time {
            None => '.',
            Some(TimeChange::Kept) => 't',
            Some(TimeChange::Now) => 'T',
        };
        let attributes: String = [
            letter(content, 'c'),
            letter(size, 's'),
            time,
            letter(change.perms, 'p'),
            letter(change.owner, 'o'),
            letter(change.group, 'g'),
            '.',
            '.',
            '.',
        ]
        .into_iter()
        .collect();
        // rsync prints blanks in place of the letters if nothing differs and nothing was transferred.
        if change.update != Update::Transferred && attributes.bytes().all(|letter| letter == b'.') {
            return format!("{update}{kind}         ");
        }
        format!("{update}{kind}{attributes}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Change = Change::none(EntryKind::File);

    #[test]
    fn letters_are_those_of_rsync() {
        let remote = Itemizer { remote: true, checksum: false };
        let checksum = Itemizer { remote: true, checksum: true };
        let local = Itemizer { remote: false, checksum: false };
        let transferred = Change { update: Update::Transferred, ..NOTHING };
        let changed = Change { content: true, size: true, time: Some(TimeChange::Kept), ..transferred };
        let directory = Change { kind: EntryKind::Directory, ..NOTHING };
        let link = Change { update: Update::Local, kind: EntryKind::Symlink, ..NOTHING };
        for (itemizer, change, letters) in [
            (remote, Change { new: true, ..transferred }, "<f+++++++++"),
            (local, Change { new: true, ..transferred }, ">f+++++++++"),
            (remote, changed, "<f.st......"),
            (checksum, changed, "<fcst......"),
            (remote, Change { time: Some(TimeChange::Now), ..changed }, "<f.sT......"),
            (remote, Change { time: Some(TimeChange::Kept), ..directory }, ".d..t......"),
            (remote, Change { new: true, update: Update::Local, ..directory }, "cd+++++++++"),
            (remote, Change { new: true, ..link }, "cL+++++++++"),
            (remote, Change { content: true, size: true, ..link }, "cLc........"),
            (remote, Change { perms: true, owner: true, group: true, ..NOTHING }, ".f...pog..."),
            (
                remote,
                Change { kind: EntryKind::Device, new: true, update: Update::Local, ..NOTHING },
                "cD+++++++++",
            ),
            (remote, Change { kind: EntryKind::Special, perms: true, ..NOTHING }, ".S...p....."),
            (remote, NOTHING, ".f         "),
            (remote, transferred, "<f........."),
        ] {
            assert_eq!(itemizer.letters(&change), letters);
        }
        assert_eq!(DELETING.len(), 11);
    }
}
