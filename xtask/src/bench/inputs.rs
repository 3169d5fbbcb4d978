//! The inputs: two releases of the kernel's source, whole or in part, also as commits of a git repository; two versions of one
//! large file, and two files that have nothing in common; a million small files.

mod files;
mod kernel;
mod repository;

use super::interrupt::Interrupt;
use anyhow::{Context, Result};
pub(crate) use kernel::{PART, newest_kernel_tree};
pub(crate) use repository::check_out_new;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// Two versions of an input, each in a directory of its own.
pub(crate) struct Pair {
    pub(crate) old: PathBuf,
    pub(crate) new: PathBuf,
    description: String,
}

#[cfg(test)]
impl Pair {
    pub(crate) fn new(old: PathBuf, new: PathBuf) -> Self {
        Self { old, new, description: String::new() }
    }
}

/// How much of the kernel's source is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Whole,
    /// Its drivers of network devices: a tree of the size of a common project.
    Part,
}

impl Extent {
    fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Part => "part",
        }
    }
}

/// A kind of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// The two releases.
    Trees(Extent),
    /// The two releases as git worktrees. The newer one is made anew for each run.
    Worktrees(Extent),
    /// The two versions of a large file.
    BigFile,
    /// The two large files.
    Unrelated,
    /// The million files.
    Many,
}

/// The inputs of the chosen scenarios.
#[derive(Default)]
pub(crate) struct Inputs(Vec<(Input, Pair)>);

/// Descriptions of the inputs, for the report.
#[derive(Serialize, Clone)]
pub(crate) struct Description(pub(crate) Vec<String>);

/// How that name ends.
const UNFINISHED: &str = "unfinished";

/// The name that a directory has while it is being filled.
fn unfinished(folder: &Path) -> PathBuf {
    let mut path = folder.as_os_str().to_owned();
    path.push(".");
    path.push(UNFINISHED);
    path.into()
}

/// Makes a directory, which gets its name when it is filled.
fn make(folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let unfinished = unfinished(folder);
    remove(&unfinished)?;
    fs::create_dir(&unfinished).with_context(|| format!("creating {}", unfinished.display()))?;
    fill(&unfinished).with_context(|| format!("filling {}", unfinished.display()))?;
    fs::rename(&unfinished, folder).with_context(|| format!("moving {} into place", folder.display()))
}

impl Inputs {
    /// Makes the wanted inputs in `directory`. Inputs that an earlier run left there are used again.
    pub(crate) fn prepare(
        directory: &Path,
        wanted: impl IntoIterator<Item = Input>,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let mut inputs = Self::default();
        for input in wanted {
            if inputs.find(input).is_none() {
                let pair = match input {
                    Input::Trees(extent) => kernel::trees(directory, extent, interrupt)?,
                    Input::Worktrees(extent) => {
                        let trees = kernel::trees(directory, extent, interrupt)?;
                        repository::of(&trees, &directory.join(format!("worktrees-{}", extent.name())))?
                    }
                    Input::BigFile => files::edited(directory)?,
                    Input::Unrelated => files::unrelated(directory)?,
                    Input::Many => files::many(directory)?,
                };
                inputs.0.push((input, pair));
                interrupt.check()?;
            }
        }
        Ok(inputs)
    }

    /// The two versions of an input.
    pub(crate) fn of(&self, input: Input) -> &Pair {
        self.find(input).expect("inputs were prepared for every chosen scenario")
    }

    fn find(&self, input: Input) -> Option<&Pair> {
        self.0.iter().find(|(made, _)| *made == input).map(|(_, pair)| pair)
    }

    pub(crate) fn describe(&self) -> Description {
        Description(self.0.iter().map(|(_, pair)| pair.description.clone()).collect())
    }
}

fn remove(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("removing {}", directory.display()))?;
    }
    Ok(())
}

/// Precise enough: three digits are shown.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}
