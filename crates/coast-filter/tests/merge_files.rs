//! Static and per-directory merge files: what they inherit, where their rules stand, and what is refused.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io;

use coast_filter::{
    DirFilter, EntryKind, Filter, FilterError, MAX_MERGE_FILE_BYTES, MergeFiles, NoMergeFiles, RuleError,
    RuleFault, RuleList, Side,
};

/// Merge files in memory: by path relative to the transfer root, by absolute path above it.
struct Files(BTreeMap<&'static str, &'static str>);

impl Files {
    fn new(files: &[(&'static str, &'static str)]) -> Self {
        Self(files.iter().copied().collect())
    }

    fn get(&self, dir: &[u8], name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let path = if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() };
        let content = self.0.get(str::from_utf8(&path).unwrap());
        match content {
            Some(&"unreadable") => Err(io::ErrorKind::PermissionDenied.into()),
            content => Ok(content.map(|content| content.as_bytes().to_vec())),
        }
    }
}

impl MergeFiles for Files {
    fn read(&self, dir: &[u8], name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.get(dir, name)
    }

    fn read_above(&self, dir: &[u8], name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        assert!(dir.starts_with(b"/"));
        self.get(b"", &[dir, if dir == b"/" { b"" } else { b"/" }, name].concat())
    }

    fn cvs_ignores(&self) -> io::Result<Vec<Vec<u8>>> {
        Ok(self.0.get("$CVSIGNORE").iter().map(|words| words.as_bytes().to_vec()).collect())
    }
}

const ROOT: &[u8] = b"/home/me";

fn list(rules: &[&str], files: &Files) -> RuleList {
    let mut list = RuleList::new();
    for rule in rules {
        list.filter(rule.as_bytes(), files).unwrap();
    }
    list
}

fn enter(rules: &RuleList, side: Side, dir: &str, files: &Files) -> Result<DirFilter, FilterError> {
    let mut filter = Filter::compile_at(rules, side, ROOT)?.root(files)?;
    for name in dir.split('/').filter(|name| !name.is_empty()) {
        filter = filter.enter(name.as_bytes(), files)?;
    }
    Ok(filter)
}

/// The names among `names` that are hidden in directory `dir`, separated by spaces.
fn hidden(rules: &[&str], files: &Files, dir: &str, names: &str) -> String {
    excluded(&list(rules, files), Side::Sender, files, dir, names)
}

fn excluded(rules: &RuleList, side: Side, files: &Files, dir: &str, names: &str) -> String {
    let filter = enter(rules, side, dir, files).unwrap();
    let excluded: Vec<_> =
        names.split(' ').filter(|name| filter.excludes(name.as_bytes(), EntryKind::Other)).collect();
    excluded.join(" ")
}

#[test]
fn a_static_file_stands_in_the_place_of_its_rule() {
    let files = Files::new(&[("/etc/r", "# note\n+ b\n\n- [ab]\n. more"), ("more", "- c")]);
    let rules = list(&["+ a", "merge /etc/r", "- d"], &files);
    assert_eq!(rules, list(&["+ a", "+ b", "- [ab]", "- c", "- d"], &files));
}

#[test]
fn a_static_file_takes_the_modifiers_of_its_rule() {
    let files = Files::new(&[("p", "a\n- b\n!"), ("r", "- a\n+ b"), ("w", "-_a\t+_b")]);
    assert_eq!(list(&[".- p"], &files), list(&["- a", "- - b", "- !"], &files));
    assert_eq!(list(&[".+s p"], &files), list(&["+s a", "+s - b", "+s !"], &files));
    assert_eq!(list(&[".rp/ r"], &files), list(&["-rp/ a", "+rp/ b"], &files));
    assert_eq!(list(&[".w w"], &files), list(&["- a", "+ b"], &files));
    assert_eq!(list(&[".e r"], &files), list(&["- r", "- a", "+ b"], &files));
}

#[test]
fn a_missing_static_file_is_an_error() {
    let error = RuleList::new().filter(b". gone", &NoMergeFiles).unwrap_err();
    assert!(matches!(&error, RuleError::MergeFile { file, .. } if file == b"gone"), "{error}");
}

#[test]
fn static_files_that_include_each_other_end() {
    let files = Files::new(&[("a", ". b"), ("b", ". a")]);
    let error = RuleList::new().filter(b". a", &files).unwrap_err();
    assert!(matches!(error, RuleError::TooDeep { .. }), "{error}");
}

