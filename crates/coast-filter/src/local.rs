//! Per-directory merge files: which are looked for, what those of a directory and its parents hold, and in which
//! order their rules decide.

use std::sync::Arc;

use crate::Side;
use crate::block::Block;
use crate::error::{FilterError, RuleFault};
use crate::expand::{Anchoring, Dialect, Expander, Reader, Sink};
use crate::merge::MergeFiles;
use crate::parse::Syntax;
use crate::pattern::Anchor;
use crate::root::{Place, Root};
use crate::rule::{DirMerge, Flags, MatchRule, Rule};

/// A part of a list: rules compiled together, or the place of a merge file's rules, by its number.
#[derive(Clone, Debug)]
pub(crate) enum Segment {
    Rules(Arc<Block>),
    MergeFile(usize),
}

/// The merge files that are looked for in a directory, with the rules they gave there and in its parents.
///
/// The number of a merge file is its index and stays the same in all directories below the one where it was first
/// named. A file that is read in its turn may name others, whose numbers are higher; so the segments of a file
/// name higher numbers only, and each number is named once.
#[derive(Clone, Debug, Default)]
pub(crate) struct LocalRules {
    /// `None` once the rule that named it was cleared.
    files: Vec<Option<MergeFile>>,
}

/// A merge file that is looked for.
#[derive(Clone, Debug)]
struct MergeFile {
    rule: Arc<DirMerge>,
    /// Parents of the first directory may hold the file too, and were not searched yet.
    search_parents: bool,
    /// The rules of the file in this directory and in those above, outermost first.
    lists: Vec<Arc<List>>,
}

/// The rules of one merge file of one directory.
#[derive(Debug)]
struct List {
    segments: Box<[Segment]>,
    /// Number of rules, those of other merge files aside.
    rules: usize,
}

impl LocalRules {
    /// Splits global rules into segments; the merge files among them are to be looked for from the root on.
    pub(crate) fn global(&mut self, rules: &[Rule], side: Side, root: &Root) -> Box<[Segment]> {
        let mut items = Vec::new();
        for rule in rules {
            match rule {
                Rule::Match(rule) if holds_on(rule.flags, side) => {
                    items.push(Item::Match(rule.clone(), Anchoring::Root));
                }
                Rule::DirMerge(rule) if holds_on(rule.flags, side) => {
                    items.push(Item::MergeFile(self.files.len()));
                    self.files.push(Some(MergeFile::new(rule.clone())));
                }
                _ => {}
            }
        }
        segments(&items, &Place::Inside(Vec::new()), root)
    }

    /// Whether no merge file is looked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The local rules of a child directory: those of this one, and before them what its own files hold.
    pub(crate) fn enter(
        &self,
        dir: Place,
        side: Side,
        root: &Root,
        files: &dyn MergeFiles,
    ) -> Result<Self, FilterError> {
        let mut child = self.clone();
        let walk = Walk { side, root, files };
        let mut number = 0;
        // A file may name further ones, to be read after it in the same directory.
        while let Some(file) = child.files.get_mut(number) {
            if let Some(file) = file {
                if file.rule.flags.has(Flags::NO_INHERIT) {
                    file.lists.clear();
                }
                let rule = Arc::clone(&file.rule);
                if std::mem::take(&mut file.search_parents) {
                    child.search_parents(number, &rule, &dir, &walk)?;
                }
                child.read(number, &rule, &dir, false, &walk)?;
            }
            number += 1;
        }
        Ok(child)
    }

    /// Reads the merge file in the parents of the first directory, from the one that its name points to on.
    fn search_parents(
        &mut self,
        number: usize,
        rule: &DirMerge,
        first: &Place,
        walk: &Walk<'_>,
    ) -> Result<(), FilterError> {
        let (top, _) = walk.root.resolve(first, &rule.name);
        for parent in walk.root.between(&top, first) {
            self.read(number, rule, &parent, true, walk)?;
            if rule.flags.has(Flags::NO_INHERIT) {
                self.drop_lists(number);
            }
        }
        Ok(())
    }

    /// Adds what the merge file holds in one directory.
    fn read(
        &mut self,
        number: usize,
        rule: &DirMerge,
        dir: &Place,
        searching_parents: bool,
        walk: &Walk<'_>,
    ) -> Result<(), FilterError> {
        let path = dir.join(rule.base_name());
        let content = match dir.read(walk.files, rule.base_name()) {
            Ok(Some(content)) => content,
            Ok(None) => return Ok(()),
            Err(source) => return Err(FilterError::Read { path, source }),
        };

        let mut sink = LocalSink { local: self, rule, side: walk.side, items: Vec::new(), cleared: false };
        let reader = Reader::Directory { root: walk.root, place: dir, searching_parents };
        let dialect =
            Dialect { template: rule.flags, syntax: Syntax::Filter, anchoring: Anchoring::MergeFile };
        Expander { files: walk.files, reader, sink: &mut sink }.content(&path, &content, dialect)?;

        let LocalSink { items, cleared, .. } = sink;
        let Some(Some(file)) = self.files.get_mut(number) else { return Ok(()) };
        if cleared {
            file.lists.clear();
        }
        if !items.is_empty() {
            let rules = items.iter().filter(|item| matches!(item, Item::Match(..))).count();
            let segments = segments(&items, dir, walk.root);
            file.lists.push(Arc::new(List { segments, rules }));
        }
        let total: usize =
            self.files.iter().flatten().flat_map(|file| &file.lists).map(|list| list.rules).sum();
        if total > crate::MAX_RULES {
            return Err(FilterError::TooManyRules { path: dir.join(b"") });
        }
        Ok(())
    }

