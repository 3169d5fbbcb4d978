//! What a user does to a source tree right before a measured push. It is undone afterwards, so that the next run finds the same.

use super::inputs::{self, PART, Pair};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A change of the newer tree of a pair.
#[derive(Clone, Copy)]
pub(crate) enum Change {
    None,
    /// Its git worktree is made anew, so every file is younger than what any cache knows.
    CheckOut,
    /// A line is appended to one file.
    Edit,
    /// A directory of thousands of files gets another name.
    Move,
}

impl Change {
    /// Makes the change. It is undone when the answer is dropped.
    pub(crate) fn make(self, pair: &Pair) -> Result<Undo> {
        match self {
            Self::None => Ok(Undo::Nothing),
            Self::CheckOut => {
                wait_for_next_second();
                inputs::check_out_new(pair)?;
                Ok(Undo::Nothing)
            }
            Self::Edit => {
                let path = pair.new.join(PART).join("Makefile");
                let content = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
                let edited = [&content[..], b"# An edit\n"].concat();
                fs::write(&path, edited).with_context(|| format!("editing {}", path.display()))?;
                Ok(Undo::Write { path, content })
            }
            Self::Move => {
                let from = pair.new.join(PART);
                let to = from.with_file_name("moved");
                fs::rename(&from, &to).with_context(|| format!("renaming {}", from.display()))?;
                Ok(Undo::Rename { from: to, to: from })
            }
        }
    }
}

/// rsync compares sizes and seconds: a file that was checked out in the second in which the one before it arrived, and that has
/// its size, is unchanged to it. In a push of 513 changed files it left two as they were, while coast left none.
fn wait_for_next_second() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    thread::sleep(Duration::from_secs(1) - Duration::from_nanos(now.subsec_nanos().into()));
}

/// What undoes a change.
pub(crate) enum Undo {
    Nothing,
    Write { path: PathBuf, content: Vec<u8> },
    Rename { from: PathBuf, to: PathBuf },
}

impl Undo {
    /// The file that was changed, or the directory that has another name. A worktree is made as a whole.
    pub(crate) fn changed(&self) -> Option<&Path> {
        match self {
            Self::Nothing => None,
            Self::Write { path, .. } => Some(path),
            Self::Rename { from, .. } => Some(from),
        }
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        let undone = match self {
            Self::Nothing => Ok(()),
            Self::Write { path, content } => fs::write(path, content),
            Self::Rename { from, to } => fs::rename(from, to),
        };
        if let Err(error) = undone {
            eprintln!("a change of the inputs could not be undone: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coast_testkit::{Aspects, Snapshot, Tree};
    use tempfile::TempDir;

    #[test]
    fn changes_are_undone() {
        let directory = TempDir::new().unwrap();
        let path = directory.path();
        let makefile = format!("{PART}/Makefile");
        Tree::new().dir("drivers").dir(PART).file(&makefile, "all:\n").build(path);
        let pair = Pair::new(path.to_owned(), path.to_owned());
        let before = Snapshot::read(path).unwrap();
        for (change, gone) in [(Change::Edit, false), (Change::Move, true)] {
            let undo = change.make(&pair).unwrap();
            let during = Snapshot::read(path).unwrap();
            assert!(!before.differences(&during, Aspects::CONTENT).is_empty());
            assert_eq!(!during.holds(&makefile), gone);
            drop(undo);
            let after = Snapshot::read(path).unwrap();
            assert!(before.differences(&after, Aspects::CONTENT).is_empty());
        }
    }
}
