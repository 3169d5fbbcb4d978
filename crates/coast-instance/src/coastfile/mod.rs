//! The Coastfile: the settings of a project. Only the fields of the two sync layers are read; other sections are ignored.
//!
//! ```toml
//! extends = "Coastfile.base"      # optional; values here take precedence, lists are joined
//!
//! [coast]
//! name = "shop"                   # default: the directory's name
//! worktree_dir = ".worktrees"     # where worktrees lie; or a list; may be "../x", "~/x", "/x" and have a `*` in it
//!
//! [remote]
//! workspace_sync = "native"       # or "mutagen"; or "rsync" (the default): bulk transfers only
//! exclude = ["*.log", "/dist"]    # neither sent nor deleted, in both layers
//! protect = ["uploads/***"]       # never deleted on the remote
//! use_default_rules = true        # leave out node_modules and such, protect generated code
//! own = "root"                    # of the entries that are not sent, the user gets those of root; or "all", "none"
//! shell_image = "shop-shell"      # the image of the shell container, which holds mutagen and ssh
//! shell_network = "bridge"        # "bridge", "host", or the name of a Docker network
//! ```

mod document;
mod error;
mod kind;

use std::path::{Path, PathBuf};

use coast_sync::Own;

use crate::{Layer, Name, WorktreeDir, project_file};

pub(crate) use error::{CoastfileError, Fault};
pub use kind::{BadType, CoastfileChoice, CoastfileType};

/// The file names of a Coastfile without a type. The first that exists is read.
const FILE_NAMES: [&str; 4] = ["Coastfile.remote.toml", "Coastfile.remote", "Coastfile.toml", "Coastfile"];

/// The longest chain of files that extend each other.
const MAX_EXTENDS: usize = 16;

/// The default network of a shell container.
pub(crate) const DEFAULT_NETWORK: &str = "bridge";

/// The layers that an instance uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// `rsync`: the bulk layer alone. Edits are not carried.
    #[default]
    Bulk,
    /// `mutagen` or `native`: a continuous layer as well, which carries every edit.
    Continuous(Layer),
}

impl Strategy {
    /// The continuous layer; `None` if edits are not carried.
    pub fn layer(self) -> Option<Layer> {
        match self {
            Self::Bulk => None,
            Self::Continuous(layer) => Some(layer),
        }
    }
}

/// The settings of a project, those of extended files included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coastfile {
    /// `[coast] name`
    pub name: Option<Name>,
    /// `[coast] worktree_dir`
    pub worktree_dirs: Vec<WorktreeDir>,
    /// `[remote] workspace_sync`
    pub workspace_sync: Strategy,
    /// `[remote] exclude`: rsync patterns that both layers understand.
    pub exclude: Vec<String>,
    /// `[remote] protect`
    pub protect: Vec<String>,
    /// `[remote] use_default_rules`
    pub use_default_rules: bool,
    /// `[remote] own`: which entries are given to the user who logs in although they are not sent.
    pub own: Own,
    /// `[remote] shell_image`
    pub shell_image: Option<String>,
    /// `[remote] shell_network`
    pub shell_network: String,
    /// The type of the Coastfile; `None` for the one without a type.
    pub kind: Option<CoastfileType>,
    /// The files that the settings come from, without symlinks: the Coastfile, and those that it extends.
    pub files: Vec<PathBuf>,
}

impl Default for Coastfile {
    /// The settings of a project without a Coastfile: the bulk layer alone.
    fn default() -> Self {
        Self {
            name: None,
            worktree_dirs: Vec::new(),
            workspace_sync: Strategy::Bulk,
            exclude: Vec::new(),
            protect: Vec::new(),
            use_default_rules: true,
            own: Own::default(),
            shell_image: None,
            shell_network: DEFAULT_NETWORK.to_owned(),
            kind: None,
            files: Vec::new(),
        }
    }
}

