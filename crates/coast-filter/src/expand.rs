//! From text to rules: reads arguments and files rule by rule, replaces static merge files and `-C` by what they
//! stand for, and hands the rest to a sink, which is the global list or the rules of one directory.

use std::io;

use crate::cvs;
use crate::error::{RuleError, RuleFault};
use crate::merge::{self, MergeFiles};
use crate::parse::{self, Parsed, Syntax};
use crate::root::{Place, Root};
use crate::rule::{DirMerge, Flags, MatchRule, Rule};

/// Where a leading slash of a pattern anchors it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchoring {
    /// At the transfer root: arguments, and static merge files wherever they are merged.
    Root,
    /// At the directory of the per-directory merge file.
    MergeFile,
}

/// A list under construction.
pub(crate) trait Sink {
    fn clear(&mut self);
    fn add(&mut self, rule: Rule, anchoring: Anchoring) -> Result<(), RuleFault>;
}

/// Whose rules are read, which decides where a static merge file without a directory in its name lies.
pub(crate) enum Reader<'a> {
    /// Arguments: the file's path is handed on as given.
    Arguments,
    /// The merge file of a directory. As in rsync, a bare name lies in the transfer root, a path starts at the
    /// directory, unless the directory is one of the parents that are searched before the transfer
    /// (`searching_parents`), when both start there.
    Directory { root: &'a Root, place: &'a Place, searching_parents: bool },
}

pub(crate) struct Expander<'a> {
    pub(crate) files: &'a dyn MergeFiles,
    pub(crate) reader: Reader<'a>,
    pub(crate) sink: &'a mut dyn Sink,
}

/// Where the text of a rule stands.
#[derive(Clone, Copy)]
pub(crate) enum Location<'a> {
    Argument(&'a [u8]),
    File { file: &'a [u8], line: usize },
}

impl Location<'_> {
    pub(crate) fn error(self, fault: RuleFault) -> RuleError {
        match self {
            Self::Argument(rule) => {
                // An argument may be of any length; a message should not.
                let shown = &rule[..rule.len().min(200)];
                RuleError::Argument { rule: shown.to_vec(), fault }
            }
            Self::File { file, line } => RuleError::File { file: file.to_vec(), line, fault },
        }
    }
}

/// The rules of one text: their template, their syntax, and what their leading slashes mean.
#[derive(Clone, Copy)]
pub(crate) struct Dialect {
    pub(crate) template: Flags,
    pub(crate) syntax: Syntax,
    pub(crate) anchoring: Anchoring,
}

impl Expander<'_> {
    /// Adds one rule, which is not empty.
    pub(crate) fn one(
        &mut self,
        text: &[u8],
        dialect: Dialect,
        location: Location<'_>,
    ) -> Result<(), RuleError> {
        self.rule(text, dialect, location, 0)
    }

    /// Adds the rules of a file's content.
    pub(crate) fn content(&mut self, file: &[u8], content: &[u8], dialect: Dialect) -> Result<(), RuleError> {
        self.content_at_depth(file, content, dialect, 1)
    }

    fn content_at_depth(
        &mut self,
        file: &[u8],
        content: &[u8],
        dialect: Dialect,
        depth: usize,
    ) -> Result<(), RuleError> {
        merge::rules_of(content, dialect.template)
            .try_for_each(|(line, text)| self.rule(text, dialect, Location::File { file, line }, depth))
    }

    fn rule(
        &mut self,
        text: &[u8],
        dialect: Dialect,
        location: Location<'_>,
        depth: usize,
    ) -> Result<(), RuleError> {
        let at = |fault| location.error(fault);
        let anchoring = dialect.anchoring;
        match parse::parse_rule(text, dialect.template, dialect.syntax).map_err(at)? {
            Parsed::Clear => self.sink.clear(),
            Parsed::Match(rule) => self.sink.add(Rule::Match(rule), anchoring).map_err(at)?,
            Parsed::CvsDefaults(flags) => {
                for rule in self.cvs_defaults(flags, location)? {
                    self.sink.add(Rule::Match(rule), anchoring).map_err(at)?;
                }
            }
            Parsed::DirMerge { rule, exclude_self } => {
                if exclude_self {
                    self.exclude_merge_file(rule.base_name(), anchoring).map_err(at)?;
                }
                let rule = self.anchor_parent_search(rule);
                self.sink.add(Rule::DirMerge(rule), anchoring).map_err(at)?;
            }
            Parsed::Merge { flags, name, exclude_self } => {
                if exclude_self {
                    let base_name = name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
                    self.exclude_merge_file(base_name, anchoring).map_err(at)?;
                }
                let content = self.static_merge(&name, depth)?;
                let dialect = Dialect { template: flags, syntax: Syntax::Filter, anchoring: Anchoring::Root };
                self.content_at_depth(&name, &content, dialect, depth + 1)?;
            }
        }
        Ok(())
    }

    /// The `e` modifier: the merge file itself is excluded, on both sides whatever the rule says.
    fn exclude_merge_file(&mut self, base_name: &[u8], anchoring: Anchoring) -> Result<(), RuleFault> {
        if base_name.is_empty() {
            return Ok(());
        }
        self.sink.add(Rule::Match(MatchRule::new(Flags::NONE, base_name)), anchoring)
    }

    /// A per-directory merge file named in a parent of the transfer is looked for from that parent on.
    fn anchor_parent_search(&self, rule: DirMerge) -> DirMerge {
        match self.reader {
            Reader::Directory { root, place, searching_parents: true } => {
                let (dir, name) = root.resolve(place, &rule.name);
                DirMerge { name: [&root.absolute(&dir), b"/".as_slice(), &name].concat(), ..rule }
            }
            _ => rule,
        }
    }

    fn static_merge(&self, name: &[u8], depth: usize) -> Result<Vec<u8>, RuleError> {
        if depth >= crate::MAX_MERGE_DEPTH {
            return Err(RuleError::TooDeep { file: name.to_vec() });
        }
        let content = match self.reader {
            Reader::Arguments => self.files.read(b"", name).and_then(merge::check_size),
            Reader::Directory { root, place, searching_parents } => {
                if searching_parents || name.contains(&b'/') {
                    let (dir, name) = root.resolve(place, name);
                    dir.read(self.files, &name)
                } else {
                    Place::Inside(Vec::new()).read(self.files, name)
                }
            }
        };
        content
            .and_then(|content| content.ok_or_else(|| io::ErrorKind::NotFound.into()))
            .map_err(|source| RuleError::MergeFile { file: name.to_vec(), source })
    }

    /// CVS's default patterns, which are perishable, and those of the user, which are not.
    fn cvs_defaults(&self, flags: Flags, location: Location<'_>) -> Result<Vec<MatchRule>, RuleError> {
        let extra = self
            .files
            .cvs_ignores()
            .map_err(|source| RuleError::MergeFile { file: b".cvsignore".to_vec(), source })?;
        let defaults = [(cvs::DEFAULT_IGNORES, flags.with(Flags::PERISHABLE))];
        let lists = defaults.into_iter().chain(extra.iter().map(|words| (words.as_slice(), flags)));

        let mut rules = Vec::new();
        for (words, template) in lists {
            for (_, word) in merge::rules_of(words, template) {
                match parse::parse_rule(word, template, Syntax::Filter) {
                    Ok(Parsed::Match(rule)) => rules.push(rule),
                    Ok(_) => rules.clear(),
                    Err(fault) => return Err(location.error(fault)),
                }
            }
        }
        Ok(rules)
    }
}
