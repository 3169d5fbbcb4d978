//! A project: the directory that holds its Coastfile or its git checkout, and the worktrees that an instance can follow.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::repository::{Repository, Worktree};
use crate::words::did_you_mean;
use crate::{BadName, Coastfile, CoastfileError, Name};

/// A project, found from a directory inside of it.
#[derive(Debug, Clone)]
pub struct Project {
    /// Its name: what the Coastfile says, or what its directory is called.
    pub name: Name,
    /// Its root: in the main checkout, whichever worktree it was found from.
    pub root: PathBuf,
    /// What its Coastfile says.
    pub coastfile: Coastfile,
    repository: Option<Repository>,
    /// The root's path inside its checkout: empty unless the Coastfile is further down.
    below_checkout: PathBuf,
}

/// Why a project or one of its worktrees cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    /// Its Coastfile is wrong.
    #[error(transparent)]
    Coastfile(#[from] CoastfileError),
    /// Something on the way cannot be read.
    #[error("cannot look for the project at {}: {error}", path.display())]
    Look {
        /// The directory it was looked for from.
        path: PathBuf,
        /// What the system answered.
        error: io::Error,
    },
    /// What the project is called, by its Coastfile or its directory, will not do.
    #[error("the project needs another name: {bad}; say it in the Coastfile of {} with: [coast] name = \"...\"", root.display())]
    Name {
        /// The root.
        root: PathBuf,
        /// What is wrong with its name.
        bad: BadName,
    },
    /// There is no such worktree.
    #[error("there is no worktree {:?}: it is neither a directory nor the name or branch of a worktree of this project ({}){}", wanted.to_string_lossy(), list(known), did_you_mean(&wanted.to_string_lossy(), known.iter().map(String::as_str)))]
    NoWorktree {
        /// As it was asked for.
        wanted: OsString,
        /// The names and branches there are.
        known: Vec<String>,
    },
    /// The name stands for more than one.
    #[error("{:?} can mean more than one worktree: {}; say which by its path", wanted.to_string_lossy(), paths(candidates))]
    SeveralWorktrees {
        /// As it was asked for.
        wanted: OsString,
        /// Their directories.
        candidates: Vec<PathBuf>,
    },
    /// git knows the worktree, but its directory is gone.
    #[error("the worktree {:?} is gone: {} is no directory; make it again, or forget it with: git worktree prune", wanted.to_string_lossy(), path.display())]
    WorktreeGone {
        /// As it was asked for.
        wanted: OsString,
        /// Where it was.
        path: PathBuf,
    },
    /// A directory that cannot be meant.
    #[error("{} cannot be a workspace: it is {what}", path.display())]
    Unfit {
        /// The directory.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
}

fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn list(known: &[String]) -> String {
    if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) }
}

impl Project {
    /// The project that a directory belongs to: the nearest directory at or above it that has a Coastfile or is a git checkout. In a
    /// linked worktree it is the same place in the main checkout. Without either it is the directory itself.
    ///
    /// # Errors
    /// When the Coastfile is wrong, or there is no name.
    pub fn find(start: &Path) -> Result<Self, ProjectError> {
        let looked = |error| ProjectError::Look { path: start.to_owned(), error };
        let start = fs::canonicalize(start).map_err(looked)?;
        let marks = |directory: &&Path| {
            Coastfile::find(directory).is_some() || fs::symlink_metadata(directory.join(".git")).is_ok()
        };
        let found = start.ancestors().find(marks).unwrap_or(&start);
        let repository = Repository::above(found).map_err(looked)?;
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

    /// The directory that somebody means by `wanted`, seen from `here`: any directory by its path; else a worktree of the project by
    /// what its directory is called; else by git's name for it; else by its branch.
    ///
    /// # Errors
    /// When there is none, or there are several, or it cannot be a workspace.
    pub fn worktree(&self, wanted: &OsStr, here: &Path) -> Result<PathBuf, ProjectError> {
        let looked = |error| ProjectError::Look { path: self.root.clone(), error };
        let path = here.join(wanted);
        if path.is_dir() {
            return self.fit(fs::canonicalize(&path).map_err(looked)?);
        }
        let worktrees = match &self.repository {
            Some(repository) => repository.worktrees().map_err(looked)?,
            None => Vec::new(),
        };
        let called: [NameOf; 3] = [
            |worktree| worktree.path.file_name().map(OsStr::as_bytes),
            |worktree| Some(&worktree.name),
            |worktree| worktree.branch.as_deref(),
        ];
        let on_main = self.repository.as_ref().is_some_and(|repository| {
            repository.main.is_some() && repository.main_branch().as_deref() == Some(wanted.as_bytes())
        });
        for (level, name) in called.into_iter().enumerate() {
            let named = worktrees.iter().filter(|worktree| name(worktree) == Some(wanted.as_bytes()));
            let mut named: Vec<&PathBuf> = named.map(|worktree| &worktree.path).collect();
            // The main checkout goes by its branch alone.
            named.extend((on_main && level == called.len() - 1).then_some(&self.root));
            let (there, gone): (Vec<&PathBuf>, Vec<&PathBuf>) =
                named.into_iter().partition(|path| path.is_dir());
            match (there.as_slice(), gone.as_slice()) {
                ([], []) => {}
                ([], [path, ..]) => {
                    let (wanted, path) = (wanted.to_owned(), (*path).clone());
                    return Err(ProjectError::WorktreeGone { wanted, path });
                }
                ([path], _) => return self.fit((*path).clone()),
                (several, _) => {
                    let candidates = several.iter().map(|path| (*path).clone()).collect();
                    return Err(ProjectError::SeveralWorktrees { wanted: wanted.to_owned(), candidates });
                }
            }
        }
        let mut known: Vec<String> = Vec::new();
        for worktree in &worktrees {
            let names = [Some(&worktree.name), worktree.branch.as_ref()];
            known.extend(names.into_iter().flatten().map(|name| String::from_utf8_lossy(name).into_owned()));
        }
        known.dedup();
        Err(ProjectError::NoWorktree { wanted: wanted.to_owned(), known })
    }

    /// The directory of the project inside a checkout, if it can be a workspace.
    fn fit(&self, checkout: PathBuf) -> Result<PathBuf, ProjectError> {
        let inside = joined(&checkout, &self.below_checkout);
        // The path of a directory that is no checkout's top is taken as it is.
        let is_checkout = fs::symlink_metadata(checkout.join(".git")).is_ok();
        let path = if is_checkout && inside.is_dir() { inside } else { checkout };
        let home = std::env::home_dir().and_then(|home| fs::canonicalize(home).ok());
        if path.parent().is_none() {
            return Err(ProjectError::Unfit { path, what: "the whole file system" });
        }
        if home.as_ref() == Some(&path) {
            return Err(ProjectError::Unfit { path, what: "your home directory" });
        }
        Ok(path)
    }

    /// Whether a new instance can be made in this project: one with a name that is not valid any more can still have its
    /// instances removed.
    ///
    /// # Errors
    /// When it needs another name.
    pub fn check_new(&self) -> Result<(), ProjectError> {
        self.name.check_new().map_err(|bad| ProjectError::Name { root: self.root.clone(), bad })
    }

    /// The root, if it can be a workspace.
    ///
    /// # Errors
    /// When it is a directory that cannot be meant.
    pub fn root_worktree(&self) -> Result<PathBuf, ProjectError> {
        self.fit(self.root.clone()).map(|_| self.root.clone())
    }
}

/// One of the names that a worktree goes by.
type NameOf = fn(&Worktree) -> Option<&[u8]>;

/// Like [`Path::join`], without a slash at the end for nothing.
fn joined(base: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() { base.to_owned() } else { base.join(below) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(project.worktree(OsStr::new("one"), &base).unwrap(), base.join("wt/one/src"));
        }
    }

