//! `coast init`: a first Coastfile for a project that has none.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use coast_sync::profile;

use crate::file_error::{Doing, if_found};
use crate::ignores::check_exclude;
use crate::lifecycle::LifecycleError;
use crate::project::Place;
use crate::{Coastfile, Name, RecordError, project_file};

/// The name of the image that `coast image build` makes.
const IMAGE: &str = "coast-shell";

/// The name of a project whose directory has no letter or digit in its name.
const NAMELESS: &str = "project";

/// The longest name that is made from that of a directory, in bytes.
const MAX_NAME_BYTES: usize = 63;

/// A Coastfile that is not written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The root of the project.
    pub root: PathBuf,
    /// The content.
    pub text: String,
}

impl Draft {
    /// A Coastfile for the project that the directory `here` belongs to: with the name of its root, and with the patterns of the
    /// root's `.gitignore` that both layers read in the same way. The other patterns are in a comment.
    ///
    /// # Errors
    /// When the directory or the `.gitignore` cannot be read.
    pub fn of(here: &Path) -> Result<Self, LifecycleError> {
        let Place { root, .. } = Place::find(here, None)?;
        let file = root.join(".gitignore");
        let ignored = if_found(project_file::read(&file)).doing("read", &file).map_err(RecordError::from)?;
        let ignored = Ignored::of(&String::from_utf8_lossy(&ignored.unwrap_or_default()));
        let text = text(&name_of(root.file_name().unwrap_or_default()), &ignored);
        Ok(Self { root, text })
    }

    /// Writes the Coastfile into the root of the project, and returns its path.
    ///
    /// # Errors
    /// When the project has a Coastfile already, or the file cannot be written.
    pub fn write(&self) -> Result<PathBuf, LifecycleError> {
        if let Some(file) = Coastfile::find(&self.root, None) {
            return Err(LifecycleError::CoastfileExists(file));
        }
        let file = self.root.join("Coastfile");
        let written = fs::File::create_new(&file).and_then(|mut new| new.write_all(self.text.as_bytes()));
        match written {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(LifecycleError::CoastfileExists(file));
            }
            written => written.doing("write", &file).map_err(RecordError::from)?,
        }
        Ok(file)
    }
}

/// A valid name that is like the name of the directory.
fn name_of(directory: &OsStr) -> Name {
    let directory = directory.to_string_lossy();
    let mut name = String::new();
    for letter in directory.chars() {
        match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' => name.push(letter),
            '-' | '_' => name.push(letter),
            // Two dots in a row are for no new name.
            '.' if !name.ends_with('.') => name.push('.'),
            _ if !name.ends_with('-') => name.push('-'),
            _ => {}
        }
    }
    name.truncate(MAX_NAME_BYTES);
    let name = name.trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
    let nameless = || Name::new(NAMELESS).expect("it consists of letters");
    Name::new(name).unwrap_or_else(|_| nameless())
}

/// The patterns of a `.gitignore`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ignored {
    /// Patterns for `exclude`.
    exclude: Vec<String>,
    /// Lines that mean something else to the layers, or nothing.
    other: Vec<String>,
}

impl Ignored {
    fn of(gitignore: &str) -> Self {
        let lines: Vec<&str> = gitignore
            .lines()
            .map(str::trim_end)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        // A pattern before a line that begins with `!` may ignore a file that this line takes back, and that the remote needs.
        let certain = lines.iter().rposition(|line| line.starts_with('!')).map_or(0, |last| last + 1);
        let mut ignored = Self::default();
        for (index, line) in lines.into_iter().enumerate() {
            match translated(line).filter(|_| index >= certain) {
                Some(pattern) if is_default(&pattern) || ignored.exclude.contains(&pattern) => {}
                Some(pattern) => ignored.exclude.push(pattern),
                None if is_default(line) => {}
                None => ignored.other.push(line.to_owned()),
            }
        }
        ignored
    }
}

/// Whether the default rules leave out what the pattern names.
fn is_default(pattern: &str) -> bool {
    profile::EXCLUDED.contains(&pattern.trim_matches('/'))
}

