//! Wildcard patterns as a sequence of tokens, read exactly as rsync's `wildmatch` reads them, oddities of
//! character classes included.

/// One step of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Byte(u8),
    /// `?` or a character class: one byte of the set, which never holds a slash.
    Class(Box<ByteSet>),
    /// `*`: any bytes but slashes.
    Star,
    /// `**` or a longer run of stars: any bytes.
    StarStar,
}

/// A set of byte values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ByteSet([u64; 4]);

impl ByteSet {
    pub(crate) fn full() -> Self {
        Self([u64::MAX; 4])
    }

    pub(crate) fn of(byte: u8) -> Self {
        let mut set = Self::default();
        set.insert(byte);
        set
    }

    pub(crate) fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    fn remove(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] &= !(1 << (byte & 63));
    }

    fn invert(&mut self) {
        self.0 = self.0.map(|word| !word);
    }

    pub(crate) fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0
    }
}

/// Whether a pattern is a wildcard pattern, in which a backslash escapes, and not a plain string.
pub(crate) fn is_wild(pattern: &[u8]) -> bool {
    pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

/// The bytes that a name can begin or end with if its pattern does so with this token.
pub(crate) fn edge_bytes(token: Option<&Token>) -> ByteSet {
    match token {
        Some(Token::Byte(byte)) => ByteSet::of(*byte),
        Some(Token::Class(set)) => (**set).clone(),
        Some(Token::Star | Token::StarStar) | None => ByteSet::full(),
    }
}

/// The tokens of a plain string.
pub(crate) fn literal_tokens(text: &[u8]) -> Vec<Token> {
    text.iter().map(|&byte| Token::Byte(byte)).collect()
}

/// The tokens of a wildcard pattern; `None` if it can match nothing, because a class is malformed or never ends,
/// or because a backslash escapes nothing.
pub(crate) fn wildcard_tokens(pattern: &[u8]) -> Option<Vec<Token>> {
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        tokens.push(match byte {
            b'\\' => {
                let (&escaped, after) = rest.split_first()?;
                rest = after;
                Token::Byte(escaped)
            }
            b'?' => {
                let mut any = ByteSet::full();
                any.remove(b'/');
                Token::Class(Box::new(any))
            }
            b'*' => {
                let stars = rest.iter().take_while(|&&byte| byte == b'*').count();
                rest = &rest[stars..];
                if stars == 0 { Token::Star } else { Token::StarStar }
            }
            b'[' => {
                let (class, after) = character_class(rest)?;
                rest = after;
                Token::Class(Box::new(class))
            }
            literal => Token::Byte(literal),
        });
    }
    Some(tokens)
}

/// Reads a character class behind its opening bracket; returns the set and what follows the closing bracket.
fn character_class(pattern: &[u8]) -> Option<(ByteSet, &[u8])> {
    let at = |index: usize| pattern.get(index).copied();
    let mut set = ByteSet::default();
    let inverted = matches!(at(0), Some(b'!' | b'^'));
    let mut index = usize::from(inverted);
    // The byte a range may start from: none at first, and none after a range or a named class. A closing bracket
    // in the first place stands for itself.
    let mut previous = None;
    let mut first = true;

    loop {
        let byte = at(index)?;
        if byte == b']' && !first {
            break;
        }
        first = false;
        let range_end = at(index + 1).filter(|&next| next != b']');
        previous = match (byte, previous, range_end) {
            (b'\\', _, _) => {
                index += 1;
                set.insert(at(index)?);
                at(index)
            }
            (b'-', Some(low), Some(high)) => {
                index += 1;
                let high = if high == b'\\' {
                    index += 1;
                    at(index)?
                } else {
                    high
                };
                (low..=high).for_each(|byte| set.insert(byte));
                None
            }
            (b'[', _, Some(b':')) => {
                let name_start = index + 2;
                let close = name_start + pattern[name_start..].iter().position(|&byte| byte == b']')?;
                if close > name_start && pattern[close - 1] == b':' {
                    let member = named_class(&pattern[name_start..close - 1])?;
                    (0..=u8::MAX).filter(member).for_each(|byte| set.insert(byte));
                    index = close;
                    None
                } else {
                    set.insert(b'[');
                    Some(b'[')
                }
            }
            _ => {
                set.insert(byte);
                Some(byte)
            }
        };
        index += 1;
    }

    if inverted {
        set.invert();
    }
    set.remove(b'/');
    Some((set, &pattern[index + 1..]))
}

