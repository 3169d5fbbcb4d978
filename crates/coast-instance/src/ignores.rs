//! Exclude patterns that both layers understand. The bulk layer reads a pattern as rsync does; mutagen's ignore patterns have another
//! syntax. Both layers must exclude the same entries. So only patterns that mutagen can express are allowed, and this module
//! translates them.
//!
//! | rsync | mutagen | why |
//! |---|---|---|
//! | `name`, `*.o`, `name/`, `/a/b` | the same | |
//! | `a/b` | `**/a/b` | rsync matches the end of a path, mutagen the whole path |
//! | `dir/***` | `dir/` | mutagen ignores everything below an ignored directory |
//! | `dir/**` | `**/dir/*` | mutagen's `dir/**` matches `dir` itself, too |
//! | `a/**/b` | `**/a/*/**/b` | in mutagen `**/` can match nothing anywhere, in rsync only at the beginning |
//! | `a{b` | `a\{b` | braces are alternatives in mutagen |
//! | `a\b` (no wildcard) | `a\\b` | in mutagen a backslash always escapes |
//! | `?`, `[!a]`, `[é]` | refused | rsync matches a byte, mutagen a character |
//!
//! Names that are not UTF-8 do not matter here: mutagen never carries them.

use std::iter::Peekable;
use std::str::Chars;

use coast_sync::profile;

/// Why both layers cannot use a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// The pattern is empty.
    #[error("it is empty")]
    Empty,
    /// The text is a filter rule, not a pattern.
    #[error("it is a filter rule; write the pattern alone (includes and other rules are not possible here)")]
    Rule,
    /// A component is empty, `.` or `..`.
    #[error("it has an empty, \".\" or \"..\" component, which no path has")]
    Component,
    /// `**` beside other characters, or `***` not at the end.
    #[error("\"**\" must stand alone between slashes, and \"***\" only at the end, as in \"dir/***\"")]
    DoubleStar,
    /// A set in brackets is not closed, or the layers read it differently.
    #[error(
        "a set in brackets must be closed and hold only ASCII characters and ranges such as a-z: no class such as [:alpha:], \
         no range that goes backwards or across \"/\""
    )]
    Bracket,
    /// The pattern has `?` or a negated set.
    #[error(
        "\"?\", \"[!\" and \"[^\" stand for one byte in one layer and for one character in the other; name the characters that may \
         stand there, as in [a-z0-9], or write \"*\""
    )]
    OneCharacter,
    /// The pattern ends in a backslash.
    #[error("it ends in a backslash that escapes nothing")]
    Backslash,
    /// The pattern excludes the whole workspace.
    #[error("it stands for the whole workspace")]
    Everything,
    /// The pattern has a NUL, or is longer than a rule may be.
    #[error("it holds a NUL or is longer than {} bytes", coast_filter::MAX_PATTERN_BYTES)]
    Text,
}

/// Checks that both layers understand an exclude pattern.
pub(crate) fn check_exclude(pattern: &str) -> Result<(), BadPattern> {
    to_mutagen(pattern).map(|_| ())
}

/// Checks a protect pattern. Only the bulk layer deletes entries that it did not send, so any pattern of rsync is allowed.
pub(crate) fn check_protect(pattern: &str) -> Result<(), BadPattern> {
    check_text(pattern)
}

fn check_text(pattern: &str) -> Result<(), BadPattern> {
    if pattern.is_empty() {
        Err(BadPattern::Empty)
    } else if pattern == "!" || ["- ", "+ "].iter().any(|prefix| pattern.starts_with(prefix)) {
        Err(BadPattern::Rule)
    } else if pattern.contains('\0') || pattern.len() > coast_filter::MAX_PATTERN_BYTES {
        Err(BadPattern::Text)
    } else {
        Ok(())
    }
}

