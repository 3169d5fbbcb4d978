//! A project: the directory with its Coastfile or its git checkout, and the worktrees that an instance can follow.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::coastfile::CoastfileError;
use crate::name::BadName;
use crate::repository::{Repository, Worktree};
use crate::words::did_you_mean;
use crate::{Coastfile, Name};

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
pub struct Meant {
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
    #[error("no worktree has the branch {0:?} checked out; make one with: git worktree add PATH {0}{1}", branch.to_string_lossy(), directory_hint(branch, *is_directory))]
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
    /// The directory can never be a workspace.
    #[error("{} cannot be a workspace: it is {what}", path.display())]
    Unfit { path: PathBuf, what: &'static str },
}

fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn list(known: &[String]) -> String {
    if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) }
}

fn directory_hint(name: &OsStr, is_directory: bool) -> String {
    if is_directory {
        format!("; for the directory of that name, write: ./{}", name.to_string_lossy())
    } else {
        String::new()
    }
}

impl Project {
    /// The project that a directory belongs to: the nearest directory at or above it that has a Coastfile or is a git checkout. In a
    /// linked worktree it is the same place in the main checkout. Without either it is the directory itself.
    ///
    /// # Errors
    /// When the Coastfile is wrong, or the project has no valid name.
    pub fn find(start: &Path) -> Result<Self, ProjectError> {
        let start = fs::canonicalize(start).map_err(look(start))?;
        let marks = |directory: &&Path| {
            Coastfile::find(directory).is_some() || fs::symlink_metadata(directory.join(".git")).is_ok()
        };
        let found = start.ancestors().find(marks).unwrap_or(&start);
        let repository = Repository::above(found).map_err(look(&start))?;
        let below_checkout =
            repository.as_ref().and_then(|repository| found.strip_prefix(&repository.checkout).ok());
        let below_checkout = below_checkout.unwrap_or(Path::new("")).to_owned();
        let main = repository.as_ref().and_then(|repository| repository.main.as_ref());
        let root = main.map(|main| joined(main, &below_checkout)).filter(|root| root.is_dir());
        let root = root.unwrap_or_else(|| found.to_owned());
        let coastfile = Coastfile::load(&root)?;
        let name = match &coastfile.name {
            Some(name) => name.clone(),
            None => {
                let directory = root.file_name().unwrap_or(OsStr::new("/")).to_string_lossy();
                directory.parse().map_err(|bad| ProjectError::Name { root: root.clone(), bad })?
            }
        };
        Ok(Self { name, root, coastfile, repository, below_checkout })
    }

    /// The worktree that `wanted` means in the directory `here`.
    ///
    /// A name without a slash is a worktree or branch of the project: first by the name of its directory, then by git's name for it,
    /// then by its branch. Only if no worktree and no branch has the name is it a directory. With a slash it is a directory first, and
    /// a branch second.
    ///
    /// # Errors
    /// When nothing has the name, several worktrees have it, or `directories` does not allow the directory.
    pub fn worktree(
        &self,
        wanted: &OsStr,
        here: &Path,
        directories: Directories,
    ) -> Result<Meant, ProjectError> {
        let worktrees = Worktrees::of(self.repository.as_ref()).map_err(look(&self.root))?;
        let is_name = !wanted.as_bytes().contains(&b'/') && !matches!(wanted.as_bytes(), b"." | b"..");
        let directory = || directory_at(wanted, here);
        if !is_name && let Some(path) = directory()? {
            let named = worktrees.named(wanted)?;
            let found = self.allowed(&path, wanted, directories, &worktrees);
            return match (found, named) {
                (Ok(path), None) => Ok(Meant { path, other: None }),
                (Ok(path), Some(named)) => Ok(Meant { other: other_than(&path, [named.path]), path }),
                (Err(ProjectError::NotOfProject { .. }), Some(named)) => {
                    Ok(Meant { path: self.in_checkout(&named.path)?, other: Some(path) })
                }
                (Err(error), _) => Err(error),
            };
        }
        if let Some(Named { path, others }) = worktrees.named(wanted)? {
            // A directory that cannot be examined is not worth a failure here.
            let directory = if is_name { directory().ok().flatten() } else { None };
            let other = other_than(&path, directory.into_iter().chain(others));
            return Ok(Meant { path: self.in_checkout(&path)?, other });
        }
        let directory = directory()?;
        if worktrees.has_branch(wanted).map_err(look(&self.root))? {
            let (branch, is_directory) = (wanted.to_owned(), directory.is_some());
            return Err(ProjectError::BranchWithoutWorktree { branch, is_directory });
        }
        match directory {
            Some(path) => {
                Ok(Meant { path: self.allowed(&path, wanted, directories, &worktrees)?, other: None })
            }
            None => Err(ProjectError::NoWorktree { wanted: wanted.to_owned(), known: worktrees.known() }),
        }
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
    linked: Vec<Worktree>,
}

/// One of the names of a worktree.
type NameOf = fn(&Worktree) -> Option<&[u8]>;

impl<'a> Worktrees<'a> {
    fn of(repository: Option<&'a Repository>) -> io::Result<Self> {
        let linked = repository.map(Repository::worktrees).transpose()?.unwrap_or_default();
        Ok(Self { repository, linked })
    }

