//! The slow, obvious matcher that the compiled one is held against: every rule is tried in order on the whole path,
//! and wildcards are matched by trying everything. It takes rules in their canonical text.

use std::collections::HashMap;

/// A pattern rule.
pub(crate) struct Rule {
    modifiers: Vec<u8>,
    include: bool,
    directory: bool,
    pattern: Vec<u8>,
}

impl Rule {
    /// Parses a canonical line, `[-+]MODIFIERS PATTERN`.
    pub(crate) fn parse(line: &[u8]) -> Self {
        let space = line.iter().position(|&byte| byte == b' ').expect("a canonical line has a space");
        let text = &line[space + 1..];
        let directory = text.len() > 1 && text.ends_with(b"/");
        Self {
            modifiers: line[1..space].to_vec(),
            include: line[0] == b'+',
            directory,
            pattern: text[..text.len() - usize::from(directory)].to_vec(),
        }
    }

    fn has(&self, modifier: u8) -> bool {
        self.modifiers.contains(&modifier)
    }

    /// The same rule anchored in `dir`, if it is anchored at all.
    fn anchored_in(mut self, dir: &[u8]) -> Self {
        if self.pattern.starts_with(b"/") && !self.has(b'/') && !dir.is_empty() {
            self.pattern = [b"/", dir, &self.pattern].concat();
        }
        self
    }

    /// Whether the rule takes effect on a path, given the absolute path of the transfer root, `/` or without a
    /// trailing slash.
    fn takes_effect(&self, path: &[u8], directory: bool, root: &[u8]) -> bool {
        let matches = (directory || !self.directory) && self.pattern_matches(path, directory, root);
        !self.has(b'x') && matches != self.has(b'!')
    }

    fn pattern_matches(&self, path: &[u8], directory: bool, root: &[u8]) -> bool {
        let pattern = &self.pattern[..];
        let slashes = pattern.iter().filter(|&&byte| byte == b'/').count();
        let double_star = contains(pattern, b"**");
        if slashes == 0 && !double_star {
            return text_matches(pattern, pattern, after_slashes(path).last().expect("the path itself"));
        }

        let mut text = path.to_vec();
        if self.has(b'/') && root != b"/" {
            text = [&root[1..], b"/", path].concat();
        } else if pattern.starts_with(b"**") {
            text.insert(0, b'/');
        }
        if directory && pattern.ends_with(b"***") {
            text.push(b'/');
        }

        if let Some(anchored) = pattern.strip_prefix(b"/") {
            text_matches(pattern, anchored, &text)
        } else if pattern.starts_with(b"**") {
            text_matches(pattern, pattern, &text)
        } else if double_star {
            after_slashes(&text).any(|tail| text_matches(pattern, pattern, tail))
        } else {
            after_slashes(&text)
                .filter(|tail| tail.iter().filter(|&&byte| byte == b'/').count() == slashes)
                .any(|tail| text_matches(pattern, pattern, tail))
        }
    }
}

