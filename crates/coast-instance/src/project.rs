//! A project: the directory with its Coastfile or its git checkout, and the worktrees that an instance can follow.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::coastfile::CoastfileError;
use crate::name::BadName;
use crate::words::{did_you_mean, shell_word};
use crate::{Coastfile, CoastfileType, Name, worktree_dirs};
use coast_git::{Repository, Worktree};

/// A project, found from a directory in it.
#[derive(Debug, Clone)]
pub struct Project {
    /// The name in the Coastfile, or else the name of the root directory.
    pub name: Name,
    /// The root. In a git repository it lies in the main checkout, whichever worktree the project was found from.
    pub root: PathBuf,
    /// The settings of the project.
    pub coastfile: Coastfile,
    repository: Option<Repository>,
    /// The root's path relative to its checkout: empty unless the Coastfile is in a subdirectory.
    below_checkout: PathBuf,
}

/// The directories that may become a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directories {
    /// The worktrees of the project; without a git repository, its root and the directories below it.
    OfProject,
    /// Any directory but `/` and the home directory.
    Any,
}

/// The worktree that a name or a path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedWorktree {
    /// The directory, absolute and without symlinks.
    pub path: PathBuf,
    /// Another directory that the name could mean, and that was not taken.
    pub other: Option<PathBuf>,
}

/// Why a project or one of its worktrees cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum ProjectError {
    /// The Coastfile is wrong.
    #[error(transparent)]
    Coastfile(#[from] CoastfileError),
    /// A file or directory cannot be read.
    #[error("cannot look for the project or worktree at {}: {error}", path.display())]
    Look { path: PathBuf, error: io::Error },
    /// The name in the Coastfile or of the directory is not a valid name.
    #[error("the project needs another name: {bad}; set it in the Coastfile of {} with: [coast] name = \"...\"", root.display())]
    Name { root: PathBuf, bad: BadName },
    /// Neither a worktree, a branch nor a directory has the name.
    #[error("there is no worktree {:?}: no worktree, branch or directory has that name ({}){}", wanted.to_string_lossy(), list(known), did_you_mean(&wanted.to_string_lossy(), known.iter().map(String::as_str)))]
    NoWorktree { wanted: OsString, known: Vec<String> },
    /// The branch exists and no worktree has it checked out.
    #[error("no worktree has the branch {0:?} checked out; make one with: git worktree add PATH {1}{2}", branch.to_string_lossy(), shell_word(Path::new(branch)), directory_hint(branch, *is_directory))]
    BranchWithoutWorktree { branch: OsString, is_directory: bool },
    /// More than one worktree has the name.
    #[error("{:?} can mean more than one worktree: {}; name one of them by its path", wanted.to_string_lossy(), paths(candidates))]
    SeveralWorktrees { wanted: OsString, candidates: Vec<PathBuf> },
    /// Git lists the worktree, and its directory is gone.
    #[error("the worktree {:?} is gone: {} is no checkout of this repository; make it again, or forget it with: git worktree prune", wanted.to_string_lossy(), path.display())]
    WorktreeGone { wanted: OsString, path: PathBuf },
    /// The directory does not belong to the project.
    #[error("{:?} is the directory {}, {what}; everything in the workspace that it lacks would be deleted. Name a worktree or branch of this project ({}), or, to use this directory all the same, add --any-directory", wanted.to_string_lossy(), path.display(), list(known))]
    NotOfProject { wanted: OsString, path: PathBuf, what: String, known: Vec<String> },
    /// The checkout lacks the subdirectory that holds the project.
    #[error("the worktree {} has no directory {} with the project in it; check out a branch that has it", checkout.display(), below.display())]
    NotInCheckout { checkout: PathBuf, below: PathBuf },
    /// The directory of the project does not exist any more.
    #[error(
        "the directory {} of the project {project:?} is gone, and this command needs it; bring the directory back, or remove the instance with: coast rm {instance} --project {project}", root.display()
    )]
    DirectoryGone { instance: Name, project: Name, root: PathBuf },
    /// The project has another name than when the instance was made.
    #[error(
        "the instance {instance:?} belongs to the project {recorded:?}, and the project at {} is called {named:?} now; to start or assign the instance, name the project as before with [coast] name = \"{recorded}\" in the Coastfile there", root.display()
    )]
    OtherName { instance: Name, recorded: Name, root: PathBuf, named: Name },
    /// The directory has made instances of one name under several names of the project.
    #[error("the project at {} has made an instance {instance:?} under several names; choose one with --project {}", root.display(), join(names))]
    SeveralNames { instance: Name, root: PathBuf, names: Vec<Name> },
    /// The directory can never be a workspace.
    #[error("{} cannot be a workspace: it is {what}", path.display())]
    Unfit { path: PathBuf, what: &'static str },
}