#[test]
fn subdirectories_inherit_and_their_own_rules_come_first() {
    let files = Files::new(&[(".r", "- a\n- b"), ("d/.r", "+ a\n- c"), ("d/e/.r", "- /f")]);
    let rules = [": .r"];
    assert_eq!(hidden(&rules, &files, "", "a b c f"), "a b");
    assert_eq!(hidden(&rules, &files, "d", "a b c f"), "b c");
    assert_eq!(hidden(&rules, &files, "d/e", "a b c f"), "b c f");
    assert_eq!(hidden(&rules, &files, "d/e/g", "a b c f"), "b c");
    assert_eq!(hidden(&rules, &files, "x", "a b c f"), "a b");
}

#[test]
fn merged_rules_stand_where_the_merge_rule_stands() {
    let files = Files::new(&[(".r", "+ a\n- b")]);
    assert_eq!(hidden(&["+ b", ": .r", "- *"], &files, "", "a b c"), "c");
    assert_eq!(hidden(&["- *", ": .r"], &files, "", "a b c"), "a b c");
}

#[test]
fn n_stops_inheritance() {
    let files = Files::new(&[(".r", "- a"), ("d/.r", "- b")]);
    assert_eq!(hidden(&[":n .r"], &files, "", "a b"), "a");
    assert_eq!(hidden(&[":n .r"], &files, "d", "a b"), "b");
    assert_eq!(hidden(&[":n .r"], &files, "d/e", "a b"), "");
}

#[test]
fn e_excludes_the_file_itself() {
    assert_eq!(hidden(&[":e .r"], &Files::new(&[]), "d", ".r a"), ".r");
}

#[test]
fn a_file_may_hold_patterns_only() {
    let files = Files::new(&[(".r", "- a\n+ b\nc # no comment\n#d")]);
    assert_eq!(list(&[":- .r"], &files).to_lines(), [b":- .r"]);
    let filter = enter(&list(&[":- .r"], &files), Side::Sender, "", &files).unwrap();
    for (name, hidden) in [("- a", true), ("a", false), ("c # no comment", true), ("#d", false)] {
        assert_eq!(filter.excludes(name.as_bytes(), EntryKind::Other), hidden, "{name}");
    }
}

#[test]
fn cvs_files_are_words_without_inheritance_that_may_clear() {
    let files = Files::new(&[(".cvsignore", "a *.b\n#c"), ("d/.cvsignore", "x ! y")]);
    assert_eq!(hidden(&[":C"], &files, "", "a x.b #c"), "a x.b #c");
    assert_eq!(hidden(&[":C"], &files, "d", "a x y"), "y");
}

#[test]
fn a_clear_rule_drops_only_what_its_own_file_gave() {
    let files = Files::new(&[(".r", "- a"), (".s", "- b"), ("d/.r", "- c\n!\n- d")]);
    assert_eq!(hidden(&[": .r", ": .s", "- e"], &files, "d", "a b c d e"), "b d e");
}

#[test]
fn a_side_on_the_merge_rule_holds_for_all_its_rules() {
    let files = Files::new(&[(".r", "- a")]);
    let rules = list(&[":s .r"], &files);
    assert_eq!(excluded(&rules, Side::Sender, &files, "", "a"), "a");
    assert_eq!(excluded(&rules, Side::Receiver, &files, "", "a"), "");
    let files = Files::new(&[(".r", "- b\nP a")]);
    let error = enter(&rules, Side::Sender, "", &files).unwrap_err();
    let FilterError::Rule(RuleError::File { file, line, fault }) = error else { panic!("{error}") };
    assert_eq!((file.as_slice(), line, fault), (b".r".as_slice(), 2, RuleFault::SideTwice));
}

#[test]
fn a_file_may_name_further_files() {
    let files = Files::new(&[
        ("d/.r", "- a\n: .s\n- b"),
        ("d/.s", "+ b\n- c"),
        ("d/e/.s", "+ c"),
        (".s", "- never"),
        ("x/.s", "- never"),
    ]);
    let rules = [": .r"];
    assert_eq!(hidden(&rules, &files, "d", "a b c never"), "a c");
    assert_eq!(hidden(&rules, &files, "d/e", "a b c never"), "a");
    assert_eq!(hidden(&rules, &files, "x", "a b c never"), "", "what d named ends with d");
}

#[test]
fn a_merge_file_is_looked_for_once_whatever_its_directory() {
    let mut rules = list(&[": .r", ": /.r", ":n- ../.r", ": .s"], &Files::new(&[]));
    rules.append(list(&["- a", ": .r"], &Files::new(&[])));
    assert_eq!(rules.to_lines(), [&b": .r"[..], b": .s", b"- a"]);
}

