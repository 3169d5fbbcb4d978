//! The two trees that are followed: a small one that is made, and the kernel's source.

use crate::bench::inputs;
use crate::bench::interrupt::Interrupt;
use crate::program;
use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

const SMALL_FILES: usize = 800;
const SMALL_DIRECTORIES: usize = 40;

/// The largest file that an edit is made to, in bytes. The bench reads the edited file all the time.
const EDITED_BYTES: u64 = 16 << 10;

/// One of the two trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TreeSize {
    /// 800 files.
    Small,
    /// The kernel's source, about 78,600 files.
    Large,
}

impl TreeSize {
    pub(super) const ALL: [Self; 2] = [Self::Small, Self::Large];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Small => "800 files",
            Self::Large => "The source of the kernel, about 78,600 files",
        }
    }

    /// Makes the tree at `root`, which must not exist.
    pub(super) fn make(self, root: &Path, inputs: &Path, interrupt: &Interrupt) -> Result<()> {
        match self {
            Self::Small => make_small(root).with_context(|| format!("making {}", root.display())),
            Self::Large => {
                let source = inputs::newest_kernel_tree(inputs, interrupt)?;
                program::output(Command::new("cp").arg("-a").arg("--").arg(source).arg(root)).map(drop)
            }
        }
    }
}

fn make_small(root: &Path) -> std::io::Result<()> {
    for number in 0..SMALL_FILES {
        let directory = root.join(format!("src/{}", number % SMALL_DIRECTORIES));
        fs::create_dir_all(&directory)?;
        let text = format!("// The file of number {number}.\n").repeat(20);
        fs::write(directory.join(format!("{number}.ts")), text)?;
    }
    Ok(())
}

/// Regular files that an edit may be made to, by their paths below `root`, in an order that is the same each time. Files that
/// stand next to each other in the list lie anywhere in the tree.
pub(super) fn editable_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    collect(root, Path::new(""), &mut files).with_context(|| format!("listing {}", root.display()))?;
    files.sort_by_cached_key(|path| {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        (hasher.finish(), path.clone())
    });
    Ok(files)
}

fn collect(root: &Path, below: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let path = below.join(entry.file_name());
        if metadata.is_dir() {
            collect(root, &path, files)?;
        } else if metadata.is_file() && metadata.len() <= EDITED_BYTES {
            files.push(path);
        }
    }
    Ok(())
}