/// Translates an exclude pattern of rsync into mutagen's syntax. An error means that mutagen cannot express it.
pub(crate) fn to_mutagen(pattern: &str) -> Result<String, BadPattern> {
    check_text(pattern)?;
    let (anchored, rest) = match pattern.strip_prefix('/') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let (rest, scope) = match (rest.strip_suffix("/***"), rest.strip_suffix('/')) {
        (Some(rest), _) => (rest, PatternScope::DirectoryAndBelow),
        (None, Some(rest)) => (rest, PatternScope::Directory),
        (None, None) => (rest, PatternScope::Any),
    };
    let components: Vec<&str> = rest.split('/').collect();
    if is_everything(&components, anchored, scope) {
        return Err(BadPattern::Everything);
    }
    // In a pattern without wildcards, rsync takes a backslash literally.
    let escapes = pattern.contains(['*', '?', '[']);
    let last = components.len() - 1;
    let mut spelled = Vec::new();
    for (index, component) in components.iter().enumerate() {
        spelled.push(match *component {
            // Deeper entries are below the entries that `*` matches.
            "**" if index == last => "*".to_owned(),
            // rsync matches the path with a slash before it, so that `**` can match nothing at the beginning.
            "**" if index == 0 && !anchored => "**".to_owned(),
            // Elsewhere rsync's `**` matches at least one directory.
            "**" => "*/**".to_owned(),
            component => translate_component(component, escapes)?,
        });
    }
    let prefix = match spelled[0].as_str() {
        _ if anchored => "/",
        "**" => "",
        _ if last > 0 => "**/",
        // At the beginning of a pattern, mutagen would take `!` for a negation.
        first if first.starts_with('!') => "\\",
        _ => "",
    };
    let suffix = if scope == PatternScope::Any { "" } else { "/" };
    Ok(format!("{prefix}{}{suffix}", spelled.join("/")))
}

/// The entries that a pattern can match, by its suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PatternScope {
    /// `name`: entries of all kinds.
    Any,
    /// `name/`: a directory.
    Directory,
    /// `name/***`: a directory and the entries in it, even if the directory itself does not match.
    DirectoryAndBelow,
}

/// Whether the pattern excludes every entry of the workspace's root.
fn is_everything(components: &[&str], anchored: bool, scope: PatternScope) -> bool {
    let only_stars = |component: &str| component.bytes().all(|byte| byte == b'*');
    match (components, scope) {
        ([""], _) => true,
        ([only], PatternScope::Any) => only_stars(only),
        (["**", last], PatternScope::Any) => !anchored && only_stars(last),
        (["**"], PatternScope::DirectoryAndBelow) => !anchored,
        _ => false,
    }
}

fn translate_component(component: &str, escapes: bool) -> Result<String, BadPattern> {
    match component {
        "" | "." | ".." => return Err(BadPattern::Component),
        _ if escapes && component.contains("**") => return Err(BadPattern::DoubleStar),
        _ => {}
    }
    let mut spelled = String::new();
    let mut letters = component.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if escapes => {
                spelled.push('\\');
                spelled.push(letters.next().ok_or(BadPattern::Backslash)?);
            }
            '\\' => spelled.push_str("\\\\"),
            '{' | '}' => spelled.extend(['\\', letter]),
            '?' => return Err(BadPattern::OneCharacter),
            '[' => translate_set(&mut letters, &mut spelled)?,
            letter => spelled.push(letter),
        }
    }
    Ok(spelled)
}

/// Reads a set after its opening bracket. Returns it in mutagen's syntax.
fn translate_set(letters: &mut Peekable<Chars<'_>>, spelled: &mut String) -> Result<(), BadPattern> {
    if letters.next_if(|next| matches!(next, '!' | '^')).is_some() {
        return Err(BadPattern::OneCharacter);
    }
    spelled.push('[');
    // The possible first character of a range: `None` at the beginning and after a range.
    let mut low = None;
    let mut is_empty = true;
    loop {
        let letter = letters.next().ok_or(BadPattern::Bracket)?;
        match letter {
            ']' if !is_empty => break,
            // Mutagen reads rsync's sets `[]a]` and `[[:alpha:]]` differently.
            ']' | '[' => return Err(BadPattern::Bracket),
            _ => {}
        }
        is_empty = false;
        spelled.push(letter);
        match (letter, low) {
            ('-', Some(first)) if letters.peek().is_some_and(|next| *next != ']') => {
                let end = letters.next().ok_or(BadPattern::Bracket)?;
                spelled.push(end);
                let end = member(end, letters, spelled)?;
                // A set of mutagen can match a slash.
                if end < first || (first..=end).contains(&'/') {
                    return Err(BadPattern::Bracket);
                }
                low = None;
            }
            _ => low = Some(member(letter, letters, spelled)?),
        }
    }
    spelled.push(']');
    Ok(())
}

