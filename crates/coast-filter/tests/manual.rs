//! The statements of rsync's manual page about filter rules, one by one.

#![allow(missing_docs, clippy::unwrap_used)]

use coast_filter::{DirFilter, EntryKind, Filter, NoMergeFiles, RuleList, Side};

fn list(rules: &[&str]) -> RuleList {
    let mut list = RuleList::new();
    for rule in rules {
        list.filter(rule.as_bytes(), &NoMergeFiles).unwrap();
    }
    list
}

/// Whether `path` itself is excluded; a trailing slash marks a directory.
fn verdict(root: &DirFilter, path: &str) -> bool {
    let (path, kind) = match path.strip_suffix('/') {
        Some(path) => (path, EntryKind::Directory),
        None => (path, EntryKind::Other),
    };
    let mut filter = root.clone();
    let mut names = path.split('/').peekable();
    loop {
        let name = names.next().unwrap().as_bytes();
        if names.peek().is_none() {
            return filter.excludes(name, kind);
        }
        filter = filter.enter(name, &NoMergeFiles).unwrap();
    }
}

fn filter_of(rules: &RuleList, side: Side) -> DirFilter {
    Filter::compile(rules, side).unwrap().root(&NoMergeFiles).unwrap()
}

fn check_on(side: Side, rules: &RuleList, excluded: &[&str], others: &[&str]) {
    let filter = filter_of(rules, side);
    for path in excluded {
        assert!(verdict(&filter, path), "{path} is excluded on {side:?}");
    }
    for path in others {
        assert!(!verdict(&filter, path), "{path} is not excluded on {side:?}");
    }
}

fn check(rules: &[&str], excluded: &[&str], others: &[&str]) {
    check_on(Side::Sender, &list(rules), excluded, others);
}

#[test]
fn nothing_is_excluded_by_default() {
    check(&[], &[], &["a", "a/b/"]);
}

#[test]
fn the_first_matching_rule_wins() {
    check(&["+ *.c", "- *.c", "- a*"], &["a.o", "a"], &["a.c", "x/b.c"]);
    check(&["- a*", "+ a.c"], &["a.c"], &["b.c"]);
}

#[test]
fn a_plain_pattern_is_the_whole_last_component() {
    check(&["- foo"], &["foo", "foo/", "a/b/foo"], &["foobar", "barfoo", "foo/x"]);
}

#[test]
fn an_inner_slash_matches_the_last_elements_of_the_path() {
    check(&["- foo/bar"], &["foo/bar", "x/y/foo/bar/"], &["bar", "xfoo/bar", "foo/x/bar", "foo/bar/x"]);
    check(&["- foo/*/bar"], &["foo/x/bar", "a/foo/x/bar/"], &["foo/bar", "foo/x/y/bar"]);
}

#[test]
fn a_leading_slash_anchors_at_the_root_of_the_transfer() {
    check(&["- /foo"], &["foo", "foo/"], &["a/foo", "foo/foo"]);
    check(&["- /foo/**/bar"], &["foo/x/bar", "foo/x/y/bar/"], &["foo/bar", "a/foo/x/bar"]);
    check(&["- /foo/*"], &["foo/a"], &["foo", "foo/a/b"]);
}

#[test]
fn a_trailing_slash_matches_directories_only() {
    check(&["- foo/"], &["foo/", "a/foo/"], &["foo", "a/foo"]);
}

#[test]
fn one_star_stops_at_a_slash_and_two_do_not() {
    check(&["- *.o"], &["a.o", "x/.o", "x/a.o"], &["a.o.c", "a"]);
    check(&["- /a*z"], &["az", "abz"], &["a/z"]);
    check(&["- /a**z"], &["az", "a/z", "a/b/cz"], &["a/z/b"]);
    check(&["- a?z"], &["abz"], &["a/z", "az"]);
    check(&["- **/z"], &["z", "a/z", "a/b/z/"], &["az", "z/a"]);
    check(&["- a/**"], &["a/b", "a/b/c", "x/a/b"], &["a", "a/", "xa/b"]);
}

