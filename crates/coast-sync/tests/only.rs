//! Runs that are restricted to some paths.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::{Path, PathBuf};

use coast_sync::{CachePlace, Cancel, Destination, NoPrompt, SyncRequest, VoidMonitor};
use tempfile::TempDir;

/// A source, and a destination with other content in every file.
struct Pair {
    scratch: TempDir,
}

impl Pair {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        for side in ["source", "destination"] {
            fs::create_dir(scratch.path().join(side)).unwrap();
        }
        Self { scratch }
    }

    fn source(&self) -> PathBuf {
        self.scratch.path().join("source")
    }

    fn destination(&self) -> PathBuf {
        self.scratch.path().join("destination")
    }

    /// Writes the named files on both sides.
    fn both(self, paths: &[&str]) -> Self {
        self.new_here(paths).only_there(paths)
    }

    fn new_here(self, paths: &[&str]) -> Self {
        paths.iter().for_each(|path| write(&self.source().join(path), "here"));
        self
    }

    fn only_there(self, paths: &[&str]) -> Self {
        paths.iter().for_each(|path| write(&self.destination().join(path), "there"));
        self
    }

    fn request(&self) -> SyncRequest {
        SyncRequest::push(self.source(), Destination::local(self.destination()))
            .unwrap()
            .cache(CachePlace::Nowhere)
    }

    fn push_only(&self, paths: &[&[u8]]) {
        let request = self.request().only(paths).unwrap();
        let report = request.run(&VoidMonitor, &NoPrompt, &Cancel::new()).unwrap();
        assert_eq!(report.exit_code(), 0);
    }

    /// Returns the destination: the content of files, the targets of symlinks, `None` for directories.
    fn there(&self) -> BTreeMap<String, Option<String>> {
        let mut found = BTreeMap::new();
        collect(&self.destination(), Path::new(""), &mut found);
        found
    }

    fn expect(&self, entries: &[(&str, Option<&str>)]) {
        let expected: BTreeMap<String, Option<String>> =
            entries.iter().map(|(path, content)| ((*path).to_owned(), content.map(str::to_owned))).collect();
        assert_eq!(self.there(), expected);
    }
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn collect(top: &Path, below: &Path, found: &mut BTreeMap<String, Option<String>>) {
    for entry in fs::read_dir(top.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        let content = if kind.is_dir() {
            collect(top, &path, found);
            None
        } else if kind.is_symlink() {
            Some(fs::read_link(entry.path()).unwrap().to_string_lossy().into_owned())
        } else {
            Some(fs::read_to_string(entry.path()).unwrap())
        };
        found.insert(path.to_string_lossy().into_owned(), content);
    }
}

#[test]
fn only_the_named_file_is_sent() {
    let pair = Pair::new().both(&["a/one", "a/two", "top"]).new_here(&["new", "b/new"]);
    pair.push_only(&[b"a/one"]);
    pair.expect(&[("a", None), ("a/one", Some("here")), ("a/two", Some("there")), ("top", Some("there"))]);
}

#[test]
fn only_the_named_path_is_deleted() {
    let pair =
        Pair::new().both(&["a/kept"]).only_there(&["a/gone", "a/extra", "gone/deep/file", "extra/file"]);
    pair.push_only(&[b"a/gone", b"gone"]);
    pair.expect(&[
        ("a", None),
        ("a/kept", Some("there")),
        ("a/extra", Some("there")),
        ("extra", None),
        ("extra/file", Some("there")),
    ]);
}

#[test]
fn a_directory_goes_with_all_below_it() {
    let pair =
        Pair::new().both(&["d/x/one", "e/one"]).new_here(&["d/new"]).only_there(&["d/x/gone", "d/gone/f"]);
    pair.push_only(&[b"d"]);
    pair.expect(&[
        ("d", None),
        ("d/new", Some("here")),
        ("d/x", None),
        ("d/x/one", Some("here")),
        ("e", None),
        ("e/one", Some("there")),
    ]);
}

#[test]
fn the_way_to_a_new_path_is_made() {
    let pair = Pair::new().new_here(&["a/b/c/file", "a/b/other", "a/other"]);
    symlink("c/file", pair.source().join("a/b/link")).unwrap();
    pair.push_only(&[b"a/b/c/file", b"a/b/link"]);
    pair.expect(&[
        ("a", None),
        ("a/b", None),
        ("a/b/c", None),
        ("a/b/c/file", Some("here")),
        ("a/b/link", Some("c/file")),
    ]);
}

#[test]
fn an_entry_changes_its_kind() {
    let pair = Pair::new().new_here(&["now-a-file"]).only_there(&["now-a-file/inner", "now-a-dir", "other"]);
    write(&pair.source().join("now-a-dir/inner"), "here");
    pair.push_only(&[b"now-a-file", b"now-a-dir"]);
    pair.expect(&[
        ("now-a-dir", None),
        ("now-a-dir/inner", Some("here")),
        ("now-a-file", Some("here")),
        ("other", Some("there")),
    ]);
}

