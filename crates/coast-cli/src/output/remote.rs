//! The findings of `coast remote test`, one line each.

use super::lines::{Weight, shown};
use anstyle::Style;
use serde::Serialize;

/// The result of one check of a remote.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    /// The name of the check.
    pub(crate) what: &'static str,
    pub(crate) verdict: Verdict,
    /// The result in words.
    pub(crate) found: String,
    /// The remedy, for a problem that the user can solve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) todo: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Ok,
    /// Instances can live on the remote, with a restriction.
    Warning,
    /// Instances cannot live on the remote.
    Failed,
}

/// Returns the findings as lines for people.
pub(crate) fn finding_lines(findings: &[Finding], coloured: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for Finding { what, verdict, found, todo } in findings {
        let (verdict, weight) = match verdict {
            Verdict::Ok => ("ok", Weight::Note),
            Verdict::Warning => ("warning", Weight::Warning),
            Verdict::Failed => ("FAILED", Weight::Error),
        };
        let style = if coloured { weight.style() } else { Style::new() };
        lines.push(format!(
            "{what:<12} {style}{verdict:<7}{style:#}  {}",
            shown(found).replace('\n', "\n                      ")
        ));
        if let Some(todo) = todo {
            lines.push(format!("                      -> {}", shown(todo)));
        }
    }
    lines
}
