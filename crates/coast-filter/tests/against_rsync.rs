//! The real rsync and the filter agree on random trees and rules: on what is sent, on what `--delete` leaves on the
//! receiving side, and on which rules are errors. Without rsync on the path there is nothing to compare with.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt, fs};

use coast_filter::{DirFilter, EntryKind, Filter, MergeFiles, RuleList, Side};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Relative paths, with the content of files.
type Tree = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The merge files of a tree in memory, and of real directories above it.
struct TreeFiles(Tree);

impl MergeFiles for TreeFiles {
    fn read(&self, dir: &[u8], name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        if name.starts_with(b"/") {
            return read_if_exists(name);
        }
        Ok(self.0.get(&join(dir, name)).cloned().flatten())
    }

    fn read_above(&self, dir: &[u8], name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        read_if_exists(&join(dir, name))
    }
}

fn read_if_exists(path: &[u8]) -> io::Result<Option<Vec<u8>>> {
    match fs::read(OsStr::from_bytes(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

fn children<'a>(tree: &'a Tree, dir: &'a [u8]) -> impl Iterator<Item = (&'a [u8], EntryKind)> {
    tree.iter().filter_map(move |(path, content)| {
        let slash = path.iter().rposition(|&byte| byte == b'/');
        let (parent, name) =
            slash.map_or((&b""[..], &path[..]), |slash| (&path[..slash], &path[slash + 1..]));
        let kind = if content.is_none() { EntryKind::Directory } else { EntryKind::Other };
        (parent == dir).then_some((name, kind))
    })
}

/// The entries that rsync leaves, by its own description: the sender walks, entries that only the receiver has are deleted
/// unless excluded, and in a directory that is being removed perishable rules do not count.
struct Model<'a> {
    source: &'a Tree,
    files: &'a TreeFiles,
    sent: Tree,
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

impl Model<'_> {
    fn send(&mut self, filter: &DirFilter) -> Outcome<()> {
        let source = self.source;
        for (name, kind) in children(source, filter.path()) {
            if filter.excludes(name, kind) {
                continue;
            }
            let path = join(filter.path(), name);
            self.sent.insert(path.clone(), source[&path].clone());
            if kind == EntryKind::Directory {
                self.send(&filter.enter(name, self.files)?)?;
            }
        }
        Ok(())
    }

    /// Deletes from `target` what was not sent, in the directories that were.
    fn delete(&self, target: &mut Tree, filter: &DirFilter, files: &TreeFiles) -> Outcome<()> {
        for (name, kind) in children(&target.clone(), filter.path()) {
            let path = join(filter.path(), name);
            let keep = self.sent.contains_key(&path)
                || filter.excludes(name, kind)
                || kind == EntryKind::Directory
                    && !remove_contents(target, &filter.enter(name, files)?, files)?;
            if !keep {
                target.remove(&path);
            }
        }
        for (name, kind) in children(&self.sent, filter.path()) {
            if kind == EntryKind::Directory {
                self.delete(target, &filter.enter(name, files)?, files)?;
            }
        }
        Ok(())
    }
}

/// Whether the directory of `filter` is empty in the end.
fn remove_contents(target: &mut Tree, filter: &DirFilter, files: &TreeFiles) -> Outcome<bool> {
    let mut empty = true;
    for (name, kind) in children(&target.clone(), filter.path()) {
        let keep = filter.excludes_in_removed_dir(name, kind)
            || kind == EntryKind::Directory && !remove_contents(target, &filter.enter(name, files)?, files)?;
        empty &= !keep;
        if !keep {
            target.remove(&join(filter.path(), name));
        }
    }
    Ok(empty)
}

#[derive(Clone, Debug)]
enum Argument {
    Exclude(String),
    Include(String),
    Filter(String),
    ExcludeFrom(String),
}

#[derive(Clone)]
struct Case {
    arguments: Vec<Argument>,
    delete_excluded: bool,
    source: Tree,
    target: Tree,
    /// Content of `.rules` in the parent of both trees, and of the static merge file.
    parent_rules: String,
    static_rules: String,
}

impl Case {
    /// Puts the paths of the trial in the place of their names.
    fn resolve(&self, text: &str, dir: &Path) -> String {
        text.replace("{dir}", dir.to_str().unwrap())
    }

    fn rules(&self, dir: &Path) -> Outcome<RuleList> {
        let mut rules = RuleList::new();
        for argument in &self.arguments {
            match argument {
                Argument::Exclude(text) => rules.exclude(self.resolve(text, dir).as_bytes())?,
                Argument::Include(text) => rules.include(self.resolve(text, dir).as_bytes())?,
                Argument::Filter(text) => {
                    rules.filter(self.resolve(text, dir).as_bytes(), &TreeFiles(Tree::new()))?;
                }
                Argument::ExcludeFrom(content) => rules.exclude_from(content.as_bytes())?,
            }
        }
        if self.delete_excluded {
            rules.delete_excluded();
        }
        let lines = rules.to_lines();
        assert_eq!(RuleList::from_lines(lines.iter().map(Vec::as_slice))?, rules);
        Ok(rules)
    }

    fn expected(&self, dir: &Path) -> Outcome<Tree> {
        let rules = self.rules(dir)?;
        let root = |name: &str| dir.join(name).as_os_str().as_bytes().to_vec();

        let files = TreeFiles(self.source.clone());
        let mut model = Model { source: &self.source, files: &files, sent: Tree::new() };
        model.send(&Filter::compile_at(&rules, Side::Sender, &root("src"))?.root(&files)?)?;

        // The receiver deletes after the transfer, by the merge files that it has then.
        let mut target = self.target.clone();
        target.extend(model.sent.clone());
        let files = TreeFiles(target.clone());
        let filter = Filter::compile_at(&rules, Side::Receiver, &root("dst"))?.root(&files)?;
        model.delete(&mut target, &filter, &files)?;
        Ok(target)
    }

    fn actual(&self, dir: &Path) -> Outcome<Tree> {
        let mut rsync = Command::new("rsync");
        rsync.args(["-rI", "--delete-after"]).env("HOME", dir).env_remove("CVSIGNORE");
        if self.delete_excluded {
            rsync.arg("--delete-excluded");
        }
        for (index, argument) in self.arguments.iter().enumerate() {
            match argument {
                Argument::Exclude(text) => rsync.arg(format!("--exclude={}", self.resolve(text, dir))),
                Argument::Include(text) => rsync.arg(format!("--include={}", self.resolve(text, dir))),
                Argument::Filter(text) => rsync.arg(format!("--filter={}", self.resolve(text, dir))),
                Argument::ExcludeFrom(content) => {
                    let file = dir.join(format!("list{index}"));
                    fs::write(&file, content)?;
                    rsync.arg(format!("--exclude-from={}", file.display()))
                }
            };
        }
        // To a remote receiver, since only then the rules travel: a local one sees those of both sides.
        rsync.args(["-e", "sh -c 'shift; exec sh -c \"$*\"' rsh"]);
        rsync.arg(format!("{}/", dir.join("src").display()));
        let output = rsync.arg(format!("host:{}", dir.join("dst").display())).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        read_tree(&dir.join("dst"))
    }

    fn merges_for_one_side(&self) -> bool {
        let one_sided = |argument: &Argument| matches!(argument, Argument::Filter(rule) if rule.starts_with(":s") || rule.starts_with(":r"));
        self.arguments.iter().any(one_sided)
            || self.static_rules.contains(":s")
            || self.static_rules.contains(":r")
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        write_tree(&dir.join("src"), &self.source).unwrap();
        write_tree(&dir.join("dst"), &self.target).unwrap();
        fs::write(dir.join(".rules"), &self.parent_rules).unwrap();
        fs::write(dir.join("static"), &self.static_rules).unwrap();

        match (self.expected(&dir), self.actual(&dir)) {
            (Ok(expected), Ok(actual)) => prop_assert_eq!(show(&actual), show(&expected)),
            (Err(_), Err(_)) => {}
            // rsync's client reads the merge files of the other side too, only to drop their rules, and stumbles
            // over their errors.
            (Ok(_), Err(_)) if self.merges_for_one_side() => {}
            (expected, actual) => prop_assert!(false, "expected {expected:?}, rsync {actual:?}"),
        }
        Ok(())
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("arguments", &self.arguments)
            .field("delete_excluded", &self.delete_excluded)
            .field("source", &show(&self.source))
            .field("target", &show(&self.target))
            .field("parent_rules", &self.parent_rules)
            .field("static_rules", &self.static_rules)
            .finish()
    }
}

/// Text instead of bytes, for messages.
fn show(tree: &Tree) -> BTreeMap<String, Option<String>> {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    tree.iter().map(|(path, content)| (text(path), content.as_ref().map(text))).collect()
}

fn write_tree(root: &Path, tree: &Tree) -> io::Result<()> {
    fs::create_dir(root)?;
    for (path, content) in tree {
        let path = root.join(OsStr::from_bytes(path));
        match content {
            Some(content) => fs::write(path, content)?,
            None => fs::create_dir(path)?,
        }
    }
    Ok(())
}

fn read_tree(root: &Path) -> Outcome<Tree> {
    let mut tree = Tree::new();
    let mut dirs: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let content = if path.is_dir() { None } else { Some(fs::read(&path)?) };
            tree.insert(path.strip_prefix(root)?.as_os_str().as_bytes().to_vec(), content.clone());
            if content.is_none() {
                dirs.push(path);
            }
        }
    }
    Ok(tree)
}

