//! The expansion of configuration values: `~`, `%` tokens and `${NAME}`, and times with units.

use crate::config::options::Environment;
use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::PathBuf;

/// The values that `~`, the `%` tokens of ssh_config(5) and `${NAME}` stand for.
pub(crate) struct Tokens<'a> {
    pub(crate) environment: &'a Environment,
    /// The host as typed.
    pub(crate) original_host: &'a str,
    pub(crate) host_name: &'a str,
    pub(crate) host_key_alias: Option<&'a str>,
    pub(crate) port: u16,
    pub(crate) user: &'a str,
}

impl Tokens<'_> {
    /// Expands `~`, `%` tokens and `${NAME}` in a path.
    ///
    /// # Errors
    /// When it has a token that is not supported, or names a variable that is not set.
    pub(crate) fn path(&self, text: &str) -> Result<PathBuf, String> {
        let text = match (text.strip_prefix('~'), &self.environment.home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                format!("{}{rest}", home.display())
            }
            _ => text.to_owned(),
        };
        let variable = |name: &str| {
            let value = self.environment.variables.get(OsStr::new(name));
            value.map(|value| value.to_string_lossy())
        };
        expand(&text, |token| self.value(token), Some(&variable)).map(PathBuf::from)
    }

    /// Expands the `%` tokens of a value that is no path.
    ///
    /// # Errors
    /// When it has a token that is not supported.
    pub(crate) fn text(&self, text: &str) -> Result<String, String> {
        expand(text, |token| self.value(token), None)
    }

    /// The value of one token, in the order of ssh_config(5), "TOKENS".
    fn value(&self, token: char) -> Option<Cow<'_, str>> {
        let environment = self.environment;
        Some(match token {
            'd' => environment.home.as_deref()?.to_string_lossy(),
            'h' => self.host_name.into(),
            'k' => self.host_key_alias.unwrap_or(self.original_host).into(),
            'n' => self.original_host.into(),
            'p' => self.port.to_string().into(),
            'r' => self.user.into(),
            'u' => environment.user.as_deref().unwrap_or_default().into(),
            _ => return None,
        })
    }
}

/// Expands a `HostName`, in which `%h` is the host as typed.
///
/// # Errors
/// When it has another token.
pub(crate) fn host_name(text: &str, original_host: &str) -> Result<String, String> {
    expand(text, |token| (token == 'h').then_some(original_host.into()), None)
}

/// Looks up an environment variable by its name.
type Variables<'f, 'v> = dyn Fn(&str) -> Option<Cow<'v, str>> + 'f;

/// Replaces `%%`, `%` tokens and, where `variable` is given, `${NAME}`.
fn expand<'v>(
    text: &str,
    token: impl Fn(char) -> Option<Cow<'v, str>>,
    variable: Option<&Variables<'_, 'v>>,
) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['%', '$']) {
        expanded.push_str(&rest[..at]);
        let mut after = rest[at..].chars();
        match (after.next(), variable) {
            (Some('%'), _) => match after.next() {
                Some('%') => expanded.push('%'),
                name => {
                    let unsupported = || format!("the % token in \"{text}\" is not supported");
                    expanded.push_str(&name.and_then(&token).ok_or_else(unsupported)?);
                }
            },
            (_, Some(variable)) if after.as_str().starts_with('{') => {
                let end =
                    after.as_str().find('}').ok_or_else(|| format!("no }} ends the ${{ in \"{text}\""))?;
                let name = &after.as_str()[1..end];
                let unset = || format!("the environment variable {name} in \"{text}\" is not set");
                expanded.push_str(&variable(name).ok_or_else(unset)?);
                after = after.as_str()[end + 1..].chars();
            }
            _ => expanded.push('$'),
        }
        rest = after.as_str();
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Reads a time of ssh_config(5), in seconds: a number, or numbers with the units s, m, h, d, w, as `1m30s`. `none` is
/// 0.
pub(crate) fn seconds(text: &str) -> Option<u64> {
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
