//! Rules of files in the tree: they count as they are after the transfer, so they are asked at the end.

use std::collections::HashMap;

use coast_filter::DirFilter;
use coast_tree::state::state_owner;
use coast_tree::{Kind, RelPath, Root};

use super::Deletion;
use super::extraneous::Extraneous;
use super::filter::{DeletionFilter, Within, unreadable_rules};
use super::workspaces::may_exist;
use crate::error::EngineError;
use crate::receiver::spill::Spill;

/// The answer of the rules for one entry.
enum Verdict {
    Delete,
    Protected,
    /// A directory above the entry is protected, and told of itself.
    InProtected,
}

impl Deletion<'_> {
    /// Judges all that was noted, before the first deletion takes a rule file away. Moves the entries that may be deleted to
    /// `judged`.
    pub(super) fn judge(
        &self,
        rules: &DeletionFilter,
        noted: &Spill<Extraneous>,
        judged: &Spill<Extraneous>,
    ) -> Result<(), EngineError> {
        let Some(root) = self.target.root() else { return Ok(()) };
        let mut filters = HashMap::new();
        let mut last_top: Option<RelPath> = None;
        for item in noted.drain()? {
            let item = item?;
            let path = item.path.to_path()?;
            // Filters are kept for one extraneous tree at a time.
            let top = ancestor(&path, item.top.depth + 1);
            if last_top.as_ref() != Some(&top) {
                filters.clear();
                last_top = Some(top);
            }
            match self.verdict(rules, root, &item, &path, &mut filters)? {
                Verdict::Delete => {
                    self.count_going(&item);
                    judged.push(&item)?;
                }
                Verdict::Protected => {
                    self.report.protected();
                    self.note_stays(&path);
                    self.remember_placed(&item, &path);
                    self.target.note_kept(&path)?;
                }
                Verdict::InProtected => self.remember_placed(&item, &path),
            }
        }
        Ok(())
    }

    fn verdict(
        &self,
        rules: &DeletionFilter,
        root: &Root,
        item: &Extraneous,
        path: &RelPath,
        filters: &mut HashMap<RelPath, Option<DirFilter>>,
    ) -> Result<Verdict, EngineError> {
        let depth = path.depth();
        let first = item.top.depth + usize::from(item.top.makes_way);
        for level in first..depth {
            let (dir, entry) = (ancestor(path, level), ancestor(path, level + 1));
            let Some(name) = entry.file_name() else { continue };
            let kind = if level + 1 < depth || item.directory { Kind::Directory } else { Kind::File };
            let within = if level == item.top.depth { Within::Kept } else { Within::Removed };
            if !filters.contains_key(&dir) {
                filters.insert(dir.clone(), self.filter_of(rules, root, &dir)?);
            }
            let of_workspace = || {
                kind == Kind::Directory
                    && state_owner(&name)
                        .is_some_and(|owner| root.dir(&dir).map_or(true, |dir| may_exist(&dir, &owner)))
            };
            // Rules that cannot be read may protect anything.
            let protected = filters[&dir]
                .as_ref()
                .is_none_or(|filter| DeletionFilter::protects(filter, &name, kind, within));
            if protected || of_workspace() {
                return Ok(if level + 1 == depth { Verdict::Protected } else { Verdict::InProtected });
            }
        }
        Ok(Verdict::Delete)
    }

    /// The rules of a directory as they are now; none if they cannot be read.
    fn filter_of(
        &self,
        rules: &DeletionFilter,
        root: &Root,
        dir: &RelPath,
    ) -> Result<Option<DirFilter>, EngineError> {
        match rules.directory(root, dir) {
            Ok(filter) => Ok(Some(filter)),
            Err(error) => {
                let error = unreadable_rules(error)?;
                self.report.problem(dir.as_bytes(), "cannot read its filter rules", &error);
                Ok(None)
            }
        }
    }
}

/// The first `depth` components of a path.
fn ancestor(path: &RelPath, depth: usize) -> RelPath {
    let mut ancestor = path.clone();
    while ancestor.depth() > depth {
        ancestor = ancestor.parent().unwrap_or_else(RelPath::root);
    }
    ancestor
}
