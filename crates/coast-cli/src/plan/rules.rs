//! From the rule options to a [`RuleList`].

use std::os::unix::ffi::OsStrExt;

use anyhow::Context;
use coast_sync::{RuleError, RuleList};

use super::merge_files::WorkingDirectory;
use crate::args::rules::RuleArg;

/// Returns the rules in the order typed.
pub(super) fn list(arguments: &[RuleArg]) -> anyhow::Result<RuleList> {
    let mut list = RuleList::new();
    for argument in arguments {
        add(&mut list, argument)?;
    }
    Ok(list)
}

fn add(list: &mut RuleList, argument: &RuleArg) -> anyhow::Result<()> {
    let files = WorkingDirectory;
    match argument {
        RuleArg::Filter(rule) => list.filter(rule.as_bytes(), &files).map_err(explain)?,
        RuleArg::Exclude(pattern) => list.exclude(pattern.as_bytes())?,
        RuleArg::Include(pattern) => list.include(pattern.as_bytes())?,
        RuleArg::Protect(pattern) => list.protect(pattern.as_bytes())?,
        RuleArg::ExcludeFrom(file) => {
            let content = files.content(file.as_os_str());
            let content = content.with_context(|| format!("--exclude-from {}", file.display()))?;
            list.exclude_from(&content).with_context(|| format!("--exclude-from {}", file.display()))?;
        }
        RuleArg::IncludeFrom(file) => {
            let content = files.content(file.as_os_str());
            let content = content.with_context(|| format!("--include-from {}", file.display()))?;
            list.include_from(&content).with_context(|| format!("--include-from {}", file.display()))?;
        }
    }
    Ok(())
}

/// Turns the error of an unreadable merge file into one whose cause is the system's answer, so that it is printed once and
/// `main` finds it.
fn explain(error: RuleError) -> anyhow::Error {
    match error {
        RuleError::MergeFile { file, source } => {
            anyhow::Error::new(source).context(format!("cannot read merge file {}", file.escape_ascii()))
        }
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_files_stand_where_the_option_stood() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("patterns");
        std::fs::write(&file, "# comment\n*.log\n\n+ keep.tmp\n").unwrap();
        let rules = list(&[
            RuleArg::Include("first".into()),
            RuleArg::ExcludeFrom(file),
            RuleArg::Protect("last".into()),
        ])
        .unwrap();
        let mut expected = RuleList::new();
        expected.include(b"first").unwrap();
        expected.exclude(b"*.log").unwrap();
        expected.include(b"keep.tmp").unwrap();
        expected.protect(b"last").unwrap();
        assert_eq!(rules.to_lines(), expected.to_lines());
    }

    #[test]
    fn a_wrong_rule_and_a_missing_file_are_named() {
        let error = list(&[RuleArg::Filter("frobnicate x".into())]).unwrap_err();
        assert!(error.to_string().contains("frobnicate"), "{error}");
        let error = list(&[RuleArg::ExcludeFrom("/no/such/file".into())]).unwrap_err();
        assert!(error.to_string().contains("/no/such/file"), "{error}");
        let error = list(&[RuleArg::Filter("merge /no/such/file".into())]).unwrap_err();
        assert!(error.to_string().contains("/no/such/file"), "{error}");
    }
}
