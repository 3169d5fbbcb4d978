//! Filter rules from anywhere: parsing never panics, a list survives its own text, and every verdict is that of the
//! slow reference matcher.
//!
//! The input is lines of text, so that a finding reads as what it is: first a path, then rules. A line that starts
//! with `=` or `>` is an argument of `--exclude` or `--include`, one with `@` and a digit belongs to the merge file
//! of the directory that many components down the path, any other is an argument of `--filter`.

#![no_main]

use std::io;

use coast_filter::{EntryKind, Filter, MergeFiles, NoMergeFiles, RuleList, Side};
use libfuzzer_sys::fuzz_target;

#[path = "../../crates/coast-filter/tests/reference/mod.rs"]
mod reference;

/// Where the transfer root lies, for rules about absolute paths.
const ROOT: &[u8] = b"/a/b";
const MERGE_FILE: &[u8] = b".rules";
/// The reference takes time by the product of the two.
const MAX_PATTERN: usize = 200;
const MAX_PATH: usize = 200;

/// The merge files on the way to the path, by depth.
#[derive(Default)]
struct Files([Vec<Vec<u8>>; 10]);

impl Files {
    fn lines(&self, dir: &[u8]) -> &[Vec<u8>] {
        self.0.get(components(dir).count()).map_or(&[], Vec::as_slice)
    }
}

impl MergeFiles for Files {
    fn read(&self, dir: &[u8], name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok((name == MERGE_FILE).then(|| self.lines(dir).join(&b'\n')))
    }
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|component| !component.is_empty())
}

/// The pattern rules that a line of a merge file stands for, if it is no other rule.
fn patterns(line: &[u8]) -> Option<RuleList> {
    let mut rules = RuleList::new();
    let one_line = !line.iter().any(|byte| b"\r\0".contains(byte)) && line.len() <= MAX_PATTERN;
    rules.filter(line, &NoMergeFiles).ok()?;
    let only_patterns = !rules.is_empty() && rules.to_lines().iter().all(|line| line[0] != b':');
    (one_line && only_patterns).then_some(rules)
}

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|&byte| byte == b'\n');
    let path: Vec<&[u8]> = components(lines.next().unwrap_or_default())
        .filter(|name| !matches!(*name, b"." | b"..") && !name.contains(&0))
        .collect();
    if path.is_empty() || path.concat().len() > MAX_PATH {
        return;
    }

    let mut rules = RuleList::new();
    let mut files = Files::default();
    for line in lines.clone() {
        let mut attempt = rules.clone();
        let added = match line {
            [b'@', depth @ b'0'..=b'9', line @ ..] => {
                if patterns(line).is_some() {
                    files.0[usize::from(depth - b'0')].push(line.to_vec());
                }
                continue;
            }
            [b'=', pattern @ ..] => attempt.exclude(pattern),
            [b'>', pattern @ ..] => attempt.include(pattern),
            rule => attempt.filter(rule, &NoMergeFiles),
        };
        let understood = |line: &Vec<u8>| {
            line.len() <= MAX_PATTERN && (line[0] != b':' || line.strip_prefix(b": ") == Some(MERGE_FILE))
        };
        if added.is_ok() && attempt.to_lines().iter().all(understood) {
            rules = attempt;
        }
    }

    let text = rules.to_lines();
    assert_eq!(RuleList::from_lines(text.iter().map(Vec::as_slice)).expect("canonical text"), rules);
    if let Ok(list) = RuleList::from_lines(lines) {
        let text = list.to_lines();
        assert_eq!(RuleList::from_lines(text.iter().map(Vec::as_slice)).expect("canonical text"), list);
    }

    let (name, parents) = path.split_last().expect("the path is not empty");
    let dir = parents.join(&b'/');
    let path = path.join(&b'/');
    let merged = |dir: &[u8], _: &[u8]| {
        files.lines(dir).iter().filter_map(|line| patterns(line)).flat_map(|rules| rules.to_lines()).collect()
    };
    let slow = reference::rules_in(text.iter().map(Vec::as_slice), &dir, merged);
    // Of a long list, tables answer for plain names and extensions.
    let mut long = RuleList::new();
    for number in 0..40 {
        let patterns = [format!("\u{1}{number}"), format!("*.\u{1}{number}")];
        patterns.iter().try_for_each(|pattern| long.exclude(pattern.as_bytes())).expect("two patterns");
    }
    long.append(rules.clone());
    let lists = [(&rules, Side::Sender, b's'), (&rules, Side::Receiver, b'r'), (&long, Side::Receiver, b'r')];
    if name.contains(&1) {
        return;
    }
    for (rules, side, letter) in lists {
        let filter = Filter::compile_at(rules, side, ROOT).expect("the list is within the limits");
        let mut filter = filter.root(&files).expect("the merge files are correct");
        for component in parents {
            filter = filter.enter(component, &files).expect("the merge files are correct");
        }
        for (kind, directory) in [(EntryKind::Directory, true), (EntryKind::Other, false)] {
            let slow = |removed| reference::excluded(&slow, &path, directory, letter, removed, ROOT);
            assert_eq!(filter.excludes(name, kind), slow(false), "{side:?} {kind:?}");
            assert_eq!(filter.excludes_in_removed_dir(name, kind), slow(true), "{side:?} {kind:?} removed");
        }
    }
});
