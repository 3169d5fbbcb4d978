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
    fn insert(&mut self, byte: u8) {
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
                let mut any = ByteSet::default();
                any.invert();
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
