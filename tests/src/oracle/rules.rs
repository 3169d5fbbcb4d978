//! Random filter rules: every kind, modifier and pattern form that rsync knows, valid so that a run gets to its work.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Names that entries have: few, so that two trees and their rules meet; nasty, so that bytes and glob characters count.
pub(super) const NAMES: [&[u8]; 18] = [
    b"a",
    b"b",
    b"c",
    b"a",
    b"b",
    b"core",
    b"a.o",
    b"-x",
    b"x y",
    b"*",
    b"[ab]",
    b"n\nl",
    b"\xff\xfe",
    b"a\\b",
    b"?",
    b"generated",
    b".hid",
    b"abc",
];

/// The name of per-directory rule files.
pub(super) const RULE_FILE: &str = ".rules";

fn name() -> impl Strategy<Value = Vec<u8>> {
    (0..NAMES.len()).prop_map(|index| NAMES[index].to_vec())
}

fn component() -> impl Strategy<Value = Vec<u8>> {
    let globs: Vec<&'static [u8]> = vec![
        b"*",
        b"?",
        b"**",
        b"***",
        b"a*",
        b"*b",
        b"*.o",
        b"[ab]",
        b"[!a]",
        b"[^a-b]",
        b"[[:alpha:]]",
        b"[[:upper:]]*",
        b"[a-c]*",
        b"[]a]",
        b"[a",
        b"\\*",
        b"\\[ab]",
        b"\\a",
        b"a\\b",
        b"a\\\\b",
        b"\\?",
        b"?*",
        b"*a*",
        b"**a",
        b"a**",
        b"[\\]a]",
        b"[-a]",
        b"[a-]",
        b"g*d",
        b"c?re",
        b"*[!.]*",
        b"???",
        b"[[:punct:]]*",
        b"\xff*",
        b"x*y",
    ];
    prop_oneof![6 => name(), 5 => select(globs).prop_map(<[u8]>::to_vec)]
}

/// A pattern: components joined by slashes, perhaps anchored, perhaps for directories only, perhaps `/***` at its end.
pub(super) fn pattern() -> impl Strategy<Value = Vec<u8>> {
    let ends: Vec<&'static [u8]> = vec![b"", b"", b"", b"/", b"/", b"/***", b"/**", b"/*"];
    let length = prop_oneof![5 => Just(1usize), 3 => Just(2usize), 1 => Just(3usize)];
    (proptest::bool::weighted(0.3), length.prop_flat_map(|length| vec(component(), length)), select(ends))
        .prop_map(|(anchored, components, end)| {
            let mut pattern = if anchored { b"/".to_vec() } else { Vec::new() };
            pattern.extend_from_slice(&components.join(&b"/"[..]));
            pattern.extend_from_slice(end);
            pattern
        })
}

/// A rule that selects by a pattern, short or long, with modifiers.
fn selecting() -> impl Strategy<Value = Vec<u8>> {
    let kinds = vec![
        ("+", "include", "/!srpx"),
        ("-", "exclude", "/!srpx"),
        ("-", "exclude", "/!srpx"),
        ("H", "hide", "/!p"),
        ("S", "show", "/!p"),
        ("P", "protect", "/!p"),
        ("P", "protect", "/!p"),
        ("R", "risk", "/!p"),
    ];
    let modifiers = prop_oneof![4 => Just(vec![]), 2 => vec(any::<Index>(), 1..=2)];
    (select(kinds), modifiers, any::<bool>(), any::<bool>(), pattern()).prop_map(
        |((short, long, allowed), modifiers, spelled_out, underscore, pattern)| {
            let mut chosen: Vec<u8> =
                modifiers.iter().map(|index| allowed.as_bytes()[index.index(allowed.len())]).collect();
            chosen.dedup();
            // An xattr rule selects no file, and `!` of a directory pattern is better had rarely; keep both in play.
            let comma = spelled_out || (!chosen.is_empty() && chosen[0] == b'/');
            let mut rule = if spelled_out { long.as_bytes().to_vec() } else { short.as_bytes().to_vec() };
            if comma && !chosen.is_empty() {
                rule.push(b',');
            }
            rule.extend_from_slice(&chosen);
            rule.push(if underscore && !spelled_out { b'_' } else { b' ' });
            rule.extend_from_slice(&pattern);
            rule
        },
    )
}

/// A rule for a `--filter` option, with per-directory files among them; those for one side are lists of patterns, since
/// a rule in them that names a side itself would be an error.
pub(super) fn rule() -> impl Strategy<Value = Vec<u8>> {
    let merges: Vec<&'static [u8]> = vec![
        b": .rules",
        b": .rules",
        b":n .rules",
        b":e .rules",
        b":- .rules",
        b":+ .rules",
        b":p .rules",
        b":en .rules",
        b"dir-merge .rules",
        b"dir-merge,-n .rules",
        b":-w .rules",
        b":C",
        b"-C",
        b". rules0",
        b"merge rules0",
        b".- rules0",
        b".+ rules0",
        b".s rules0",
        b":-s .rules",
        b":-r .rules",
    ];
    let clears: Vec<&'static [u8]> = vec![b"!", b"clear"];
    prop_oneof![
        10 => selecting(),
        3 => select(merges).prop_map(<[u8]>::to_vec),
        1 => select(clears).prop_map(<[u8]>::to_vec),
    ]
}

/// A line of a rule file that is read as rules.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let others: Vec<&'static [u8]> = vec![b"", b"# comment", b"; comment", b"!"];
    // A pattern with a newline cannot be written in a file of lines.
    let selecting = selecting().prop_filter("one line", |rule| !rule.contains(&b'\n'));
    prop_oneof![8 => selecting, 1 => select(others).prop_map(<[u8]>::to_vec)]
}

/// A line of a rule file that is read as patterns.
fn pattern_line() -> impl Strategy<Value = Vec<u8>> {
    pattern().prop_filter("one line", |pattern| !pattern.contains(&b'\n'))
}

/// The content of a file of rules.
pub(super) fn file() -> impl Strategy<Value = Vec<u8>> {
    vec(line(), 0..4).prop_map(lines)
}

/// The content of a file of patterns.
pub(super) fn pattern_file() -> impl Strategy<Value = Vec<u8>> {
    vec(pattern_line(), 0..4).prop_map(lines)
}

fn lines(lines: Vec<Vec<u8>>) -> Vec<u8> {
    lines.into_iter().flat_map(|line| [line, b"\n".to_vec()].concat()).collect()
}
