//! The options and rules for pushing a workspace. Generated code is made on the remote, so it is protected there. The files that
//! package managers and builds make are not sent.

use coast_filter::{RuleError, RuleList};
use coast_tree::RelPath;
use coast_wire::{Delete, Options, Own, Ownership};

use crate::only;

/// Patterns of entries that are never deleted at the destination, even if the source does not have them.
pub const PROTECTED: [&str; 4] =
    ["generated/***", ".react-router/***", "internal/generated/***", "app/generated/***"];

/// Patterns of entries that are neither sent nor deleted. The continuous layer uses this list too.
pub const EXCLUDED: [&str; 6] = [".git", "node_modules", "target", "__pycache__", ".react-router", ".next"];

/// Returns the options for pushing a workspace: `-rlDE --partial --delete-after`. The user who logs in gets every entry that is
/// sent, and the others that belong to root.
pub fn options() -> Options {
    Options {
        recursive: true,
        links: true,
        devices: true,
        specials: true,
        executability: true,
        partial: true,
        delete: Some(Delete::default()),
        trash: true,
        ownership: Ownership::LoginUser { own: Own::default() },
        ..Options::default()
    }
}

/// Returns the rules for pushing a workspace: first the caller's patterns, which therefore win, then the default rules if
/// `defaults` is set. The patterns are rsync's. Unlike with `--exclude`, a prefix such as `+ ` is part of the pattern.
///
/// ```
/// let rules = coast_sync::profile::rules(&["dist"], &["uploads/***"], true)?;
/// assert_eq!(rules.to_lines()[..2], [b"-r uploads/***".to_vec(), b"- dist".to_vec()]);
/// # Ok::<(), coast_sync::RuleError>(())
/// ```
///
/// # Errors
/// When a pattern is empty, is too long or has a NUL in it; the error names the pattern.
pub fn rules(
    exclude: &[impl AsRef<[u8]>],
    protect: &[impl AsRef<[u8]>],
    defaults: bool,
) -> Result<RuleList, RuleError> {
    let mut rules = RuleList::new();
    for pattern in protect {
        rules.protect(pattern.as_ref())?;
    }
    for pattern in exclude {
        // After the prefix `- ` the rest is a pattern, even if it starts like a rule.
        rules.exclude(&[b"- ", pattern.as_ref()].concat())?;
    }
    if defaults {
        add_default_rules(&mut rules)?;
    }
    Ok(rules)
}

/// Adds the default rules after those already in `rules`, which therefore win.
///
/// # Errors
/// When the list would grow beyond [`coast_filter::MAX_RULES`].
pub fn add_default_rules(rules: &mut RuleList) -> Result<(), RuleError> {
    for pattern in PROTECTED {
        rules.protect(pattern.as_bytes())?;
    }
    for pattern in EXCLUDED {
        rules.exclude(pattern.as_bytes())?;
    }
    Ok(())
}

/// Adds rules that protect the entry at a path, relative to the transfer root, and everything below it. A path that no entry can
/// have adds none.
///
/// # Errors
/// When the list would grow beyond [`coast_filter::MAX_RULES`].
pub fn protect_path(rules: &mut RuleList, path: &[u8]) -> Result<(), RuleError> {
    let Ok(path) = RelPath::new(path) else { return Ok(()) };
    rules.protect(&only::literal(&path))?;
    rules.protect(&[only::escaped(&path), b"/***".to_vec()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_rules_are_those_of_the_documented_rsync_command() {
        let mut documented = RuleList::new();
        for rule in
            ["P generated/***", "P .react-router/***", "P internal/generated/***", "P app/generated/***"]
        {
            documented.filter(rule.as_bytes(), &coast_filter::NoMergeFiles).unwrap();
        }
        for pattern in [".git", "node_modules", "target", "__pycache__", ".react-router", ".next"] {
            documented.exclude(pattern.as_bytes()).unwrap();
        }
        let mut defaults = RuleList::new();
        add_default_rules(&mut defaults).unwrap();
        assert_eq!(defaults.to_lines(), documented.to_lines());
        assert_eq!(rules(&[""; 0], &[""; 0], true).unwrap(), documented);
    }

    #[test]
    fn rules_of_the_caller_come_before_the_defaults_and_are_patterns_only() {
        let lines = |exclude: &[&str], protect: &[&str], defaults| {
            rules(exclude, protect, defaults).unwrap().to_lines()
        };
        assert_eq!(
            lines(&["*.log", "+ kept", "!"], &["data/"], false),
            [b"-r data/".to_vec(), b"- *.log".to_vec(), b"- + kept".to_vec(), b"- !".to_vec(),]
        );
        let with_defaults = lines(&["*.log"], &[], true);
        assert_eq!(with_defaults.len(), 1 + PROTECTED.len() + EXCLUDED.len());
        assert_eq!(with_defaults[0], b"- *.log");
        assert!(lines(&[], &[], false).is_empty());
    }

    #[test]
    fn a_pattern_that_cannot_be_one_is_named() {
        for (exclude, protect) in [(vec![""], vec![]), (vec![], vec![""]), (vec!["a\0b"], vec![])] {
            let error = rules(&exclude, &protect, true).unwrap_err();
            assert!(!error.to_string().is_empty(), "{exclude:?} {protect:?}");
        }
    }
}
