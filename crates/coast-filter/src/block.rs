//! A run of rules that stand together, compiled for fast first-match verdicts: plain names and extensions are
//! looked up in tables, only what remains is tried rule by rule, and only as far as the table's answer.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::EntryKind;
use crate::pattern::{Anchor, NameTest, Test};
use crate::root::Root;
use crate::rule::{Flags, MatchRule};

/// What the first rule that matches does with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Include,
    Exclude,
}

/// What is asked about a name.
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
    /// Behind every rule.
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

/// Fewer rules than this are compared one after the other sooner than looked up.
const TABLE_MIN: usize = 4;

/// Compiled rules that no other rule stands between.
#[derive(Debug)]
pub(crate) struct Block {
    names: Table,
    extensions: Table,
    /// The rules that are in no table.
    rules: Box<[Compiled]>,
    /// Words that the states of all path rules take; 0 if there is none.
    state_words: usize,
}

#[derive(Debug)]
struct Compiled {
    entry: Entry,
    flags: Flags,
    test: Test,
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
                Compiled { entry: Entry::new(position, action), flags: rule.flags, test }
            })
            .collect();
        let names = take_table(&mut rules, Compiled::exact_name);
        let extensions = take_table(&mut rules, Compiled::extension);
        let state_words = rules.iter().map(Compiled::state_words).sum();
        Self { names, extensions, rules: rules.into(), state_words }
    }

    /// The first rule among the tables that matches.
    fn look_up(&self, name: &[u8], question: Question) -> Entry {
        let mut first = Entry::NONE;
        if let Some(entries) = self.names.get(name) {
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

    /// Whether the rule matches; `state` is that of its automaton in the directory.
    fn matches(&self, state: &[u64], name: &[u8], question: Question) -> bool {
        let directory = question.kind == EntryKind::Directory;
        let pattern_matches = (directory || !self.flags.has(Flags::DIRECTORY))
            && match &self.test {
                Test::Never => false,
                Test::Name(test) => test.matches(name),
                Test::Path(path) => path.automaton.accepts(state, name, directory && path.directory_slash),
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

/// A block within one directory: the rules that can match there, and how far the directory's path has brought
/// their automata.
#[derive(Debug)]
pub(crate) struct BlockInDir {
    block: Arc<Block>,
    /// Indices of the rules to try and of their states' first words; `None` if all are tried and none has a
    /// state.
    live: Option<Box<[(usize, usize)]>>,
    states: Box<[u64]>,
}

impl BlockInDir {
    pub(crate) fn new(block: &Arc<Block>, dir: &[u8]) -> Self {
        if block.state_words == 0 {
            return Self { block: Arc::clone(block), live: None, states: Box::default() };
        }
        let mut live = Vec::with_capacity(block.rules.len());
        let mut states = vec![0; block.state_words];
        let mut used = 0;
        for (index, rule) in block.rules.iter().enumerate() {
            let Test::Path(path) = &rule.test else {
                live.push((index, used));
                continue;
            };
            let end = used + path.automaton.words();
            // A dead state never matches, which is when a negated rule does.
            if path.enter(dir, &mut states[used..end]) || rule.flags.has(Flags::NEGATE) {
                live.push((index, used));
                used = end;
            }
        }
        states.truncate(used);
        Self { block: Arc::clone(block), live: Some(live.into()), states: states.into() }
    }

    /// What the first rule that matches says.
    pub(crate) fn verdict(&self, name: &[u8], question: Question) -> Option<Action> {
        let first = self.block.look_up(name, question);
        let rules = &self.block.rules;
        let hit = match &self.live {
            None => rules
                .iter()
                .take_while(|rule| rule.entry < first)
                .find(|rule| rule.is_asked(question) && rule.matches(&[], name, question)),
            Some(live) => live
                .iter()
                .map(|&(index, state)| (&rules[index], state))
                .take_while(|(rule, _)| rule.entry < first)
                .find(|(rule, state)| {
                    let state = &self.states[*state..*state + rule.state_words()];
                    rule.is_asked(question) && rule.matches(state, name, question)
                })
                .map(|(rule, _)| rule),
        };
        hit.map_or(first, |rule| rule.entry).action()
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
