//! One pattern compiled to the cheapest test that gives rsync's answer: a comparison with the name where the
//! pattern has no slash, else an automaton over the path.

use crate::automaton::{Automaton, Start};
use crate::glob::{self, ByteSet, Token};
use crate::root::{Place, Root};
use crate::rule::{Flags, MatchRule};

/// The directory at which a leading slash anchors a pattern.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Anchor<'a> {
    Root,
    /// The directory of a per-directory merge file.
    Directory(&'a Place),
}

#[derive(Debug)]
pub(crate) enum Test {
    Never,
    Name(NameTest),
    Path(Box<PathTest>),
}

/// A pattern that looks at the last component of a path only.
#[derive(Debug)]
pub(crate) enum NameTest {
    Exact(Box<[u8]>),
    /// One star: what is before it and what is behind it.
    Edges {
        prefix: Box<[u8]>,
        suffix: Box<[u8]>,
    },
    Glob {
        automaton: Automaton,
        first: ByteSet,
        last: ByteSet,
    },
}

/// A pattern that looks at the path.
#[derive(Debug)]
pub(crate) struct PathTest {
    pub(crate) automaton: Automaton,
    /// The automaton's state where the path below the transfer root begins.
    at_root: Box<[u64]>,
    /// The bytes with which a match can go on from there.
    first: ByteSet,
    /// The bytes with which a match can end.
    last: ByteSet,
    /// The positions from which a name completes the match, since at most the slash behind it is missing.
    in_last_component: Box<[u64]>,
    /// Bytes of the path that are not looked at: those of the directory at which the pattern is anchored.
    skip: usize,
    /// A pattern that ends with `***` sees a directory with a slash behind its name.
    pub(crate) directory_slash: bool,
}

impl Test {
    pub(crate) fn new(rule: &MatchRule, anchor: Anchor<'_>, root: &Root) -> Self {
        let anchored = rule.pattern.first() == Some(&b'/') && !rule.flags.has(Flags::ABSOLUTE);
        match anchor {
            Anchor::Directory(place) if anchored => Self::below_directory(rule, place, root),
            _ => Self::below_root(&rule.pattern, rule.flags.has(Flags::ABSOLUTE), root),
        }
    }

    /// A pattern without an anchor, or with the transfer root, or `/` if `absolute`, as its anchor.
    fn below_root(pattern: &[u8], absolute: bool, root: &Root) -> Self {
        let shape = Shape::of(pattern);
        let slashes = pattern.iter().filter(|&&byte| byte == b'/').count();
        if slashes == 0 && !shape.double_star {
            return shape.tokens(pattern).map_or(Self::Never, |tokens| Self::Name(NameTest::new(&tokens)));
        }

        let body = pattern.strip_prefix(b"/");
        let Some(tokens) = shape.tokens(body.unwrap_or(pattern)) else { return Self::Never };
        // Without `**` a relative pattern is held against as many last components as it has slashes plus one, and
        // slashes within a character class, which match nothing, count.
        let own_slashes = tokens.iter().filter(|&token| *token == Token::Byte(b'/')).count();
        if body.is_none() && !shape.double_star && own_slashes != slashes {
            return Self::Never;
        }
        let start = if body.is_some() || shape.starts_with_double_star {
            Start::Beginning
        } else {
            Start::EveryComponent
        };
        let mut before = if absolute { root.as_prefix() } else { Vec::new() };
        if shape.starts_with_double_star && before.is_empty() {
            before.push(b'/');
        }
        Self::path(&tokens, start, &before, 0, shape)
    }

    /// A pattern whose leading slash stands for the directory of its merge file.
    fn below_directory(rule: &MatchRule, place: &Place, root: &Root) -> Self {
        let pattern = rule.pattern.as_slice();
        if let Place::Inside(dir) = place {
            // rsync puts the directory in front of the pattern, so that wildcards in the name of the directory
            // become wildcards of the pattern. So do we, or a tree would sync differently.
            let meaningful = glob::is_wild(dir) || (dir.contains(&b'\\') && glob::is_wild(pattern));
            if meaningful {
                return Self::below_root(&[b"/", dir.as_slice(), pattern].concat(), false, root);
            }
        }
        let shape = Shape::of(pattern);
        let Some(tokens) = shape.tokens(&pattern[1..]) else { return Self::Never };
        let (before, skip) = match place {
            Place::Inside(dir) if dir.is_empty() => (Vec::new(), 0),
            Place::Inside(dir) => (Vec::new(), dir.len() + 1),
            Place::Outside(dir) => (root.below(dir), 0),
        };
        Self::path(&tokens, Start::Beginning, &before, skip, shape)
    }

