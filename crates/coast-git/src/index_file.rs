//! The file of an index, gitformat-index(5), checked before it is decoded: lengths that would take memory without end, and extensions,
//! which are not needed and whose decoding is recursive.

use sha1::{Digest, Sha1};

/// The bytes of one path.
const MAX_PATH_BYTES: usize = 4096;
/// The bytes of all paths. In version 4 a path is stored as what differs from the path before.
const MAX_PATHS_BYTES: usize = 64 << 20;

const HEADER_BYTES: usize = 12;
/// The bytes of an entry before its flags.
const STAT_BYTES: usize = 60;
/// The flag of an entry with two more bytes of flags.
const EXTENDED: u16 = 0x4000;
const HASH_BYTES: usize = 20;

/// The index without its extensions and without a hash, which git allows to be zero. `None` for a file that is damaged, or that has an
/// extension without which it cannot be understood: a split or a sparse index.
pub(crate) fn entries_alone(content: &[u8]) -> Option<Vec<u8>> {
    let (content, hash) = content.split_last_chunk::<HASH_BYTES>()?;
    // Zeros are what git writes with `index.skipHash`.
    if *hash != [0; HASH_BYTES] && Sha1::digest(content).as_slice() != hash {
        return None;
    }
    let end = end_of_entries(content)?;
    has_optional_extensions_only(&content[end..]).then(|| [&content[..end], &[0; HASH_BYTES]].concat())
}

/// The offset of the first extension.
fn end_of_entries(content: &[u8]) -> Option<usize> {
    let number = |at: usize| Some(u32::from_be_bytes(*content.get(at..)?.first_chunk()?));
    let version = number(4).filter(|version| content.starts_with(b"DIRC") && (2..=4).contains(version))?;
    let (mut at, mut path, mut paths) = (HEADER_BYTES, 0_usize, 0_usize);
    for _ in 0..number(8)? {
        let flags = u16::from_be_bytes(*content.get(at + STAT_BYTES..)?.first_chunk()?);
        let fixed = STAT_BYTES + if flags & EXTENDED == 0 { 2 } else { 4 };
        let mut rest = content.get(at + fixed..)?;
        let kept = if version == 4 { path.checked_sub(take_offset(&mut rest)?)? } else { 0 };
        let new = rest.iter().take(MAX_PATH_BYTES + 1).position(|&byte| byte == 0)?;
        path = kept + new;
        paths += path;
        if path > MAX_PATH_BYTES || paths > MAX_PATHS_BYTES {
            return None;
        }
        at = match version {
            4 => content.len() - rest.len() + new + 1,
            // From one to eight zeros fill the entry up to a multiple of eight bytes.
            _ => at + (fixed + new + 8) / 8 * 8,
        };
    }
    (at <= content.len()).then_some(at)
}

/// Takes a number in git's encoding of offsets.
fn take_offset(rest: &mut &[u8]) -> Option<usize> {
    let mut value = 0_usize;
    for length in 1..=4 {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        value = (value << 7) | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(value);
        }
        value += usize::from(length < 4);
    }
    None
}

/// Whether a reader may leave out all extensions: their names begin with a capital letter.
fn has_optional_extensions_only(mut extensions: &[u8]) -> bool {
    while let Some((head, rest)) = extensions.split_first_chunk::<8>() {
        let size = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let Some(next) = usize::try_from(size).ok().and_then(|size| rest.get(size..)) else { return false };
        if !head[0].is_ascii_uppercase() {
            return false;
        }
        extensions = next;
    }
    extensions.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An index of version 4 with these entries: bytes to take off the path before, and bytes to add to it.
    fn index(entries: &[(u8, &[u8])], extensions: &[u8]) -> Vec<u8> {
        let count = u32::try_from(entries.len()).unwrap();
        let mut content = [&b"DIRC"[..], &4_u32.to_be_bytes(), &count.to_be_bytes()].concat();
        for (strip, suffix) in entries {
            content.extend_from_slice(&[1; STAT_BYTES]);
            content.extend_from_slice(&[0, 1, *strip]);
            content.extend_from_slice(suffix);
            content.push(0);
        }
        content.extend_from_slice(extensions);
        content.extend_from_slice(&[0; HASH_BYTES]);
        content
    }

    #[test]
    fn extensions_are_left_out() {
        let extension = [&b"TREE"[..], &3_u32.to_be_bytes(), b"abc"].concat();
        let with = index(&[(0, b"a"), (1, b"b")], &extension);
        assert_eq!(entries_alone(&with), Some(index(&[(0, b"a"), (1, b"b")], b"")));
        let needed = [&b"link"[..], &3_u32.to_be_bytes(), b"abc"].concat();
        assert_eq!(entries_alone(&index(&[(0, b"a")], &needed)), None);
        assert_eq!(entries_alone(&index(&[(0, b"a")], b"TREE")), None);
    }

    #[test]
    fn paths_without_end_are_refused() {
        let long = vec![b'a'; MAX_PATH_BYTES];
        assert!(entries_alone(&index(&[(0, &long)], b"")).is_some());
        assert_eq!(entries_alone(&index(&[(0, &long), (0, b"b")], b"")), None);
        assert_eq!(entries_alone(&index(&[(0, b"a"), (2, b"b")], b"")), None);
        let mut many = vec![(0, &long[..])];
        many.resize(MAX_PATHS_BYTES / MAX_PATH_BYTES + 1, (0, b""));
        assert_eq!(entries_alone(&index(&many, b"")), None);
    }

    #[test]
    fn an_index_that_is_cut_is_refused() {
        let whole = index(&[(0, b"a"), (1, b"b")], b"");
        for length in 0..whole.len() - HASH_BYTES {
            let cut = [&whole[..length], &[0; HASH_BYTES]].concat();
            assert_eq!(entries_alone(&cut), None, "{length}");
        }
    }
}
