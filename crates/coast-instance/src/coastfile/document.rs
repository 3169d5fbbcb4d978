//! Parsing one Coastfile. Each fault has its line.

use std::io;
use std::path::{Path, PathBuf};

use coast_sync::Own;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{CoastfileError, Fault, Strategy};
use crate::ignores::{self, BadPattern};
use crate::words::most_similar;
use crate::{Layer, Name, WorktreeDir, project_file};

/// The fields of `[remote]`.
const REMOTE_FIELDS: &[&str] =
    &["workspace_sync", "exclude", "protect", "use_default_rules", "own", "shell_image", "shell_network"];

/// The fields of `[coast]` that are read. Other fields belong to other parts of coast.
const COAST_FIELDS: &[&str] = &["name", "worktree_dir", "extends"];

/// The sections that are read. Other sections belong to other parts of coast.
const SECTIONS: &[&str] = &["coast", "remote"];

/// How similar a foreign name is to one of ours at least, from 0 to 1, to be a slip: `remot` and `remote` have 0.97, `services` and
/// `remote` 0.5. An ignored `[remot] exclude` would send what shall not be sent.
const SLIP: f64 = 0.9;

/// The words for the strategies. `rsync` names the habit of its users; no rsync program is started.
const STRATEGIES: &[&str] = &["rsync", "native", "mutagen"];

/// The words for the entries whose owner changes although they are not sent.
const OWN: &[&str] = &["all", "root", "none"];

/// The content of one file, without the files that it extends.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) file: PathBuf,
    pub(super) extends: Option<Extends>,
    pub(super) said: Said,
}

/// The path of the extended file as written, and its line.
#[derive(Debug, Clone)]
pub(super) struct Extends {
    pub(super) value: String,
    pub(super) line: usize,
}

/// The values in one file. A missing field is `None` or empty.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) name: Option<Name>,
    pub(super) worktree_dirs: Vec<WorktreeDir>,
    pub(super) workspace_sync: Option<Strategy>,
    pub(super) exclude: Vec<String>,
    pub(super) protect: Vec<String>,
    pub(super) use_default_rules: Option<bool>,
    pub(super) own: Option<Own>,
    pub(super) shell_image: Option<String>,
    pub(super) shell_network: Option<String>,
}

/// The parts of a file that tell the name of a project, as far as they can be read although the file is wrong.
#[derive(Debug, Default)]
pub(super) struct Readable {
    pub(super) name: Option<Name>,
    pub(super) extends: Option<String>,
}

impl Readable {
    pub(super) fn of(content: &[u8]) -> Self {
        let text = String::from_utf8_lossy(content);
        let (table, _errors) = DeTable::parse_recoverable(&text);
        let table = table.get_ref();
        let coast = table.get("coast").and_then(|coast| coast.get_ref().as_table());
        let in_coast = |key: &str| coast?.get(key)?.get_ref().as_str();
        let extends = table.get("extends").and_then(|extends| extends.get_ref().as_str());
        Self {
            name: in_coast("name").and_then(|name| name.parse().ok()),
            extends: extends.or_else(|| in_coast("extends")).map(str::to_owned),
        }
    }
}

type Value<'t> = Spanned<DeValue<'t>>;

