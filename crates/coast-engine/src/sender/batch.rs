//! Offers some paths of the source: only what was named, and the directories on the way to it. No directory is listed but those
//! that are wanted with everything in them.

use std::collections::BTreeMap;

use coast_tree::{DirHandle, Listed, Name, RelPath, walk_from};
use coast_wire::limits::MAX_PART_ENTRIES;
use coast_wire::{ProblemKind, Range};

use super::config::BatchPath;
use super::walker::{Above, Found, Walker, part_len};
use crate::stop::Stopped;

/// The paths of a batch, as a tree of their names.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Whether everything below is wanted.
    deep: bool,
    names: BTreeMap<Name, Batch>,
}

impl Batch {
    pub(super) fn new(paths: &[BatchPath]) -> Self {
        let mut batch = Self::default();
        for BatchPath { path, deep } in paths {
            let names = path.components().map(|name| Name::new(name).expect("a component is a name"));
            let node = names.fold(&mut batch, |node, name| node.names.entry(name).or_default());
            node.deep |= deep;
        }
        batch
    }

    /// Whether the whole source is wanted.
    pub(super) fn is_everything(&self) -> bool {
        self.deep
    }
}

impl Walker<'_> {
    /// Offers the paths of a batch. A directory is offered before what is in it.
    pub(super) fn walk_batch(&self, batch: &Batch, threads: usize, above: Above) -> Result<(), Stopped> {
        let mut pending = vec![(RelPath::root(), batch, above)];
        while let Some((path, batch, above)) = pending.pop() {
            if self.run.stop.is_stopped() {
                return Err(Stopped);
            }
            let dir = match self.run.root.dir(&path) {
                Ok(dir) => dir,
                Err(error) => {
                    self.directory_failed(&path, &error);
                    continue;
                }
            };
            let Some(filter) = self.filter_of(&path, &above)? else { continue };
            let (listed, lacking) = self.look_for(&path, &dir, batch);
            let found = self.find(&path, &dir, &filter, listed);
            for (name, part) in self.offer_some(&path, above.part, &found, &lacking)? {
                let Some(wanted) = batch.names.get(&name) else { continue };
                let Ok(child) = path.join(&name) else { continue };
                let above = Above { filter: filter.clone(), part: Some(part) };
                if wanted.deep {
                    walk_from(&self.run.root, &child, threads, self, above);
                } else if !wanted.names.is_empty() {
                    pending.push((child, wanted, above));
                }
            }
        }
        Ok(())
    }

    /// The rules in a directory; none if they cannot be read, which was told.
    fn filter_of(&self, path: &RelPath, above: &Above) -> Result<Option<coast_filter::DirFilter>, Stopped> {
        let Some(name) = path.file_name() else { return Ok(Some(above.filter.clone())) };
        match above.filter.enter(name.as_bytes(), &self.files) {
            Ok(filter) => Ok(Some(filter)),
            Err(error) => self.rules_failed(path.as_bytes(), error).map(|()| None),
        }
    }

    /// Looks for the wanted names of a directory. Answers those that are there, and those that are not.
    fn look_for<'b>(
        &self,
        path: &RelPath,
        dir: &DirHandle,
        batch: &'b Batch,
    ) -> (Vec<Listed>, Vec<&'b Name>) {
        // There a name also finds an entry whose name differs in case.
        #[cfg(target_vendor = "apple")]
        let exact: std::collections::HashSet<Name> =
            dir.list().unwrap_or_default().into_iter().map(|listed| listed.name).collect();
        let (mut listed, mut lacking) = (Vec::new(), Vec::new());
        for name in batch.names.keys() {
            match dir.stat(name) {
                #[cfg(target_vendor = "apple")]
                Ok(Some(_)) if !exact.contains(name) => lacking.push(name),
                Ok(Some(stat)) => listed.push(Listed { name: name.clone(), kind: stat.kind, ino: stat.ino }),
                Ok(None) => lacking.push(name),
                Err(error) => {
                    let text = format!("cannot read its attributes: {error}");
                    self.entry_problem(path, name, ProblemKind::SourceRead, &text);
                }
            }
        }
        (listed, lacking)
    }

    /// Offers some entries of a directory, and tells which others the source lacks; returns the subdirectories among the entries.
    fn offer_some(
        &self,
        path: &RelPath,
        parent: Option<u32>,
        mut found: &[Found],
        mut lacking: &[&Name],
    ) -> Result<Vec<(Name, u32)>, Stopped> {
        let mut children = Vec::new();
        loop {
            let (entries, more) = found.split_at(part_len(found));
            let (lacks, later) = lacking.split_at((MAX_PART_ENTRIES - entries.len()).min(lacking.len()));
            (found, lacking) = (more, later);
            let lacks = lacks.iter().map(|name| serde_bytes::Bytes::new(name.as_bytes())).collect();
            children.extend(self.offer_entries(path, parent, Range::Lacks(lacks), entries)?);
            if found.is_empty() && lacking.is_empty() {
                return Ok(children);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_wanted_twice_is_wanted_with_all_that_is_below_it() {
        let path = |path: &str, deep| BatchPath { path: RelPath::new(path.as_bytes()).unwrap(), deep };
        let batch = Batch::new(&[path("a/b", true), path("a", false), path("a/b", false), path("c", false)]);
        let a = &batch.names[b"a".as_slice()];
        assert!(!batch.is_everything() && !a.deep && a.names[b"b".as_slice()].deep);
        assert_eq!(batch.names.len(), 2);
        assert!(Batch::new(&[BatchPath { path: RelPath::root(), deep: true }]).is_everything());
    }
}
