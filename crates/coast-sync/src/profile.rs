//! The profile that a workspace is pushed with: which options, and which rules. Generated code is made on the
//! remote and must survive there; what a package manager or a build makes does not travel.

use coast_filter::{RuleError, RuleList};
use coast_wire::{Delete, Options, Ownership};

/// What is never deleted at the destination, although the source may not have it.
pub const PROTECTED: [&str; 4] =
    ["generated/***", ".react-router/***", "internal/generated/***", "app/generated/***"];

/// What is neither sent nor deleted. The one list: whatever keeps a workspace in step between two pushes ignores these too.
pub const EXCLUDED: [&str; 6] = [".git", "node_modules", "target", "__pycache__", ".react-router", ".next"];

/// The options of a workspace push: `-rlDE --partial --delete-after`, and the user who logs in owns the result.
pub fn options() -> Options {
    Options {
        recursive: true,
        links: true,
        devices: true,
        specials: true,
        executability: true,
        partial: true,
        delete: Some(Delete { max: None }),
        ownership: Ownership::LoginUser,
        ..Options::default()
    }
}

/// The rules of a workspace push: first what the caller excludes and protects, which therefore wins, then the defaults if
/// they are wanted. Patterns are rsync's, and only patterns: unlike with `--exclude`, a prefix such as `+ ` is part of the name.
///
/// ```
/// let rules = coast_sync::profile::rules(&["dist"], &["uploads/***"], true)?;
/// assert_eq!(rules.to_lines()[..2], [b"-r uploads/***".to_vec(), b"- dist".to_vec()]);
/// # Ok::<(), coast_sync::RuleError>(())
/// ```
///
/// # Errors
/// When a pattern is empty, too long or holds a NUL; the error names it.
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
        // The prefix says that what follows is a pattern, whatever it begins with.
        rules.exclude(&[b"- ", pattern.as_ref()].concat())?;
    }
    if defaults {
        add_default_rules(&mut rules)?;
    }
    Ok(rules)
}

/// Adds the default rules behind those already in `rules`, which therefore win.
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
