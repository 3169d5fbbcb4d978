//! A run of rules that stand together, compiled for fast first-match verdicts. Of a long list, plain names and
//! extensions are looked up in tables; of the other rules only those are tried whose patterns can begin with the first
//! and end with the last byte of the name, which is few, and two loads tell which.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::EntryKind;
use crate::pattern::{Anchor, NameTest, Progress, Test};
use crate::root::Root;
use crate::rule::{Flags, MatchRule};

/// Whether the first rule that matches a name includes or excludes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Include,
    Exclude,
}

/// The entry that a name is asked about, besides the name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) kind: EntryKind,
    /// Whether the directory around it is being removed, where perishable rules are ignored.
    pub(crate) in_removed_dir: bool,
}

impl Question {
    /// The column of a table that answers it.
    fn column(self) -> usize {
        usize::from(self.kind == EntryKind::Directory) + 2 * usize::from(self.in_removed_dir)
    }

    fn all() -> impl Iterator<Item = Self> {
        [EntryKind::Directory, EntryKind::Other].into_iter().flat_map(|kind| {
            [false, true].into_iter().map(move |in_removed_dir| Self { kind, in_removed_dir })
        })
    }
}

/// A rule's place in its block and its action, packed so that the smaller one stands first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry(u32);

impl Entry {
    /// The number of the end of the list, behind every rule.
    const NONE: Self = Self(u32::MAX);

    fn new(position: usize, action: Action) -> Self {
        let position = u32::try_from(position).expect("a block has at most MAX_RULES rules");
        Self(position << 1 | u32::from(action == Action::Include))
    }

    fn action(self) -> Option<Action> {
        match self {
            Self::NONE => None,
            Self(packed) if packed & 1 == 1 => Some(Action::Include),
            Self(_) => Some(Action::Exclude),
        }
    }
}

/// Names or extensions, with the first rule that is about one for each [`Question`].
type Table = HashMap<Box<[u8]>, [Entry; 4], BuildHasherDefault<EdgeHasher>>;

/// Fewer rules than this are sooner tried than looked up.
const TABLE_MIN: usize = 32;

/// Compiled rules that no other rule stands between.
#[derive(Debug)]
pub(crate) struct Block {
    names: Table,
    extensions: Table,
    /// The rules that are in no table.
    rules: Box<[Compiled]>,
    /// For each byte the rules whose pattern may begin with it at the transfer root, one bit a rule.
    first: ByteIndex,
    /// For each byte the rules whose pattern may end with it.
    last: ByteIndex,
    /// Words that the states of all path rules take; 0 if there is none.
    state_words: usize,
}

#[derive(Debug)]
struct Compiled {
    entry: Entry,
    flags: Flags,
    test: Test,
    /// Where the state of a path rule begins among those of its block.
    state: usize,
}

impl Block {
    /// Compiles rules of one side.
    pub(crate) fn new<'a>(rules: impl IntoIterator<Item = (&'a MatchRule, Anchor<'a>)>, root: &Root) -> Self {
        let mut rules: Vec<_> = rules
            .into_iter()
            .enumerate()
            .map(|(position, (rule, anchor))| {
                let action = if rule.flags.has(Flags::INCLUDE) { Action::Include } else { Action::Exclude };
                let test = Test::new(rule, anchor, root);
                Compiled { entry: Entry::new(position, action), flags: rule.flags, test, state: 0 }
            })
            .collect();
        let names = take_table(&mut rules, Compiled::exact_name);
        let extensions = take_table(&mut rules, Compiled::extension);