/// The text and every part of it that begins behind a slash.
fn after_slashes(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts = (0..text.len()).filter(|&index| text[index] == b'/').map(|index| index + 1);
    std::iter::once(0).chain(starts).map(|start| &text[start..])
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Whether `part` of a pattern matches the text; the whole pattern says whether it has wildcards.
fn text_matches(pattern: &[u8], part: &[u8], text: &[u8]) -> bool {
    if pattern.iter().any(|byte| b"*?[".contains(byte)) {
        wildcard_matches(part, text, &mut HashMap::new())
    } else {
        part == text
    }
}

/// `tried` remembers what is known about a rest of the pattern and a rest of the text.
fn wildcard_matches(pattern: &[u8], text: &[u8], tried: &mut HashMap<(usize, usize), bool>) -> bool {
    let key = (pattern.len(), text.len());
    if let Some(&known) = tried.get(&key) {
        return known;
    }
    let answer = match (pattern, text) {
        ([], _) => text.is_empty(),
        ([b'*', ..], _) => {
            let stars = pattern.iter().take_while(|&&byte| byte == b'*').count();
            (0..=text.len())
                .take_while(|&taken| stars > 1 || !text[..taken].contains(&b'/'))
                .any(|taken| wildcard_matches(&pattern[stars..], &text[taken..], tried))
        }
        (_, []) => false,
        ([b'?', pattern @ ..], [byte, text @ ..]) => *byte != b'/' && wildcard_matches(pattern, text, tried),
        ([b'[', class @ ..], [byte, text @ ..]) => match class_matches(class, *byte) {
            Some((true, pattern)) => *byte != b'/' && wildcard_matches(pattern, text, tried),
            _ => false,
        },
        ([b'\\'], _) => false,
        ([b'\\', literal, pattern @ ..] | [literal, pattern @ ..], [byte, text @ ..]) => {
            literal == byte && wildcard_matches(pattern, text, tried)
        }
    };
    tried.insert(key, answer);
    answer
}

/// Whether the class, which starts behind its bracket, holds the byte, and what follows its end. `None` if the
/// class is malformed.
fn class_matches(class: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let (inverted, mut rest) = match class {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    let mut found = false;
    let mut low = None;
    let mut members = 0;
    loop {
        match rest {
            [] | [b'\\'] => return None,
            [b']', after @ ..] if members > 0 => return Some((found != inverted, after)),
            [b'\\', member, after @ ..] => {
                found |= *member == byte;
                low = Some(*member);
                rest = after;
            }
            [b'-', b'\\', high, after @ ..] if low.is_some() => {
                found |= low.is_some_and(|low| (low..=*high).contains(&byte));
                low = None;
                rest = after;
            }
            [b'-', b'\\'] if low.is_some() => return None,
            [b'-', high, after @ ..] if low.is_some() && *high != b']' => {
                found |= low.is_some_and(|low| (low..=*high).contains(&byte));
                low = None;
                rest = after;
            }
            [b'[', b':', name @ ..] => {
                let end = name.iter().position(|&byte| byte == b']')?;
                if let Some(name) = name[..end].strip_suffix(b":") {
                    found |= in_named_class(name, byte)?;
                    low = None;
                    rest = &rest[2 + end + 1..];
                } else {
                    found |= byte == b'[';
                    low = Some(b'[');
                    rest = &rest[1..];
                }
            }
            [member, after @ ..] => {
                found |= *member == byte;
                low = Some(*member);
                rest = after;
            }
        }
        members += 1;
    }
}

fn in_named_class(name: &[u8], byte: u8) -> Option<bool> {
    Some(match name {
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"alpha" => byte.is_ascii_alphabetic(),
        b"blank" => byte == b' ' || byte == b'\t',
        b"cntrl" => byte < 32 || byte == 127,
        b"digit" => byte.is_ascii_digit(),
        b"graph" => byte > 32 && byte < 127,
        b"lower" => byte.is_ascii_lowercase(),
        b"print" => (32..127).contains(&byte),
        b"punct" => byte.is_ascii_punctuation(),
        b"space" => byte == b' ' || (9..=13).contains(&byte),
        b"upper" => byte.is_ascii_uppercase(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => return None,
    })
}

/// The rules that hold in directory `dir`, in order. `global` are canonical lines; in the place of one that names a
/// per-directory file stand the lines of that file in `dir`, then in its parents up to the root.
pub(crate) fn rules_in<'a>(
    global: impl IntoIterator<Item = &'a [u8]>,
    dir: &[u8],
    merged: impl Fn(&[u8], &[u8]) -> Vec<Vec<u8>>,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    for line in global {
        if line[0] != b':' {
            rules.push(Rule::parse(line));
            continue;
        }
        let name = line.strip_prefix(b": ").expect("the reference knows no modifiers of merge rules");
        let mut level = Some(dir);
        while let Some(dir) = level {
            rules.extend(merged(dir, name).iter().map(|line| Rule::parse(line).anchored_in(dir)));
            let parent = dir.iter().rposition(|&byte| byte == b'/').map_or(&b""[..], |slash| &dir[..slash]);
            level = (!dir.is_empty()).then_some(parent);
        }
    }
    rules
}

/// Whether the first rule that takes effect is an exclude. `side` is `s` or `r`.
pub(crate) fn excluded(
    rules: &[Rule],
    path: &[u8],
    directory: bool,
    side: u8,
    in_removed_dir: bool,
    root: &[u8],
) -> bool {
    rules
        .iter()
        .filter(|rule| rule.has(side) || !(rule.has(b's') || rule.has(b'r')))
        .filter(|rule| !(in_removed_dir && rule.has(b'p')))
        .find(|rule| rule.takes_effect(path, directory, root))
        .is_some_and(|rule| !rule.include)
}
