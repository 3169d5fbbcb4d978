//! Mutagen's ignore pattern for a single path, and the path of such a pattern.

/// The characters that have a meaning in a pattern.
const SPECIAL: [char; 8] = ['\\', '*', '?', '[', ']', '{', '}', '!'];

/// The pattern that matches only this path, which is relative to the root.
pub(crate) fn literal_pattern(path: &str) -> String {
    let mut pattern = "/".to_owned();
    for letter in path.chars() {
        if SPECIAL.contains(&letter) {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

/// The path of a pattern that [`literal_pattern`] made.
pub(crate) fn literal_path(pattern: &str) -> String {
    let mut path = String::new();
    let mut letters = pattern.strip_prefix('/').unwrap_or(pattern).chars();
    while let Some(letter) = letters.next() {
        path.extend(if letter == '\\' { letters.next() } else { Some(letter) });
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_its_pattern_stand_for_each_other() {
        for (path, pattern) in [
            ("a/.env", "/a/.env"),
            ("a*{b}?", "/a\\*\\{b\\}\\?"),
            ("[x]\\y", "/\\[x\\]\\\\y"),
            ("!a", "/\\!a"),
        ] {
            assert_eq!(literal_pattern(path), pattern);
            assert_eq!(literal_path(pattern), path);
        }
    }
}