fn join(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(" or --project ")
}

fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn list(known: &[String]) -> String {
    if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) }
}

fn directory_hint(name: &OsStr, is_directory: bool) -> String {
    if is_directory {
        format!("; for the directory of that name, write: {}", shell_word(&Path::new(".").join(name)))
    } else {
        String::new()
    }
}

/// The place of a project: all that is known of a project without its Coastfile.
#[derive(Debug)]
pub(crate) struct Place {
    /// The root of the project.
    pub(crate) root: PathBuf,
    /// Whether something marks the root as one: a Coastfile, or git.
    is_marked: bool,
    repository: Option<Repository>,
    below_checkout: PathBuf,
}

impl Place {
    /// The place of the project that a directory belongs to. A Coastfile of this type marks the root, too.
    pub(crate) fn find(start: &Path, kind: Option<&CoastfileType>) -> Result<Self, ProjectError> {
        let start = fs::canonicalize(start).map_err(look(start))?;
        let marks = |directory: &&Path| {
            let has_coastfile = |kind| Coastfile::find(directory, kind).is_some();
            has_coastfile(None)
                || (kind.is_some() && has_coastfile(kind))
                || fs::symlink_metadata(directory.join(".git")).is_ok()
        };
        let marked = start.ancestors().find(marks);
        let found = marked.unwrap_or(&start);
        let repository = Repository::above(found).map_err(look(&start))?;
        let below_checkout =
            repository.as_ref().and_then(|repository| found.strip_prefix(&repository.checkout).ok());
        let below_checkout = below_checkout.unwrap_or(Path::new("")).to_owned();
        let main = repository.as_ref().and_then(|repository| repository.main.as_ref());
        let root = main.map(|main| joined(main, &below_checkout)).filter(|root| root.is_dir());
        let root = root.unwrap_or_else(|| found.to_owned());
        Ok(Self { root, is_marked: marked.is_some(), repository, below_checkout })
    }

    /// The directories in which an instance may have been made that a command in `here` means, nearest first. A directory above the
    /// root belongs to another project, unless nothing marks the root as one. Without its Coastfile, a project in a subdirectory of a
    /// repository seems to be the whole repository.
    pub(crate) fn roots(&self, here: &Path) -> Vec<PathBuf> {
        let is_ours = |directory: &&Path| !self.is_marked || directory.starts_with(&self.root);
        here.ancestors().take_while(is_ours).map(Path::to_owned).collect()
    }

    /// The project at this place, with the settings of its Coastfile of this type.
    pub(crate) fn project(self, kind: Option<&CoastfileType>) -> Result<Project, ProjectError> {
        let Self { root, repository, below_checkout, .. } = self;
        let coastfile = Coastfile::load(&root, kind)?;
        let name = match &coastfile.name {
            Some(name) => name.clone(),
            None => {
                let directory = root.file_name().unwrap_or(OsStr::new("/")).to_string_lossy();
                directory.parse().map_err(|bad| ProjectError::Name { root: root.clone(), bad })?
            }
        };
        Ok(Project { name, root, coastfile, repository, below_checkout })
    }
}

impl Project {
    /// The project that a directory belongs to: the nearest directory at or above it that has a Coastfile or is a git checkout. In a
    /// linked worktree it is the same place in the main checkout. Without either it is the directory itself.
    ///
    /// # Errors
    /// When the Coastfile is wrong, or the project has no valid name.
    pub fn find(start: &Path) -> Result<Self, ProjectError> {
        Self::find_typed(start, None)
    }

