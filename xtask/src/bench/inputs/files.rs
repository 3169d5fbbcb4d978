//! Two versions of a large file, two large files that have nothing in common, and a million small files.

use super::{Pair, make};
use anyhow::Result;
use coast_testkit::{Noise, noise};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

const BIG_BYTES: u64 = 1 << 30;
/// The insertion that shifts everything after it.
const FRONT_BYTES: u64 = 1000;
/// One edit in each piece of this size, so about a thousand of them.
const PIECE_BYTES: usize = 1 << 20;
/// An edit takes up to this many bytes out and puts up to this many in.
const EDIT_BYTES: u64 = 256;

/// The name of each large file.
const FILE: &str = "big";

const UNRELATED_BYTES: usize = 256 << 20;

const MANY_DIRECTORIES: usize = 1000;
const MANY_FILES_EACH: usize = 1000;

/// Two files of noise.
pub(super) fn unrelated(directory: &Path) -> Result<Pair> {
    let sides = ["unrelated-old", "unrelated-new"].map(|name| directory.join(name));
    for (seed, side) in (4..).zip(&sides) {
        if !side.is_dir() {
            make(side, |unfinished| Ok(fs::write(unfinished.join(FILE), noise(seed, UNRELATED_BYTES))?))?;
        }
    }
    let [old, new] = sides;
    let description = format!("two files of {UNRELATED_BYTES} bytes of noise that have nothing in common");
    Ok(Pair { old, new, description })
}

/// A million files, each with its number as its content. The pair has it twice.
pub(super) fn many(directory: &Path) -> Result<Pair> {
    let tree = directory.join("many");
    if !tree.is_dir() {
        make(&tree, |unfinished| Ok(write_many(unfinished, MANY_DIRECTORIES, MANY_FILES_EACH)?))?;
    }
    let description = format!("{} files of a few bytes", MANY_DIRECTORIES * MANY_FILES_EACH);
    Ok(Pair { old: tree.clone(), new: tree, description })
}

fn write_many(folder: &Path, directories: usize, files_each: usize) -> std::io::Result<()> {
    for directory in 0..directories {
        let path = folder.join(format!("directory-{directory}"));
        fs::create_dir(&path)?;
        for file in 0..files_each {
            fs::write(path.join(format!("file-{file}")), (directory * files_each + file).to_string())?;
        }
    }
    Ok(())
}

/// One file, and the same file with edits all over.
pub(super) fn edited(directory: &Path) -> Result<Pair> {
    let (old, new) = (directory.join("big-old"), directory.join("big-new"));
    if !new.is_dir() {
        make(&new, |unfinished| {
            fs::create_dir_all(&old)?;
            let mut before = BufWriter::new(File::create(old.join(FILE))?);
            let mut after = BufWriter::new(File::create(unfinished.join(FILE))?);
            write_versions(BIG_BYTES, &mut before, &mut after)?;
            before.flush()?;
            Ok(after.flush()?)
        })?;
    }
    let description = format!(
        "one file of {BIG_BYTES} bytes of noise; its new version has {FRONT_BYTES} bytes inserted at the front \
         and an edit of up to {EDIT_BYTES} bytes in every {} KiB",
        PIECE_BYTES >> 10
    );
    Ok(Pair { old, new, description })
}

/// Writes `size` bytes of noise, and the same with an insertion at the front and edits all over.
fn write_versions(size: u64, before: &mut impl Write, after: &mut impl Write) -> std::io::Result<()> {
    let (mut content, mut edits) = (Noise::new(1), Noise::new(2));
    let mut random = |limit: u64| usize::try_from(edits.draw() % limit).expect("limits are small");
    let mut inserted = Noise::new(3);
    let mut insertion = vec![0; usize::try_from(FRONT_BYTES).expect("a small constant")];
    inserted.fill(&mut insertion);
    after.write_all(&insertion)?;

    let mut piece = vec![0; PIECE_BYTES];
    let mut left = size;
    while left > 0 {
        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        content.fill(&mut piece);
        before.write_all(&piece)?;
        let at = random(piece.len() as u64);
        let removed = random(EDIT_BYTES).min(piece.len() - at);
        insertion.resize(random(EDIT_BYTES), 0);
        inserted.fill(&mut insertion);
        after.write_all(&piece[..at])?;
        after.write_all(&insertion)?;
        after.write_all(&piece[at + removed..])?;
        left -= piece.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_the_large_file_share_most_of_their_content_at_shifted_places() {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let size = 3 * PIECE_BYTES + 10;
        write_versions(size as u64, &mut before, &mut after).unwrap();
        assert_eq!(before.len(), size);
        assert_ne!(before[..1000], after[..1000]);
        let shared = &before[..64];
        assert_eq!(&after[1000..1064], shared);
        assert!(after.len().abs_diff(before.len() + 1000) <= 4 * 256);
    }

    #[test]
    fn large_file_is_the_same_each_time() {
        let write = || {
            let (mut before, mut after) = (Vec::new(), Vec::new());
            write_versions(2 * PIECE_BYTES as u64, &mut before, &mut after).unwrap();
            (before, after)
        };
        assert_eq!(write(), write());
    }

    #[test]
    fn many_files_have_different_contents() {
        let directory = tempfile::TempDir::new().unwrap();
        write_many(directory.path(), 2, 3).unwrap();
        let content = |path: &str| fs::read_to_string(directory.path().join(path)).unwrap();
        assert_eq!(content("directory-0/file-2"), "2");
        assert_eq!(content("directory-1/file-2"), "5");
    }
}