/// The pattern of rsync that means the same as a line of a `.gitignore`; `None` if there is none that both layers read.
fn translated(line: &str) -> Option<String> {
    // In git a backslash always escapes, in rsync only in a pattern with wildcards. A literal string of TOML has no quote in it.
    if line.contains(['\\', '\'']) || line.contains(char::is_control) {
        return None;
    }
    let (anywhere, rest) = match line.strip_prefix("**/") {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    // In git `**` between slashes can stand for nothing, in rsync it cannot.
    let middle = rest.strip_suffix("/**").unwrap_or(rest);
    if middle.contains("**") {
        return None;
    }
    // With a slash in it, a line of git means a path from the root, and a pattern of rsync the end of a path.
    let has_slash = rest.trim_end_matches('/').contains('/');
    let pattern =
        if has_slash && !anywhere && !rest.starts_with('/') { format!("/{rest}") } else { rest.to_owned() };
    check_exclude(&pattern).is_ok().then_some(pattern)
}

fn text(name: &Name, ignored: &Ignored) -> String {
    let mut text = format!(
        "# The settings of coast for this project: see `coast run --help`.

[coast]
# The name of the project in `coast ls` and in the paths of its workspaces.
name = \"{name}\"

[remote]
# \"native\": coastd carries every edit within milliseconds.
# \"mutagen\": mutagen does, in a container. That needs Docker, and an image: see `coast image build --help`.
# \"rsync\": only `coast run`, `assign` and `start` transfer the worktree.
workspace_sync = \"native\"

# For \"mutagen\": the image of the shell container, which holds mutagen and ssh.
# shell_image = \"{IMAGE}\"

# Neither sent to the remote nor deleted there, beside {}.
",
        profile::EXCLUDED.join(", ")
    );
    if ignored.exclude.is_empty() {
        text.push_str("# exclude = [\"*.log\", \"/dist\"]\n");
    } else {
        text.push_str(
            "# These come from .gitignore. Take out what the programs on the remote need.\nexclude = [\n",
        );
        ignored.exclude.iter().for_each(|pattern| text.push_str(&format!("  '{pattern}',\n")));
        text.push_str("]\n");
    }
    if !ignored.other.is_empty() {
        text.push_str("# These lines of .gitignore cannot be patterns here, or a later line takes files of them back:\n");
        ignored.other.iter().for_each(|line| text.push_str(&format!("#   {}\n", line.escape_debug())));
    }
    text.push_str("\n# Never deleted on the remote: files that only services there make.\n# protect = [\"uploads/***\"]\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Places, TrustStore};

    #[test]
    fn a_line_of_git_becomes_the_pattern_that_means_the_same() {
        for (line, pattern) in [
            ("*.log", Some("*.log")),
            ("dist/", Some("dist/")),
            ("/build", Some("/build")),
            ("web/dist", Some("/web/dist")),
            ("web/*.map", Some("/web/*.map")),
            ("tmp/**", Some("/tmp/**")),
            ("**/cache", Some("cache")),
            ("**/a/b", Some("a/b")),
            ("a/**/b", None),
            ("file?", None),
            ("[!a]x", None),
            ("\\#x", None),
            ("it's", None),
            ("*", None),
            ("!kept", None),
        ] {
            // A line that begins with `!` is a pattern for rsync's eyes; it is told apart before.
            let found = if line.starts_with('!') { None } else { translated(line) };
            assert_eq!(found.as_deref(), pattern, "{line}");
        }
        let lines = "# comment\n\n*.tmp\n!keep.tmp\nnode_modules/\n*.log  \n*.log\nfile?\r\n";
        let ignored = Ignored::of(lines);
        assert_eq!(ignored.exclude, ["*.log"]);
        assert_eq!(ignored.other, ["*.tmp", "!keep.tmp", "file?"]);
    }

    #[test]
    fn a_draft_is_a_valid_coastfile_and_is_never_written_over_another() {
        let scratch = tempfile::tempdir().unwrap();
        let places = Places::below(&scratch.path().join("home"));
        let root = scratch.path().join("My Shop..é");
        fs::create_dir_all(root.join(".git")).unwrap();
        fs::create_dir(root.join("src")).unwrap();
        fs::write(root.join(".gitignore"), b"*.log\n\"quo\"ted\"\nevil\x1b[2J\n\xff\ntarget\n{a,b}\n")
            .unwrap();
        let draft = Draft::of(&root.join("src")).unwrap();
        let file = draft.write().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), draft.text);
        assert!(
            !draft.text.contains('\u{1b}') && draft.text.contains("#   evil\\u{1b}[2J\n"),
            "{}",
            draft.text
        );
        let project = crate::Project::find(&root).unwrap();
        assert_eq!(project.name.as_str(), "My-Shop");
        assert_eq!(project.coastfile.exclude, ["*.log", "\"quo\"ted\"", "\u{fffd}", "{a,b}"]);
        let question = TrustStore::new(&places).question(&project, None).unwrap();
        assert_eq!(question, None, "nothing that coast has written needs trust");

        for name in ["Coastfile", "Coastfile.remote.toml"] {
            fs::rename(file.with_file_name("Coastfile"), root.join(name)).unwrap();
            let error = draft.write().unwrap_err();
            assert_eq!(error.exit_code(), 3, "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
        assert_eq!(fs::read_dir(&root).unwrap().count(), 4);
    }

    #[test]
    fn every_directory_has_a_valid_name() {
        for (directory, name) in [
            ("shop", "shop"),
            ("a b", "a-b"),
            (".x.", "x"),
            ("ß", "project"),
            ("", "project"),
            ("a..b", "a.-b"),
        ] {
            assert_eq!(name_of(OsStr::new(directory)).as_str(), name, "{directory}");
        }
        assert_eq!(name_of(OsStr::new(&"x".repeat(99))).as_str().len(), MAX_NAME_BYTES);
    }
}
