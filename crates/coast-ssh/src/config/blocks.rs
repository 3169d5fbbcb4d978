//! The block structure of ssh configuration files: which lines apply to a host, given `Host`, `Match` and `Include`.
//! Patterns are matched by `ssh2-config`; the blocks are walked here, because that crate takes the lines below a
//! `Match` for lines of the `Host` before it.

use crate::config::merged::{Assignment, Merged};
use crate::config::options::{Environment, Target};
use crate::error::SshError;
use ssh2_config::{DefaultAlgorithms, Host, HostClause, HostParams};
use std::io;
use std::path::{Path, PathBuf};

/// How deep files may include each other, as in OpenSSH.
const MAX_DEPTH: usize = 16;
/// The most a configuration file may hold, in bytes.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Reads configuration files for one host.
pub(crate) struct ConfigReader<'a> {
    target: &'a Target,
    environment: &'a Environment,
    notices: Vec<String>,
}

impl<'a> ConfigReader<'a> {
    pub(crate) fn new(target: &'a Target, environment: &'a Environment) -> ConfigReader<'a> {
        ConfigReader { target, environment, notices: Vec::new() }
    }

    /// What the user should be told about the files read.
    pub(crate) fn into_notices(self) -> Vec<String> {
        self.notices
    }

    /// Reads a file that the user named; that it is missing is an error.
    pub(crate) fn read_required(&mut self, path: &Path, merged: &mut Merged<'_>) -> Result<(), SshError> {
        let text = read(path).map_err(|error| unreadable(path, &error))?;
        self.walk(path, &text, true, 0, merged)
    }

    /// Reads a file that need not exist.
    pub(crate) fn read_if_present(&mut self, path: &Path, merged: &mut Merged<'_>) -> Result<(), SshError> {
        match read(path) {
            Ok(text) => self.walk(path, &text, true, 0, merged),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => {
                self.notices.push(format!("{}: {error}; the file is ignored", path.display()));
                Ok(())
            }
        }
    }

    /// Walks one file. `outer` says whether the place it is included from applies; a block inside applies only if its
    /// surroundings do.
    fn walk(
        &mut self,
        file: &Path,
        text: &str,
        outer: bool,
        depth: usize,
        merged: &mut Merged<'_>,
    ) -> Result<(), SshError> {
        let mut active = outer;
        for (index, line) in text.lines().enumerate() {
            let Some((keyword, value)) = split_line(line) else { continue };
            let assignment =
                Assignment { keyword: keyword.to_ascii_lowercase(), value, file, line: index + 1 };
            match assignment.keyword.as_str() {
                "host" => active = outer && patterns_match(&words(value), &self.target.host),
                "match" => active = outer && self.criteria_hold(&assignment, merged)?,
                "include" if active => self.include(&assignment, depth, merged)?,
                _ if active => merged.apply(&assignment)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn include(
        &mut self,
        include: &Assignment<'_>,
        depth: usize,
        merged: &mut Merged<'_>,
    ) -> Result<(), SshError> {
        let problem = |problem: String| SshError::Config { place: include.place(), problem };
        if depth == MAX_DEPTH {
            return Err(problem("files include each other too deeply".to_owned()));
        }
        for word in words(include.value) {
            let pattern = self.include_path(&word, include.file);
            let found = glob::glob(&pattern.to_string_lossy()).map_err(|error| problem(error.to_string()))?;
            for path in found.filter_map(Result::ok) {
                match read(&path) {
                    Ok(text) => self.walk(&path, &text, true, depth + 1, merged)?,
                    Err(error) => {
                        self.notices.push(format!("{}: {error}; the file is ignored", path.display()))
                    }
                }
            }
        }
        Ok(())
    }

    /// Relative names are looked up beside the user's configuration, or beside the system's when it includes them.
    fn include_path(&self, word: &str, file: &Path) -> PathBuf {
        let home = self.environment.home.as_deref().unwrap_or(Path::new("/"));
        if let Some(rest) = word.strip_prefix("~/") {
            return home.join(rest);
        }
        let system = self.environment.system_config.as_deref();
        match file.parent() {
            Some(parent) if system.and_then(Path::parent) == Some(parent) => parent.join(word),
            _ => home.join(".ssh").join(word),
        }
    }

    /// Whether all criteria of a `Match` line hold.
    fn criteria_hold(&mut self, line: &Assignment<'_>, merged: &Merged<'_>) -> Result<bool, SshError> {
        let words = words(line.value);
        if words.is_empty() {
            return Err(SshError::Config {
                place: line.place(),
                problem: "Match without criteria".to_owned(),
            });
        }
        let mut words = words.iter();
        let mut holds = true;
        while let Some(word) = words.next() {
            let (negated, criterion) = match word.strip_prefix('!') {
                Some(criterion) => (true, criterion),
                None => (false, word.as_str()),
            };
            let (criterion, attached) = match criterion.split_once('=') {
                Some((criterion, value)) => (criterion, Some(value)),
                None => (criterion, None),
            };
            let held = match criterion.to_ascii_lowercase().as_str() {
                "all" => true,
                // Canonicalisation is not done, so there is never a second, final pass.
                "canonical" | "final" => false,
                name => {
                    let Some(value) = attached.or_else(|| words.next().map(String::as_str)) else {
                        let problem = format!("Match {name} wants a value");
                        return Err(SshError::Config { place: line.place(), problem });
                    };
                    let patterns: Vec<String> = value.split(',').map(str::to_owned).collect();
                    let typed = self.target.host.as_str();
                    let local = self.environment.user.as_deref().unwrap_or_default();
                    let user = self.target.user.as_deref().or(merged.user()).unwrap_or(local);
                    match name {
                        "host" => patterns_match(&patterns, merged.host_name().unwrap_or(typed)),
                        "originalhost" => patterns_match(&patterns, typed),
                        "user" => patterns_match(&patterns, user),
                        "localuser" => patterns_match(&patterns, local),
                        _ => {
                            let notice = format!(
                                "{}: Match {name} is not supported; the block is skipped",
                                line.place()
                            );
                            self.notices.push(notice);
                            return Ok(false);
                        }
                    }
                }
            };
            holds &= held != negated;
        }
        Ok(holds)
    }
}

/// Whether `host` matches one of the patterns and none of the negated ones.
fn patterns_match(patterns: &[String], host: &str) -> bool {
    let clause = |pattern: &String| match pattern.strip_prefix('!') {
        Some(pattern) => HostClause::new(pattern.to_lowercase(), true),
        None => HostClause::new(pattern.to_lowercase(), false),
    };
    let clauses = patterns.iter().map(clause).collect();
    Host::new(clauses, HostParams::new(&DefaultAlgorithms::empty())).intersects(&host.to_lowercase())
}

/// Keyword and value of a line, or `None` for blank lines and comments.
fn split_line(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let value = rest.strip_prefix('=').unwrap_or(rest).trim_start();
    Some((keyword, without_comment(value)))
}

/// Cuts a ` # comment` off the end of a value. A `#` inside a word or inside quotes belongs to the value.
fn without_comment(value: &str) -> &str {
    let mut quoted = false;
    let mut after_space = true;
    for (at, c) in value.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted && after_space => return value[..at].trim_end(),
            _ => {}
        }
        after_space = c.is_whitespace();
    }
    value.trim_end()
}

/// The words of a value, a quoted part without its quotes.
fn words(value: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in value.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn read(path: &Path) -> io::Result<String> {
    use std::io::Read;
    let file = std::fs::File::open(path)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too large for a configuration file"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unreadable(path: &Path, error: &io::Error) -> SshError {
    SshError::Config { place: path.display().to_string(), problem: error.to_string() }
}
