//! A copy of the user's workspace. The demonstration edits the copy and never the original.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use coast_sync::profile;

/// Copies files, directories, symlinks and their permissions to `copy`, which must not exist. Entries that the default rules
/// exclude are left out, and so are sockets, pipes and devices.
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
