//! A temporary directory for one test, with a home, and the programs that run there.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use coast_testkit::require;
use tempfile::TempDir;

use crate::binaries;
use crate::program::Program;

/// A temporary directory. It is removed with all its entries when dropped.
pub struct Sandbox {
    root: TempDir,
    coast: Option<PathBuf>,
}

impl Sandbox {
    /// A directory in the system's directory for temporary files.
    #[must_use]
    pub fn new() -> Self {
        Self::inside(&std::env::temp_dir())
    }

    /// A directory in memory where the system has `/dev/shm`, for tests that make many files.
    #[must_use]
    pub fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::inside(memory) } else { Self::new() }
    }

    fn inside(parent: &Path) -> Self {
        let root = tempfile::Builder::new().prefix("coast-e2e-").tempdir_in(parent);
        let root = root.unwrap_or_else(|error| panic!("make a directory in {}: {error}", parent.display()));
        let sandbox = Self { root, coast: None };
        fs::create_dir(sandbox.path("home")).expect("a new directory is empty");
        sandbox
    }

    /// Lets every user enter the sandbox, and copies `coast` into it: not every user can enter the directory that it was
    /// built in.
    ///
    /// # Panics
    /// When `coast` does not build.
    #[must_use]
    pub fn open_to_all(mut self) -> Self {
        let built = binaries::coast();
        fs::create_dir(self.path("bin")).expect("a new directory is empty");
        for program in ["coast", "coast-helper"] {
            fs::copy(built.with_file_name(program), self.path("bin").join(program)).expect("it was built");
        }
        for directory in ["", "bin", "home"] {
            fs::set_permissions(self.path(directory), Permissions::from_mode(0o755))
                .expect("the directory is ours");
        }
        self.coast = Some(self.path("bin/coast"));
        self
    }

    /// A path below the sandbox.
    #[must_use]
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(below)
    }

    /// `coast` with these arguments, run in the sandbox.
    #[must_use]
    pub fn coast<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Program {
        self.program(self.coast.as_deref().unwrap_or_else(|| binaries::coast())).args(arguments)
    }

    /// The system's rsync with these arguments, run in the sandbox.
    #[must_use]
    pub fn rsync<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Program {
        self.program(require("rsync", "rsync")).args(arguments)
    }

    /// A program, run in the sandbox with the sandbox's home.
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
