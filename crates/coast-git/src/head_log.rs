//! The log of a checkout's HEAD, which tells when the commit that is checked out changed last.

use std::path::Path;

use coast_tree::regular_file;
use coast_tree::{Timestamp, file_stat};

/// The number of bytes of the log that are read. A longer log is that of a checkout that has changed.
const MAX_BYTES: u64 = 64 << 10;

/// The time from which on the attributes that git used for the files of a checkout are those that its files say: a file that was
/// written later was written under them. `None` without a log that reaches back to the making of the checkout or to a change.
///
/// Git does not write a file again when only its attributes change. After a change of commits that removes a file of attributes, a
/// file of before is still as those attributes had it, and git takes it for unchanged.
pub(crate) fn attributes_since(git_dir: &Path) -> Option<Timestamp> {
    let log = regular_file::open(&git_dir.join("logs/HEAD")).ok()?;
    let stat = file_stat(&log).ok()?;
    let changed = stat.mtime.max(stat.ctime);
    let Ok(content) = regular_file::read_opened(log, MAX_BYTES) else { return Some(changed) };
    let mut lines = content.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let first = lines.next()?;
    match made(first) {
        // A new checkout has a line that changes nothing, too.
        Some((made, commit)) if lines.all(|line| commits(line) == Some((commit, commit))) => Some(made),
        _ => Some(changed),
    }
}

/// The last moment before the second in which a checkout was made, and its commit, by the line of the log that tells of it.
fn made(line: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (old, commit) = commits(line)?;
    if !old.iter().all(|&byte| byte == b'0') {
        return None;
    }
    // `OLD NEW NAME <ADDRESS> SECONDS ZONE`, a tab and a message.
    let head = line.split(|&byte| byte == b'\t').next()?;
    let mut words = head.rsplit(|&byte| byte == b' ');
    let seconds: i64 = std::str::from_utf8(words.nth(1)?).ok()?.parse().ok()?;
    Some((Timestamp::new(seconds.checked_sub(1)?, u32::MAX), commit))
}

/// The commits before and after the change that a line tells of.
fn commits(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut words = line.splitn(3, |&byte| byte == b' ');
    let (old, new) = (words.next()?, words.next()?);
    let is_commit = |word: &[u8]| word.len() >= 40 && word.iter().all(u8::is_ascii_hexdigit);
    (is_commit(old) && is_commit(new)).then_some((old, new))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn since(log: &str) -> Option<Timestamp> {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("logs")).unwrap();
        fs::write(scratch.path().join("logs/HEAD"), log).unwrap();
        attributes_since(scratch.path())
    }

    #[test]
    fn a_new_checkout_is_told_from_one_that_has_changed() {
        let line = |old: char, new: char, seconds: u32| {
            let commit = |digit: char| digit.to_string().repeat(40);
            format!("{} {} A B <a@b> {seconds} +0100\tmessage: 5 +0000\n", commit(old), commit(new))
        };
        let made = Some(Timestamp::new(999, 999_999_999));
        let begun = Timestamp::new(Timestamp::now().secs() - 10, 0);
        assert_eq!(since(&line('0', 'a', 1000)), made);
        assert_eq!(since(&(line('0', 'a', 1000) + &line('a', 'a', 1001))), made);
        for changed in [
            line('0', 'a', 1000) + &line('a', 'b', 1001),
            line('0', 'a', 1000) + &line('b', 'b', 1001),
            line('a', 'b', 1000),
            line('0', 'a', 1000) + "damaged\n",
            line('0', 'a', 1000).replace("1000", "none"),
            line('0', 'a', 1000).repeat(1000),
        ] {
            assert!(since(&changed) > Some(begun), "{changed:.200}");
        }
        assert_eq!(since(""), None);
        assert_eq!(attributes_since(Path::new("/nonexistent")), None);
    }
}
