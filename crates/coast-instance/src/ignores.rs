//! Exclude patterns in the form that both layers understand. The bulk layer reads a pattern as rsync does, mutagen reads its
//! ignores in a syntax of its own; so that both leave out the same things, only patterns are taken that mean the same in both,
//! and this module says how mutagen spells them.
//!
//! | rsync | mutagen | why |
//! |---|---|---|
//! | `name`, `*.o`, `name/`, `/a/b` | the same | |
//! | `a/b` | `**/a/b` | rsync matches the end of a path, mutagen the whole of it |
//! | `dir/***` | `dir/` | what is below an ignored directory is ignored anyway |
//! | `dir/**` | `dir/*` | mutagen's `dir/**` is `dir` itself, too |
//! | `a{b` | `a\{b` | braces are alternatives there |
//! | `a\b` (no wildcard) | `a\\b` | there a backslash always escapes |

use coast_sync::profile;

/// Why a pattern cannot be used by both layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// It is a rule, not a pattern.
    #[error("it is a filter rule; write the pattern alone (includes and other rules are not possible here)")]
    Rule,
    /// A component is empty, `.` or `..`.
    #[error("it has an empty, \".\" or \"..\" component, which no path has")]
    Component,
    /// `**` beside other characters, or `***` not at the end.
    #[error("\"**\" must stand alone between slashes, and \"***\" only at the end, as in \"dir/***\"")]
    DoubleStar,
    /// `[` without `]`, or `[:alpha:]`.
    #[error("a set in brackets must be closed and may not name a class such as [:alpha:]")]
    Bracket,
    /// A backslash at the end.
    #[error("it ends in a backslash that escapes nothing")]
    Backslash,
    /// Everything would be left out.
    #[error("it stands for the whole workspace")]
    Everything,
    /// A NUL byte, or longer than a rule can be.
    #[error("it holds a NUL or is longer than {} bytes", coast_filter::MAX_PATTERN_BYTES)]
    Text,
}

/// Whether both layers understand an exclude pattern.
pub(crate) fn check_exclude(pattern: &str) -> Result<(), BadPattern> {
    to_mutagen(pattern).map(|_| ())
}

/// Whether a pattern can protect: only the bulk layer deletes what it does not know, so all of rsync's patterns will do.
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

/// mutagen's spelling of an exclude pattern of rsync.
///
/// # Errors
/// When the pattern means something that mutagen cannot express.
pub fn to_mutagen(pattern: &str) -> Result<String, BadPattern> {
    check_text(pattern)?;
    let (anchored, rest) = match pattern.strip_prefix('/') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    // Whether it was `dir/` or `dir/***`: directories only.
    let (rest, directory_only) = match rest.strip_suffix("/***").or_else(|| rest.strip_suffix('/')) {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    if rest.is_empty() || (rest.bytes().all(|byte| byte == b'*') && anchored && !directory_only) {
        return Err(BadPattern::Everything);
    }
    // As in rsync: without a wildcard, a backslash is a backslash.
    let escapes = pattern.contains(['*', '?', '[']);
    let mut components = Vec::new();
    for component in rest.split('/') {
        components.push(translate_component(component, escapes)?);
    }
    let below = components.len() > 1;
    if let Some(last) = components.last_mut().filter(|last| below && *last == "**") {
        *last = "*".to_owned();
    }
    let mut spelled = String::new();
    if anchored {
        spelled.push('/');
    } else if components.len() > 1 && components[0] != "**" {
        spelled.push_str("**/");
    }
    let literal_bang = !anchored && components.len() == 1 && components[0].starts_with('!');
    if literal_bang {
        spelled.push('\\');
    }
    spelled.push_str(&components.join("/"));
    if directory_only {
        spelled.push('/');
    }
    Ok(spelled)
}

fn translate_component(component: &str, escapes: bool) -> Result<String, BadPattern> {
    match component {
        "" | "." | ".." => return Err(BadPattern::Component),
        "**" => return Ok(component.to_owned()),
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
            '[' => {
                spelled.push('[');
                if let Some(negation) = letters.next_if(|next| matches!(next, '!' | '^')) {
                    spelled.push(negation);
                }
                let mut members = 0;
                loop {
                    match letters.next().ok_or(BadPattern::Bracket)? {
                        ']' if members > 0 => break,
                        // `[]a]` and `[[:alpha:]]` are sets in rsync that mutagen reads otherwise.
                        ']' | '[' => return Err(BadPattern::Bracket),
                        '\\' => spelled.extend(['\\', letters.next().ok_or(BadPattern::Backslash)?]),
                        member => spelled.push(member),
                    }
                    members += 1;
                }
                spelled.push(']');
            }
            letter => spelled.push(letter),
        }
    }
    Ok(spelled)
}