        let mut state_words = 0;
        let mut first = ByteIndex::new(rules.len());
        let mut last = ByteIndex::new(rules.len());
        for (number, rule) in rules.iter_mut().enumerate() {
            rule.state = state_words;
            state_words += rule.state_words();
            // Where its pattern does not match, a negated rule does.
            let negated = rule.flags.has(Flags::NEGATE);
            let (first_bytes, last_bytes) = rule.test.edges();
            first.insert(number, |byte| negated || first_bytes.contains(byte));
            last.insert(number, |byte| negated || last_bytes.contains(byte));
        }
        Self { names, extensions, rules: rules.into(), first, last, state_words }
    }

    /// Words that a set of its rules takes.
    fn set_words(&self) -> usize {
        self.rules.len().div_ceil(64)
    }

    /// The first rule among the tables that matches.
    fn look_up(&self, name: &[u8], question: Question) -> Entry {
        let mut first = Entry::NONE;
        if !self.names.is_empty()
            && let Some(entries) = self.names.get(name)
        {
            first = entries[question.column()];
        }
        if !self.extensions.is_empty()
            && let Some(dot) = name.iter().rposition(|&byte| byte == b'.')
            && let Some(entries) = self.extensions.get(&name[dot..])
        {
            first = first.min(entries[question.column()]);
        }
        first
    }
}

impl Compiled {
    /// The name this rule is about, if that is all there is to it.
    fn exact_name(&self) -> Option<&[u8]> {
        match &self.test {
            Test::Name(NameTest::Exact(name)) if !self.flags.has(Flags::NEGATE) => Some(name),
            _ => None,
        }
    }

    /// The extension this rule is about, with its dot.
    fn extension(&self) -> Option<&[u8]> {
        match &self.test {
            Test::Name(NameTest::Edges { prefix, suffix })
                if prefix.is_empty()
                    && suffix.iter().rposition(|&byte| byte == b'.') == Some(0)
                    && !self.flags.has(Flags::NEGATE) =>
            {
                Some(suffix)
            }
            _ => None,
        }
    }

    fn state_words(&self) -> usize {
        match &self.test {
            Test::Path(path) => path.automaton.words(),
            Test::Name(_) | Test::Never => 0,
        }
    }

    /// Whether the rule is about such an entry at all, pattern and negation aside.
    fn is_asked(&self, question: Question) -> bool {
        !(question.in_removed_dir && self.flags.has(Flags::PERISHABLE))
    }

    /// Whether the rule matches; `state` begins with that of its automaton in the directory.
    fn matches(&self, state: &[u64], name: &[u8], question: Question) -> bool {
        let directory = question.kind == EntryKind::Directory;
        let pattern_matches = (directory || !self.flags.has(Flags::DIRECTORY))
            && match &self.test {
                Test::Never => false,
                Test::Name(test) => test.matches(name),
                Test::Path(path) => {
                    let state = &state[..path.automaton.words()];
                    path.automaton.accepts(state, name, directory && path.directory_slash)
                }
            };
        pattern_matches != self.flags.has(Flags::NEGATE)
    }
}

/// Moves the rules that `key` speaks for into a table, if they are enough to be worth one.
fn take_table(rules: &mut Vec<Compiled>, key: impl Fn(&Compiled) -> Option<&[u8]>) -> Table {
    let mut table = Table::default();
    if rules.iter().filter(|rule| key(rule).is_some()).count() < TABLE_MIN {
        return table;
    }
    rules.retain(|rule| {
        let Some(key) = key(rule) else { return true };
        let entries = table.entry(key.into()).or_insert([Entry::NONE; 4]);
        for question in Question::all() {
            let about = question.kind == EntryKind::Directory || !rule.flags.has(Flags::DIRECTORY);
            if about && rule.is_asked(question) {
                let entry = &mut entries[question.column()];
                *entry = rule.entry.min(*entry);
            }
        }
        false
    });
    table
}

/// For each byte a set of rules, one bit a rule.
#[derive(Debug)]
struct ByteIndex {
    words: usize,
    sets: Box<[u64]>,
}

impl ByteIndex {
    fn new(rules: usize) -> Self {
        let words = rules.div_ceil(64);
        Self { words, sets: vec![0; 256 * words].into() }
    }

