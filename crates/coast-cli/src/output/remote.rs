//! What a look at a remote found, one line each.

use super::lines::shown;
use serde::Serialize;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    /// What.
    pub(crate) what: &'static str,
    /// Whether it is right.
    pub(crate) verdict: Verdict,
    /// What was found.
    pub(crate) found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) todo: Option<&'static str>,
}

/// Whether something is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It is.
    Ok,
    /// Instances can live there, with less.
    Warning,
    /// They cannot.
    Failed,
}

/// The findings for people.
pub(crate) fn finding_lines(findings: &[Finding]) -> Vec<String> {
    let mut lines = Vec::new();
    for Finding { what, verdict, found, todo } in findings {
        let verdict = match verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "FAILED",
        };
        lines.push(format!(
            "{what:<12} {verdict:<7}  {}",
            shown(found).replace('\n', "\n                      ")
        ));
        if let Some(todo) = todo {
            lines.push(format!("                      -> {}", shown(todo)));
        }
    }
    lines
}