    /// The worktree called `wanted`: by the name of its directory, by git's name for it, or by its branch, in this order.
    fn named(&self, wanted: &OsStr) -> Result<Option<Named>, ProjectError> {
        let names: [NameOf; 3] = [
            |worktree| worktree.path.file_name().map(OsStr::as_bytes),
            |worktree| Some(&worktree.name),
            |worktree| worktree.branch.as_deref(),
        ];
        let mut first: Option<Named> = None;
        for (level, name) in names.into_iter().enumerate() {
            let named = self.linked.iter().filter(|worktree| name(worktree) == Some(wanted.as_bytes()));
            let mut named: Vec<&PathBuf> = named.map(|worktree| &worktree.path).collect();
            // The main checkout is known by its branch alone.
            named.extend(self.main_on(wanted).filter(|_| level == names.len() - 1));
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
        for worktree in &self.linked {
            let names = [Some(&worktree.name), worktree.branch.as_ref()];
            known.extend(names.into_iter().flatten().map(|name| text(name)));
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
mod tests {
    use super::*;

    use Directories::{Any, OfProject};

    impl Project {
        /// The directory that `wanted` means among those of the project.
        fn meant(&self, wanted: &str, here: &Path) -> Result<PathBuf, ProjectError> {
            self.worktree(OsStr::new(wanted), here, OfProject).map(|meant| meant.path)
        }
    }

    /// A main checkout `shop` with the linked worktrees `wt/one` (branch `feature/x`) and `wt/two` (detached), as git leaves them.
    fn repository(scratch: &Path) -> PathBuf {
        let scratch = fs::canonicalize(scratch).unwrap();
        let git = scratch.join("shop/.git");
        fs::create_dir_all(scratch.join("shop/src/deep")).unwrap();
        fs::create_dir_all(&git).unwrap();
        fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::write(git.join("config"), "[core]\n\tbare = false\n").unwrap();
        for (name, head) in
            [("one", "ref: refs/heads/feature/x\n"), ("two", "0123456789012345678901234567890123456789\n")]
        {
            link(&scratch, name, &format!("wt/{name}"), head);
        }
        scratch
    }

    /// A linked worktree of `shop` as git leaves it: git's name for it, its directory, what its HEAD says.
    fn link(scratch: &Path, name: &str, directory: &str, head: &str) {
        let admin = scratch.join("shop/.git/worktrees").join(name);
        let worktree = scratch.join(directory);
        fs::create_dir_all(&admin).unwrap();
        fs::create_dir_all(worktree.join("src")).unwrap();
        fs::write(admin.join("commondir"), "../..\n").unwrap();
        fs::write(admin.join("HEAD"), head).unwrap();
        fs::write(admin.join("gitdir"), format!("{}/.git\n", worktree.display())).unwrap();
        fs::write(worktree.join(".git"), format!("gitdir: {}\n", admin.display())).unwrap();
    }

    #[test]
    fn a_project_is_found_from_every_place_in_it() {
        let scratch = tempfile::tempdir().unwrap();
        let base = repository(scratch.path());
        for start in ["shop", "shop/src/deep", "wt/one", "wt/two/src"] {
            let project = Project::find(&base.join(start)).unwrap();
            assert_eq!((project.name.as_str(), &project.root), ("shop", &base.join("shop")), "{start}");
        }
        fs::write(base.join("shop/src/Coastfile"), "[coast]\nname = \"inner\"\n").unwrap();
        fs::write(base.join("wt/one/src/Coastfile"), "").unwrap();
        for start in ["shop/src/deep", "wt/one/src"] {
            let project = Project::find(&base.join(start)).unwrap();
            assert_eq!((project.name.as_str(), &project.root), ("inner", &base.join("shop/src")), "{start}");
            assert_eq!(project.meant("one", &base).unwrap(), base.join("wt/one/src"));
            assert_eq!(project.meant("wt/two/src", &base).unwrap(), base.join("wt/two/src"));
            fs::remove_dir(base.join("wt/two/src")).unwrap();
            std::os::unix::fs::symlink("/etc", base.join("wt/two/src")).unwrap();
            for (wanted, directories) in [("two", OfProject), ("wt/two", OfProject), ("wt/two", Any)] {
                let error = project.worktree(OsStr::new(wanted), &base, directories).unwrap_err();
                assert!(matches!(error, ProjectError::NotInCheckout { .. }), "{error}");
            }
            fs::remove_file(base.join("wt/two/src")).unwrap();
            assert!(project.meant("two", &base).unwrap_err().to_string().contains("has no directory src"));
            fs::create_dir(base.join("wt/two/src")).unwrap();
        }
    }

    #[test]
    fn a_worktree_is_found_by_path_name_and_branch() {
        let scratch = tempfile::tempdir().unwrap();
        let base = repository(scratch.path());
        let project = Project::find(&base.join("shop")).unwrap();
        let find = |wanted: &str, here: &str| project.meant(wanted, &base.join(here));
        for (wanted, here, expected) in [
            ("one", "shop", "wt/one"),
            ("feature/x", "shop", "wt/one"),
            ("two", "wt", "wt/two"),
            ("../wt/two", "shop", "wt/two"),
            (".", "wt/two", "wt/two"),
            ("main", "wt", "shop"),
            ("..", "shop/src", "shop"),
        ] {
            assert_eq!(find(wanted, here).unwrap(), base.join(expected), "{wanted}");
        }
        assert_eq!(
            find("feature/y", "shop").unwrap_err().to_string(),
            "there is no worktree \"feature/y\": no worktree, branch or directory has that name (it has one, feature/x, two, main); did you mean \"feature/x\"?"
        );
        fs::remove_dir_all(base.join("wt/two")).unwrap();
        assert!(find("two", "shop").unwrap_err().to_string().contains("git worktree prune"));
        assert!(find("/", "shop").unwrap_err().to_string().contains("whole file system"));
        assert!(matches!(find("", "shop"), Err(ProjectError::NoWorktree { .. })));
    }

    #[test]
    fn a_name_is_a_worktree_or_branch_before_it_is_a_directory() {
        let scratch = tempfile::tempdir().unwrap();
        let base = repository(scratch.path());
        link(&base, "aaa", "wt/aaa", "ref: refs/heads/zzz\n");
        link(&base, "zzz", "wt/zzz", "ref: refs/heads/qqq\n");
        link(&base, "qqq1", "other/moved", "ref: refs/heads/one\n");
        for directory in ["shop/aaa", "shop/feature/x", "shop/main"] {
            fs::create_dir_all(base.join(directory)).unwrap();
        }
        let project = Project::find(&base.join("shop")).unwrap();
        for (wanted, here, path, other) in [
            ("qqq1", "shop", "other/moved", None),
            ("two", "shop", "wt/two", None),
            // From where the directory of that name is the worktree itself.
            ("two", "wt", "wt/two", None),
            // The name of one worktree's directory, and the branch of another.
            ("zzz", "shop", "wt/zzz", Some("wt/aaa")),
            ("one", "shop", "wt/one", Some("other/moved")),
            ("qqq", "shop", "wt/zzz", None),
            // A worktree or branch, and a directory.
            ("aaa", "shop", "wt/aaa", Some("shop/aaa")),
            ("main", "shop", "shop", Some("shop/main")),
            ("feature/x", "shop", "wt/one", Some("shop/feature/x")),
            // Written as a path.
            ("../wt/aaa", "shop", "wt/aaa", None),
        ] {
            let meant = project.worktree(OsStr::new(wanted), &base.join(here), OfProject).unwrap();
            let expected = Meant { path: base.join(path), other: other.map(|other| base.join(other)) };
            assert_eq!(meant, expected, "{wanted} in {here}");
        }
        // A path that may be any directory is taken before a branch of that name.
        let meant = project.worktree(OsStr::new("feature/x"), &base.join("shop"), Any).unwrap();
        let expected = Meant { path: base.join("shop/feature/x"), other: Some(base.join("wt/one")) };
        assert_eq!(meant, expected);
    }

    #[test]
    fn a_directory_that_is_no_worktree_of_the_repository_needs_a_word() {
        let scratch = tempfile::tempdir().unwrap();
        let base = repository(scratch.path());
        // Another repository, with a worktree of its own, and one in this project.
        fs::create_dir_all(base.join("theirs/.git/worktrees/far")).unwrap();
        fs::create_dir_all(base.join("far")).unwrap();
        fs::write(base.join("theirs/.git/worktrees/far/commondir"), "../..\n").unwrap();
        let far = format!("gitdir: {}\n", base.join("theirs/.git/worktrees/far").display());
        fs::write(base.join("far/.git"), far).unwrap();
        fs::create_dir_all(base.join("shop/vendor/.git")).unwrap();
        // A worktree that git has pruned, and its directory.
        link(&base, "pruned", "wt/pruned", "ref: refs/heads/old\n");
        fs::remove_dir_all(base.join("shop/.git/worktrees/pruned")).unwrap();
        fs::create_dir_all(base.join("shop/docs")).unwrap();
        std::os::unix::fs::symlink("/etc", base.join("shop/link")).unwrap();
        std::os::unix::fs::symlink("../wt/one", base.join("shop/to-one")).unwrap();
        let project = Project::find(&base.join("shop")).unwrap();
        let here = base.join("shop");
        for (wanted, path, said) in [
            ("docs", "shop/docs", "only a part of the worktree"),
            ("./docs", "shop/docs", "only a part of the worktree"),
            ("/etc", "/etc", "no worktree of this project's repository"),
            ("link", "/etc", "no worktree of this project's repository"),
            ("..", "", "no worktree of this project's repository"),
            ("../theirs", "theirs", "another repository's"),
            ("../far", "far", "another repository's"),
            ("vendor", "shop/vendor", "another repository's"),
            ("../wt/pruned", "wt/pruned", "or was pruned"),
            ("../wt/one/src", "wt/one/src", "only a part of the worktree"),
        ] {
            let wanted = OsStr::new(wanted);
            let error = project.worktree(wanted, &here, OfProject).unwrap_err();
            let (text, path) = (error.to_string(), joined(&base, Path::new(path)));
            assert!(matches!(error, ProjectError::NotOfProject { .. }), "{text}");
            for said in [said, "--any-directory", &*path.to_string_lossy()] {
                assert!(text.contains(said), "{said:?} is missing from {text}");
            }
            assert_eq!(project.worktree(wanted, &here, Any).unwrap(), Meant { path, other: None });
        }
        assert_eq!(project.meant("to-one", &here).unwrap(), base.join("wt/one"));
        let error = project.worktree(OsStr::new("/"), &here, Any).unwrap_err();
        assert!(error.to_string().contains("whole file system"), "{error}");
    }

    #[test]
    fn a_worktree_whose_directory_became_another_repository_is_gone() {
        let scratch = tempfile::tempdir().unwrap();
        let base = repository(scratch.path());
        fs::remove_file(base.join("wt/two/.git")).unwrap();
        let project = Project::find(&base.join("shop")).unwrap();
        for _ in 0..2 {
            let error = project.meant("two", &base).unwrap_err();
            assert!(matches!(error, ProjectError::WorktreeGone { .. }), "{error}");
            fs::create_dir_all(base.join("wt/two/.git")).unwrap();
        }
    }

    #[test]
    fn a_branch_without_a_worktree_is_told_with_what_makes_one() {
        let scratch = tempfile::tempdir().unwrap();
        let base = repository(scratch.path());
        let git = base.join("shop/.git");
        fs::create_dir_all(git.join("refs/heads/fix")).unwrap();
        fs::write(git.join("refs/heads/fix/it"), "0123\n").unwrap();
        fs::write(
            git.join("packed-refs"),
            "# pack-refs with: peeled\n0123 refs/heads/docs\n0123 refs/tags/v1\n",
        )
        .unwrap();
        fs::create_dir_all(base.join("shop/docs")).unwrap();
        let project = Project::find(&base.join("shop")).unwrap();
        let said = |wanted: &str| project.meant(wanted, &base.join("shop")).unwrap_err().to_string();
        assert_eq!(
            said("fix/it"),
            "no worktree has the branch \"fix/it\" checked out; make one with: git worktree add PATH fix/it"
        );
        assert_eq!(
            said("docs"),
            "no worktree has the branch \"docs\" checked out; make one with: git worktree add PATH docs; for the directory of that \
             name, write: ./docs"
        );
        for none in ["v1", "fix", "../config", "ocs"] {
            assert!(said(none).starts_with("there is no worktree"), "{none}: {}", said(none));
        }
    }

    #[test]
    fn without_a_repository_the_root_and_what_is_below_it_may_be_named() {
        let scratch = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(scratch.path()).unwrap();
        fs::create_dir_all(base.join("plain/sub/deep")).unwrap();
        fs::create_dir_all(base.join("plainer")).unwrap();
        std::os::unix::fs::symlink("/etc", base.join("plain/link")).unwrap();
        let project = Project::find(&base.join("plain")).unwrap();
        let here = base.join("plain");
        for (wanted, path) in [(".", "plain"), ("sub", "plain/sub"), ("sub/deep", "plain/sub/deep")] {
            assert_eq!(project.meant(wanted, &here).unwrap(), base.join(path), "{wanted}");
        }
        for wanted in ["..", "../plainer", "link", "/etc"] {
            let error = project.meant(wanted, &here).unwrap_err();
            assert!(matches!(error, ProjectError::NotOfProject { .. }), "{wanted}: {error}");
            assert!(project.worktree(OsStr::new(wanted), &here, Any).is_ok(), "{wanted}");
        }
    }

    #[test]
    fn a_name_of_two_worktrees_is_refused_with_both_paths() {
        let scratch = tempfile::tempdir().unwrap();
        let base = repository(scratch.path());
        link(&base, "one1", "other/one", "ref: refs/heads/twice\n");
        link(&base, "three", "wt/three", "ref: refs/heads/twice\n");
        link(&base, "four", "wt/four", "ref: refs/heads/main\n");
        let project = Project::find(&base.join("shop")).unwrap();
        for (wanted, first, second) in
            [("one", "wt/one", "other/one"), ("twice", "other/one", "wt/three"), ("main", "wt/four", "shop")]
        {
            assert_eq!(
                project.meant(wanted, &base.join("shop")).unwrap_err().to_string(),
                format!(
                    "{wanted:?} can mean more than one worktree: {}, {}; name one of them by its path",
                    base.join(first).display(),
                    base.join(second).display()
                )
            );
        }
        fs::remove_dir_all(base.join("other/one")).unwrap();
        let found = project.meant("one", &base.join("shop")).unwrap();
        assert_eq!(found, base.join("wt/one"), "only one of them is there");
    }

    #[test]
    fn relative_git_files_and_bare_repositories_are_read() {
        let scratch = tempfile::tempdir().unwrap();
        let base = repository(scratch.path());
        fs::write(base.join("wt/one/.git"), "gitdir: ../../shop/.git/worktrees/one\n").unwrap();
        fs::write(base.join("shop/.git/worktrees/one/gitdir"), "../../../../wt/one/.git\n").unwrap();
        let project = Project::find(&base.join("wt/one")).unwrap();
        assert_eq!(project.root, base.join("shop"));
        assert_eq!(project.meant("one", &base).unwrap(), base.join("wt/one"));

        fs::write(base.join("shop/.git/config"), "[core]\n\tbare = true\n").unwrap();
        let project = Project::find(&base.join("wt/one")).unwrap();
        assert_eq!((project.name.as_str(), &project.root), ("one", &base.join("wt/one")));
        assert_eq!(project.meant("two", &base).unwrap(), base.join("wt/two"));
    }

    #[test]
    fn a_plain_directory_is_a_project_if_its_name_is_one() {
        let scratch = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(scratch.path()).unwrap();
        fs::create_dir_all(base.join("plain")).unwrap();
        fs::create_dir_all(base.join("two words")).unwrap();
        let project = Project::find(&base.join("plain")).unwrap();
        assert_eq!((project.name.as_str(), &project.root), ("plain", &base.join("plain")));
        let message = Project::find(&base.join("two words")).unwrap_err().to_string();
        assert!(message.contains("\"two words\"") && message.contains("[coast] name"), "{message}");
        fs::create_dir_all(base.join("two..dots")).unwrap();
        let old = Project::find(&base.join("two..dots")).unwrap();
        let message = old.check_new().unwrap_err().to_string();
        assert!(message.contains("\"two..dots\"") && message.contains("[coast] name"), "{message}");
        assert!(project.check_new().is_ok());
    }
}