// Directories and files have different names, since what becomes of a file in the place of a directory is not a
// matter of filters.
const DIRS: [&str; 7] = ["a", "ab", "gen", "d[1]", "b.o", "s*", "v\\w"];
const FILES: [&str; 10] = ["f", "b", "a.o", "core", "x*", "g n", "#h", "A1", "[b", "\\"];

fn dir_path() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(&DIRS[..]), 0..4)
}

/// A tree whose files say which side they come from, with merge files here and there.
fn tree(side: &'static str) -> impl Strategy<Value = Tree> {
    let file = (dir_path(), prop::sample::select(&FILES[..]));
    let merge_file =
        (dir_path(), prop::sample::select(&[".rules", ".rules", ".r2", ".cvsignore"][..]), merge_content());
    (prop::collection::vec(file, 4..16), prop::collection::vec(merge_file, 0..4)).prop_map(
        move |(files, merge_files)| {
            let plain = files.into_iter().map(|(dir, name)| (dir, name, side.to_owned()));
            let mut tree = Tree::new();
            for (dir, name, content) in plain.chain(merge_files) {
                let mut path = Vec::new();
                for component in dir {
                    path = join(&path, component.as_bytes());
                    tree.insert(path.clone(), None);
                }
                tree.insert(join(&path, name.as_bytes()), Some(content.into_bytes()));
            }
            tree
        },
    )
}

