//! The sample workspace, which is part of the program.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// One entry of the sample.
struct Entry {
    /// Relative to the workspace.
    path: &'static str,
    what: What,
}

enum What {
    Directory,
    File { content: &'static [u8], executable: bool },
    Symlink(&'static str),
}

/// Written by the build script: parents come before their children.
static SAMPLE: &[Entry] = include!(concat!(env!("OUT_DIR"), "/sample.rs"));

/// Writes the sample into `directory`, which must not exist.
pub(super) fn write(directory: &Path) -> io::Result<()> {
    fs::create_dir(directory)?;
    for entry in SAMPLE {
        let path = directory.join(entry.path);
        match entry.what {
            What::Directory => fs::create_dir(path)?,
            What::Symlink(target) => symlink(target, path)?,
            What::File { content, executable } => {
                fs::write(&path, content)?;
                fs::set_permissions(&path, Permissions::from_mode(if executable { 0o755 } else { 0o644 }))?;
            }
        }
    }
    Ok(())
}