    fn path(tokens: &[Token], start: Start, before: &[u8], skip: usize, shape: Shape) -> Self {
        let automaton = Automaton::new(tokens, start);
        let mut at_root: Box<[u64]> = automaton.initial().into();
        automaton.feed(&mut at_root, before);
        let directory_slash = shape.ends_with_triple_star;
        let in_last_component = automaton.positions_before_last(b'/', tokens, usize::from(directory_slash));
        Self::Path(Box::new(PathTest {
            first: automaton.next_bytes(&at_root),
            last: glob::edge_bytes(tokens.last()),
            automaton,
            at_root,
            in_last_component,
            skip,
            directory_slash,
        }))
    }

    /// The bytes with which a name that matches can begin, at the transfer root, and with which it can end.
    pub(crate) fn edges(&self) -> (ByteSet, ByteSet) {
        match self {
            Self::Never => (ByteSet::default(), ByteSet::default()),
            Self::Name(test) => test.edges(),
            Self::Path(test) => (test.first.clone(), test.last.clone()),
        }
    }
}

/// The wildcards of a pattern, read off its text as rsync does: stars count even behind a backslash or in a class.
#[derive(Clone, Copy)]
struct Shape {
    wild: bool,
    double_star: bool,
    starts_with_double_star: bool,
    ends_with_triple_star: bool,
}

impl Shape {
    fn of(pattern: &[u8]) -> Self {
        Self {
            wild: glob::is_wild(pattern),
            double_star: pattern.windows(2).any(|pair| pair == b"**"),
            starts_with_double_star: pattern.starts_with(b"**"),
            ends_with_triple_star: pattern.ends_with(b"***"),
        }
    }

    fn tokens(self, pattern: &[u8]) -> Option<Vec<Token>> {
        if self.wild { glob::wildcard_tokens(pattern) } else { Some(glob::literal_tokens(pattern)) }
    }
}

impl NameTest {
    fn new(tokens: &[Token]) -> Self {
        if let Some(name) = literal(tokens) {
            return Self::Exact(name);
        }
        let star = tokens.iter().position(|token| *token == Token::Star);
        let edges = star.and_then(|star| Some((literal(&tokens[..star])?, literal(&tokens[star + 1..])?)));
        match edges {
            Some((prefix, suffix)) => Self::Edges { prefix, suffix },
            None => Self::Glob {
                automaton: Automaton::new(tokens, Start::Beginning),
                first: glob::edge_bytes(tokens.first()),
                last: glob::edge_bytes(tokens.last()),
            },
        }
    }

    fn edges(&self) -> (ByteSet, ByteSet) {
        let set = |byte: Option<&u8>| byte.map_or_else(ByteSet::full, |&byte| ByteSet::of(byte));
        match self {
            Self::Exact(name) => (set(name.first()), set(name.last())),
            Self::Edges { prefix, suffix } => (set(prefix.first()), set(suffix.last())),
            Self::Glob { first, last, .. } => (first.clone(), last.clone()),
        }
    }

    pub(crate) fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => name == &**exact,
            Self::Edges { prefix, suffix } => {
                name.len() >= prefix.len() + suffix.len()
                    && name.starts_with(prefix)
                    && name.ends_with(suffix)
            }
            Self::Glob { automaton, .. } => automaton.matches(name),
        }
    }
}

/// The string that the tokens are, if there is no wildcard among them.
fn literal(tokens: &[Token]) -> Option<Box<[u8]>> {
    tokens
        .iter()
        .map(|token| match token {
            Token::Byte(byte) => Some(*byte),
            _ => None,
        })
        .collect()
}

/// How much of a pattern the path of a directory has matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Names are matched as they are in the transfer root.
    AsInRoot,
    /// Names may go on with what the path began.
    Further,
    /// No name in this directory matches.
    NoMatch,
}

impl PathTest {
    /// Writes the state in which the names of directory `dir` find the automaton.
    pub(crate) fn enter(&self, dir: &[u8], state: &mut [u64]) -> Progress {
        state.copy_from_slice(&self.at_root);
        // The slash behind the directory of the anchor belongs to what is skipped.
        let path = dir.get(self.skip..).unwrap_or_default();
        for component in path.split(|&byte| byte == b'/').filter(|component| !component.is_empty()) {
            // Most components do not begin as the pattern does, and lead a pattern that may begin at each of them
            // back to where it was.
            let leads_back = self.automaton.start() == Start::EveryComponent
                && *state == *self.automaton.initial()
                && !self.first.contains(component[0]);
            if !leads_back {
                self.automaton.feed(state, component);
                self.automaton.feed(state, b"/");
            }
            if !self.automaton.is_alive(state) {
                return Progress::NoMatch;
            }
        }
        let as_in_root = *state == *self.at_root;
        let mut matchable = 0;
        for (word, mask) in state.iter_mut().zip(&self.in_last_component) {
            *word &= mask;
            matchable |= *word;
        }
        match (matchable, as_in_root) {
            (0, _) => Progress::NoMatch,
            (_, true) => Progress::AsInRoot,
            (_, false) => Progress::Further,
        }
    }
}