/// What mutagen is told to ignore besides version control: the default rules, if they hold, and `excludes`, which were checked
/// when they were read.
///
/// # Errors
/// When one of `excludes` is no pattern for both layers; says which.
pub fn for_mutagen(excludes: &[String], defaults: bool) -> Result<Vec<String>, (String, BadPattern)> {
    let defaults = profile::EXCLUDED.into_iter().filter(|pattern| defaults && *pattern != VERSION_CONTROL);
    let all = defaults.chain(excludes.iter().map(String::as_str));
    all.map(|pattern| to_mutagen(pattern).map_err(|bad| (pattern.to_owned(), bad))).collect()
}

/// Never travels, whatever the rules say: in a linked worktree it is a file that points to a path of this machine. mutagen has an
/// option of its own for it.
pub(crate) const VERSION_CONTROL: &str = ".git";

#[cfg(test)]
mod tests {
    use coast_filter::{EntryKind, Filter, NoMergeFiles, RuleList, Side};

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
            ("a/**/b", "**/a/**/b"),
            ("uploads/***", "uploads/"),
            ("a/b/***", "**/a/b/"),
            ("cache/**", "**/cache/*"),
            ("a{b,c}", "a\\{b,c\\}"),
            ("a\\b", "a\\\\b"),
            ("a\\*b", "a\\*b"),
            ("[!a-c]x", "[!a-c]x"),
            ("!x", "\\!x"),
            ("/!x", "/!x"),
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
            ("*\\", BadPattern::Backslash),
            ("/", BadPattern::Everything),
            ("/*", BadPattern::Everything),
            ("/***", BadPattern::Everything),
            ("a\0b", BadPattern::Text),
        ] {
            assert_eq!(to_mutagen(pattern), Err(why), "{pattern:?}");
        }
    }

    /// Whether the bulk layer leaves a file out.
    fn excluded(pattern: &str, path: &str) -> bool {
        let mut rules = RuleList::new();
        rules.exclude(pattern.as_bytes()).unwrap();
        let mut dir = Filter::compile(&rules, Side::Sender).unwrap().root(&NoMergeFiles).unwrap();
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            let kind = if parts.peek().is_some() { EntryKind::Directory } else { EntryKind::Other };
            if dir.excludes(part.as_bytes(), kind) {
                return true;
            }
            if kind == EntryKind::Directory {
                dir = dir.enter(part.as_bytes(), &NoMergeFiles).unwrap();
            }
        }
        false
    }

    #[test]
    fn the_table_says_what_the_bulk_layer_does() {
        for (pattern, path, expected) in [
            ("a/b", "x/a/b", true),
            ("a/b", "a/b", true),
            ("/a/b", "x/a/b", false),
            ("**/a", "a", true),
            ("**/a", "x/y/a", true),
            ("a/**/b", "a/x/b", true),
            ("cache/**", "x/cache/y/z", true),
            ("cache/**", "cache", false),
            ("cache/***", "x/cache/y", true),
            ("cache/***", "cache", false),
            ("a{b", "a{b", true),
            ("a\\b", "a\\b", true),
        ] {
            assert_eq!(excluded(pattern, path), expected, "{pattern:?} {path:?}");
        }
    }

    #[test]
    fn both_layers_start_from_one_list() {
        let ignores = for_mutagen(&["*.log".to_owned(), "a/b".to_owned()], true).unwrap();
        let mut expected: Vec<&str> = profile::EXCLUDED.into_iter().filter(|name| *name != ".git").collect();
        expected.extend(["*.log", "**/a/b"]);
        assert_eq!(ignores, expected);
        assert_eq!(for_mutagen(&[], false).unwrap(), Vec::<String>::new());
        assert_eq!(for_mutagen(&["[".to_owned()], true), Err(("[".to_owned(), BadPattern::Bracket)));
    }
}
