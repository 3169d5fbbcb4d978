//! A model of mutagen's ignore patterns after its documentation. It tries every way to match. Tests compare the bulk layer's filter
//! with it.

/// An ignore pattern without negation.
pub(super) struct Ignore {
    directories_only: bool,
    /// Whether the pattern has no slash, so that it matches the last name of a path, too.
    names: bool,
    glob: Vec<char>,
}

impl Ignore {
    pub(super) fn parse(text: &str) -> Self {
        assert!(!text.starts_with('!'), "{text:?} is a negation");
        let (absolute, text) = text.strip_prefix('/').map_or((false, text), |text| (true, text));
        let (directories_only, text) = text.strip_suffix('/').map_or((false, text), |text| (true, text));
        assert!(!text.is_empty());
        Self { directories_only, names: !absolute && !text.contains('/'), glob: text.chars().collect() }
    }

    pub(super) fn matches(&self, path: &str, is_directory: bool) -> bool {
        let held_against = |text: &str| glob(&self.glob, &text.chars().collect::<Vec<_>>(), true);
        let name = path.rsplit('/').next().unwrap_or(path);
        (is_directory || !self.directories_only) && (held_against(path) || (self.names && held_against(name)))
    }
}

/// Whether the glob matches the whole text. `starts` tells whether a name begins at this position of the glob.
fn glob(glob_left: &[char], text: &[char], starts: bool) -> bool {
    match glob_left {
        [] => text.is_empty(),
        // `**` matches zero or more directories. At the end of the glob it matches the entries in them, and the directory before it.
        ['/', '*', '*'] if text.is_empty() => true,
        ['*', '*'] if starts => true,
        ['*', '*', '/', rest @ ..] if starts => {
            let behind_slashes = (1..=text.len()).filter(|&index| text[index - 1] == '/');
            glob(rest, text, true) || behind_slashes.into_iter().any(|index| glob(rest, &text[index..], true))
        }
        // Inside a name, two stars mean the same as one.
        ['*', '*', rest @ ..] | ['*', rest @ ..] => {
            let within = text.iter().take_while(|letter| **letter != '/').count();
            (0..=within).any(|taken| glob(rest, &text[taken..], false))
        }
        ['?', rest @ ..] => {
            text.first().is_some_and(|letter| *letter != '/') && glob(rest, &text[1..], false)
        }
        ['[', rest @ ..] => {
            let Some(letter) = text.first() else { return false };
            let (matched, rest) = set(rest, *letter);
            matched && glob(rest, &text[1..], false)
        }
        ['{', ..] => panic!("alternatives are never written"),
        ['\\', literal, rest @ ..] | [literal, rest @ ..] => {
            text.first() == Some(literal) && glob(rest, &text[1..], *literal == '/')
        }
    }
}

/// Whether a set, given after its opening bracket, has the letter, which may be a slash; and the glob after the set.
fn set(glob: &[char], letter: char) -> (bool, &[char]) {
    let (negated, mut rest) = match glob {
        ['!' | '^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut found = false;
    loop {
        let low;
        (low, rest) = match rest {
            [']', rest @ ..] => return (found != negated, rest),
            ['\\', low, rest @ ..] | [low, rest @ ..] => (*low, rest),
            [] => panic!("a set is not closed"),
        };
        let high;
        (high, rest) = match rest {
            ['-', ']', ..] => (low, rest),
            ['-', '\\', high, rest @ ..] | ['-', high, rest @ ..] => (*high, rest),
            rest => (low, rest),
        };
        found |= (low..=high).contains(&letter) || letter == low;
    }
}
