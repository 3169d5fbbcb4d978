//! File names and paths relative to the transfer root, as bytes. A value of these types cannot leave the tree it is
//! used in: there is no way to make one with a `..`, a leading `/` or a NUL in it.

use std::borrow::Borrow;
use std::fmt;

use thiserror::Error;

/// Longest name of one component, in bytes. `NAME_MAX` of every file system this runs on.
pub const MAX_NAME_BYTES: usize = 255;

/// Longest relative path, in bytes: four times Linux' `PATH_MAX`, since trees deeper than one system call can name do
/// exist and are reached piece by piece.
pub const MAX_PATH_BYTES: usize = 16 * 1024;

/// Most components of a relative path: as many as a path of `PATH_MAX` bytes can have.
pub const MAX_DEPTH: usize = 2048;

/// Why some bytes are not a [`Name`] or a [`RelPath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadPath {
    /// A component is empty: no name at all, `a//b`, a leading or a trailing slash.
    #[error("a file name is empty")]
    Empty,
    /// A component is `.` or `..`.
    #[error("a file name is \".\" or \"..\"")]
    Dots,
    /// There is a NUL byte, or a slash in a single name.
    #[error("a file name holds a NUL or a slash")]
    ForbiddenByte,
    /// A component is longer than [`MAX_NAME_BYTES`].
    #[error("a file name is longer than {MAX_NAME_BYTES} bytes")]
    LongName,
    /// The path is longer than [`MAX_PATH_BYTES`].
    #[error("the path is longer than {MAX_PATH_BYTES} bytes")]
    LongPath,
    /// The path has more than [`MAX_DEPTH`] components.
    #[error("the path is more than {MAX_DEPTH} directories deep")]
    Deep,
}

