//! Random edits of a worktree, as editors, version control and build tools make them.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use fastrand::Rng;

/// The names of entries. Some differ in case only, some are no text, some look like an option or a pattern. `.git` is excluded by the
/// default rules.
const NAMES: [&[u8]; 16] = [
    b"a",
    b"A",
    b"b",
    b"c.txt",
    b"dir",
    b"Dir",
    b"src",
    b"with space",
    b"new\nline",
    b"\xff\xfe",
    b"-r",
    b"*.o",
    b"back\\slash",
    b"\x01\x7f",
    b".git",
    b"\xc3\xa9",
];

/// Makes random edits in a directory.
#[derive(Debug)]
pub struct RandomEdits {
    /// The source of all choices.
    pub rng: Rng,
    root: PathBuf,
    max_entries: usize,
    /// The entries of the root that are left alone.
    spared: Vec<&'static str>,
    /// The edits since [`RandomEdits::forget`], for the message of a failure.
    made: Vec<String>,
}

impl RandomEdits {
    /// Edits of a directory that gets about `max_entries` entries at most. The edits leave the entries of the root alone that have a
    /// name of `spared`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, seed: u64, max_entries: usize, spared: &[&'static str]) -> Self {
        let (root, spared) = (root.into(), spared.to_vec());
        Self { rng: Rng::with_seed(seed), root, max_entries, spared, made: Vec::new() }
    }

    /// The edits since the last call of [`RandomEdits::forget`].
    #[must_use]
    pub fn made(&self) -> &[String] {
        &self.made
    }

    /// Forgets the edits so far.
    pub fn forget(&mut self) {
        self.made.clear();
    }

    /// Adds a line to the list of edits.
    pub fn note(&mut self, line: impl Into<String>) {
        self.made.push(line.into());
    }

    /// One of the names.
    pub fn name(&mut self) -> &'static OsStr {
        OsStr::from_bytes(NAMES[self.rng.usize(..NAMES.len())])
    }

    /// A content for a file. It consists of one of three letters, so that files are equal now and then.
    pub fn content(&mut self) -> Vec<u8> {
        let length = match self.rng.u8(..20) {
            0 => self.rng.usize(..300_000),
            1 => 0,
            _ => self.rng.usize(..200),
        };
        vec![self.rng.u8(b'a'..b'd'); length]
    }

    /// Makes one edit. An edit that the system refuses is none.
    pub fn edit(&mut self) {
        let is_full = self.entries(|_| true).len() >= self.max_entries;
        let content = self.content();
        let path = self.any_directory().join(self.name());
        let length = content.len();
        match self.rng.u8(if is_full { 8 } else { 0 }..20) {
            0..3 => {
                self.tell("write", &path, &length);
                let _ = write(&path, &content);
            }
            3 => {
                self.tell("make directory", &path, &"nested");
                let _ = fs::create_dir_all(path.join("nested"));
            }
            4 => {
                self.tell("make repository", &path, &length);
                if fs::create_dir_all(path.join(".git")).is_ok() {
                    let _ = write(&path.join(".git/HEAD"), b"ref");
                    let _ = write(&path.join("tracked"), &content);
                }
            }
            5 => self.link(&path),
            6 => {
                let target = ["a", "dir/b", "nowhere"][self.rng.usize(..3)];
                self.tell("symlink", &path, &target);
                let _ = symlink(target, path);
            }
            7 => self.save_as_editors_do(&content),
            8 => self.append(&content),
            9 => self.truncate(),
            10..13 => self.rename(&path),
            13 => self.change_case(),
            14 | 15 => self.remove_file(),
            16 => self.remove_anything(),
            17 => self.change_mode(),
            18 => self.swap_link(),
            _ => self.change_type(&content),
        }
    }

    fn tell(&mut self, edit: &str, path: &Path, detail: &dyn std::fmt::Debug) {
        let path = path.strip_prefix(&self.root).unwrap_or(path);
        self.made.push(format!("{edit} {path:?} {detail:?}"));
    }

    /// All entries that are wanted, excluded ones included.
    fn entries(&self, is_wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
        let mut entries = Vec::new();
        let mut pending = vec![self.root.clone()];
        while let Some(dir) = pending.pop() {
            for found in fs::read_dir(&dir).unwrap() {
                let found = found.unwrap();
                if dir == self.root && self.spared.iter().any(|spared| found.file_name() == *spared) {
                    continue;
                }
                if found.file_type().unwrap().is_dir() {
                    pending.push(found.path());
                }
                if is_wanted(&found.path()) {
                    entries.push(found.path());
                }
            }
        }
        entries.sort();
        entries
    }

    fn any(&mut self, is_wanted: impl Fn(&Path) -> bool) -> Option<PathBuf> {
        let entries = self.entries(is_wanted);
        self.rng.choice(entries)
    }

    /// A file that may be written to.
    fn any_file(&mut self) -> Option<PathBuf> {
        self.any(|path| path.symlink_metadata().is_ok_and(|found| found.is_file()) && may_write(path))
    }

    fn any_directory(&mut self) -> PathBuf {
        let is_directory = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_dir());
        match self.rng.u8(..3) {
            0 => self.root.clone(),
            _ => self.any(is_directory).unwrap_or_else(|| self.root.clone()),
        }
    }

    fn link(&mut self, path: &Path) {
        if let Some(file) = self.any_file() {
            self.tell("link", path, &file);
            let _ = fs::hard_link(file, path);
        }
    }

    /// Writes a new file and renames it over the old one, or moves the old one aside first.
    fn save_as_editors_do(&mut self, content: &[u8]) {
        let Some(file) = self.any_file() else { return };
        let beside = file.with_file_name("saved~");
        if self.rng.bool() {
            self.tell("save by rename", &file, &content.len());
            fs::write(&beside, content).unwrap();
            fs::rename(beside, file).unwrap();
        } else {
            self.tell("save with backup", &file, &content.len());
            fs::rename(&file, &beside).unwrap();
            fs::write(file, content).unwrap();
            fs::remove_file(beside).unwrap();
        }
    }

    fn append(&mut self, content: &[u8]) {
        if let Some(file) = self.any_file() {
            self.tell("append", &file, &content.len());
            OpenOptions::new().append(true).open(file).unwrap().write_all(content).unwrap();
        }
    }

    fn truncate(&mut self) {
        if let Some(file) = self.any_file() {
            let length = self.rng.u64(..100);
            self.tell("set length", &file, &length);
            OpenOptions::new().write(true).open(file).unwrap().set_len(length).unwrap();
        }
    }

    fn rename(&mut self, to: &Path) {
        if let Some(from) = self.any(|_| true) {
            self.tell("rename", &from, &to);
            let _ = fs::rename(from, to);
        }
    }

    fn change_case(&mut self) {
        for (from, to) in [("dir", "Dir"), ("Dir", "dir")] {
            if let Some(path) = self.any(|path| path.file_name() == Some(OsStr::new(from))) {
                self.tell("change case", &path, &to);
                let _ = fs::rename(&path, path.with_file_name(to));
                return;
            }
        }
    }

    fn remove_file(&mut self) {
        if let Some(file) = self.any_file() {
            self.tell("remove", &file, &());
            fs::remove_file(file).unwrap();
        }
    }

    fn remove_anything(&mut self) {
        if let Some(path) = self.any(|_| true) {
            self.tell("remove", &path, &());
            remove(&path).unwrap();
        }
    }

    fn change_mode(&mut self) {
        if let Some(file) = self.any_file() {
            let mode = if self.rng.bool() { 0o755 } else { 0o644 };
            self.tell("chmod", &file, &mode);
            fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
        }
    }

    /// Replaces a symlink in one step.
    fn swap_link(&mut self) {
        let Some(link) = self.any(Path::is_symlink) else { return };
        let beside = link.with_file_name("link~");
        let target = ["a", "b", ".."][self.rng.usize(..3)];
        self.tell("swap symlink", &link, &target);
        symlink(target, &beside).unwrap();
        fs::rename(beside, link).unwrap();
    }

    fn change_type(&mut self, content: &[u8]) {
        let Some(path) = self.any(|_| true) else { return };
        let was_directory = path.symlink_metadata().unwrap().is_dir();
        self.tell("change type", &path, &content.len());
        remove(&path).unwrap();
        match (was_directory, self.rng.bool()) {
            (true, true) => fs::write(path, content).unwrap(),
            (false, true) => {
                fs::create_dir(&path).unwrap();
                fs::write(path.join("inside"), content).unwrap();
            }
            (_, false) => symlink("type", path).unwrap(),
        }
    }
}

/// Whether a watcher sees a write at this path. It does not see a write through an excluded name at the other names of the file.
fn may_write(path: &Path) -> bool {
    let is_excluded = path.components().any(|name| name.as_os_str() == ".git");
    !(is_excluded && path.metadata().is_ok_and(|found| found.is_file() && found.nlink() > 1))
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    if may_write(path) { fs::write(path, content) } else { Ok(()) }
}

fn remove(path: &Path) -> io::Result<()> {
    if path.symlink_metadata()?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}