impl Coastfile {
    /// Reads the Coastfile of the project at `root`. Without a Coastfile that has no type the defaults apply.
    ///
    /// # Errors
    /// When the file or an extended file cannot be read or is invalid, or there is no Coastfile of the type.
    pub fn load(root: &Path, kind: Option<&CoastfileType>) -> Result<Self, CoastfileError> {
        match (Self::find(root, kind), kind) {
            (Some(file), kind) => Ok(Self { kind: kind.cloned(), ..Self::read(&file)? }),
            (None, None) => Ok(Self::default()),
            (None, Some(kind)) => Err(CoastfileError::NoType {
                root: root.to_owned(),
                wanted: kind.clone(),
                found: CoastfileType::all_in(root),
            }),
        }
    }

    /// The Coastfile in a directory. It may be something else than a file, which [`Coastfile::load`] refuses.
    pub fn find(root: &Path, kind: Option<&CoastfileType>) -> Option<PathBuf> {
        let names = match kind {
            Some(kind) => kind.file_names().to_vec(),
            None => FILE_NAMES.map(str::to_owned).to_vec(),
        };
        names.iter().map(|name| root.join(name)).find(|file| file.symlink_metadata().is_ok())
    }

    /// The name in the Coastfile of a project or in a file that it extends, even if other parts of these files are wrong. `None` if no
    /// valid name can be read.
    pub(crate) fn readable_name(root: &Path, kind: Option<&CoastfileType>) -> Option<Name> {
        let mut file = Self::find(root, kind)?;
        for _ in 0..MAX_EXTENDS {
            let readable = document::Readable::of(&project_file::read(&file).ok()?);
            if readable.name.is_some() {
                return readable.name;
            }
            file = file.parent()?.join(readable.extends?);
        }
        None
    }

    /// Reads a file and the files that it extends.
    fn read(file: &Path) -> Result<Self, CoastfileError> {
        let mut chain = vec![document::Document::read(file)?];
        let mut files = vec![canonical(file)];
        while let Some(extends) = chain.last().and_then(|document| document.extends.clone()) {
            let extending = chain[chain.len() - 1].file.clone();
            let at = |fault| CoastfileError::At { file: extending.clone(), line: extends.line, fault };
            let base = extending.parent().unwrap_or(Path::new("")).join(&extends.value);
            if files.contains(&canonical(&base)) {
                return Err(at(Fault::ExtendsItself(extends.value)));
            }
            if files.len() == MAX_EXTENDS {
                return Err(at(Fault::ExtendsTooMany(MAX_EXTENDS)));
            }
            files.push(canonical(&base));
            chain.push(match document::Document::read(&base) {
                Err(CoastfileError::Read { error, .. }) => {
                    return Err(at(Fault::ExtendsUnreadable { file: extends.value, error }));
                }
                read => read?,
            });
        }
        Ok(Self { files, ..Self::merge(chain) })
    }

    /// Joins a file with the files that it extends, in this order.
    fn merge(chain: Vec<document::Document>) -> Self {
        let mut whole = Self::default();
        for document in chain.into_iter().rev() {
            let said = document.said;
            whole.name = said.name.or(whole.name);
            whole.worktree_dirs.extend(said.worktree_dirs);
            whole.workspace_sync = said.workspace_sync.unwrap_or(whole.workspace_sync);
            // Lists are joined, so that an extending file cannot lose an exclude pattern of its base.
            whole.exclude.extend(said.exclude);
            whole.protect.extend(said.protect);
            whole.use_default_rules = said.use_default_rules.unwrap_or(whole.use_default_rules);
            whole.own = said.own.unwrap_or(whole.own);
            whole.shell_image = said.shell_image.or(whole.shell_image);
            whole.shell_network = said.shell_network.unwrap_or(whole.shell_network);
        }
        whole
    }
}

/// The path without symlinks, for comparison; if it cannot be resolved, the path itself.
fn canonical(file: &Path) -> PathBuf {
    std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned())
}

#[cfg(test)]
mod tests;