    /// Like [`Project::find`], with the Coastfile of a type.
    ///
    /// # Errors
    /// As [`Project::find`], and when there is no Coastfile of this type.
    pub fn find_typed(start: &Path, kind: Option<&CoastfileType>) -> Result<Self, ProjectError> {
        Place::find(start, kind)?.project(kind)
    }

    /// The worktree that `wanted` means in the directory `here`.
    ///
    /// A name without a slash is a worktree or branch of the project: first by its path below a directory of `worktree_dir`, then by the
    /// name of its directory, then by git's name for it, then by its branch. Only if no worktree and no branch has the name is it a
    /// directory. With a slash it is a directory first, and a branch second.
    ///
    /// # Errors
    /// When nothing has the name, several worktrees have it, or `directories` does not allow the directory.
    pub fn worktree(
        &self,
        wanted: &OsStr,
        here: &Path,
        directories: Directories,
    ) -> Result<ResolvedWorktree, ProjectError> {
        let worktrees = self.worktrees().map_err(look(&self.root))?;
        let is_name = !wanted.as_bytes().contains(&b'/') && !matches!(wanted.as_bytes(), b"." | b"..");
        let directory = || directory_at(wanted, here);
        if !is_name && let Some(path) = directory()? {
            let named = worktrees.named(wanted)?;
            let found = self.allowed(&path, wanted, directories, &worktrees);
            return match (found, named) {
                (Ok(path), None) => Ok(ResolvedWorktree { path, other: None }),
                (Ok(path), Some(named)) => {
                    Ok(ResolvedWorktree { other: other_than(&path, [named.path]), path })
                }
                (Err(ProjectError::NotOfProject { .. }), Some(named)) => {
                    Ok(ResolvedWorktree { path: self.in_checkout(&named.path)?, other: Some(path) })
                }
                (Err(error), _) => Err(error),
            };
        }
        if let Some(Named { path, others }) = worktrees.named(wanted)? {
            // A directory that cannot be examined is not worth a failure here.
            let directory = if is_name { directory().ok().flatten() } else { None };
            let other = other_than(&path, directory.into_iter().chain(others));
            return Ok(ResolvedWorktree { path: self.in_checkout(&path)?, other });
        }
        let directory = directory()?;
        if worktrees.has_branch(wanted).map_err(look(&self.root))? {
            let (branch, is_directory) = (wanted.to_owned(), directory.is_some());
            return Err(ProjectError::BranchWithoutWorktree { branch, is_directory });
        }
        match directory {
            Some(path) => Ok(ResolvedWorktree {
                path: self.allowed(&path, wanted, directories, &worktrees)?,
                other: None,
            }),
            None => Err(ProjectError::NoWorktree { wanted: wanted.to_owned(), known: worktrees.known() }),
        }
    }