    /// Forgets the rules of a merge file, and with them the merge files that they named.
    fn drop_lists(&mut self, number: usize) {
        let Some(Some(file)) = self.files.get_mut(number) else { return };
        for list in std::mem::take(&mut file.lists) {
            for segment in &list.segments {
                if let Segment::MergeFile(named) = segment {
                    self.files[*named] = None;
                }
            }
        }
    }

    /// Appends the blocks behind `segments` in the order in which they decide.
    pub(crate) fn flatten(&self, segments: &[Segment], blocks: &mut Vec<Arc<Block>>) {
        for segment in segments {
            match segment {
                Segment::Rules(block) => blocks.push(Arc::clone(block)),
                Segment::MergeFile(number) => {
                    let file = self.files.get(*number).and_then(Option::as_ref);
                    for list in file.iter().flat_map(|file| file.lists.iter().rev()) {
                        self.flatten(&list.segments, blocks);
                    }
                }
            }
        }
    }
}

impl MergeFile {
    fn new(rule: DirMerge) -> Self {
        Self { search_parents: rule.name.contains(&b'/'), rule: Arc::new(rule), lists: Vec::new() }
    }
}

/// Stays the same for all directories.
struct Walk<'a> {
    side: Side,
    root: &'a Root,
    files: &'a dyn MergeFiles,
}

/// A rule of a list that is not compiled yet.
enum Item {
    Match(MatchRule, Anchoring),
    MergeFile(usize),
}

/// Collects the rules of one merge file.
struct LocalSink<'a> {
    local: &'a mut LocalRules,
    /// The rule that named the file.
    rule: &'a DirMerge,
    side: Side,
    items: Vec<Item>,
    /// A `!` dropped what the file's namesakes in the parents hold.
    cleared: bool,
}

impl Sink for LocalSink<'_> {
    fn clear(&mut self) {
        for item in self.items.drain(..) {
            if let Item::MergeFile(number) = item {
                self.local.files[number] = None;
            }
        }
        self.cleared = true;
    }

    fn add(&mut self, mut rule: Rule, anchoring: Anchoring) -> Result<(), RuleFault> {
        // A perishable merge file is ignored as a whole.
        let flags = rule.flags_mut();
        *flags = flags.with(self.rule.flags.only(Flags::PERISHABLE));
        if !holds_on(*flags, self.side) {
            return Ok(());
        }
        if self.items.len() >= crate::MAX_RULES {
            return Err(RuleFault::TooManyRules);
        }
        match rule {
            Rule::Match(rule) => self.items.push(Item::Match(rule, anchoring)),
            Rule::DirMerge(rule) => {
                let files = &mut self.local.files;
                if files.iter().flatten().any(|file| file.rule.base_name() == rule.base_name()) {
                    return Ok(());
                }
                if files.len() >= crate::MAX_DIR_MERGES {
                    return Err(RuleFault::TooManyDirMerges);
                }
                self.items.push(Item::MergeFile(files.len()));
                files.push(Some(MergeFile::new(rule)));
            }
        }
        Ok(())
    }
}

/// Compiles the rules between merge files into blocks. Rules about attribute names match no file.
fn segments(items: &[Item], dir: &Place, root: &Root) -> Box<[Segment]> {
    let matches = |item: &Item| matches!(item, Item::Match(..));
    items
        .chunk_by(|one, next| matches(one) && matches(next))
        .map(|run| match run {
            [Item::MergeFile(number)] => Segment::MergeFile(*number),
            _ => Segment::Rules(Arc::new(Block::new(
                run.iter().filter_map(|item| match item {
                    Item::Match(rule, anchoring) if !rule.flags.has(Flags::XATTR) => {
                        let anchor = match anchoring {
                            Anchoring::Root => Anchor::Root,
                            Anchoring::MergeFile => Anchor::Directory(dir),
                        };
                        Some((rule, anchor))
                    }
                    _ => None,
                }),
                root,
            ))),
        })
        .collect()
}

/// Whether a rule with these flags holds on `side`.
fn holds_on(flags: Flags, side: Side) -> bool {
    let own = match side {
        Side::Sender => Flags::SENDER,
        Side::Receiver => Flags::RECEIVER,
    };
    flags.has(own) || !flags.has(Flags::SIDES)
}