/// The name of one entry of a directory: one path component, any bytes but `/` and NUL.
///
/// Ordered by bytes. Displayed as rsync does it: `\#ooo` (octal) for bytes that are control characters or not UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    /// Checks that the bytes are one component: not empty, not `.` or `..`, no `/`, no NUL, at most
    /// [`MAX_NAME_BYTES`] long.
    pub fn new(bytes: &[u8]) -> Result<Self, BadPath> {
        check_component(bytes)?;
        Ok(Self(bytes.into()))
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Lets sorted lists and maps of names be searched by bytes.
impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Name {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<&str> for Name {
    type Error = BadPath;
    fn try_from(name: &str) -> Result<Self, BadPath> {
        Self::new(name.as_bytes())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_printable(&self.0, f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

/// A path relative to the transfer root: [`Name`]s joined by `/`. The empty path is the root itself.
///
/// Ordered by bytes. Displayed like a [`Name`]; the root is displayed as `.`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Box<[u8]>);

impl RelPath {
    /// The transfer root itself.
    pub fn root() -> Self {
        Self(Box::default())
    }

    /// Checks that the bytes are components joined by single slashes, none of them `.` or `..`, within
    /// [`MAX_PATH_BYTES`] and [`MAX_DEPTH`]. Empty bytes are the root.
    pub fn new(bytes: &[u8]) -> Result<Self, BadPath> {
        check_path(bytes)?;
        Ok(Self(bytes.into()))
    }

    /// Whether this is the transfer root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes of the path; empty for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path of an entry of this directory. Fails with [`BadPath::LongPath`] or [`BadPath::Deep`] only.
    pub fn join(&self, name: &Name) -> Result<Self, BadPath> {
        if self.is_root() {
            return Ok(Self(name.0.clone()));
        }
        let length = self.0.len() + 1 + name.0.len();
        if length > MAX_PATH_BYTES {
            return Err(BadPath::LongPath);
        }
        if self.depth() >= MAX_DEPTH {
            return Err(BadPath::Deep);
        }
        let mut joined = Vec::with_capacity(length);
        joined.extend_from_slice(&self.0);
        joined.push(b'/');
        joined.extend_from_slice(&name.0);
        Ok(Self(joined.into()))
    }

    /// The directory that holds this entry; none for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        Some(Self(self.0[..end].into()))
    }

    /// The last component; none for the root.
    pub fn file_name(&self) -> Option<Name> {
        self.components().last().map(|name| Name(name.into()))
    }

    /// The components, outermost first; none for the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/').filter(|component| !component.is_empty())
    }

    /// How many components there are; 0 for the root.
    pub fn depth(&self) -> usize {
        if self.is_root() { 0 } else { 1 + self.0.iter().filter(|&&byte| byte == b'/').count() }
    }

    /// Whether this is `ancestor` or something below it. Compares whole components: `ab` does not start with `a`.
    pub fn starts_with(&self, ancestor: &Self) -> bool {
        match self.0.strip_prefix(&*ancestor.0) {
            Some(rest) => ancestor.is_root() || rest.is_empty() || rest[0] == b'/',
            None => false,
        }
    }
}

/// Lets sorted maps of paths be searched by bytes, as for all paths below a directory.
impl Borrow<[u8]> for RelPath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<Name> for RelPath {
    fn from(name: Name) -> Self {
        Self(name.0)
    }
}

impl AsRef<[u8]> for RelPath {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<&str> for RelPath {
    type Error = BadPath;
    fn try_from(path: &str) -> Result<Self, BadPath> {
        Self::new(path.as_bytes())
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { f.write_str(".") } else { write_printable(&self.0, f) }
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelPath({self})")
    }
}

/// Whether the bytes are a [`RelPath`], without making one.
pub(crate) fn check_path(bytes: &[u8]) -> Result<(), BadPath> {
    if bytes.is_empty() {
        return Ok(());
    }
    if bytes.len() > MAX_PATH_BYTES {
        return Err(BadPath::LongPath);
    }
    let mut depth = 0;
    for component in bytes.split(|&byte| byte == b'/') {
        check_component(component)?;
        depth += 1;
    }
    if depth > MAX_DEPTH {
        return Err(BadPath::Deep);
    }
    Ok(())
}

/// Whether the bytes are a [`Name`], without making one.
pub(crate) fn check_component(bytes: &[u8]) -> Result<(), BadPath> {
    match bytes {
        [] => return Err(BadPath::Empty),
        b"." | b".." => return Err(BadPath::Dots),
        _ => {}
    }
    if bytes.len() > MAX_NAME_BYTES {
        return Err(BadPath::LongName);
    }
    if bytes.iter().any(|&byte| byte == 0 || byte == b'/') {
        return Err(BadPath::ForbiddenByte);
    }
    Ok(())
}

/// Writes bytes so that a terminal shows one harmless line and the original can be told: rsync's `\#ooo`. A backslash
/// that would read as such an escape is escaped itself. Beyond rsync, the characters that reorder a line are escaped.
fn write_printable(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use fmt::Write as _;
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        for (at, character) in valid.char_indices() {
            let looks_escaped = || match valid.as_bytes()[at + 1..] {
                [b'#', a, b, c, ..] => [a, b, c].iter().all(u8::is_ascii_digit),
                _ => false,
            };
            let misleading = matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if character.is_control() || misleading || (character == '\\' && looks_escaped()) {
                for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                    write!(f, "\\#{byte:03o}")?;
                }
            } else {
                f.write_char(character)?;
            }
        }
        for byte in chunk.invalid() {
            write!(f, "\\#{byte:03o}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scratch::{name, rel};

    #[test]
    fn name_may_hold_anything_but_slash_and_nul() {
        for odd in
            [&b"-rf"[..], b"new\nline", b"\xff\xfe", b"*?[a]", b"...", b".a", b" ", b"\\", &[b'x'; 255]]
        {
            assert_eq!(name(odd).as_bytes(), odd);
        }
    }

    #[test]
    fn name_is_one_component_that_stays_in_its_directory() {
        for (bad, why) in [
            (&b""[..], BadPath::Empty),
            (b".", BadPath::Dots),
            (b"..", BadPath::Dots),
            (b"a/b", BadPath::ForbiddenByte),
            (b"/", BadPath::ForbiddenByte),
            (b"a\0", BadPath::ForbiddenByte),
            (&[b'x'; 256], BadPath::LongName),
        ] {
            assert_eq!(Name::new(bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn path_has_no_way_up_or_out() {
        for (bad, why) in [
            (&b"/"[..], BadPath::Empty),
            (b"/etc", BadPath::Empty),
            (b"a/", BadPath::Empty),
            (b"a//b", BadPath::Empty),
            (b"..", BadPath::Dots),
            (b"a/../b", BadPath::Dots),
            (b"a/..", BadPath::Dots),
            (b"./a", BadPath::Dots),
            (b"a\0b", BadPath::ForbiddenByte),
        ] {
            assert_eq!(RelPath::new(bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn path_is_bounded_in_length_and_depth() {
        let longest = [b'x'; 255];
        let long = [&longest[..]; 64].join(&b'/');
        assert_eq!(long.len(), MAX_PATH_BYTES - 1);
        assert_eq!(rel(&long).join(&name("x")), Err(BadPath::LongPath));
        assert_eq!(RelPath::new(&[&long[..], b"/x"].concat()), Err(BadPath::LongPath));

        let deep = [&b"x"[..]; MAX_DEPTH].join(&b'/');
        assert_eq!(rel(&deep).depth(), MAX_DEPTH);
        assert_eq!(rel(&deep).join(&name("x")), Err(BadPath::Deep));
        assert_eq!(RelPath::new(&[&deep[..], b"/x"].concat()), Err(BadPath::Deep));
    }

    #[test]
    fn root_has_no_parent_and_no_name() {
        let root = RelPath::root();
        assert_eq!((root.parent(), root.file_name(), root.components().count()), (None, None, 0));
        assert_eq!(rel(""), root);
        assert_eq!(rel("a").parent(), Some(root));
    }

    #[test]
    fn starting_with_a_directory_compares_whole_components() {
        for (path, ancestor, expected) in [
            ("a/b", "a", true),
            ("a", "a", true),
            ("a", "", true),
            ("", "", true),
            ("ab", "a", false),
            ("a", "a/b", false),
            ("", "a", false),
        ] {
            assert_eq!(rel(path).starts_with(&rel(ancestor)), expected, "{path:?} {ancestor:?}");
        }
    }

    #[test]
    fn display_shows_one_harmless_line() {
        for (bytes, shown) in [
            (&b"a\nb"[..], "a\\#012b"),
            (b"\x1b[2J", "\\#033[2J"),
            (b"\xff.txt", "\\#377.txt"),
            ("häß".as_bytes(), "häß"),
            (b"\\#012", "\\#134#012"),
            (b"\\#01", "\\#01"),
            (b"c:\\d", "c:\\d"),
            ("\u{202e}gpj".as_bytes(), "\\#342\\#200\\#256gpj"),
        ] {
            assert_eq!(name(bytes).to_string(), shown);
        }
        assert_eq!(RelPath::root().to_string(), ".");
    }

    proptest! {
        #[test]
        fn joining_and_taking_apart_are_inverse(names in prop::collection::vec("[^/\0]{1,8}", 1..8)) {
            let names: Vec<Name> = names.iter().filter_map(|bytes| Name::new(bytes.as_bytes()).ok()).collect();
            let mut path = RelPath::root();
            for next in &names {
                let child = path.join(next).unwrap();
                prop_assert_eq!(child.parent(), Some(path.clone()));
                prop_assert_eq!(child.file_name(), Some(next.clone()));
                prop_assert!(child.starts_with(&path));
                path = child;
            }
            prop_assert_eq!(path.depth(), names.len());
            prop_assert!(path.components().eq(names.iter().map(Name::as_bytes)));
            prop_assert_eq!(RelPath::new(path.as_bytes()), Ok(path));
        }

        #[test]
        fn any_bytes_are_checked_and_any_name_displays_as_a_line(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(path) = RelPath::new(&bytes) {
                prop_assert!(path.components().all(|part| part != b".." && part != b"." && !part.is_empty()));
                prop_assert!(!path.to_string().chars().any(char::is_control));
            }
        }
    }
}
