//! The compiled filter gives the answers of the slow, obvious matcher, for random rules and paths.

#![allow(missing_docs, clippy::unwrap_used)]

mod reference;

use std::collections::BTreeMap;
use std::io;

use coast_filter::{EntryKind, Filter, MergeFiles, NoMergeFiles, RuleList, Side};
use proptest::prelude::*;

/// Merge files in memory, by directory.
struct Files(BTreeMap<Vec<u8>, Vec<u8>>);

impl MergeFiles for Files {
    fn read(&self, dir: &[u8], name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.get(dir).filter(|_| name == b".rules").cloned())
    }
}

const ROOT: &[u8] = b"/a/b";

/// Compares every verdict about `path`.
fn check(rules: &RuleList, files: &Files, path: &[u8]) -> Result<(), TestCaseError> {
    let (dir, name) = match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&b""[..], path),
    };
    let lines = rules.to_lines();
    let merged = |dir: &[u8], _name: &[u8]| {
        let mut rules = RuleList::new();
        for line in files.0.get(dir).iter().flat_map(|content| content.split(|&byte| byte == b'\n')) {
            rules.filter(line, &NoMergeFiles).unwrap();
        }
        rules.to_lines()
    };
    let slow = reference::rules_in(lines.iter().map(Vec::as_slice), dir, merged);

    for (side, letter) in [(Side::Sender, b's'), (Side::Receiver, b'r')] {
        let mut filter = Filter::compile_at(rules, side, ROOT).unwrap().root(files).unwrap();
        for component in dir.split(|&byte| byte == b'/').filter(|component| !component.is_empty()) {
            filter = filter.enter(component, files).unwrap();
        }
        prop_assert_eq!(filter.path(), dir);
        for (kind, directory) in [(EntryKind::Directory, true), (EntryKind::Other, false)] {
            for removed in [false, true] {
                let fast = match removed {
                    false => filter.excludes(name, kind),
                    true => filter.excludes_in_removed_dir(name, kind),
                };
                let slow = reference::excluded(&slow, path, directory, letter, removed, ROOT);
                prop_assert_eq!(fast, slow, "{:?} {:?} removed: {}", side, kind, removed);
            }
        }
    }
    Ok(())
}

/// Few letters, so that patterns match now and then.
fn path() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec("[ab.\\[*\\\\]{1,4}|ab|a\\.o", 1..5)
        .prop_map(|components| components.join("/").into_bytes())
}

fn pattern() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[ab.]{1,3}",
        2 => Just("/".to_owned()),
        2 => Just("*".to_owned()),
        1 => Just("**".to_owned()),
        1 => Just("?".to_owned()),
        1 => "\\[[!^]?[]ab-]{1,3}\\]",
        1 => Just("[[:alpha:]]".to_owned()),
        1 => "[\\\\\\[]",
    ];
    (
        prop::collection::vec(piece, 1..7),
        prop_oneof![6 => Just(""), 2 => Just("/"), 2 => Just("/***"), 1 => Just("***")],
    )
        .prop_map(|(pieces, end)| pieces.concat() + end)
}

fn rule() -> impl Strategy<Value = String> {
    let head = prop_oneof![
        8 => Just("-"), 8 => Just("+"), 2 => Just("P"), 2 => Just("H"), 1 => Just("R"), 1 => Just("S"),
        2 => Just("-p"), 1 => Just("-!"), 1 => Just("+!p"), 1 => Just("-/"), 1 => Just("-x"),
    ];
    (head, pattern()).prop_map(|(head, pattern)| format!("{head} {pattern}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn verdicts_equal_those_of_the_reference(
        before in prop::collection::vec(rule(), 0..8),
        after in prop::collection::vec(rule(), 0..3),
        merge in any::<bool>(),
        files in prop::collection::vec((path(), prop::collection::vec(rule(), 1..4)), 0..3),
        paths in prop::collection::vec(path(), 1..6),
        cut in 0_usize..4,
        long in any::<bool>(),
    ) {
        let mut rules = RuleList::new();
        // In a long list tables answer for plain names and extensions.
        for number in 0..if long { 40 } else { 0 } {
            rules.exclude(format!("name{number}").as_bytes()).unwrap();
            rules.exclude(format!("*.ext{number}").as_bytes()).unwrap();
        }
        let merge_rule = merge.then(|| ": .rules".to_owned());
        for rule in before.iter().chain(&merge_rule).chain(&after) {
            rules.filter(rule.as_bytes(), &NoMergeFiles).unwrap();
        }
        let lines = rules.to_lines();
        let copy = RuleList::from_lines(lines.iter().map(Vec::as_slice)).unwrap();
        prop_assert_eq!(&rules, &copy);

        // Merge files lie in the directories on the way to the paths.
        let mut files: BTreeMap<Vec<u8>, Vec<u8>> = files
            .into_iter()
            .map(|(dir, rules)| (dir, rules.join("\n").into_bytes()))
            .collect();
        if let Some((_, content)) = files.iter().next().map(|(dir, content)| (dir.clone(), content.clone())) {
            let on_the_way: Vec<&[u8]> = paths[0].split(|&byte| byte == b'/').take(cut).collect();
            files.insert(on_the_way.join(&b'/'), content);
        }
        let files = Files(files);
        for path in &paths {
            check(&rules, &files, path)?;
        }
    }
}
