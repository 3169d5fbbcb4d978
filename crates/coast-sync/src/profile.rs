//! The profile that a workspace is pushed with: which options, and which rules. Generated code is made on the
//! remote and must survive there; what a package manager or a build makes does not travel.

use coast_filter::{RuleError, RuleList};
use coast_wire::{Delete, Options, Ownership};

/// What is never deleted at the destination, although the source may not have it.
pub const PROTECTED: [&str; 4] =
    ["generated/***", ".react-router/***", "internal/generated/***", "app/generated/***"];

/// What is neither sent nor deleted.
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
    }
}
