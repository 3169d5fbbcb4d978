//! Are two trees equal? A plain walk that reads everything, independent of the code that is being measured.
//! The first difference ends it.

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

const BUFFER_BYTES: usize = 1 << 20;
const KIND_MASK: u32 = 0o170_000;
/// Execute bits are left out: the documented profile lets them follow the source, which the rsync line does not.
const MODE_MASK: u32 = 0o666;

/// What was found equal.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    pub(crate) files: u64,
    pub(crate) directories: u64,
    pub(crate) content_bytes: u64,
}

/// Compares names, kinds, permissions, link targets and contents below two directories.
pub(crate) fn trees(left: &Path, right: &Path) -> Result<Tally> {
    let mut tally = Tally::default();
    directories(left, right, &mut tally)?;
    Ok(tally)
}

fn directories(left: &Path, right: &Path, tally: &mut Tally) -> Result<()> {
    tally.directories += 1;
    let (entries, others) = (entries(left)?, entries(right)?);
    if let Some(name) = others.keys().find(|name| !entries.contains_key(*name)) {
        bail!("{} exists, {} does not", right.join(name).display(), left.join(name).display());
    }
    for (name, metadata) in entries {
        let (left, right) = (left.join(&name), right.join(&name));
        let other = others
            .get(&name)
            .with_context(|| format!("{} exists, {} does not", left.display(), right.display()))?;
        let differ = |what: &str| format!("{} and {} differ in {what}", left.display(), right.display());
        ensure!(metadata.mode() & KIND_MASK == other.mode() & KIND_MASK, differ("kind"));
        if metadata.is_symlink() {
            ensure!(fs::read_link(&left)? == fs::read_link(&right)?, differ("target"));
            continue;
        }
        ensure!(metadata.mode() & MODE_MASK == other.mode() & MODE_MASK, differ("mode"));
        if metadata.is_dir() {
            directories(&left, &right, tally)?;
        } else if metadata.is_file() {
            ensure!(metadata.len() == other.len() && files_equal(&left, &right)?, differ("content"));
            tally.files += 1;
            tally.content_bytes += metadata.len();
        }
    }
    Ok(())
}

fn entries(directory: &Path) -> Result<BTreeMap<OsString, Metadata>> {
    let read = || -> std::io::Result<_> {
        fs::read_dir(directory)?.map(|entry| entry.and_then(|e| Ok((e.file_name(), e.metadata()?)))).collect()
    };
    read().with_context(|| format!("listing {}", directory.display()))
}

fn files_equal(left: &Path, right: &Path) -> Result<bool> {
    let open = |path: &Path| File::open(path).with_context(|| format!("opening {}", path.display()));
    let (mut left, mut right) = (open(left)?, open(right)?);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    loop {
        read_block(&mut left, &mut ours)?;
        read_block(&mut right, &mut theirs)?;
        if ours != theirs {
            return Ok(false);
        }
        if ours.is_empty() {
            return Ok(true);
        }
    }
}

fn read_block(file: &mut File, block: &mut Vec<u8>) -> Result<()> {
    block.clear();
    file.take(BUFFER_BYTES as u64).read_to_end(block).context("reading a file to compare it")?;
    Ok(())
}

/// The regular files that one tree has and the other has not, or with other content; a measure of a switch.
pub(crate) fn changed_files(old: &Path, new: &Path) -> Result<u64> {
    let (before, after) = (entries(old)?, entries(new)?);
    let mut count = 0;
    for (name, metadata) in &after {
        let (old, new) = (old.join(name), new.join(name));
        match before.get(name) {
            Some(other) if metadata.is_dir() && other.is_dir() => count += changed_files(&old, &new)?,
            Some(other) if metadata.is_file() && other.is_file() => {
                count += u64::from(metadata.len() != other.len() || !files_equal(&old, &new)?);
            }
            _ => count += files_below(&new, metadata)?,
        }
    }
    for (name, metadata) in &before {
        if !after.contains_key(name) {
            count += files_below(&old.join(name), metadata)?;
        }
    }
    Ok(count)
}

fn files_below(path: &Path, metadata: &Metadata) -> Result<u64> {
    if !metadata.is_dir() {
        return Ok(u64::from(metadata.is_file()));
    }
    entries(path)?.iter().map(|(name, metadata)| files_below(&path.join(name), metadata)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn tree(content: &str) -> TempDir {
        let tree = TempDir::new().unwrap();
        fs::create_dir(tree.path().join("folder")).unwrap();
        fs::write(tree.path().join("folder/file"), content).unwrap();
        symlink("folder/file", tree.path().join("link")).unwrap();
        tree
    }

    #[test]
    fn equal_trees_are_counted() {
        let (left, right) = (tree("text"), tree("text"));
        let tally = trees(left.path(), right.path()).unwrap();
        assert_eq!(tally, Tally { files: 1, directories: 2, content_bytes: 4 });
    }

    #[test]
    fn difference_is_named() {
        let left = tree("text");
        let reason = |right: &TempDir| trees(left.path(), right.path()).unwrap_err().to_string();
        assert!(reason(&tree("test")).ends_with("folder/file differ in content"));

        let other_target = tree("text");
        fs::remove_file(other_target.path().join("link")).unwrap();
        symlink("elsewhere", other_target.path().join("link")).unwrap();
        assert!(reason(&other_target).ends_with("link differ in target"));

        let other_kind = tree("text");
        fs::remove_file(other_kind.path().join("link")).unwrap();
        fs::write(other_kind.path().join("link"), "").unwrap();
        assert!(reason(&other_kind).ends_with("link differ in kind"));

        let more = tree("text");
        fs::write(more.path().join("more"), "").unwrap();
        assert!(reason(&more).contains("more exists"));
    }

    #[test]
    fn changed_added_and_removed_files_count() {
        let (old, new) = (tree("old"), tree("new"));
        fs::write(old.path().join("gone"), "").unwrap();
        fs::create_dir(new.path().join("added")).unwrap();
        fs::write(new.path().join("added/one"), "").unwrap();
        fs::write(new.path().join("added/two"), "").unwrap();
        assert_eq!(changed_files(old.path(), new.path()).unwrap(), 4);
    }
}