impl Document {
    pub(super) fn read(file: &Path) -> Result<Self, CoastfileError> {
        let text = project_file::read(file).and_then(|content| {
            let no_text = "stream did not contain valid UTF-8";
            String::from_utf8(content).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, no_text))
        });
        Self::parse(file, &text.map_err(|error| CoastfileError::Read { file: file.to_owned(), error })?)
    }

    pub(super) fn parse(file: &Path, text: &str) -> Result<Self, CoastfileError> {
        let line_of = |offset: usize| {
            text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
        };
        let at = |(offset, fault)| CoastfileError::At { file: file.to_owned(), line: line_of(offset), fault };
        let table = DeTable::parse(text).map_err(|error| {
            at((error.span().map_or(0, |span| span.start), Fault::Syntax(error.message().to_owned())))
        })?;
        let mut document = Self { file: file.to_owned(), extends: None, said: Said::default() };
        let extends = document.take(table.get_ref()).map_err(at)?;
        document.extends = extends.map(|(offset, value)| Extends { value, line: line_of(offset) });
        Ok(document)
    }

    /// Reads the fields of the layers from the table. Returns the path of the extended file with its offset.
    fn take(&mut self, table: &DeTable<'_>) -> Result<Option<(usize, String)>, (usize, Fault)> {
        let mut extends = None;
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "extends" => extends = Some((value.span().start, file_name("extends", value)?)),
                "coast" => {
                    // Other fields belong to other parts of coast.
                    for (key, value) in section("[coast]", value)? {
                        match key.get_ref().as_ref() {
                            "name" => self.said.name = Some(name(value)?),
                            "worktree_dir" => self.said.worktree_dirs = worktree_dirs(value)?,
                            "extends" => {
                                extends = Some((value.span().start, file_name("[coast] extends", value)?));
                            }
                            foreign => check_foreign_field("[coast]", foreign, key, COAST_FIELDS)?,
                        }
                    }
                }
                "remote" => {
                    for (key, value) in section("[remote]", value)? {
                        self.said.take_remote(key, value)?;
                    }
                }
                foreign => check_foreign_section(foreign, key, value)?,
            }
        }
        Ok(extends)
    }
}

impl Said {
    fn take_remote(
        &mut self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Value<'_>,
    ) -> Result<(), (usize, Fault)> {
        match key.get_ref().as_ref() {
            "workspace_sync" => {
                let field = "[remote] workspace_sync";
                self.workspace_sync = Some(match text(field, value)? {
                    "rsync" => Strategy::Bulk,
                    "native" => Strategy::Continuous(Layer::Native),
                    "mutagen" => Strategy::Continuous(Layer::Mutagen),
                    other => {
                        let fault = Fault::Word { field, found: other.to_owned(), allowed: STRATEGIES };
                        return Err((value.span().start, fault));
                    }
                });
            }
            "exclude" => self.exclude = patterns("[remote] exclude", value, ignores::check_exclude)?,
            "protect" => self.protect = patterns("[remote] protect", value, ignores::check_protect)?,
            "use_default_rules" => {
                let field = "[remote] use_default_rules";
                let flag = value.get_ref().as_bool();
                self.use_default_rules = Some(flag.ok_or_else(|| wrong_type(field, value, "true or false"))?);
            }
            "own" => {
                let field = "[remote] own";
                self.own = Some(match text(field, value)? {
                    "all" => Own::All,
                    "root" => Own::Root,
                    "none" => Own::None,
                    other => {
                        let fault = Fault::Word { field, found: other.to_owned(), allowed: OWN };
                        return Err((value.span().start, fault));
                    }
                });
            }
            "shell_image" => {
                let allowed = "the name of an image, such as \"shop-shell:latest\"";
                let valid = |text: &str| {
                    !text.is_empty()
                        && !text.contains(|letter: char| letter.is_whitespace() || letter.is_control())
                };
                self.shell_image = Some(checked("[remote] shell_image", value, allowed, valid)?);
            }
            "shell_network" => {
                let allowed = "\"bridge\", \"host\", or the name of a Docker network";
                let valid = |text: &str| {
                    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
                    text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.bytes().all(plain)
                };
                self.shell_network = Some(checked("[remote] shell_network", value, allowed, valid)?);
            }
            other => {
                let fault =
                    Fault::Field { section: "[remote]", found: other.to_owned(), allowed: REMOTE_FIELDS };
                return Err((key.span().start, fault));
            }
        }
        Ok(())
    }
}

