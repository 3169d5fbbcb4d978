//! What stands for something else in a value of the ssh configuration: `~`, `%` tokens, `${NAME}`, quotes and units.

use crate::config::options::Environment;
use crate::error::SshError;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What the `%` tokens and `~` of a configuration value stand for.
pub(crate) struct Tokens<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) alias: &'a str,
    pub(crate) host_name: &'a str,
    pub(crate) port: u16,
    pub(crate) user: &'a str,
}

impl Tokens<'_> {
    /// Expands `~`, `${NAME}` and the tokens of ssh_config(5) that make sense in a path.
    pub(crate) fn path(&self, text: &str) -> Result<PathBuf, SshError> {
        let home = self.environment.home.as_deref();
        let text = match (text.strip_prefix('~'), home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                format!("{}{rest}", home.display())
            }
            _ => text.to_owned(),
        };
        let mut expanded = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(['%', '$']) {
            expanded.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("${") {
                let Some((name, after)) = after.split_once('}') else { break };
                let value = self.environment.variables.get(OsStr::new(name));
                let value = value.ok_or_else(|| bad_value("value", &text, &format!("{name} is not set")))?;
                expanded.push_str(&value.to_string_lossy());
                rest = after;
                continue;
            }
            let mut chars = rest.chars();
            if chars.next() == Some('$') {
                expanded.push('$');
                rest = chars.as_str();
                continue;
            }
            match chars.next() {
                Some('%') => expanded.push('%'),
                Some('h') => expanded.push_str(self.host_name),
                Some('n') => expanded.push_str(self.alias),
                Some('k') => expanded.push_str(self.alias),
                Some('p') => expanded.push_str(&self.port.to_string()),
                Some('r') => expanded.push_str(self.user),
                Some('u') => expanded.push_str(self.environment.user.as_deref().unwrap_or_default()),
                Some('d') => expanded.push_str(&home.unwrap_or(Path::new("")).to_string_lossy()),
                _ => return Err(bad_value("value", &text, "it has a % token that is not supported")),
            }
            rest = chars.as_str();
        }
        expanded.push_str(rest);
        Ok(PathBuf::from(expanded))
    }
}

/// A time of ssh_config: seconds, or numbers with the units s, m, h, d, w, as `1m30s`; `none` is 0.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    let text = unquoted(text.trim());
    if text.eq_ignore_ascii_case("none") {
        return Some(0);
    }
    let mut total: u64 = 0;
    let mut number: Option<u64> = None;
    for c in text.chars() {
        if let Some(digit) = c.to_digit(10) {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit.into())?);
            continue;
        }
        let unit = match c.to_ascii_lowercase() {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    match number {
        Some(number) => total.checked_add(number),
        None if text.is_empty() => None,
        None => Some(total),
    }
}

pub(crate) fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// The error for a value that cannot be used.
pub(crate) fn bad_value(keyword: &str, value: &str, problem: &str) -> SshError {
    SshError::Option { name: keyword.to_owned(), problem: format!("\"{value}\": {problem}") }
}