/// The members of a `[:name:]`, by the C locale.
fn named_class(name: &[u8]) -> Option<fn(&u8) -> bool> {
    Some(match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |byte| matches!(byte, b' '..=b'~'),
        b"punct" => u8::is_ascii_punctuation,
        b"space" => |byte| crate::merge::is_space(*byte),
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::automaton::{Automaton, Start};

    use super::*;

    /// Whether the wildcard pattern matches all of the text.
    fn matches(pattern: &str, text: &str) -> bool {
        wildcard_tokens(pattern.as_bytes())
            .is_some_and(|tokens| Automaton::new(&tokens, Start::Beginning).matches(text.as_bytes()))
    }

    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        for text in matching {
            assert!(matches(pattern, text), "{pattern} matches {text}");
        }
        for text in others {
            assert!(!matches(pattern, text), "{pattern} does not match {text}");
        }
    }

    #[test]
    fn stars_and_question_marks_stop_at_slashes() {
        check("?", &["a", "\u{1}"], &["", "/", "ab"]);
        check("*", &["", "a", "a.b"], &["/", "a/b"]);
        check("a*c", &["ac", "abc", "abcbc"], &["a/c", "acd"]);
        check("*/*", &["a/b", "/"], &["a", "a/b/c"]);
        check("*a*b*", &["ab", "xaxbx", "aab"], &["ba", "a/b"]);
    }

    #[test]
    fn double_stars_do_not() {
        check("**", &["", "a", "a/b/c"], &[]);
        check("a**c", &["ac", "a/b/c"], &["a/b"]);
        check("**/b", &["/b", "a/b", "a/c/b"], &["b", "a/xb"]);
        check("a/**/c", &["a/b/c", "a/b/b/c", "a//c"], &["a/c"]);
        check("a/***", &["a/", "a/b", "a/b/c"], &["a", "b/a/"]);
        check("*b**d*", &["b/d", "abcde", "xb/y/dx"], &["x/b/d", "b/d/x"]);
    }

    #[test]
    fn classes_hold_members_ranges_and_their_inverse() {
        check("[abc]", &["a", "c"], &["d", "", "ab", "/"]);
        check("[a-c]x", &["bx"], &["dx", "b"]);
        check("[!a-c]", &["d", "-", "!"], &["b", "/"]);
        check("[^a-c]", &["d", "^"], &["b", "/"]);
        check("[a^!]", &["^", "!"], &["b"]);
        check("a[/]b", &[], &["a/b"]);
        check("[,-0]", &[".", "0"], &["/", "+"]);
    }

    #[test]
    fn a_bracket_or_dash_at_the_edge_of_a_class_is_itself() {
        check("[]a]", &["]", "a"], &["b"]);
        check("[!]a]", &["b"], &["]", "a"]);
        check("[]-b]", &["]", "^", "a"], &["-", "c"]);
        check("[-a]", &["-", "a"], &["b"]);
        check("[a-]", &["-", "a"], &["b"]);
        check("[a-c-e]", &["b", "-", "e"], &["d"]);
        check("[c-a]", &["c"], &["a", "b", "-"]);
    }

    #[test]
    fn backslashes_escape_inside_and_outside_of_classes() {
        check("\\*", &["*"], &["a", "\\*"]);
        check("\\a[b]", &["ab"], &["\\ab"]);
        check("[\\]]", &["]"], &["\\"]);
        check("[\\\\]", &["\\"], &["a"]);
        check("[a\\-c]", &["a", "-", "c"], &["b"]);
        check("[\\a-\\c]", &["b"], &["\\", "-"]);
        check("[[-\\]]", &["[", "\\", "]"], &["-"]);
    }

    #[test]
    fn named_classes_are_those_of_the_c_locale() {
        check("[[:alpha:]]", &["a", "Z"], &["1", "\u{e9}"]);
        check("[[:digit:][:space:]]", &["5", " ", "\u{b}"], &["a"]);
        check("[![:upper:]]", &["a", "1"], &["A"]);
        check("[[:print:]]", &[" ", "~"], &["\t", "\u{7f}"]);
        check("[[:graph:]]", &["~"], &[" "]);
        check("[[:blank:]]", &[" ", "\t"], &["\n"]);
        check("[[:xdigit:]-z]", &["f", "-", "z"], &["g"]);
        check("[[:]x]", &["[x]", ":x]"], &["x"]);
        check("[[:digit]", &["[", ":", "d"], &["1"]);
    }

    #[test]
    fn malformed_patterns_match_nothing() {
        for pattern in
            ["[", "[a", "[!", "[]", "a[]b", "[a-", "[\\", "[a-\\", "[[:", "[[:foo:]]", "[[::]ab]", "*\\"]
        {
            assert_eq!(wildcard_tokens(pattern.as_bytes()), None, "{pattern}");
        }
    }
}
