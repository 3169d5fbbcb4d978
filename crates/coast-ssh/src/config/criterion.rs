//! The criteria of a `Match` line.

use crate::config::line::Arguments;
use crate::config::pattern::{Case, list_matches};

/// The connection that a `Match` line is tested against, as far as the lines before it have set its values.
pub(crate) struct Subject<'a> {
    /// The `HostName`, or the host as typed where none is set yet.
    pub(crate) host_name: &'a str,
    /// The host as typed.
    pub(crate) original_host: &'a str,
    /// The user to log in as.
    pub(crate) user: &'a str,
    pub(crate) local_user: &'a str,
}

/// The answer of a `Match` line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Applies,
    DoesNotApply,
    /// All criteria before this one hold, and this one is not supported.
    Unsupported(String),
}

/// Tests the criteria of a `Match` line in their order.
///
/// # Errors
/// When there is no criterion, or a criterion lacks its value.
pub(crate) fn test(arguments: Arguments<'_>, subject: &Subject<'_>) -> Result<Verdict, String> {
    let words = arguments.delimited();
    if words.is_empty() {
        return Err("Match has no criterion".to_owned());
    }
    let mut words = words.iter();
    let mut applies = true;
    while let Some(word) = words.next() {
        let (negated, name) = match word.strip_prefix('!') {
            Some(name) => (true, name),
            None => (false, word.as_str()),
        };
        let name = name.to_ascii_lowercase();
        let mut value = || words.next().ok_or_else(|| format!("Match {name} has no value"));
        let holds = match name.as_str() {
            "all" => true,
            // Host names are not canonicalised, so the files are read once and never in a final pass.
            "canonical" | "final" => false,
            "host" => list_matches(value()?.split(','), subject.host_name, Case::Insensitive),
            "originalhost" => list_matches(value()?.split(','), subject.original_host, Case::Insensitive),
            "user" => list_matches(value()?.split(','), subject.user, Case::Sensitive),
            "localuser" => list_matches(value()?.split(','), subject.local_user, Case::Sensitive),
            _ if applies => return Ok(Verdict::Unsupported(name)),
            // The criterion cannot change the answer.
            _ => return Ok(Verdict::DoesNotApply),
        };
        applies &= holds != negated;
    }
    Ok(if applies { Verdict::Applies } else { Verdict::DoesNotApply })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test_line(text: &str) -> Result<Verdict, String> {
        let subject =
            Subject { host_name: "real.example", original_host: "dev", user: "deploy", local_user: "me" };
        test(Arguments::new(text), &subject)
    }

    #[test]
    fn all_criteria_must_hold() {
        for text in [
            "all",
            "host Real.example",
            "originalhost=DEV",
            "user root,deploy localuser me",
            "!final host *.example",
            "host *.example,!other.example !user root # comment",
        ] {
            assert_eq!(test_line(text), Ok(Verdict::Applies), "{text}");
        }
        for text in
            ["!all", "final", "host dev", "user Deploy", "host real.example user root", "!localuser me"]
        {
            assert_eq!(test_line(text), Ok(Verdict::DoesNotApply), "{text}");
        }
    }

    #[test]
    fn an_unsupported_criterion_counts_only_when_those_before_it_hold() {
        assert_eq!(test_line("host * exec \"true\""), Ok(Verdict::Unsupported("exec".to_owned())));
        assert_eq!(test_line("host other exec \"true\""), Ok(Verdict::DoesNotApply));
    }

    #[test]
    fn a_criterion_without_a_value_is_an_error() {
        for text in ["", "# comment", "host", "user deploy host # comment"] {
            assert!(test_line(text).is_err(), "{text:?}");
        }
    }
}