#[test]
fn a_path_in_the_name_searches_the_parents_of_the_transfer() {
    let files = Files::new(&[
        ("/.r", "- a\n- top\n- /home/me/anchored"),
        ("/home/.r", "+ a\n- /me/below"),
        ("/home/you/.r", "- never"),
        (".r", "- b"),
        ("d/.r", "- c"),
    ]);
    let names = "a b c top anchored below never";
    assert_eq!(hidden(&[": /.r"], &files, "", names), "b top anchored below");
    assert_eq!(hidden(&[": ../.r"], &files, "", names), "b below");
    assert_eq!(hidden(&[": ../.r"], &files, "d", names), "b c");
    assert_eq!(hidden(&[": .r"], &files, "", names), "b");
    assert_eq!(hidden(&[": ../you/.r"], &files, "", names), "b", "no parent of the transfer");
}

#[test]
fn wildcards_in_a_directory_act_in_its_anchored_rules() {
    let files = Files::new(&[("d[1]/.r", "- /a\n- b"), ("d1/.r", "- /a")]);
    assert_eq!(hidden(&[": .r"], &files, "d[1]", "a b"), "b");
    assert_eq!(hidden(&[": .r"], &files, "d1", "a b"), "a");
}

#[test]
fn a_static_file_in_a_directory_lies_and_anchors_at_the_root() {
    let files =
        Files::new(&[("d/.r", ". more\n. ./sub/other"), ("more", "- /d/a\n- /b"), ("d/sub/other", "- c")]);
    assert_eq!(hidden(&[": .r"], &files, "d", "a b c"), "a c");
}

#[test]
fn delete_excluded_reaches_into_merge_files() {
    let files = Files::new(&[(".r", "- a\nP b\n: .s"), (".s", "- c")]);
    let mut rules = list(&[": .r"], &files);
    rules.delete_excluded();
    let lines = rules.to_lines();
    let rules = RuleList::from_lines(lines.iter().map(Vec::as_slice)).unwrap();
    assert_eq!(excluded(&rules, Side::Sender, &files, "", "a b c"), "a c");
    assert_eq!(excluded(&rules, Side::Receiver, &files, "", "a b c"), "b");
}

#[test]
fn a_perishable_merge_file_perishes_as_a_whole() {
    let files = Files::new(&[(".r", "- a\n:e .s"), (".s", "- b")]);
    let filter = enter(&list(&[":p .r"], &files), Side::Receiver, "d", &files).unwrap();
    for name in ["a", "b", ".s"] {
        assert!(filter.excludes(name.as_bytes(), EntryKind::Other), "{name}");
        assert!(!filter.excludes_in_removed_dir(name.as_bytes(), EntryKind::Other), "{name}");
    }
}

#[test]
fn the_users_cvs_patterns_follow_the_default_ones() {
    let files = Files::new(&[("$CVSIGNORE", "mine")]);
    let rules = list(&["-C"], &files);
    assert_eq!(excluded(&rules, Side::Receiver, &files, "", "mine a.o"), "mine a.o");
    let filter = enter(&rules, Side::Receiver, "", &files).unwrap();
    assert!(filter.excludes_in_removed_dir(b"mine", EntryKind::Other));
    let rules = list(&["-C"], &Files::new(&[("$CVSIGNORE", "! mine")]));
    assert_eq!(rules.to_lines(), [b"- mine"]);
}

#[test]
fn an_unreadable_file_names_itself() {
    let files = Files::new(&[("d/.r", "unreadable")]);
    let error = enter(&list(&[": .r"], &files), Side::Receiver, "d", &files).unwrap_err();
    let FilterError::Read { path, source } = error else { panic!("{error}") };
    assert_eq!(path, b"d/.r");
    assert_eq!(source.kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn what_a_file_holds_is_never_repeated() {
    let files = Files::new(&[("d/.r", "- a\nroot:secret")]);
    let error = enter(&list(&[": .r"], &files), Side::Receiver, "d", &files).unwrap_err();
    assert_eq!(error.to_string(), "unknown filter rule: d/.r line 2");
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    struct Large;
    impl MergeFiles for Large {
        fn read(&self, _dir: &[u8], _name: &[u8]) -> io::Result<Option<Vec<u8>>> {
            Ok(Some(vec![b'\n'; MAX_MERGE_FILE_BYTES + 1]))
        }
    }
    let mut rules = RuleList::new();
    rules.filter(b": .r", &NoMergeFiles).unwrap();
    let error = Filter::compile(&rules, Side::Sender).unwrap().root(&Large).unwrap_err();
    assert!(matches!(error, FilterError::Read { .. }), "{error}");
    let error = rules.filter(b". r", &Large).unwrap_err();
    assert!(matches!(error, RuleError::MergeFile { .. }), "{error}");
}
