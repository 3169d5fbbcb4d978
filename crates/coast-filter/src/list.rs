//! The global rules in their order, as the options of a command line build them, and the canonical text in which
//! they travel to the other side.

use crate::error::{RuleError, RuleFault};
use crate::expand::{Anchoring, Dialect, Expander, Location, Reader, Sink};
use crate::merge::{MergeFiles, NoMergeFiles};
use crate::parse::Syntax;
use crate::rule::{Flags, MatchRule, Rule};

/// Parsed filter rules in order; the first that matches a name decides.
///
/// Static merge files and `-C` are expanded when they are added, so a list refers to no file but the
/// per-directory ones, which are read during the walk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleList {
    rules: Vec<Rule>,
    /// Bytes of all patterns and names, kept below [`MAX_LIST_BYTES`](crate::MAX_LIST_BYTES).
    bytes: usize,
    /// The names of the per-directory merge files, without directories.
    dir_merges: Vec<Vec<u8>>,
}

impl RuleList {
    /// An empty list, which excludes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what `--exclude=PATTERN` adds: a pattern, a rule that begins with "- " or "+ ", or "!", which clears
    /// the list. An empty pattern adds nothing.
    pub fn exclude(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        self.argument(pattern, Flags::NONE, Syntax::OldPrefixes, &NoMergeFiles)
    }

    /// Adds what `--include=PATTERN` adds; see [`exclude`](Self::exclude).
    pub fn include(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        self.argument(pattern, Flags::INCLUDE, Syntax::OldPrefixes, &NoMergeFiles)
    }

    /// Adds what `--filter=RULE` adds. `files` gives the content of static merge files, asked for in directory
    /// `""` under the path in the rule; a missing one is an error.
    pub fn filter(&mut self, rule: &[u8], files: &dyn MergeFiles) -> Result<(), RuleError> {
        self.argument(rule, Flags::NONE, Syntax::Filter, files)
    }

    /// Adds a rule that protects what matches `pattern` from deletion, as `--filter='protect PATTERN'` does.
    pub fn protect(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        let fault = match pattern {
            [] => Some(RuleFault::UnexpectedEnd),
            _ if pattern.contains(&0) => Some(RuleFault::Nul),
            _ if pattern.len() > crate::MAX_PATTERN_BYTES => Some(RuleFault::TooLong),
            _ => self.push(Rule::Match(MatchRule::new(Flags::RECEIVER, pattern))).err(),
        };
        let location = Location::Argument(pattern);
        fault.map_or(Ok(()), |fault| Err(location.error(fault)))
    }

    /// Whether some rule names a file to be read in each directory, so that verdicts depend on the tree.
    pub fn has_directory_files(&self) -> bool {
        !self.dir_merges.is_empty()
    }

    /// The names of the files to be read in each directory.
    pub fn directory_files(&self) -> impl Iterator<Item = &[u8]> {
        self.dir_merges.iter().map(Vec::as_slice)
    }

    /// Whether every rule only ever takes something away: none includes, shows or risks, and none names a file that
    /// could hold such a rule. Then a rule added behind the list can narrow what is left.
    pub fn excludes_only(&self) -> bool {
        let excludes = |rule: &Rule| match rule {
            Rule::Match(rule) => !rule.flags.has(Flags::INCLUDE),
            Rule::DirMerge(_) => false,
        };
        self.rules.iter().all(excludes)
    }

    /// Adds the patterns of an `--exclude-from` file: one a line, blank lines and those that start with `#` or
    /// `;` left out.
    pub fn exclude_from(&mut self, content: &[u8]) -> Result<(), RuleError> {
        self.content(content, Flags::NONE)
    }

    /// Adds the patterns of an `--include-from` file; see [`exclude_from`](Self::exclude_from).
    pub fn include_from(&mut self, content: &[u8]) -> Result<(), RuleError> {
        self.content(content, Flags::INCLUDE)
    }

    /// Adds the rules of `other` behind those of this list. What goes beyond
    /// [`MAX_RULES`](crate::MAX_RULES) is refused by [`Filter::compile`](crate::Filter::compile).
    pub fn append(&mut self, other: Self) {
        for rule in other.rules {
            self.insert(rule);
        }
    }