/// The member of a set that begins with `letter`: the letter itself, or the one after a backslash.
fn member(letter: char, letters: &mut Peekable<Chars<'_>>, spelled: &mut String) -> Result<char, BadPattern> {
    let member = match letter {
        '\\' => {
            let escaped = letters.next().ok_or(BadPattern::Backslash)?;
            spelled.push(escaped);
            escaped
        }
        letter => letter,
    };
    if member.is_ascii() { Ok(member) } else { Err(BadPattern::Bracket) }
}

/// The ignore patterns for mutagen: version control, the default rules if they apply, and `excludes`. An error names the first of
/// `excludes` that mutagen cannot express.
pub(crate) fn for_mutagen(excludes: &[String], defaults: bool) -> Result<Vec<String>, (String, BadPattern)> {
    let defaults =
        profile::EXCLUDED.into_iter().filter(|pattern| defaults && !VERSION_CONTROL.contains(pattern));
    let all = VERSION_CONTROL.into_iter().chain(defaults).chain(excludes.iter().map(String::as_str));
    all.map(|pattern| to_mutagen(pattern).map_err(|bad| (pattern.to_owned(), bad))).collect()
}

/// The entries that neither layer ever transfers. `.git` can also be a file: in a linked worktree it names a path of this machine.
/// The others are the directories that mutagen excludes with `--ignore-vcs`.
pub(crate) const VERSION_CONTROL: [&str; 5] = [".git", ".svn/", ".hg/", ".bzr/", "_darcs/"];