#[test]
fn three_stars_match_a_directory_and_all_below_it() {
    check(&["- gen/***"], &["gen/", "gen/a", "gen/a/b/", "x/gen/a"], &["gen", "xgen/a", "x"]);
    check(&["- /gen/***"], &["gen/", "gen/a"], &["gen", "x/gen/", "x/gen/a"]);
}

#[test]
fn a_backslash_escapes_only_among_wildcards() {
    check(&["- foo\\bar"], &["foo\\bar"], &["foobar"]);
    check(&["- foo\\bar*"], &["foobar", "foobarx"], &["foo\\bar"]);
    check(&["- foo\\\\bar*"], &["foo\\bar"], &["foobar"]);
    check(&["- \\*"], &["*"], &["a"]);
}

#[test]
fn all_directories_and_c_sources_but_nothing_else() {
    check(&["+ */", "+ *.c", "- *"], &["a.o", "d/a"], &["d/", "d/e/", "a.c", "d/a.c"]);
}

#[test]
fn only_the_foo_directory_and_its_bar_c() {
    check(&["+ foo/", "+ foo/bar.c", "- *"], &["a", "foo", "foo/b", "x/"], &["foo/", "foo/bar.c"]);
}

#[test]
fn an_exclamation_mark_excludes_what_does_not_match() {
    check(&["-! */"], &["a", "a/b"], &["a/", "a/b/"]);
    check(&["-! /a/**"], &["a/", "b"], &["a/b"]);
}

#[test]
fn a_rule_about_attributes_matches_no_file() {
    check(&["-x *"], &[], &["a", "user.a"]);
    check(&["-x! *", "-x!/ b"], &[], &["a", "b/"]);
}

#[test]
fn an_absolute_rule_sees_the_whole_path() {
    let rules = list(&["-/ /etc/passwd", "-/ subdir/foo", "-/ plain", "-/ **/deep"]);
    let filter =
        |root: &[u8]| Filter::compile_at(&rules, Side::Sender, root).unwrap().root(&NoMergeFiles).unwrap();
    let etc = filter(b"/etc");
    assert!(verdict(&etc, "passwd"));
    assert!(!verdict(&etc, "etc/passwd"));
    assert!(!verdict(&etc, "foo"));
    assert!(verdict(&etc, "subdir/foo"));
    assert!(verdict(&etc, "a/plain"));
    assert!(verdict(&etc, "deep"));

    assert!(verdict(&filter(b"/home/subdir/"), "foo"), "even at the root of the transfer");
    let slash = filter(b"/");
    assert!(verdict(&slash, "etc/passwd"));
    assert!(!verdict(&slash, "a/etc/passwd"));
    assert!(verdict(&slash, "deep"));
}

#[test]
fn an_exclude_hides_and_protects_and_an_include_shows_and_risks() {
    let rules = list(&["+ a", "- *"]);
    for side in [Side::Sender, Side::Receiver] {
        check_on(side, &rules, &["b"], &["a"]);
    }
}

#[test]
fn hide_and_show_are_about_sending_protect_and_risk_about_deleting() {
    let rules = list(&["S a", "R b", "H ?", "P ?"]);
    check_on(Side::Sender, &rules, &["b", "c"], &["a"]);
    check_on(Side::Receiver, &rules, &["a", "c"], &["b"]);
    let modified = list(&["+s a", "+r b", "-s ?", "-r ?"]);
    assert_eq!(modified, rules);
}

#[test]
fn delete_excluded_makes_plain_rules_sender_side() {
    let mut rules = list(&["- a", "+ b", "-sr c", "P d", "H e", "- *"]);
    rules.delete_excluded();
    check_on(Side::Sender, &rules, &["a", "c", "d", "e", "f"], &["b"]);
    check_on(Side::Receiver, &rules, &["c", "d"], &["a", "b", "e", "f"]);
}

#[test]
fn perishable_rules_do_not_count_in_a_directory_that_is_removed() {
    let filter = filter_of(&list(&["-p *.o", "-p core", "- keep"]), Side::Receiver);
    for name in [b"a.o".as_slice(), b"core", b"keep"] {
        assert!(filter.excludes(name, EntryKind::Other));
    }
    assert!(!filter.excludes_in_removed_dir(b"a.o", EntryKind::Other));
    assert!(!filter.excludes_in_removed_dir(b"core", EntryKind::Other));
    assert!(filter.excludes_in_removed_dir(b"keep", EntryKind::Other));
}

