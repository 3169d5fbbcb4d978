//! A temporary directory that a test has for itself, with a home in it, and programs that run there.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::binaries;
use crate::program::Program;

/// A temporary directory, removed with all in it at the end of the test.
pub struct Sandbox {
    root: TempDir,
}

impl Sandbox {
    /// A directory on the disk.
    #[must_use]
    pub fn new() -> Self {
        Self::inside(&std::env::temp_dir())
    }

    /// A directory in memory where the system has such a place: for tests that make thousands of files.
    #[must_use]
    pub fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::inside(memory) } else { Self::new() }
    }

    fn inside(parent: &Path) -> Self {
        let root = tempfile::Builder::new().prefix("coast-e2e-").tempdir_in(parent);
        let root = root.unwrap_or_else(|error| panic!("make a directory in {}: {error}", parent.display()));
        let sandbox = Self { root };
        fs::create_dir(sandbox.path("home")).expect("a new directory is empty");
        sandbox
    }

    /// A path below it.
    #[must_use]
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(below)
    }

    /// `coast` with these arguments, run here.
    #[must_use]
    pub fn coast<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Program {
        self.program(binaries::coast()).args(arguments)
    }

    /// The system's rsync with these arguments, run here.
    #[must_use]
    pub fn rsync<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Program {
        self.program(binaries::require("rsync", "rsync")).args(arguments)
    }

    /// Any program, run here with the home of this place.
    #[must_use]
    pub fn program(&self, program: impl AsRef<OsStr>) -> Program {
        Program::new(program, self.root.path(), &self.path("home"))
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}
