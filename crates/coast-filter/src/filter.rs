//! Rules compiled for one side, and the rules that hold in one directory of the walk.
//! Without per-directory merge files all directories share one compiled block of rules.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::block::{Action, Block, BlockInDir, Question};
use crate::error::{FilterError, RuleError};
use crate::expand::Location;
use crate::list::RuleList;
use crate::local::{LocalRules, Segment};
use crate::merge::MergeFiles;
use crate::root::{Place, Root};
use crate::{EntryKind, Side};

/// A rule list compiled for one side of the transfer. Clones share what was compiled.
#[derive(Clone)]
pub struct Filter {
    shared: Arc<Shared>,
}

struct Shared {
    side: Side,
    root: Root,
    /// The global rules, with the per-directory merge files in their places among them.
    global: Box<[Segment]>,
    /// The merge files to look for in the transfer root.
    local: LocalRules,
}

impl Filter {
    /// Compiles the rules that hold on `side`. Rules with the `/` modifier see paths as if the transfer root
    /// were `/`; use [`compile_at`](Self::compile_at) where its path is known.
    pub fn compile(rules: &RuleList, side: Side) -> Result<Self, RuleError> {
        Self::compile_at(rules, side, b"/")
    }

    /// Compiles the rules that hold on `side`, whose transfer root has the absolute path `root`. The path is
    /// used for rules with the `/` modifier and for merge files named by a path, and never opened.
    pub fn compile_at(rules: &RuleList, side: Side, root: &[u8]) -> Result<Self, RuleError> {
        rules
            .check_limits()
            .map_err(|fault| Location::File { file: b"rule list", line: rules.len() }.error(fault))?;
        let root = Root::new(root);
        let mut local = LocalRules::default();
        let global = local.global(rules.rules(), side, &root);
        Ok(Self { shared: Arc::new(Shared { side, root, global, local }) })
    }

    /// The side the rules were compiled for.
    pub fn side(&self) -> Side {
        self.shared.side
    }

    /// The filter inside the transfer root, whose merge files are read.
    ///
    /// When one named directory is sent without a trailing slash, as in `rsync -r dir host:`, the transfer root
    /// is the directory around it, of which only `dir` is part of the transfer; rsync does not read the merge
    /// files of that root. `files` should answer that the root has none.
    pub fn root(&self, files: &dyn MergeFiles) -> Result<DirFilter, FilterError> {
        self.enter(&self.shared.local, Box::default(), files)
    }

    fn enter(
        &self,
        parent: &LocalRules,
        path: Box<[u8]>,
        files: &dyn MergeFiles,
    ) -> Result<DirFilter, FilterError> {
        let local = if parent.is_empty() {
            LocalRules::default()
        } else {
            parent.enter(Place::Inside(path.to_vec()), self.shared.side, &self.shared.root, files)?
        };
        let inner = InDir { shared: Arc::clone(&self.shared), path, local, blocks: OnceLock::new() };
        Ok(DirFilter { inner: Arc::new(inner) })
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter").field("side", &self.shared.side).finish_non_exhaustive()
    }
}

/// The rules that hold inside one directory. Clones share everything.
#[derive(Clone)]
pub struct DirFilter {
    inner: Arc<InDir>,
}

struct InDir {
    shared: Arc<Shared>,
    path: Box<[u8]>,
    /// The per-directory rules, empty where no merge file is looked for.
    local: LocalRules,
    /// All blocks in the order in which they decide, made ready for this directory when the first name is asked
    /// about: many directories are entered and hold nothing.
    blocks: OnceLock<Box<[BlockInDir]>>,
}

impl DirFilter {
    /// The filter inside the child directory `name`, whose merge files are read. Without per-directory rules
    /// this only joins the path.
    pub fn enter(&self, name: &[u8], files: &dyn MergeFiles) -> Result<Self, FilterError> {
        let parent = &self.inner.path;
        let path =
            if parent.is_empty() { name.into() } else { [parent, b"/".as_slice(), name].concat().into() };
        Filter { shared: Arc::clone(&self.inner.shared) }.enter(&self.inner.local, path, files)
    }

    /// The directory, relative to the transfer root; `""` is the root.
    pub fn path(&self) -> &[u8] {
        &self.inner.path
    }

    /// Whether the entry `name` of this directory is excluded: on the sending side hidden from the transfer, on
    /// the receiving side protected from deletion. `name` is one component, without a slash.
    ///
    /// Do not ask about entries of an excluded directory. rsync never asks either: the sender does not enter it, and the
    /// receiver leaves it alone as a whole.
    pub fn excludes(&self, name: &[u8], kind: EntryKind) -> bool {
        self.verdict(name, Question { kind, in_removed_dir: false })
    }

    /// [`excludes`](Self::excludes) in a directory that is being removed, where perishable rules are ignored.
    pub fn excludes_in_removed_dir(&self, name: &[u8], kind: EntryKind) -> bool {
        self.verdict(name, Question { kind, in_removed_dir: true })
    }

    fn verdict(&self, name: &[u8], question: Question) -> bool {
        let blocks = self.inner.blocks.get_or_init(|| self.inner.ready_blocks());
        blocks.iter().find_map(|block| block.verdict(name, question)) == Some(Action::Exclude)
    }
}

impl InDir {
    fn ready_blocks(&self) -> Box<[BlockInDir]> {
        let mut blocks: Vec<Arc<Block>> = Vec::new();
        self.local.flatten(&self.shared.global, &mut blocks);
        blocks.iter().map(|block| BlockInDir::new(block, &self.path)).collect()
    }
}

impl fmt::Debug for DirFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DirFilter({:?} in '{}')", self.inner.shared.side, self.inner.path.escape_ascii())
    }
}
