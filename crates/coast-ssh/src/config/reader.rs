//! The configuration files: which of their lines apply to a host, given `Host`, `Match` and `Include`.

use crate::config::criterion::{self, Subject, Verdict};
use crate::config::expansion;
use crate::config::line::{Arguments, Line};
use crate::config::options::{Environment, Target};
use crate::config::pattern::{Case, list_matches};
use crate::config::values::Values;
use crate::error::SshError;
use glob::{MatchOptions, Pattern};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// How deep files may include each other, as in OpenSSH.
const MAX_DEPTH: usize = 16;
/// The most bytes a configuration file may hold.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Reads configuration files for one host into [`Values`].
pub(crate) struct ConfigReader<'a> {
    target: &'a Target,
    environment: &'a Environment,
    values: &'a mut Values,
    notices: Vec<String>,
}

/// Whose configuration a file belongs to. Relative `Include` paths of a user's files are looked up in `~/.ssh`, those of
/// the system's files beside the system-wide configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    User,
    System,
}

/// The file that is being read.
#[derive(Clone, Copy)]
struct Source<'s> {
    path: &'s Path,
    owner: Owner,
    /// How many `Include` lines led here.
    depth: usize,
}

impl Source<'_> {
    fn error(&self, line: usize, problem: String) -> SshError {
        SshError::Config { place: self.place(line), problem }
    }

    /// `path:line`, for messages.
    fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }
}

impl<'a> ConfigReader<'a> {
    pub(crate) fn new(
        target: &'a Target,
        environment: &'a Environment,
        values: &'a mut Values,
    ) -> ConfigReader<'a> {
        ConfigReader { target, environment, values, notices: Vec::new() }
    }

    /// Returns one sentence for everything the user should be told about the files.
    pub(crate) fn into_notices(self) -> Vec<String> {
        self.notices
    }

    /// Reads a file that the user named.
    ///
    /// # Errors
    /// When the file cannot be read, or one of its lines cannot be used.
    pub(crate) fn read_required(&mut self, path: &Path) -> Result<(), SshError> {
        let text = read(path).map_err(|error| SshError::Config {
            place: path.display().to_string(),
            problem: error.to_string(),
        })?;
        self.apply(Source { path, owner: Owner::User, depth: 0 }, &text)
    }

    /// Reads a file that need not exist. A file that cannot be read is skipped with a notice.
    ///
    /// # Errors
    /// When one of its lines cannot be used.
    pub(crate) fn read_if_present(&mut self, path: &Path, owner: Owner) -> Result<(), SshError> {
        self.read_source(Source { path, owner, depth: 0 })
    }

    fn read_source(&mut self, source: Source<'_>) -> Result<(), SshError> {
        match read(source.path) {
            Ok(text) => return self.apply(source, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                self.notices.push(format!("{}: {error}; the file is ignored", source.path.display()));
            }
        }
        Ok(())
    }

    /// Applies the lines of one file. A file begins as if it had `Host *` at its top, and the `Host` and `Match` lines
    /// of an included file end with it.
    fn apply(&mut self, source: Source<'_>, text: &str) -> Result<(), SshError> {
        let mut active = true;
        for (index, line) in text.lines().enumerate() {
            let Some(Line { keyword, arguments }) = Line::parse(line) else { continue };
            let number = index + 1;
            let error = |problem| source.error(number, problem);
            match keyword.as_str() {
                "host" => active = self.host_matches(arguments).map_err(error)?,
                "match" => {
                    active = match self.test_criteria(arguments).map_err(error)? {
                        Verdict::Applies => true,
                        Verdict::DoesNotApply => false,
                        Verdict::Unsupported(name) => {
                            let place = source.place(number);
                            self.notices.push(format!(
                                "{place}: Match {name} is not supported; the block is skipped"
                            ));
                            false
                        }
                    }
                }
                _ if !active => {}
                "include" => {
                    for path in self.included(source, arguments).map_err(error)? {
                        self.read_source(Source { path: &path, depth: source.depth + 1, ..source })?;
                    }
                }
                _ => self.values.set(&keyword, arguments).map_err(error)?,
            }
        }
        Ok(())
    }

    fn host_matches(&self, arguments: Arguments<'_>) -> Result<bool, String> {
        let patterns = arguments.words()?;
        Ok(list_matches(patterns.iter().map(String::as_str), &self.target.host, Case::Sensitive))
    }

    fn test_criteria(&self, arguments: Arguments<'_>) -> Result<Verdict, String> {
        let original_host = self.target.host.as_str();
        let host_name = match &self.values.host_name {
            Some(name) => expansion::host_name(name, original_host)?,
            None => original_host.to_owned(),
        };
        let local_user = self.environment.user.as_deref().unwrap_or_default();
        let user = self.target.user.as_deref().or(self.values.user.as_deref()).unwrap_or(local_user);
        criterion::test(arguments, &Subject { host_name: &host_name, original_host, user, local_user })
    }

    /// The files that an `Include` line of `source` names, each pattern's files in alphabetical order.
    fn included(&self, source: Source<'_>, arguments: Arguments<'_>) -> Result<Vec<PathBuf>, String> {
        if source.depth == MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} files include each other"));
        }
        // As in a shell, a wildcard does not stand for the dot of a hidden file or for a slash.
        let options = MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        let mut paths = Vec::new();
        for word in arguments.words()? {
            let pattern = self.include_pattern(&word, source.owner);
            let found = glob::glob_with(&pattern, options).map_err(|error| format!("{word}: {error}"))?;
            paths.extend(found.filter_map(Result::ok));
        }
        Ok(paths)
    }

    fn include_pattern(&self, word: &str, owner: Owner) -> String {
        if word.starts_with('/') {
            return word.to_owned();
        }
        let home = self.environment.home.as_deref().unwrap_or(Path::new("/"));
        let system = self.environment.system_config.as_deref().and_then(Path::parent);
        let (directory, rest) = match (word.strip_prefix("~/"), owner, system) {
            (Some(rest), ..) => (home.to_owned(), rest),
            (None, Owner::System, Some(directory)) => (directory.to_owned(), word),
            (None, ..) => (home.join(".ssh"), word),
        };
        format!("{}/{rest}", Pattern::escape(&directory.to_string_lossy()))
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too large for a configuration file"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