    /// Applies `--delete-excluded`: the rules now in the list that name no side hold on the sending side only,
    /// and so will those of its per-directory merge files.
    pub fn delete_excluded(&mut self) {
        for rule in &mut self.rules {
            let added = match rule {
                Rule::Match(_) => Flags::SENDER,
                Rule::DirMerge(_) => Flags::HIDE_ONLY,
            };
            let flags = rule.flags_mut();
            if !flags.has(Flags::SIDES) {
                *flags = flags.with(added);
            }
        }
    }

    /// The list as canonical text, one rule an item, in rsync's short syntax with one modifier of our own.
    pub fn to_lines(&self) -> Vec<Vec<u8>> {
        self.rules.iter().map(Rule::to_line).collect()
    }

    /// The list that [`to_lines`](Self::to_lines) described. The lines may come from a peer: at most
    /// [`MAX_RULES`](crate::MAX_RULES) of at most [`MAX_RULE_BYTES`](crate::MAX_RULE_BYTES) are taken, and
    /// rules that would read a file are refused.
    pub fn from_lines<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, RuleError> {
        let mut list = Self::new();
        for (index, line) in lines.into_iter().enumerate() {
            let location = Location::File { file: b"rule list", line: index + 1 };
            if index >= crate::MAX_RULES {
                return Err(location.error(RuleFault::TooManyRules));
            }
            if line.len() > crate::MAX_RULE_BYTES {
                return Err(location.error(RuleFault::TooLong));
            }
            if line.is_empty() {
                return Err(location.error(RuleFault::UnexpectedEnd));
            }
            list.expander(&NoMergeFiles, |expander| {
                expander.one(line, dialect(Flags::NONE, Syntax::Canonical), location)
            })?;
        }
        Ok(list)
    }

    /// The number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no rule, so that nothing is excluded.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    fn argument(
        &mut self,
        text: &[u8],
        template: Flags,
        syntax: Syntax,
        files: &dyn MergeFiles,
    ) -> Result<(), RuleError> {
        if text.is_empty() {
            return Ok(());
        }
        let location = Location::Argument(text);
        self.expander(files, |expander| expander.one(text, dialect(template, syntax), location))
    }

    fn content(&mut self, content: &[u8], template: Flags) -> Result<(), RuleError> {
        self.expander(&NoMergeFiles, |expander| {
            expander.content(b"", content, dialect(template, Syntax::OldPrefixes))
        })
    }

    fn expander<T>(&mut self, files: &dyn MergeFiles, run: impl FnOnce(&mut Expander<'_>) -> T) -> T {
        run(&mut Expander { files, reader: Reader::Arguments, sink: self })
    }

    fn push(&mut self, rule: Rule) -> Result<(), RuleFault> {
        self.insert(rule);
        self.check_limits()
    }

    /// Whether the list is small enough to be compiled.
    pub(crate) fn check_limits(&self) -> Result<(), RuleFault> {
        if self.rules.len() > crate::MAX_RULES || self.bytes > crate::MAX_LIST_BYTES {
            return Err(RuleFault::TooManyRules);
        }
        if self.dir_merges.len() > crate::MAX_DIR_MERGES {
            return Err(RuleFault::TooManyDirMerges);
        }
        Ok(())
    }

    /// Adds a rule, unless it is a per-directory merge file that the list already looks for.
    fn insert(&mut self, rule: Rule) {
        if let Rule::DirMerge(merge) = &rule {
            if self.dir_merges.iter().any(|name| name == merge.base_name()) {
                return;
            }
            self.dir_merges.push(merge.base_name().to_vec());
        }
        self.bytes += rule.text_len();
        self.rules.push(rule);
    }
}

impl Sink for RuleList {
    fn clear(&mut self) {
        *self = Self::new();
    }

    fn add(&mut self, rule: Rule, _anchoring: Anchoring) -> Result<(), RuleFault> {
        self.push(rule)
    }
}

fn dialect(template: Flags, syntax: Syntax) -> Dialect {
    Dialect { template, syntax, anchoring: Anchoring::Root }
}
