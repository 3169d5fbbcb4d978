//! A tree for one test, with a second one next to it that nothing may touch. Built with the standard library, so that
//! what is tested is not what made the fixture.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{Name, RelPath, Root};

pub(crate) struct Scratch {
    top: TempDir,
}

impl Scratch {
    /// An empty tree, and outside of it a directory `secret` that holds the file `key`.
    pub(crate) fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir(top.path().join("tree")).unwrap();
        fs::create_dir(top.path().join("secret")).unwrap();
        fs::write(top.path().join("secret/key"), "secret").unwrap();
        Self { top }
    }

    pub(crate) fn root(&self) -> Root {
        Root::open(&self.path("")).unwrap()
    }

    /// Where an entry of the tree really is.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.top.path().join("tree").join(path)
    }

    /// The directory outside of the tree.
    pub(crate) fn outside(&self) -> PathBuf {
        self.top.path().join("secret")
    }

    pub(crate) fn dir(self, path: &str) -> Self {
        fs::create_dir_all(self.path(path)).unwrap();
        self
    }

    pub(crate) fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), content).unwrap();
        self
    }

    pub(crate) fn link(self, path: &str, target: impl AsRef<Path>) -> Self {
        symlink(target, self.path(path)).unwrap();
        self
    }
}

pub(crate) fn name(bytes: impl AsRef<[u8]>) -> Name {
    Name::new(bytes.as_ref()).unwrap()
}

pub(crate) fn rel(bytes: impl AsRef<[u8]>) -> RelPath {
    RelPath::new(bytes.as_ref()).unwrap()
}
