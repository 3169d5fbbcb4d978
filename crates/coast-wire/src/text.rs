//! Messages for people.

use crate::limits::MAX_TEXT_BYTES;

/// As much of a text, from its beginning, as surely fits into [`MAX_TEXT_BYTES`], the most that one side may send the
/// other: a quarter as many characters.
pub fn bounded_text(text: &str) -> String {
    text.chars().take(MAX_TEXT_BYTES / 4).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_of_any_characters_fits() {
        assert_eq!(bounded_text("short"), "short");
        for character in ["a", "\u{10ffff}"] {
            let bounded = bounded_text(&character.repeat(MAX_TEXT_BYTES));
            assert!(bounded.len() <= MAX_TEXT_BYTES && bounded.starts_with(character));
        }
    }
}
