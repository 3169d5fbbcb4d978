//! `[coast] worktree_dir`: the directories in which the worktrees of a project lie. A worktree there can be named by its path below
//! such a directory. Only worktrees that git knows of this repository are found there, so nothing is searched: the directories above
//! each worktree are compared with the patterns.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::Project;

/// The letters with which a pattern may not go further than `*`.
const OTHER_WILDCARDS: &[char] = &['?', '[', ']', '{', '}', '\\'];

/// A value of `worktree_dir`: a directory, absolute, below the home directory (`~`) or relative to the project's root. In a component
/// `*` stands for any letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorktreeDir(String);

impl WorktreeDir {
    /// The values, in words that complete "it must be".
    pub(crate) const ALLOWED: &str = "a directory, or a list of directories, such as \"../worktrees\", \"~/worktrees\" or \
                                      \"../worktrees/*\"; `*` is the only wildcard, and no \"..\" may come after it";

    /// A valid value; `None` for every other text.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let home = text.strip_prefix('~').is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
        let valid = !text.is_empty()
            && !text.contains(|letter: char| letter.is_control() || OTHER_WILDCARDS.contains(&letter))
            && !text.contains("**")
            && !home
            && !parent_after_wildcard(Path::new(text));
        valid.then(|| Self(text.to_owned()))
    }

    /// The value as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the directory is outside of the project's repository, or of its root if it has none.
    pub(crate) fn is_outside(&self, project: &Project) -> bool {
        !project.holds(&self.resolved(&project.root))
    }

    /// The pattern as an absolute path. Symlinks are resolved in the part before the first `*`, as in the paths of worktrees.
    pub(crate) fn resolved(&self, root: &Path) -> PathBuf {
        let path = match self.0.strip_prefix('~') {
            Some(below) => {
                std::env::home_dir().unwrap_or_else(|| root.to_owned()).join(below.trim_start_matches('/'))
            }
            None => root.join(&self.0),
        };
        let wild = |component: &Component<'_>| component.as_os_str().as_bytes().contains(&b'*');
        let plain: PathBuf = path.components().take_while(|component| !wild(component)).collect();
        let rest: PathBuf = path.components().skip_while(|component| !wild(component)).collect();
        let plain = std::fs::canonicalize(&plain).unwrap_or_else(|_| without_parents(&plain));
        if rest.as_os_str().is_empty() { plain } else { plain.join(rest) }
    }
}

/// The path of a worktree below the deepest of its directories that matches one of `patterns`, which are absolute; `None` if none
/// matches.
pub(crate) fn name_below<'p>(worktree: &'p Path, patterns: &[PathBuf]) -> Option<&'p OsStr> {
    let directory = worktree
        .ancestors()
        .skip(1)
        .find(|directory| patterns.iter().any(|pattern| path_matches(pattern, directory)))?;
    worktree.strip_prefix(directory).ok().map(Path::as_os_str)
}

fn parent_after_wildcard(path: &Path) -> bool {
    path.components()
        .skip_while(|component| !component.as_os_str().as_bytes().contains(&b'*'))
        .any(|component| component == Component::ParentDir)
}

/// The path with `..` taken for the directory that is written before it.
fn without_parents(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            component => plain.push(component),
        }
    }
    plain
}

fn path_matches(pattern: &Path, path: &Path) -> bool {
    let (mut pattern, mut path) = (pattern.components(), path.components());
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name))
                if component_matches(pattern.as_os_str().as_bytes(), name.as_os_str().as_bytes()) => {}
            _ => return false,
        }
    }
}

/// Whether a name matches a pattern in which `*` stands for any bytes. As in a shell, a name that begins with a dot needs a pattern
/// that does.
fn component_matches(pattern: &[u8], name: &[u8]) -> bool {
    if pattern.starts_with(b"*") && name.starts_with(b".") {
        return false;
    }
    let mut parts = pattern.split(|byte| *byte == b'*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let parts: Vec<&[u8]> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle.iter().filter(|part| !part.is_empty()) {
        match rest.windows(part.len()).position(|window| window == *part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_worktree_is_named_by_its_path_below_the_directory() {
        let patterns = ["/wt", "/home/u/.agents/*/wt", "/wt/deep"].map(PathBuf::from);
        for (worktree, name) in [
            ("/wt/feature", Some("feature")),
            ("/wt/team/feature", Some("team/feature")),
            ("/wt/deep/feature", Some("feature")),
            ("/home/u/.agents/a1/wt/feature", Some("feature")),
            ("/home/u/.agents/.hidden/wt/feature", None),
            ("/home/u/.agents/a1/b/wt/feature", None),
            ("/wt", None),
            ("/wt2/feature", None),
            ("/", None),
        ] {
            assert_eq!(name_below(Path::new(worktree), &patterns), name.map(OsStr::new), "{worktree}");
        }
    }

    #[test]
    fn a_star_stands_for_any_letters_of_one_component() {
        for (pattern, name, matches) in [
            ("*", "a", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "acb", false),
            ("*-*-x", "a-b-x", true),
            ("*-*-x", "a-x", false),
            ("a*a", "a", false),
            ("*", ".git", false),
            (".*", ".git", true),
        ] {
            assert_eq!(component_matches(pattern.as_bytes(), name.as_bytes()), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn a_directory_is_relative_to_the_root_and_resolved_as_far_as_it_is_plain() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |path: &str| fs::canonicalize(scratch.path()).unwrap().join(path);
        fs::create_dir_all(at("shop")).unwrap();
        fs::create_dir_all(at("real/wt")).unwrap();
        std::os::unix::fs::symlink(at("real"), at("link")).unwrap();
        let resolved = |text: &str| WorktreeDir::new(text).unwrap().resolved(&at("shop"));
        assert_eq!(resolved(".worktrees"), at("shop/.worktrees"));
        assert_eq!(resolved("../link/wt"), at("real/wt"));
        assert_eq!(resolved("../link/*/wt"), at("real/*/wt"));
        assert_eq!(resolved("../missing/../wt"), at("wt"));
        assert_eq!(resolved("/abs/x"), Path::new("/abs/x"));
        assert!(resolved("~/wt").is_absolute() && resolved("~/wt").ends_with("wt"));
        for bad in ["", "~other/wt", "a/**/b", "wt/[ab]", "wt/?", "*/../x", "a\0b"] {
            assert!(WorktreeDir::new(bad).is_none(), "{bad:?}");
        }
    }
}