/// Refuses a name at the top level that is a slip for one of ours, or one of our fields outside of its section.
fn check_foreign_section(
    found: &str,
    key: &Spanned<std::borrow::Cow<'_, str>>,
    value: &Value<'_>,
) -> Result<(), (usize, Fault)> {
    let at = key.span().start;
    if value.get_ref().as_table().is_some() {
        let meant = most_similar(found, SECTIONS, SLIP);
        return meant.map_or(Ok(()), |meant| Err((at, Fault::Section { found: found.to_owned(), meant })));
    }
    for (section, fields) in [("[remote]", REMOTE_FIELDS), ("[coast]", COAST_FIELDS)] {
        if fields.contains(&found) {
            return Err((at, Fault::Misplaced { section, found: found.to_owned() }));
        }
    }
    Ok(())
}

/// Refuses a field of a section that is a slip for one of ours, or that belongs to `[remote]`.
fn check_foreign_field(
    section: &'static str,
    found: &str,
    key: &Spanned<std::borrow::Cow<'_, str>>,
    allowed: &'static [&'static str],
) -> Result<(), (usize, Fault)> {
    let at = key.span().start;
    if REMOTE_FIELDS.contains(&found) {
        return Err((at, Fault::Misplaced { section: "[remote]", found: found.to_owned() }));
    }
    match most_similar(found, allowed, SLIP) {
        Some(_) => Err((at, Fault::Field { section, found: found.to_owned(), allowed })),
        None => Ok(()),
    }
}

fn section<'v, 't>(field: &'static str, value: &'v Value<'t>) -> Result<&'v DeTable<'t>, (usize, Fault)> {
    value.get_ref().as_table().ok_or_else(|| wrong_type(field, value, "a table"))
}

fn text<'v>(field: &'static str, value: &'v Value<'_>) -> Result<&'v str, (usize, Fault)> {
    value.get_ref().as_str().ok_or_else(|| wrong_type(field, value, "a string"))
}

fn checked(
    field: &'static str,
    value: &Value<'_>,
    allowed: &'static str,
    valid: impl Fn(&str) -> bool,
) -> Result<String, (usize, Fault)> {
    let found = text(field, value)?.to_owned();
    if valid(&found) { Ok(found) } else { Err((value.span().start, Fault::Text { field, found, allowed })) }
}

fn file_name(field: &'static str, value: &Value<'_>) -> Result<String, (usize, Fault)> {
    checked(field, value, "the path of a file, relative to this one", |text| !text.is_empty())
}

fn name(value: &Value<'_>) -> Result<Name, (usize, Fault)> {
    let field = "[coast] name";
    text(field, value)?.parse().map_err(|bad| (value.span().start, Fault::Name { field, bad }))
}

/// One directory, or a list of them.
fn worktree_dirs(value: &Value<'_>) -> Result<Vec<WorktreeDir>, (usize, Fault)> {
    let field = "[coast] worktree_dir";
    let directory = |value: &Value<'_>| {
        let found = value.get_ref().as_str().ok_or_else(|| wrong_type(field, value, WorktreeDir::ALLOWED))?;
        WorktreeDir::new(found).ok_or_else(|| {
            let fault = Fault::Text { field, found: found.to_owned(), allowed: WorktreeDir::ALLOWED };
            (value.span().start, fault)
        })
    };
    match value.get_ref().as_array() {
        Some(list) => list.iter().map(directory).collect(),
        None => Ok(vec![directory(value)?]),
    }
}

fn patterns(
    field: &'static str,
    value: &Value<'_>,
    check: fn(&str) -> Result<(), BadPattern>,
) -> Result<Vec<String>, (usize, Fault)> {
    let allowed = "a list of patterns, such as [\"*.log\", \"/dist\"]";
    let list = value.get_ref().as_array().ok_or_else(|| wrong_type(field, value, allowed))?;
    let mut patterns = Vec::new();
    for item in list {
        let pattern = item.get_ref().as_str().ok_or_else(|| wrong_type(field, item, allowed))?;
        if let Err(why) = check(pattern) {
            return Err((item.span().start, Fault::Pattern { field, pattern: pattern.to_owned(), why }));
        }
        patterns.push(pattern.to_owned());
    }
    Ok(patterns)
}

fn wrong_type(field: &'static str, value: &Value<'_>, allowed: &'static str) -> (usize, Fault) {
    let found = match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    (value.span().start, Fault::Type { field, found, allowed })
}