fn pattern() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => prop::sample::select(&DIRS[..]),
        6 => prop::sample::select(&FILES[..]),
        4 => Just("/"),
        4 => Just("*"),
        2 => Just("**"),
        2 => Just("?"),
        1 => Just("[a-g]"),
        1 => Just("[!a]"),
        1 => Just("[^[:alpha:]]"),
        1 => Just("\\"),
        1 => Just("[b"),
        1 => Just("a"),
        1 => Just("."),
    ];
    let whole = prop_oneof![
        3 => prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat()),
        1 => Just("*".to_owned()),
        1 => prop::sample::select(&DIRS[..]).prop_map(str::to_owned),
        1 => prop::sample::select(&FILES[..]).prop_map(str::to_owned),
    ];
    let start = prop_oneof![6 => Just(""), 3 => Just("/"), 1 => Just("**/")];
    let end =
        prop_oneof![8 => Just(""), 2 => Just("/"), 2 => Just("/***"), 1 => Just("/*"), 1 => Just("/**")];
    (start, whole, end).prop_map(|(start, whole, end)| format!("{start}{whole}{end}"))
}

fn pattern_rule() -> impl Strategy<Value = String> {
    let heads: &[&str] = &[
        "- ",
        "- ",
        "- ",
        "- ",
        "+ ",
        "+ ",
        "+ ",
        "H ",
        "S ",
        "P ",
        "P ",
        "R ",
        "-p ",
        "-p ",
        "-! ",
        "+! ",
        "-s ",
        "+r ",
        "-sr ",
        "-x ",
        "exclude ",
        "include_",
        "protect,p ",
        "hide ",
    ];
    let absolute = (prop::sample::select(&["src", "dst", "*"][..]), pattern())
        .prop_map(|(tree, pattern)| format!("-/ {{dir}}/{tree}/{pattern}"));
    prop_oneof![
        16 => (prop::sample::select(heads), pattern()).prop_map(|(head, pattern)| format!("{head}{pattern}")),
        1 => absolute,
        1 => pattern().prop_map(|pattern| format!("-/ {pattern}")),
    ]
}