    #[test]
    fn a_worktree_is_found_by_path_name_and_branch() {
        let scratch = tempfile::tempdir().unwrap();
        let base = repository(scratch.path());
        let project = Project::find(&base.join("shop")).unwrap();
        let find = |wanted: &str, here: &str| project.worktree(OsStr::new(wanted), &base.join(here));
        for (wanted, here, expected) in [
            ("one", "shop", "wt/one"),
            ("feature/x", "shop", "wt/one"),
            ("two", "wt", "wt/two"),
            ("../wt/two", "shop", "wt/two"),
            (".", "wt/two", "wt/two"),
            ("main", "wt", "shop"),
            ("deep", "shop/src", "shop/src/deep"),
        ] {
            assert_eq!(find(wanted, here).unwrap(), base.join(expected), "{wanted}");
        }
        assert_eq!(
            find("feature/y", "shop").unwrap_err().to_string(),
            "there is no worktree \"feature/y\": it is neither a directory nor the name or branch of a worktree of this project (it has one, feature/x, two); did you mean \"feature/x\"?"
        );
        fs::remove_dir_all(base.join("wt/two")).unwrap();
        assert!(find("two", "shop").unwrap_err().to_string().contains("git worktree prune"));
        assert!(find("/", "shop").unwrap_err().to_string().contains("whole file system"));
    }

    #[test]
    fn a_path_comes_before_a_directorys_name_and_that_before_a_branch() {
        let scratch = tempfile::tempdir().unwrap();
        let base = repository(scratch.path());
        link(&base, "aaa", "wt/aaa", "ref: refs/heads/zzz\n");
        link(&base, "zzz", "wt/zzz", "ref: refs/heads/qqq\n");
        link(&base, "qqq1", "other/moved", "ref: refs/heads/one\n");
        fs::create_dir_all(base.join("shop/one")).unwrap();
        let project = Project::find(&base.join("shop")).unwrap();
        for (wanted, here, expected) in [
            ("zzz", "shop", "wt/zzz"),
            ("qqq", "shop", "wt/zzz"),
            ("qqq1", "shop", "other/moved"),
            ("one", "wt/aaa", "wt/one"),
            ("one", "shop", "shop/one"),
        ] {
            let found = project.worktree(OsStr::new(wanted), &base.join(here)).unwrap();
            assert_eq!(found, base.join(expected), "{wanted}");
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
                project.worktree(OsStr::new(wanted), &base.join("shop")).unwrap_err().to_string(),
                format!(
                    "{wanted:?} can mean more than one worktree: {}, {}; say which by its path",
                    base.join(first).display(),
                    base.join(second).display()
                )
            );
        }
        fs::remove_dir_all(base.join("other/one")).unwrap();
        let found = project.worktree(OsStr::new("one"), &base.join("shop")).unwrap();
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
        assert_eq!(project.worktree(OsStr::new("one"), &base).unwrap(), base.join("wt/one"));

        fs::write(base.join("shop/.git/config"), "[core]\n\tbare = true\n").unwrap();
        let project = Project::find(&base.join("wt/one")).unwrap();
        assert_eq!((project.name.as_str(), &project.root), ("one", &base.join("wt/one")));
        assert_eq!(project.worktree(OsStr::new("two"), &base).unwrap(), base.join("wt/two"));
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
