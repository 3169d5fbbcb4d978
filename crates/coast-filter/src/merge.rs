//! Where merge files come from, and how the content of one falls apart into rules.
//! The crate opens nothing itself: the receiver reads beneath a confined directory handle, the sender below the
//! source, a test from a map.

use std::io;

use crate::rule::Flags;

/// The files that merge rules name.
///
/// A directory is a path relative to the transfer root, without leading or trailing slash; `""` is the root. What
/// is not a regular file counts as absent. An implementation must refuse a file of more than
/// [`MAX_MERGE_FILE_BYTES`](crate::MAX_MERGE_FILE_BYTES), and should not follow symbolic links where others can
/// write. Absent is `Ok(None)`; every error stops the run, since ignoring a file full of protect rules could
/// cost what it protects.
pub trait MergeFiles: Send + Sync {
    /// The content of file `name` in directory `dir`, `None` if it does not exist.
    ///
    /// `name` is one component, except for the static merge files of [`RuleList::filter`], whose path is passed
    /// on as given with `dir` empty.
    ///
    /// [`RuleList::filter`]: crate::RuleList::filter
    fn read(&self, dir: &[u8], name: &[u8]) -> io::Result<Option<Vec<u8>>>;

    /// The content of file `name` in directory `dir` outside the transfer root, an absolute path.
    ///
    /// A rule like `dir-merge /.rsync-filter` looks for the file in all parents of the transfer root, and a
    /// merge file may name another by its absolute path. The default finds nothing, which is right for a
    /// receiver that is confined to its root.
    fn read_above(&self, _dir: &[u8], _name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    /// Additions of a `-C` rule to CVS's default list: the content of `$HOME/.cvsignore`, then that of the
    /// variable `CVSIGNORE`, whitespace-separated patterns. The default adds nothing.
    fn cvs_ignores(&self) -> io::Result<Vec<Vec<u8>>> {
        Ok(Vec::new())
    }
}

/// No merge file exists.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMergeFiles;

impl MergeFiles for NoMergeFiles {
    fn read(&self, _dir: &[u8], _name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

/// Refuses the content of a merge file that is too large.
pub(crate) fn check_size(content: Option<Vec<u8>>) -> io::Result<Option<Vec<u8>>> {
    match content {
        Some(content) if content.len() > crate::MAX_MERGE_FILE_BYTES => {
            Err(io::ErrorKind::FileTooLarge.into())
        }
        content => Ok(content),
    }
}

/// The rules of a file in their order, each with its number from 1: lines without comments and empty ones, or
/// the words of a word-split file. A line ends at a NUL too, since no pattern can contain one.
pub(crate) fn rules_of(content: &[u8], template: Flags) -> impl Iterator<Item = (usize, &[u8])> {
    let words = template.has(Flags::WORD_SPLIT);
    // A carriage return ends a line by itself, and the empty line that CR LF leaves is skipped. For the numbering
    // only line feeds count, unless there are none.
    let mut line = 1;
    content
        .split_inclusive(move |&byte| if words { is_space(byte) } else { byte == b'\n' || byte == b'\r' })
        .map(move |piece| {
            let number = line;
            let (text, end) = match piece {
                [text @ .., b'\n'] => (text, true),
                [text @ .., last] if is_space(*last) && (words || *last == b'\r') => (text, words),
                _ => (piece, false),
            };
            line += usize::from(end);
            (number, text.split(|&byte| byte == 0).next().unwrap_or_default())
        })
        .filter(move |(_, text)| !text.is_empty() && (words || !matches!(text[0], b'#' | b';')))
}

/// C's `isspace`, which counts the vertical tab.
pub(crate) fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(content: &[u8], template: Flags) -> Vec<(usize, &[u8])> {
        rules_of(content, template).collect()
    }

    #[test]
    fn lines_skip_comments_and_blanks_and_keep_their_numbers() {
        let content = b"# note\r\n\r\n- a b \r\n;old\n+ c\n\n\n- #d";
        let expected: [(usize, &[u8]); 3] = [(3, b"- a b "), (5, b"+ c"), (8, b"- #d")];
        assert_eq!(texts(content, Flags::NONE), expected);
    }

    #[test]
    fn words_know_no_comments() {
        let expected: [(usize, &[u8]); 4] = [(1, b"#a"), (2, b"b"), (3, b"c"), (5, b"d")];
        assert_eq!(texts(b"#a b\x0bc\n\td", Flags::WORD_SPLIT), expected);
    }

    #[test]
    fn a_line_ends_at_a_nul() {
        let expected: [(usize, &[u8]); 2] = [(1, b"- a"), (3, b"- c")];
        assert_eq!(texts(b"- a\0b\n\0x\n- c", Flags::NONE), expected);
    }
}
