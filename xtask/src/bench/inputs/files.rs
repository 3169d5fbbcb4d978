//! Two versions of a large file.

use super::{Pair, UNFINISHED, remove};
use anyhow::{Context, Result};
use coast_testkit::Noise;
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

/// One file, and the same file with edits all over.
pub(super) fn edited(directory: &Path) -> Result<Pair> {
    let (old, new) = (directory.join("big-old"), directory.join("big-new"));
    if !new.is_dir() {
        let unfinished = directory.join(format!("big{UNFINISHED}"));
        remove(&unfinished)?;
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&old)?;
            fs::create_dir(&unfinished)?;
            let mut before = BufWriter::new(File::create(old.join("big"))?);
            let mut after = BufWriter::new(File::create(unfinished.join("big"))?);
            write_versions(BIG_BYTES, &mut before, &mut after)?;
            before.flush()?;
            after.flush()?;
            fs::rename(&unfinished, &new)
        };
        write().with_context(|| format!("writing the large file in {}", directory.display()))?;
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
}