    fn insert(&mut self, rule: usize, has: impl Fn(u8) -> bool) {
        for byte in (0..=u8::MAX).filter(|&byte| has(byte)) {
            self.sets[usize::from(byte) * self.words + rule / 64] |= 1 << (rule % 64);
        }
    }

    fn get(&self, byte: u8) -> &[u64] {
        let start = usize::from(byte) * self.words;
        &self.sets[start..start + self.words]
    }
}

/// A block within one directory: which of its rules can match there, and how far the directory's path has brought
/// their automata.
#[derive(Debug)]
pub(crate) struct BlockInDir {
    block: Arc<Block>,
    /// Two sets of rules, then the states of all path rules. The first set holds the rules that begin with the
    /// bytes that [`Block::first`] knows, the second the path rules that are in the midst of a match, which may
    /// go on with any byte. A path rule that is in neither cannot match here.
    words: Box<[u64]>,
}

impl BlockInDir {
    pub(crate) fn new(block: &Arc<Block>, dir: &[u8]) -> Self {
        let set = block.set_words();
        let mut words = vec![0; 2 * set + block.state_words];
        let (begins, rest) = words.split_at_mut(set);
        let (goes_on, states) = rest.split_at_mut(set);
        for (number, rule) in block.rules.iter().enumerate() {
            let progress = match &rule.test {
                Test::Path(path) => {
                    path.enter(dir, &mut states[rule.state..rule.state + path.automaton.words()])
                }
                Test::Name(_) | Test::Never => Progress::AsInRoot,
            };
            let set = match progress {
                Progress::AsInRoot => &mut *begins,
                Progress::Further => &mut *goes_on,
                // Where its pattern does not match, a negated rule does.
                Progress::NoMatch if rule.flags.has(Flags::NEGATE) => &mut *begins,
                Progress::NoMatch => continue,
            };
            set[number / 64] |= 1 << (number % 64);
        }
        Self { block: Arc::clone(block), words: words.into() }
    }

    /// The action of the first rule that matches.
    pub(crate) fn verdict(&self, name: &[u8], question: Question) -> Option<Action> {
        let block = &*self.block;
        let found = block.look_up(name, question);
        let (Some(&first), Some(&last)) = (name.first(), name.last()) else { return found.action() };
        let (first, last) = (block.first.get(first), block.last.get(last));
        let (begins, rest) = self.words.split_at(first.len());
        let (goes_on, states) = rest.split_at(first.len());

        for word in 0..first.len() {
            let mut candidates = ((first[word] & begins[word]) | goes_on[word]) & last[word];
            while candidates != 0 {
                let rule = &block.rules[word * 64 + candidates.trailing_zeros() as usize];
                candidates &= candidates - 1;
                if rule.entry > found {
                    return found.action();
                }
                if rule.is_asked(question) && rule.matches(&states[rule.state..], name, question) {
                    return rule.entry.action();
                }
            }
        }
        found.action()
    }
}

/// Hashes length, first and last bytes of a name in a few cycles, where the standard library's hash would cost
/// more than comparing the name with a dozen others. Names made to collide make a lookup as slow as a list of
/// that many rules, no worse.
#[derive(Default)]
struct EdgeHasher(u64);

impl EdgeHasher {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for EdgeHasher {
    fn write(&mut self, bytes: &[u8]) {
        match (bytes.first_chunk(), bytes.last_chunk()) {
            (Some(first), Some(last)) => {
                self.mix(u64::from_le_bytes(*first));
                self.mix(u64::from_le_bytes(*last));
            }
            _ => self.mix(bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte))),
        }
    }

    fn write_usize(&mut self, length: usize) {
        self.mix(length as u64);
    }

    fn finish(&self) -> u64 {
        // The table takes its bucket from the low bits, the multiplication leaves its best bits on top.
        self.0 ^ (self.0 >> 32)
    }
}
