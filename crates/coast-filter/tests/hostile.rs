//! Rules from a peer or from a file that others wrote: every limit holds, nothing takes long.

#![allow(missing_docs, clippy::unwrap_used)]

use std::io;
use std::time::{Duration, Instant};

use coast_filter::{
    EntryKind, Filter, FilterError, MAX_DIR_MERGES, MAX_LIST_BYTES, MAX_PATTERN_BYTES, MAX_RULE_BYTES,
    MAX_RULES, MergeFiles, NoMergeFiles, RuleError, RuleFault, RuleList, Side,
};

fn fault(lines: &[&[u8]]) -> Option<RuleFault> {
    match RuleList::from_lines(lines.iter().copied()) {
        Err(RuleError::File { fault, .. }) => Some(fault),
        Err(error) => panic!("{error}"),
        Ok(_) => None,
    }
}

#[test]
fn a_received_list_must_be_canonical() {
    for line in [b"!".as_slice(), b". /etc/passwd", b"-C", b"merge x", b"clear"] {
        assert_eq!(fault(&[line]), Some(RuleFault::NotCanonical), "{}", line.escape_ascii());
    }
    assert_eq!(fault(&[b""]), Some(RuleFault::UnexpectedEnd));
    assert_eq!(fault(&[b"root:x:0"]), Some(RuleFault::UnknownRule));
    assert_eq!(fault(&[b"- a\0"]), Some(RuleFault::Nul));
}

#[test]
fn a_rule_of_the_greatest_length_passes_and_a_longer_one_does_not() {
    let pattern = "x".repeat(MAX_PATTERN_BYTES);
    let longest = format!("-/!sp {pattern}");
    assert_eq!(fault(&[longest.as_bytes()]), None);
    assert_eq!(fault(&[format!("{longest}x").as_bytes()]), Some(RuleFault::TooLong));
    assert_eq!(fault(&["-".repeat(MAX_RULE_BYTES + 1).as_bytes()]), Some(RuleFault::TooLong));
}

#[test]
fn a_list_has_a_greatest_number_of_rules_and_bytes() {
    let rules = vec![b"- a".as_slice(); MAX_RULES];
    assert_eq!(fault(&rules), None);
    assert_eq!(fault(&[&rules[..], &[b"- a"]].concat()), Some(RuleFault::TooManyRules));
    // A merge rule that is there already adds nothing, and counts nevertheless.
    let merges = vec![b": .r".as_slice(); MAX_RULES + 1];
    assert_eq!(fault(&merges), Some(RuleFault::TooManyRules));

    let long = [b"- ".as_slice(), &[b'x'; 4000]].concat();
    let lines = vec![long.as_slice(); MAX_LIST_BYTES / 4000 + 1];
    assert_eq!(fault(&lines), Some(RuleFault::TooManyRules));

    let mut list = RuleList::from_lines(rules).unwrap();
    list.append(list.clone());
    assert!(Filter::compile(&list, Side::Sender).is_err());
}

#[test]
fn there_is_a_greatest_number_of_merge_files() {
    let names: Vec<_> = (0..=MAX_DIR_MERGES).map(|number| format!(": .r{number}").into_bytes()).collect();
    let lines: Vec<_> = names.iter().map(Vec::as_slice).collect();
    assert_eq!(fault(&lines[..MAX_DIR_MERGES]), None);
    assert_eq!(fault(&lines), Some(RuleFault::TooManyDirMerges));
}

/// The same content in every merge file.
struct Everywhere(Vec<u8>);

impl MergeFiles for Everywhere {
    fn read(&self, _dir: &[u8], _name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(Some(self.0.clone()))
    }
}

#[test]
fn merge_files_that_name_ever_more_merge_files_end() {
    let content: String = (0..=MAX_DIR_MERGES).map(|number| format!(": .r{number}\n")).collect();
    let list = RuleList::from_lines([b": .rules".as_slice()]).unwrap();
    let error = Filter::compile(&list, Side::Sender).unwrap().root(&Everywhere(content.into())).unwrap_err();
    assert!(
        matches!(error, FilterError::Rule(RuleError::File { fault: RuleFault::TooManyDirMerges, .. })),
        "{error}"
    );
}

#[test]
fn inherited_rules_end() {
    let files = Everywhere(b"- /a\n".repeat(MAX_RULES / 4));
    let list = RuleList::from_lines([b": .rules".as_slice()]).unwrap();
    let mut filter = Filter::compile(&list, Side::Sender).unwrap().root(&files);
    let mut depth = 0;
    while let Ok(dir) = filter {
        assert!(depth < 4);
        depth += 1;
        filter = dir.enter(b"d", &files);
    }
    assert_eq!(depth, 4);
    assert!(matches!(filter, Err(FilterError::TooManyRules { .. })));
}

#[test]
fn no_pattern_backtracks() {
    let started = Instant::now();
    let mut list = RuleList::new();
    list.exclude("*a".repeat(1000).as_bytes()).unwrap();
    list.exclude("**a".repeat(1000).as_bytes()).unwrap();
    list.exclude([&"**a*".repeat(800), "b/**"].concat().as_bytes()).unwrap();
    let dir = Filter::compile(&list, Side::Sender).unwrap().root(&NoMergeFiles).unwrap();
    let name = [vec![b'a'; 250], vec![b'b']].concat();
    let mut inner = dir.clone();
    for _ in 0..16 {
        inner = inner.enter(&name, &NoMergeFiles).unwrap();
    }
    assert!(!dir.excludes(&name, EntryKind::Other));
    assert!(inner.excludes(&name, EntryKind::Other));
    // By backtracking this would not end; the bound is generous since the machine may be busy.
    assert!(started.elapsed() < Duration::from_secs(10));
}
