//! Printing of names, so that no byte of a name can control the terminal.

use std::fmt::{self, Write as _};

/// Displays a path as rsync does: each byte that is not printable text becomes `\#ooo`, in octal. A backslash that would look like
/// the start of such an escape is escaped too, so that no two names look the same.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while !rest.is_empty() {
            let (text, invalid_len) = match str::from_utf8(rest) {
                Ok(text) => (text, 0),
                Err(error) => {
                    let valid = &rest[..error.valid_up_to()];
                    let invalid_len = error.error_len().unwrap_or(rest.len() - valid.len());
                    (str::from_utf8(valid).unwrap_or_default(), invalid_len)
                }
            };
            write_text(f, text)?;
            let (invalid, after) = rest[text.len()..].split_at(invalid_len);
            escape(f, invalid)?;
            rest = after;
        }
        Ok(())
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for (index, letter) in text.char_indices() {
        if steers_terminal(letter) || (letter == '\\' && reads_as_escape(&text.as_bytes()[index + 1..])) {
            escape(f, letter.encode_utf8(&mut [0; 4]).as_bytes())?;
        } else {
            f.write_char(letter)?;
        }
    }
    Ok(())
}

fn escape(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\#{byte:03o}"))
}

/// Whether the character is a control character, or reorders or breaks a line of text.
fn steers_terminal(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn reads_as_escape(after_backslash: &[u8]) -> bool {
    matches!(after_backslash, [b'#', digits @ ..] if digits.len() >= 3 && digits[..3].iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_steer_the_terminal() {
        for (name, shown) in [
            (&b"plain name.txt"[..], "plain name.txt"),
            ("Übersicht – 潮汐".as_bytes(), "Übersicht – 潮汐"),
            (b"two\nlines", "two\\#012lines"),
            (b"\x1b[31mred\x1b[0m", "\\#033[31mred\\#033[0m"),
            (b"tab\there", "tab\\#011here"),
            (b"latin \xe9 1", "latin \\#351 1"),
            (b"cut \xe2\x82", "cut \\#342\\#202"),
            ("c1 \u{9b} bidi \u{202e}".as_bytes(), "c1 \\#302\\#233 bidi \\#342\\#200\\#256"),
            (b"back\\slash \\#x \\#12", "back\\slash \\#x \\#12"),
            (b"fake \\#012", "fake \\#134#012"),
            (b"", ""),
        ] {
            assert_eq!(Shown(name).to_string(), shown);
        }
    }
}
