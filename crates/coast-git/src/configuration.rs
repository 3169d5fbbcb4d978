//! What the configuration files of git say that matters for the contents of tracked files, git-config(1).

use std::io;
use std::path::{Path, PathBuf};

use coast_tree::regular_file;
use gix_config::file::Metadata;
use gix_config::{File, Source};

use crate::repository::as_path;

/// The number of bytes that are read of a configuration file, and the number of files.
const MAX_BYTES: u64 = 1 << 20;
const MAX_FILES: usize = 64;

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Configuration {
    /// The values of `core.attributesFile`, of which git uses one.
    pub(crate) attributes_files: Vec<PathBuf>,
    /// Whether the repository names objects otherwise than by SHA-1, keeps its references otherwise than in files, or takes its
    /// attributes from elsewhere than files.
    pub(crate) has_other_format: bool,
    /// Whether a filter is configured that may change a content and keep its size. The attribute that used it may be gone.
    pub(crate) has_filters: bool,
}

/// The directories of the user that git looks at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Homes {
    pub(crate) home: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`.
    pub(crate) config: Option<PathBuf>,
}

impl Homes {
    pub(crate) fn of_user() -> Self {
        let home = std::env::home_dir();
        let config = std::env::var_os("XDG_CONFIG_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
        Self { home, config }
    }

    /// The places of a file below the directory of configuration: another process, such as a daemon, may lack the variable.
    pub(crate) fn configured(&self, file: &'static str) -> impl Iterator<Item = PathBuf> {
        let default = self.home.as_ref().map(|home| home.join(".config"));
        self.config.iter().cloned().chain(default).map(move |config| config.join(file))
    }
}

impl Configuration {
    /// Reads all files that git may read for a checkout, and all that they include, whatever the condition. `None` if one of them
    /// cannot be understood.
    pub(crate) fn read(common_dir: &Path, git_dir: &Path, homes: &Homes) -> Option<Self> {
        // Settings of one command, which say nothing to the next one.
        if ["GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS", "GIT_ATTR_SOURCE"]
            .iter()
            .any(|variable| std::env::var_os(variable).is_some())
        {
            return None;
        }
        let mut configuration = Self::default();
        let mut files = system_files("gitconfig").to_vec();
        files.extend(std::env::var_os("GIT_CONFIG_SYSTEM").map(PathBuf::from));
        files.extend(std::env::var_os("GIT_CONFIG_GLOBAL").map(PathBuf::from));
        files.extend(homes.configured("git/config"));
        files.extend(homes.home.as_ref().map(|home| home.join(".gitconfig")));
        files.extend([
            common_dir.join("config"),
            common_dir.join("config.worktree"),
            git_dir.join("config.worktree"),
        ]);
        let mut next = 0;
        while let Some(file) = files.get(next).cloned() {
            if next == MAX_FILES {
                return None;
            }
            let included = configuration.add(&file, homes)?;
            files.extend(included);
            next += 1;
        }
        Some(configuration)
    }

    /// Takes in one file. Returns the files that it includes; a missing file includes none.
    fn add(&mut self, file: &Path, homes: &Homes) -> Option<Vec<PathBuf>> {
        let read = regular_file::open(file).and_then(|opened| regular_file::read_opened(opened, MAX_BYTES));
        let mut content = match read {
            Ok(content) => content,
            Err(error) if is_missing(&error) => return Some(Vec::new()),
            Err(_) => return None,
        };
        let parsed = File::from_bytes_owned(&mut content, Metadata::from(Source::Local), Default::default());
        let parsed = parsed.ok()?;
        let mut included = Vec::new();
        for section in parsed.sections() {
            let name = section.header().name().to_ascii_lowercase();
            let has = |key: &str| !section.values(key).is_empty();
            match &*name {
                b"core" => {
                    for value in section.values("attributesFile") {
                        self.attributes_files.push(expand(&value, None, homes)?);
                    }
                }
                b"include" | b"includeif" => {
                    for value in section.values("path") {
                        included.push(expand(&value, file.parent(), homes)?);
                    }
                }
                // What the filter of git-lfs makes of a content has another size.
                b"filter" if section.header().subsection_name().is_none_or(|name| *name != *b"lfs") => {
                    self.has_filters |= has("clean") || has("smudge") || has("process");
                }
                b"attr" => self.has_other_format |= has("tree"),
                b"extensions" => {
                    let is_other = |key, usual: &[u8]| {
                        section.values(key).iter().any(|value| !value.eq_ignore_ascii_case(usual))
                    };
                    self.has_other_format |=
                        is_other("objectFormat", b"sha1") || is_other("refStorage", b"files");
                }
                _ => {}
            }
        }
        Some(included)
    }
}

/// A path in a configuration file. `None` for one that only git can expand.
fn expand(value: &[u8], relative_to: Option<&Path>, homes: &Homes) -> Option<PathBuf> {
    if let Some(below) = value.strip_prefix(b"~/") {
        return Some(homes.home.as_ref()?.join(as_path(below)));
    }
    if value.is_empty() || value.starts_with(b"~") || value.starts_with(b"%(") || value.starts_with(b":(") {
        return None;
    }
    let path = as_path(value);
    if path.is_absolute() { Some(path.to_owned()) } else { Some(relative_to?.join(path)) }
}

/// The places of a system-wide file of git in the usual installations.
pub(crate) fn system_files(name: &str) -> [PathBuf; 3] {
    ["/etc", "/usr/local/etc", "/opt/homebrew/etc"].map(|directory| Path::new(directory).join(name))
}

/// Whether there is no file.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(scratch: &Path) -> Option<Configuration> {
        let homes = Homes { home: Some(scratch.join("home")), config: Some(scratch.join("other")) };
        Configuration::read(&scratch.join("common"), &scratch.join("git"), &homes)
    }

    #[test]
    fn every_file_and_what_it_includes_is_read() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |path: &str| scratch.path().join(path);
        fs::create_dir_all(at("home/.config/git")).unwrap();
        fs::create_dir_all(at("other/git")).unwrap();
        fs::create_dir_all(at("common")).unwrap();
        fs::create_dir_all(at("git")).unwrap();
        fs::write(at("home/.gitconfig"), "[includeIf \"gitdir:~/work/\"]\npath = work\n").unwrap();
        fs::write(at("home/work"), "[Core]\n\tattributesfile = ~/attributes\n").unwrap();
        fs::write(at("home/.config/git/config"), "[core] attributesFile = /other ; comment\n").unwrap();
        fs::write(at("other/git/config"), "[core] attributesFile = /third\n").unwrap();
        let configuration = read(scratch.path()).unwrap();
        assert_eq!(
            configuration.attributes_files,
            [PathBuf::from("/third"), "/other".into(), at("home/attributes")]
        );
        assert!(!configuration.has_other_format);

        for (other, is_other) in
            [("objectformat = sha1", false), ("objectFormat = sha256", true), ("refstorage = reftable", true)]
        {
            fs::write(at("common/config"), format!("[extensions]\n{other}\n")).unwrap();
            assert_eq!(read(scratch.path()).unwrap().has_other_format, is_other, "{other}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_told() {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("common")).unwrap();
        let config = scratch.path().join("common/config");
        for content in [
            "[core",
            "[core]\nattributesFile = ~other/x\n",
            "[include]\npath = config\n",
            "[core]\nattributesFile = x\n",
        ] {
            fs::write(&config, content).unwrap();
            assert!(read(scratch.path()).is_none(), "{content}");
        }
    }
}