fn merge_rule() -> impl Strategy<Value = String> {
    prop::sample::select(
        &[
            ": .rules",
            ": .rules",
            ": .rules",
            ":n .rules",
            ":e .rules",
            ":- .rules",
            ":+ .rules",
            ":s .rules",
            ":r .rules",
            ":p .rules",
            ":pe .rules",
            ":w .rules",
            ":w- .rules",
            ":/ .rules",
            ": /.rules",
            ": ../.rules",
            ":n- ../.rules",
            ": a/.rules",
            ": .r2",
            ":n .r2",
            ":C",
            "dir-merge,-p .r2",
            ": .rules/",
            ":ne /.r2",
        ][..],
    )
    .prop_map(str::to_owned)
}

/// Content that is good for some of the merge rules and wrong for others.
fn merge_content() -> impl Strategy<Value = String> {
    let plain = prop::sample::select(&["- ", "+ "][..]);
    let line = prop_oneof![
        6 => pattern_rule(),
        6 => (plain, pattern()).prop_map(|(head, pattern)| format!("{head}{pattern}")),
        2 => merge_rule(),
        1 => Just("!".to_owned()),
        1 => Just("# note".to_owned()),
        1 => Just(". a/.r2".to_owned()),
        1 => pattern(),
    ];
    let words = prop::collection::vec(
        (prop::sample::select(&["-_", "+_"][..]), pattern())
            .prop_map(|(head, pattern)| format!("{head}{pattern}")),
        1..4,
    )
    .prop_map(|words| words.join(" "));
    prop_oneof![
        6 => prop::collection::vec(line, 1..4).prop_map(|lines| lines.join("\n")),
        1 => prop::collection::vec(pattern(), 1..4).prop_map(|patterns| patterns.join("\n")),
        1 => words,
    ]
}

fn argument() -> impl Strategy<Value = Argument> {
    prop_oneof![
        4 => pattern().prop_map(Argument::Exclude),
        2 => pattern().prop_map(Argument::Include),
        8 => pattern_rule().prop_map(Argument::Filter),
        4 => merge_rule().prop_map(Argument::Filter),
        1 => Just(Argument::Filter("-C".to_owned())),
        1 => Just(Argument::Filter(". {dir}/static".to_owned())),
        1 => Just(Argument::Exclude("!".to_owned())),
        1 => prop::collection::vec(pattern(), 1..4).prop_map(|lines| Argument::ExcludeFrom(lines.join("\r\n"))),
    ]
}

prop_compose! {
    fn case()(
        arguments in prop::collection::vec(argument(), 1..7),
        delete_excluded in prop::bool::weighted(0.2),
        source in tree("source"),
        target in tree("target"),
        parent_rules in merge_content(),
        static_rules in merge_content(),
    ) -> Case {
        Case { arguments, delete_excluded, source, target, parent_rules, static_rules }
    }
}

/// The same 100 cases always, or as many new ones as `FILTER_CASES` asks for.
fn config() -> ProptestConfig {
    let cases = env::var("FILTER_CASES").ok().and_then(|cases| cases.parse().ok());
    let rng_seed = if cases.is_some() { RngSeed::Random } else { RngSeed::Fixed(3_141_592) };
    ProptestConfig { cases: cases.unwrap_or(100), rng_seed, failure_persistence: None, ..Default::default() }
}

fn rsync_is_missing() -> bool {
    Command::new("rsync").arg("--version").output().is_err()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn rsync_sends_and_deletes_the_same(case in case()) {
        if !rsync_is_missing() {
            case.check()?;
        }
    }
}
