//! A copy of somebody's workspace to play with, so that the original is never touched.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use coast_sync::profile;

/// Copies a directory to `copy`, which must not exist, without what the default rules leave out. Files, directories and
/// symlinks with their permissions; what else there is (sockets, say) is of no use in a copy.
pub(super) fn directory(original: &Path, copy: &Path) -> io::Result<()> {
    fs::create_dir(copy)?;
    for entry in fs::read_dir(original)? {
        let entry = entry?;
        if profile::EXCLUDED.iter().any(|excluded| entry.file_name() == *excluded) {
            continue;
        }
        let (from, to) = (entry.path(), copy.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            directory(&from, &to)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
        } else if kind.is_file() {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}