    fn worktrees(&self) -> io::Result<Worktrees<'_>> {
        let linked = self.repository.as_ref().map(Repository::worktrees).transpose()?.unwrap_or_default();
        let dirs: Vec<PathBuf> =
            self.coastfile.worktree_dirs.iter().map(|dir| dir.resolved(&self.root)).collect();
        let linked = linked.into_iter().map(|worktree| {
            let below = worktree_dirs::name_below(&worktree.path, &dirs).map(OsStr::to_owned);
            Linked { below, worktree }
        });
        Ok(Worktrees { repository: self.repository.as_ref(), linked: linked.collect() })
    }

    /// The directory to follow for the directory `path`, which has no symlinks: the project's part of it if it is a checkout of the
    /// project's repository, or `path` itself if `directories` allows it.
    fn allowed(
        &self,
        path: &Path,
        wanted: &OsStr,
        directories: Directories,
        worktrees: &Worktrees<'_>,
    ) -> Result<PathBuf, ProjectError> {
        check_fit(path)?;
        let what = match &self.repository {
            Some(repository) if repository.has_checkout_at(path).map_err(look(path))? => {
                return self.in_checkout(path);
            }
            _ if directories == Directories::Any => return Ok(path.to_owned()),
            None if path.starts_with(&self.root) => return Ok(path.to_owned()),
            None => format!("which is not in the project at {}", self.root.display()),
            Some(repository) => match Repository::above(path).map_err(look(path))? {
                Some(above) if repository.has_checkout_at(&above.checkout).map_err(look(path))? => {
                    if joined(&above.checkout, &self.below_checkout) == path {
                        return Ok(path.to_owned());
                    }
                    format!("which is only a part of the worktree {}", above.checkout.display())
                }
                Some(above) if above.checkout == path => {
                    "which is no worktree of this project's repository: it is another repository's, or was pruned"
                        .to_owned()
                }
                _ => "which is no worktree of this project's repository".to_owned(),
            },
        };
        let (wanted, path) = (wanted.to_owned(), path.to_owned());
        Err(ProjectError::NotOfProject { wanted, path, what, known: worktrees.known() })
    }

    /// The directory of the project in a checkout of its repository.
    fn in_checkout(&self, checkout: &Path) -> Result<PathBuf, ProjectError> {
        let inside = joined(checkout, &self.below_checkout);
        match fs::canonicalize(&inside) {
            // A symlink in a branch could lead anywhere.
            Ok(path) if path == inside && path.is_dir() => {
                check_fit(&path)?;
                Ok(path)
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(look(&inside)(error)),
            _ => Err(ProjectError::NotInCheckout {
                checkout: checkout.to_owned(),
                below: self.below_checkout.clone(),
            }),
        }
    }

    /// Whether a file lies in the project's repository, or in its root if there is none.
    pub(crate) fn holds(&self, file: &Path) -> bool {
        let repository = self.repository.iter();
        let mut tops = repository.flat_map(|repository| repository.main.iter().chain([&repository.checkout]));
        let top = tops.find(|top| self.root.starts_with(top));
        file.starts_with(top.unwrap_or(&self.root))
    }

    /// Checks that new instances of the project can be made. A project whose name became invalid keeps its instances.
    ///
    /// # Errors
    /// When the project needs another name.
    pub fn check_new(&self) -> Result<(), ProjectError> {
        self.name.check_new().map_err(|bad| ProjectError::Name { root: self.root.clone(), bad })
    }

    /// The root, if it can be a workspace.
    ///
    /// # Errors
    /// When the root is `/` or the home directory.
    pub fn root_worktree(&self) -> Result<PathBuf, ProjectError> {
        check_fit(&self.root)?;
        Ok(self.root.clone())
    }
}

/// The worktree that has a name, and other worktrees that have it in a weaker sense.
struct Named {
    path: PathBuf,
    others: Vec<PathBuf>,
}

/// The worktrees of a project; none without a repository.
struct Worktrees<'a> {
    repository: Option<&'a Repository>,
    linked: Vec<Linked>,
}

/// A linked worktree.
struct Linked {
    worktree: Worktree,
    /// Its path below a directory of `worktree_dir`, if it lies in one.
    below: Option<OsString>,
}

/// One of the names of a worktree.
type NameOf = fn(&Linked) -> Option<&[u8]>;

/// The level of [`Worktrees::named`] at which the main checkout is named by its directory.
const BY_DIRECTORY: usize = 1;
/// The level at which it is named by its branch.
const BY_BRANCH: usize = 3;