#[test]
fn a_perishable_rule_gives_way_to_a_later_one_in_a_removed_directory() {
    let mut rules = list(&["-p a", "+ a", "- b", "-p *.a", "+ *.a", "- *.b", "- *.x.y"]);
    // So many names and extensions are looked up in tables.
    for number in 0..100 {
        rules.append(list(&[&format!("- name{number}"), &format!("- *.e{number}")]));
    }
    let filter = filter_of(&rules, Side::Receiver);
    for name in [b"a".as_slice(), b"x.a"] {
        assert!(filter.excludes(name, EntryKind::Other));
        assert!(!filter.excludes_in_removed_dir(name, EntryKind::Other));
    }
    for name in [b"b".as_slice(), b"x.b", b"name99", b"x.y.e99", b"a.x.y"] {
        assert!(filter.excludes_in_removed_dir(name, EntryKind::Other));
    }
}

#[test]
fn cvs_excludes_are_perishable_and_stand_where_the_rule_stands() {
    let rules = list(&["+ foo.o", "-C", "- *.x"]);
    check_on(
        Side::Sender,
        &rules,
        &["a.o", "core", "x/TAGS", ".git/", "a~", "#a", "b$", "a.x"],
        &["foo.o", ".git", "a.c"],
    );
    let filter = filter_of(&rules, Side::Receiver);
    assert!(!filter.excludes_in_removed_dir(b"a.o", EntryKind::Other));
    assert!(filter.excludes_in_removed_dir(b"a.x", EntryKind::Other));
}

#[test]
fn a_clear_rule_empties_the_list() {
    assert!(list(&["- a", ": .rules", "!"]).is_empty());
    assert_eq!(list(&["- a", "clear", "- b"]), list(&["- b"]));
}

#[test]
fn exclude_takes_a_pattern_or_an_old_prefix() {
    let mut rules = RuleList::new();
    rules.exclude(b"x").unwrap();
    rules.exclude(b"!").unwrap();
    for pattern in [b"+ keep".as_slice(), b"- a", b"P b", b"#c", b"-d", b"!e", b""] {
        rules.exclude(pattern).unwrap();
    }
    rules.include(b"k*").unwrap();
    rules.include(b"- k").unwrap();
    let lines = rules.to_lines();
    let lines: Vec<_> = lines.iter().map(|line| str::from_utf8(line).unwrap()).collect();
    assert_eq!(lines, ["+ keep", "- a", "- P b", "- #c", "- -d", "- !e", "+ k*", "- k"]);
}

#[test]
fn pattern_files_have_comments_blank_lines_and_prefixes() {
    let mut rules = RuleList::new();
    rules.exclude_from(b"# all\n; of\r\n\r\n*.o\n+ a b \n - x\n").unwrap();
    rules.include_from(b"k\n- l").unwrap();
    assert_eq!(rules.to_lines(), [&b"- *.o"[..], b"+ a b ", b"-  - x", b"+ k", b"- l"]);
    rules.exclude_from(b"a\n!\nb").unwrap();
    assert_eq!(rules.to_lines(), [&b"- b"[..]]);
}

#[test]
fn protect_adds_a_receiver_rule() {
    let mut rules = RuleList::new();
    rules.protect(b"generated/***").unwrap();
    assert_eq!(rules, list(&["P generated/***"]));
    assert!(rules.protect(b"").is_err());
}

#[test]
fn names_are_bytes() {
    let rules = list(&["- *\n*"]);
    let filter = filter_of(&rules, Side::Sender);
    assert!(filter.excludes(b"a\nb\xff", EntryKind::Other));
    let mut rules = RuleList::new();
    rules.exclude(b"[\x80-\xff]?").unwrap();
    let filter = filter_of(&rules, Side::Sender);
    assert!(filter.excludes(b"\xc3\xa9", EntryKind::Other));
    assert!(!filter.excludes(b"aa", EntryKind::Other));
}
