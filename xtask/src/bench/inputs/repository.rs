//! A git repository with a commit for each of two trees, and a worktree of either commit.

use super::{Pair, make, remove};
use crate::program;
use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;

/// The tag of the second commit.
const NEW: &str = "new";
const GIT_DIRECTORY: &str = "repository.git";

/// Commits both trees to a new repository and checks out the first commit. The second worktree is made by [`check_out_new`].
pub(super) fn of(trees: &Pair, folder: &Path) -> Result<Pair> {
    let (old, new) = (folder.join("old"), folder.join(NEW));
    if !folder.is_dir() {
        eprintln!("committing to {}", folder.display());
        make(folder, |unfinished| {
            let directory = unfinished.join(GIT_DIRECTORY);
            program::output(Command::new("git").args(["init", "--quiet", "--bare"]).arg(&directory))?;
            for tree in [&trees.old, &trees.new] {
                let with_tree = || {
                    let mut git = git(&directory);
                    git.arg("--work-tree").arg(tree).current_dir(tree);
                    git
                };
                // The source of the kernel has rules that leave out files of its own.
                program::output(with_tree().args(["add", "--all", "--force", "."]))?;
                program::output(with_tree().args(["commit", "--quiet", "--message", "A release"]))?;
            }
            program::output(git(&directory).args(["tag", NEW])).map(drop)
        })?;
    }
    if !old.is_dir() {
        check_out(folder, &old, "new~1")?;
    }
    let description = format!("a git repository with a commit of each: {}", trees.description);
    Ok(Pair { old, new, description })
}

/// Makes the worktree of the second commit anew.
pub(crate) fn check_out_new(pair: &Pair) -> Result<()> {
    let folder = pair.new.parent().context("a worktree is in the directory of its repository")?;
    check_out(folder, &pair.new, NEW)
}

fn check_out(folder: &Path, worktree: &Path, commit: &str) -> Result<()> {
    let directory = folder.join(GIT_DIRECTORY);
    remove(worktree)?;
    program::output(git(&directory).args(["worktree", "prune"]))?;
    program::output(
        git(&directory).args(["worktree", "add", "--quiet", "--detach"]).arg(worktree).arg(commit),
    )?;
    Ok(())
}

/// git on a repository, with nobody's configuration. Objects are compressed fast: only their content matters.
fn git(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    command.arg("--git-dir").arg(directory);
    for setting in [
        "user.name=bench",
        "user.email=bench@localhost",
        "core.compression=1",
        "gc.auto=0",
        "core.bare=false",
    ] {
        command.args(["-c", setting]);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::compare;
    use coast_testkit::Tree;
    use std::fs;
    use tempfile::TempDir;

    #[test]
    fn worktrees_have_the_content_of_the_two_trees_and_the_second_is_new_each_time() {
        let directory = TempDir::new().unwrap();
        let [old, new] = ["first", "second"].map(|content| {
            let tree = directory.path().join(content);
            fs::create_dir(&tree).unwrap();
            Tree::new()
                .file(".gitignore", "folder\n")
                .dir("folder")
                .file("folder/file", content)
                .build(&tree);
            tree
        });
        let trees = Pair::new(old, new);
        let pair = of(&trees, &directory.path().join("repository")).unwrap();
        let without_git = |worktree: &Path| {
            fs::remove_file(worktree.join(".git")).unwrap();
            worktree.to_owned()
        };
        compare::ensure_equal(&trees.old, &without_git(&pair.old)).unwrap();
        for _ in 0..2 {
            check_out_new(&pair).unwrap();
            compare::ensure_equal(&trees.new, &without_git(&pair.new)).unwrap();
        }
    }
}