impl<'a> Worktrees<'a> {
    /// The worktree called `wanted`: by its path below a directory of `worktree_dir`, by the name of its directory, by git's name for
    /// it, or by its branch, in this order.
    fn named(&self, wanted: &OsStr) -> Result<Option<Named>, ProjectError> {
        let names: [NameOf; 4] = [
            |linked| linked.below.as_deref().map(OsStr::as_bytes),
            |linked| linked.worktree.path.file_name().map(OsStr::as_bytes),
            |linked| Some(&linked.worktree.name),
            |linked| linked.worktree.branch.as_deref(),
        ];
        let mut first: Option<Named> = None;
        for (level, name) in names.into_iter().enumerate() {
            let named = self.linked.iter().filter(|linked| name(linked) == Some(wanted.as_bytes()));
            let mut named: Vec<&PathBuf> = named.map(|linked| &linked.worktree.path).collect();
            // Git has no name of its own for the main checkout.
            named.extend(match level {
                BY_DIRECTORY => self.main_at(wanted),
                BY_BRANCH => self.main_on(wanted),
                _ => None,
            });
            let is_there = |path: &PathBuf| {
                self.repository.is_some_and(|repository| repository.has_checkout_at(path).unwrap_or(false))
            };
            let (there, gone): (Vec<&PathBuf>, Vec<&PathBuf>) =
                named.into_iter().partition(|path| is_there(path));
            match (&mut first, there.as_slice(), gone.as_slice()) {
                (Some(first), others, _) => first.others.extend(others.iter().copied().cloned()),
                (None, [], []) => {}
                (None, [], [path, ..]) => {
                    return Err(ProjectError::WorktreeGone {
                        wanted: wanted.to_owned(),
                        path: (*path).clone(),
                    });
                }
                (None, [path], _) => first = Some(Named { path: (*path).clone(), others: Vec::new() }),
                (None, several, _) => {
                    let candidates = several.iter().copied().cloned().collect();
                    return Err(ProjectError::SeveralWorktrees { wanted: wanted.to_owned(), candidates });
                }
            }
        }
        Ok(first)
    }

    /// The main checkout, if its directory has this name.
    fn main_at(&self, directory: &OsStr) -> Option<&'a PathBuf> {
        let main = self.repository?.main.as_ref()?;
        (main.file_name() == Some(directory)).then_some(main)
    }

    /// The main checkout, if this branch is checked out in it.
    fn main_on(&self, branch: &OsStr) -> Option<&'a PathBuf> {
        let repository = self.repository?;
        let main = repository.main.as_ref()?;
        (repository.main_branch().as_deref() == Some(branch.as_bytes())).then_some(main)
    }

    fn has_branch(&self, name: &OsStr) -> io::Result<bool> {
        self.repository.map_or(Ok(false), |repository| repository.has_branch(name.as_bytes()))
    }

    /// The names and branches of all worktrees, for messages.
    fn known(&self) -> Vec<String> {
        let mut known: Vec<String> = Vec::new();
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        for Linked { worktree, below } in &self.linked {
            let below = below.as_deref().map(OsStr::as_bytes).filter(|below| *below != worktree.name);
            let names = [below, Some(&*worktree.name), worktree.branch.as_deref()];
            known.extend(names.into_iter().flatten().map(text));
        }
        let main = self.repository.filter(|repository| repository.main.is_some());
        known.extend(main.and_then(Repository::main_branch).map(|branch| text(&branch)));
        known.dedup();
        known
    }
}

/// The directory that a path means, without symlinks; `None` if there is no directory.
fn directory_at(wanted: &OsStr, here: &Path) -> Result<Option<PathBuf>, ProjectError> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let path = here.join(wanted);
    match fs::canonicalize(&path) {
        Ok(found) => Ok(found.is_dir().then_some(found)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(look(&path)(error)),
    }
}

/// The first of `paths` that is not `taken`.
fn other_than(taken: &Path, paths: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    paths.into_iter().find(|path| path != taken)
}

/// Refuses `/` and the home directory.
fn check_fit(path: &Path) -> Result<(), ProjectError> {
    let unfit = |what| Err(ProjectError::Unfit { path: path.to_owned(), what });
    if path.parent().is_none() {
        return unfit("the whole file system");
    }
    let home = std::env::home_dir().and_then(|home| fs::canonicalize(home).ok());
    if home.as_deref() == Some(path) { unfit("your home directory") } else { Ok(()) }
}

/// Makes the error of a path that cannot be examined.
fn look(path: &Path) -> impl Fn(io::Error) -> ProjectError {
    move |error| ProjectError::Look { path: path.to_owned(), error }
}

/// Like [`Path::join`], but joining the empty path adds no slash.
fn joined(base: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() { base.to_owned() } else { base.join(below) }
}

#[cfg(test)]
mod tests;