#[test]
fn what_the_rules_leave_alone_stays_alone_below_a_named_path() {
    let pair =
        Pair::new().both(&["app/code", "app/node_modules/m"]).only_there(&["app/generated/g", "app/gone"]);
    pair.push_only(&[b"app"]);
    pair.expect(&[
        ("app", None),
        ("app/code", Some("here")),
        ("app/generated", None),
        ("app/generated/g", Some("there")),
        ("app/node_modules", None),
        ("app/node_modules/m", Some("there")),
    ]);
}

#[test]
fn directories_above_that_the_source_lacks_go_only_when_nothing_is_left_in_them() {
    let pair = Pair::new().only_there(&["emptied/gone", "used/gone", "used/stays"]);
    pair.push_only(&[b"emptied/gone", b"used/gone"]);
    pair.expect(&[("used", None), ("used/stays", Some("there"))]);
}

#[test]
fn no_path_changes_nothing() {
    let pair = Pair::new().both(&["a", "d/b"]).new_here(&["new"]).only_there(&["extra"]);
    let before = pair.there();
    pair.push_only(&[]);
    assert_eq!(pair.there(), before);
}

#[test]
fn names_that_look_like_patterns_are_names() {
    let odd: [&[u8]; 14] = [
        b"*",
        b"a?c",
        b"[x]",
        b"back\\slash",
        b"\\*",
        b"new\nline",
        b"- minus",
        b"+ plus",
        b"!",
        b" space ",
        b"#h",
        b"**",
        b"a\\[b*",
        b"\xff\xfe",
    ];
    let bystanders: [&[u8]; 6] = [b"anything", b"abc", b"x", b"backslash", b"new", b"b"];
    let pair = Pair::new();
    let path = |top: PathBuf, name: &[u8]| top.join("dir").join(OsStr::from_bytes(name));
    for name in odd.iter().chain(&bystanders) {
        write(&path(pair.source(), name), "here");
        write(&path(pair.destination(), name), "there");
    }
    // The source no longer has the files, so the same names are now compared with deletions.
    for name in &odd[..4] {
        fs::remove_file(path(pair.source(), name)).unwrap();
    }
    let paths: Vec<Vec<u8>> = odd.iter().map(|name| [b"dir/", *name].concat()).collect();
    pair.push_only(&paths.iter().map(Vec::as_slice).collect::<Vec<_>>());
    for name in &odd[..4] {
        assert!(!path(pair.destination(), name).exists(), "{}", name.escape_ascii());
    }
    let content = |name: &[u8]| fs::read_to_string(path(pair.destination(), name)).unwrap();
    for name in &odd[4..] {
        assert_eq!(content(name), "here", "{}", name.escape_ascii());
    }
    for name in &bystanders {
        assert_eq!(content(name), "there", "{}", name.escape_ascii());
    }
}

#[test]
fn what_is_known_of_all_other_paths_is_kept() {
    let pair = Pair::new().new_here(&["a", "d/b"]);
    let cache = pair.scratch.path().join("cache");
    let run = |request: SyncRequest| {
        request.cache(CachePlace::File(cache.clone())).run(&VoidMonitor, &NoPrompt, &Cancel::new()).unwrap()
    };
    let state = || {
        let of = |path: &Path| (fs::metadata(path).unwrap().ino(), fs::read(path).unwrap());
        [of(&cache), of(&pair.scratch.path().join(".destination.coast/cache"))]
    };
    run(pair.request());
    let before = state();
    write(&pair.source().join("a"), "edited");
    run(pair.request().only(["a"]).unwrap());
    assert!(state() == before, "a run that sees one path forgets what is known of the others");
    let left: Vec<_> =
        fs::read_dir(pair.scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 4, "source, destination, state and cache, and no temporary file: {left:?}");
    pair.expect(&[("a", Some("edited")), ("d", None), ("d/b", Some("here"))]);
}

#[test]
fn nothing_else_is_given_to_another_owner() {
    assert!(rustix::process::geteuid().is_root(), "needs root, which alone can make a file of another user");
    let pair = Pair::new().both(&["a", "b"]).only_there(&["extra"]);
    for path in ["a", "b", "extra"] {
        lchown(pair.destination().join(path), Some(12_345), Some(12_345)).unwrap();
    }
    pair.push_only(&[b"a"]);
    let owner = |path: &str| fs::metadata(pair.destination().join(path)).unwrap().uid();
    assert_eq!([owner("a"), owner("b"), owner("extra")], [0, 12_345, 12_345]);
}
