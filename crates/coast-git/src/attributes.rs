//! Attributes that have git convert contents between the repository and the worktree, gitattributes(5).
//!
//! The answers are cautious: a pattern that sets such an attribute counts although another one unsets it.

use bstr::BStr;
use coast_tree::Timestamp;
use gix_attributes::StateRef;
use gix_attributes::parse::Kind;
use gix_glob::Pattern;
use gix_glob::pattern::Case;
use gix_glob::wildmatch::Mode;

/// The attributes whose conversions may keep the size of a file. Conversions of line ends (`text`, `eol`, `crlf`) change the size
/// whenever they change the content.
const CONVERTING: [&str; 3] = ["filter", "ident", "working-tree-encoding"];

/// The patterns of converted files that one file of attributes may have.
const MAX_PATTERNS: usize = 256;

/// The bytes and the asterisks of a pattern. Matching takes time that grows with the power of the asterisks.
const MAX_PATTERN_BYTES: usize = 256;
const MAX_ASTERISKS: usize = 4;

/// One file of attributes.
#[derive(Debug)]
pub(crate) struct AttributesFile {
    /// The bytes of the path before the paths that the patterns match: the directory of the file and a slash.
    base: usize,
    /// The patterns of files that are converted. `None` if the file cannot be understood.
    converted: Option<Vec<Pattern>>,
    /// The time of the last change of the file.
    pub(crate) changed: Timestamp,
}

impl AttributesFile {
    /// A file with this content. `base` is the number of bytes of its directory's path, with a slash at the end.
    pub(crate) fn new(content: &[u8], base: usize, changed: Timestamp) -> Self {
        Self { base, converted: converted(content), changed }
    }

    /// A file that cannot be read.
    pub(crate) fn unreadable() -> Self {
        Self { base: 0, converted: None, changed: Timestamp::now() }
    }

    /// Whether git may convert the content of a file. `path` is relative to the top of the worktree, and below the directory of the
    /// attributes file.
    pub(crate) fn may_convert(&self, path: &[u8]) -> bool {
        let Some(converted) = &self.converted else { return true };
        if converted.is_empty() {
            return false;
        }
        let path = <&BStr>::from(&path[self.base..]);
        let name = path.iter().rposition(|&byte| byte == b'/').map(|slash| slash + 1);
        converted.iter().any(|pattern| {
            pattern.matches_repo_relative_path(
                path,
                name,
                Some(false),
                Case::Fold,
                Mode::NO_MATCH_SLASH_LITERAL,
            )
        })
    }
}

/// The patterns of files that are converted. `None` if the content cannot be understood.
fn converted(content: &[u8]) -> Option<Vec<Pattern>> {
    let mut patterns = Vec::new();
    for line in gix_attributes::parse(content) {
        let (kind, assignments, _) = line.ok()?;
        let mut converts = false;
        for assignment in assignments {
            let assignment = assignment.ok()?;
            let is_set = matches!(assignment.state, StateRef::Set | StateRef::Value(_));
            converts |= is_set && CONVERTING.contains(&assignment.name.as_str());
        }
        match kind {
            Kind::Pattern(pattern) if converts => {
                let asterisks = pattern.text.iter().filter(|&&byte| byte == b'*').count();
                if patterns.len() == MAX_PATTERNS
                    || pattern.text.len() > MAX_PATTERN_BYTES
                    || asterisks > MAX_ASTERISKS
                {
                    return None;
                }
                patterns.push(pattern);
            }
            // A macro may be used in every other file.
            Kind::Macro(_) if converts => return None,
            _ => {}
        }
    }
    Some(patterns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_convert(attributes: &str, path: &str) -> bool {
        AttributesFile::new(attributes.as_bytes(), 0, Timestamp::now()).may_convert(path.as_bytes())
    }

    #[test]
    fn files_with_a_converting_attribute_are_told() {
        for (attributes, path, expected) in [
            ("*.bin filter=lfs diff=lfs", "d/x.bin", true),
            ("*.bin filter=lfs", "d/x.c", false),
            ("*.bin filter=lfs", "d/X.BIN", true),
            ("* ident", "x", true),
            ("* -ident", "x", false),
            ("* !filter", "x", false),
            ("* ident\n* -ident", "x", true),
            ("/d/*.c working-tree-encoding=UTF-16", "d/x.c", true),
            ("/d/*.c working-tree-encoding=UTF-16", "d/e/x.c", false),
            ("d/** ident", "d/e/x.c", true),
            ("\"a b\" ident", "a b", true),
            ("* text=auto eol=crlf", "x", false),
            ("*.c diff=cpp", "x.c", false),
            ("# * ident", "x", false),
            ("", "x", false),
        ] {
            assert_eq!(may_convert(attributes, path), expected, "{attributes} {path}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_judged_may_convert_everything() {
        for attributes in ["[attr]lfs filter=lfs diff", "!x ident", "* bad,name"] {
            assert!(may_convert(attributes, "any"), "{attributes}");
        }
        assert!(!may_convert("[attr]bin -text -diff\n*.png bin", "x.png"));
        assert!(AttributesFile::unreadable().may_convert(b"any"));
    }

    #[test]
    fn patterns_that_take_long_to_match_may_convert_everything() {
        for attributes in ["**/".repeat(60) + "x ident", "a".repeat(300) + " ident", "a ident\n".repeat(300)]
        {
            assert!(may_convert(&attributes, "any"), "{attributes:.40}");
        }
    }

    #[test]
    fn patterns_are_relative_to_the_directory_of_the_file() {
        let file = AttributesFile::new(b"/x ident", "d/".len(), Timestamp::now());
        assert!(file.may_convert(b"d/x"));
        assert!(!file.may_convert(b"d/e/x"));
    }
}