#[cfg(test)]
mod mutagen_model;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use coast_filter::{DirFilter, EntryKind, Filter, NoMergeFiles, RuleList, Side};
    use proptest::prelude::*;

    use super::mutagen_model::Ignore;
    use super::*;

    #[test]
    fn patterns_are_spelled_as_mutagen_reads_them() {
        for (rsync, mutagen) in [
            ("node_modules", "node_modules"),
            ("*.log", "*.log"),
            ("build/", "build/"),
            ("/dist", "/dist"),
            ("/a/b/", "/a/b/"),
            ("a/b", "**/a/b"),
            ("**/a", "**/a"),
            ("a/**/b", "**/a/*/**/b"),
            ("/a/**/b", "/a/*/**/b"),
            ("/**/a", "/*/**/a"),
            ("**/a/**/b", "**/a/*/**/b"),
            ("a/**/", "**/a/*/"),
            ("*/", "*/"),
            ("**/", "*/"),
            ("/*/*", "/*/*"),
            ("uploads/***", "uploads/"),
            ("a/b/***", "**/a/b/"),
            ("cache/**", "**/cache/*"),
            ("a{b,c}", "a\\{b,c\\}"),
            ("a\\b", "a\\\\b"),
            ("a\\*b", "a\\*b"),
            ("*.py[a-co-]", "*.py[a-co-]"),
            ("[\\]a-\\c]", "[\\]a-\\c]"),
            ("!x", "\\!x"),
            ("/!x", "/!x"),
            ("!x/y", "**/!x/y"),
            ("- ", "- "),
        ] {
            let expected = if rsync == "- " { Err(BadPattern::Rule) } else { Ok(mutagen.to_owned()) };
            assert_eq!(to_mutagen(rsync), expected, "{rsync:?}");
        }
    }

    #[test]
    fn what_only_one_layer_understands_is_refused() {
        for (pattern, why) in [
            ("", BadPattern::Empty),
            ("!", BadPattern::Rule),
            ("+ keep", BadPattern::Rule),
            ("a//b", BadPattern::Component),
            ("./a", BadPattern::Component),
            ("../a", BadPattern::Component),
            ("a**", BadPattern::DoubleStar),
            ("***/a", BadPattern::DoubleStar),
            ("[a", BadPattern::Bracket),
            ("[[:alpha:]]", BadPattern::Bracket),
            ("[]a]", BadPattern::Bracket),
            ("[\u{e9}]", BadPattern::Bracket),
            ("[c-a]", BadPattern::Bracket),
            ("a[,-0]b", BadPattern::Bracket),
            ("?.one", BadPattern::OneCharacter),
            ("[!a].two", BadPattern::OneCharacter),
            ("[^a].two", BadPattern::OneCharacter),
            ("*\\", BadPattern::Backslash),
            ("/", BadPattern::Everything),
            ("/*", BadPattern::Everything),
            ("/***", BadPattern::Everything),
            ("*", BadPattern::Everything),
            ("**", BadPattern::Everything),
            ("/**", BadPattern::Everything),
            ("***", BadPattern::Everything),
            ("**/*", BadPattern::Everything),
            ("**/**", BadPattern::Everything),
            ("**/***", BadPattern::Everything),
            ("a\0b", BadPattern::Text),
        ] {
            assert_eq!(to_mutagen(pattern), Err(why), "{pattern:?}");
        }
    }

    /// The names in each directory of a tree. Each name occurs as a file and as a directory.
    const NAMES: [&str; 12] = ["a", "b", "c", "ab", "a.b", "é", "éb", "!a", "{a,b}", "a\\b", "-", "a*"];

    /// The depth of the tree.
    const DEPTH: usize = 4;

    /// The paths that a filter does not exclude, a directory's with a slash at its end. Excluded directories are not entered.
    fn let_through(
        names: &[&str],
        depth: usize,
        left_out: &mut dyn FnMut(&[&str], EntryKind) -> bool,
    ) -> BTreeSet<String> {
        fn walk<'n>(
            names: &[&'n str],
            depth: usize,
            path: &mut Vec<&'n str>,
            left_out: &mut dyn FnMut(&[&str], EntryKind) -> bool,
            found: &mut BTreeSet<String>,
        ) {
            for name in names {
                path.push(name);
                if !left_out(path, EntryKind::Other) {
                    found.insert(path.join("/"));
                }
                if path.len() < depth && !left_out(path, EntryKind::Directory) {
                    found.insert(path.join("/") + "/");
                    walk(names, depth, path, left_out, found);
                }
                path.pop();
            }
        }
        let mut found = BTreeSet::new();
        walk(names, depth, &mut Vec::new(), left_out, &mut found);
        found
    }

    fn sent(pattern: &str, names: &[&str], depth: usize) -> BTreeSet<String> {
        let mut rules = RuleList::new();
        rules.exclude(pattern.as_bytes()).unwrap();
        let root = Filter::compile(&rules, Side::Sender).unwrap().root(&NoMergeFiles).unwrap();
        // The filters of the directories on the way to the last path.
        let mut way: Vec<(String, DirFilter)> = vec![(String::new(), root)];
        let_through(names, depth, &mut |path, kind| {
            let (name, above) = path.split_last().unwrap();
            way.truncate(above.len() + 1);
            let here = (1..=above.len())
                .find(|&depth| way.get(depth).is_none_or(|(path, _)| *path != above[..depth].join("/")));
            for depth in here.unwrap_or(above.len() + 1)..=above.len() {
                way.truncate(depth);
                let below = way[depth - 1].1.enter(above[depth - 1].as_bytes(), &NoMergeFiles).unwrap();
                way.push((above[..depth].join("/"), below));
            }
            way[above.len()].1.excludes(name.as_bytes(), kind)
        })
    }

    fn followed(spelled: &str, names: &[&str], depth: usize) -> BTreeSet<String> {
        let ignore = Ignore::parse(spelled);
        let_through(names, depth, &mut |path, kind| {
            ignore.matches(&path.join("/"), kind == EntryKind::Directory)
        })
    }

    #[test]
    fn the_table_says_what_both_layers_do() {
        for (pattern, path, expected) in [
            ("a/b", "x/a/b", true),
            ("a/b", "a/b", true),
            ("/a/b", "x/a/b", false),
            ("**/a", "a", true),
            ("**/a", "x/y/a", true),
            ("a/**/b", "a/x/b", true),
            ("a/**/b", "y/a/x/z/b", true),
            ("a/**/b", "a/b", false),
            ("/r/**/c", "r/c", false),
            ("/**/top", "top", false),
            ("/**/top", "x/top", true),
            ("**/a/**/b", "a/b", false),
            ("cache/**", "x/cache/y/z", true),
            ("cache/**", "cache", false),
            ("cache/***", "x/cache/y", true),
            ("cache/***", "cache", false),
            ("a{b", "a{b", true),
            ("a\\b", "a\\b", true),
            ("A", "a", false),
            ("*.[oa]", "x.o", true),
            ("*.one", "é.one", true),
        ] {
            let names: Vec<&str> = path.split('/').collect();
            let left_out = |let_through: BTreeSet<String>| !let_through.contains(path);
            let spelled = to_mutagen(pattern).unwrap();
            assert_eq!(left_out(sent(pattern, &names, names.len())), expected, "{pattern:?} {path:?}");
            assert_eq!(left_out(followed(&spelled, &names, names.len())), expected, "{spelled:?} {path:?}");
        }
    }

    /// A component of a pattern. Some components have a special meaning in one layer only.
    fn component() -> impl Strategy<Value = String> {
        let atom = prop::sample::select(vec![
            "a", "b", "c", "é", "*", ".", "!", "{", "}", ",", "\\", "-", "\\*", "\\[", "[ab]", "[a-c]",
            "[!a]", "[,-0]", "[]", "[-a]", "[a-]", "[\\]b]", "[a\\-c]", "[é]", "?", "]", "**",
        ]);
        prop_oneof![
            4 => prop::sample::select(vec!["a", "b", "ab", "*", "a*", "*b", "é"]).prop_map(str::to_owned),
            3 => Just("**".to_owned()),
            3 => prop::collection::vec(atom, 1..4).prop_map(|atoms| atoms.concat()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn what_one_layer_leaves_out_the_other_does_too(
            start in prop::sample::select(vec!["", "/"]),
            components in prop::collection::vec(component(), 1..5),
            end in prop::sample::select(vec!["", "", "/", "/***"]),
            names in prop::sample::subsequence(NAMES.to_vec(), 1..4),
        ) {
            let pattern = format!("{start}{}{end}", components.join("/"));
            if let Ok(spelled) = to_mutagen(&pattern) {
                prop_assert_eq!(
                    sent(&pattern, &names, DEPTH), followed(&spelled, &names, DEPTH), "{:?} {:?}", pattern, spelled
                );
            }
        }

        #[test]
        fn a_pattern_that_is_taken_leaves_something(components in prop::collection::vec(component(), 1..4)) {
            let pattern = components.join("/");
            if to_mutagen(&pattern).is_ok() {
                let names = ["a", "b", "é", "z\u{1f600}"];
                prop_assert!(!sent(&pattern, &names, 2).is_empty(), "{:?}", pattern);
            }
        }
    }

    #[test]
    fn both_layers_start_from_one_list() {
        let ignores = for_mutagen(&["*.log".to_owned(), "a/b".to_owned()], true).unwrap();
        let mut expected = VERSION_CONTROL.to_vec();
        expected.extend(profile::EXCLUDED.into_iter().filter(|pattern| *pattern != ".git"));
        expected.extend(["*.log", "**/a/b"]);
        assert_eq!(ignores, expected);
        assert_eq!(for_mutagen(&[], false).unwrap(), VERSION_CONTROL);
        assert_eq!(for_mutagen(&["[".to_owned()], true), Err(("[".to_owned(), BadPattern::Bracket)));
    }
}
