//! Trust in the settings of a project. A Coastfile comes with the code of a project, so cloning a repository brings the settings of a
//! stranger. Most settings can only leave files out, or keep them. The settings here can do harm to the machine or the remote of the
//! user, so the user is asked once for each project, and again when one of them changes.
//!
//! An `exclude` or `protect` pattern is not among them: an excluded entry is neither sent nor deleted, and a pattern cannot be an
//! include, so no pattern takes the protection of another rule away.

use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use coast_sync::Own;
use coast_tree::ContentHash;
use serde::{Deserialize, Serialize};

use crate::coastfile::DEFAULT_NETWORK;
use crate::durable;
use crate::file_error::{Doing, FileError, if_found};
use crate::record::now;
use crate::stored_path::StoredPath;
use crate::{CoastfileType, Layer, Places, Project, project_file};

/// The version of the file's format.
const VERSION: u32 = 1;

/// A setting that has effect only if the user trusts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "setting", content = "value", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Demand {
    /// `[remote] shell_image`
    ShellImage(String),
    /// `[remote] shell_network`, if it is not the default.
    ShellNetwork(String),
    /// `[remote] use_default_rules = false`
    NoDefaultRules,
    /// `[remote] own = "all"`
    OwnAll,
    /// A file outside of the project's directory or repository that gives settings.
    SettingsFrom(StoredPath),
    /// `[coast] worktree_dir`, for each directory outside of the project's directory or repository.
    WorktreeDir(String),
}

impl Demand {
    /// The settings of a project that need trust. The image does not need it if the user has named another one.
    pub fn of(project: &Project, named_image: Option<&str>) -> Vec<Self> {
        let coastfile = &project.coastfile;
        let mut demands = Vec::new();
        // Only the mutagen layer has a shell container.
        if coastfile.workspace_sync.layer() == Some(Layer::Mutagen) {
            let image = coastfile.shell_image.clone().filter(|_| named_image.is_none());
            demands.extend(image.map(Self::ShellImage));
            if coastfile.shell_network != DEFAULT_NETWORK {
                demands.push(Self::ShellNetwork(coastfile.shell_network.clone()));
            }
        }
        if !coastfile.use_default_rules {
            demands.push(Self::NoDefaultRules);
        }
        if coastfile.own == Own::All {
            demands.push(Self::OwnAll);
        }
        let outside = coastfile.files.iter().filter(|file| !project.holds(file));
        demands.extend(outside.map(|file| Self::SettingsFrom(file.as_path().into())));
        let outside = coastfile.worktree_dirs.iter().filter(|dir| dir.is_outside(project));
        demands.extend(outside.map(|dir| Self::WorktreeDir(dir.as_str().to_owned())));
        demands
    }

    /// What the setting allows, as a sentence without its end.
    pub fn consequence(&self) -> &'static str {
        match self {
            Self::ShellImage(_) => {
                "programs of this image can read the worktree, and get a key that logs in to the remote"
            }
            Self::ShellNetwork(network) if network == "host" => {
                "programs in the shell container reach every service of this machine"
            }
            Self::ShellNetwork(_) => {
                "programs in the shell container reach the other containers of this network"
            }
            Self::NoDefaultRules => {
                "node_modules and the like are sent, and generated code on the remote is not protected from deletion"
            }
            Self::OwnAll => {
                "files that services have made in the workspace, such as databases, change their owner"
            }
            Self::SettingsFrom(_) => "settings come from a file outside of the project",
            Self::WorktreeDir(_) => {
                "names of worktrees can mean directories outside of the project, if they are worktrees of its repository"
            }
        }
    }
}

impl fmt::Display for Demand {
    /// The setting as in a Coastfile. Control characters are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShellImage(image) => write!(f, "[remote] shell_image = {image:?}"),
            Self::ShellNetwork(network) => write!(f, "[remote] shell_network = {network:?}"),
            Self::NoDefaultRules => f.write_str("[remote] use_default_rules = false"),
            Self::OwnAll => f.write_str("[remote] own = \"all\""),
            Self::SettingsFrom(file) => write!(f, "extends = {:?}", &**file),
            Self::WorktreeDir(directory) => write!(f, "[coast] worktree_dir = {directory:?}"),
        }
    }
}

/// The settings of one project that the user trusts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trusted {
    version: u32,
    /// The root of the project.
    pub root: StoredPath,
    /// The type of its Coastfile. Each type is trusted on its own.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none", default)]
    pub kind: Option<CoastfileType>,
    /// The settings, as they were shown.
    pub demands: Vec<Demand>,
    /// The time of the answer, in seconds since the epoch.
    pub at: u64,
}

/// A question to the user: are these settings to be trusted?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustQuestion {
    /// The root of the project.
    pub root: PathBuf,
    /// The type of its Coastfile.
    pub kind: Option<CoastfileType>,
    /// The settings of the project that need trust.
    pub demands: Vec<Demand>,
    /// The settings that are trusted already. Empty if the user was never asked.
    pub trusted: Vec<Demand>,
}

impl TrustQuestion {
    /// The question about the settings of a project of which these are trusted already.
    pub fn of(project: &Project, demands: Vec<Demand>, trusted: Option<Trusted>) -> Self {
        let trusted = trusted.map(|trusted| trusted.demands).unwrap_or_default();
        Self { root: project.root.clone(), kind: project.coastfile.kind.clone(), demands, trusted }
    }

    /// The command that trusts these settings.
    pub fn command(&self) -> String {
        format!("coast trust{}", option(self.kind.as_ref()))
    }

    /// Whether a setting was not trusted before.
    pub fn is_new(&self, demand: &Demand) -> bool {
        !self.trusted.contains(demand)
    }

    /// The trusted settings that the project does not have any more.
    pub fn dropped(&self) -> impl Iterator<Item = &Demand> {
        self.trusted.iter().filter(|demand| !self.demands.contains(demand))
    }
}

impl fmt::Display for TrustQuestion {
    /// One line for the project, and two for each setting. After a change, `+` and `-` mark what is new and what is gone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            None => write!(f, "the Coastfile of {:?} asks for", self.root)?,
            Some(kind) => write!(f, "the Coastfile of {:?} with the type {kind} asks for", self.root)?,
        }
        let changes =
            self.demands.iter().any(|demand| self.is_new(demand)) || self.dropped().next().is_some();
        let changed = !self.trusted.is_empty() && changes;
        if changed {
            f.write_str(" other settings than those that you trust")?;
        }
        f.write_str(":")?;
        for demand in &self.demands {
            let mark = if changed && self.is_new(demand) { '+' } else { ' ' };
            write!(f, "\n{mark} {demand}\n      {}", demand.consequence())?;
        }
        for demand in self.dropped() {
            write!(f, "\n- {demand}")?;
        }
        Ok(())
    }
}

/// The option that chooses the type, with a space before it; nothing for the Coastfile without a type.
fn option(kind: Option<&CoastfileType>) -> String {
    kind.map(|kind| format!(" --type {kind}")).unwrap_or_default()
}

/// The answers of the user, one file for each project in a directory that only the user can read.
#[derive(Debug, Clone)]
pub struct TrustStore {
    directory: PathBuf,
}

impl TrustStore {
    /// The answers in the directories of `places`.
    pub fn new(places: &Places) -> Self {
        Self { directory: places.trust() }
    }

    /// The question about settings of a project of which one or more are not trusted; `None` if all of them are. `named_image` is
    /// the image that the user has named.
    ///
    /// # Errors
    /// When the answers cannot be read.
    pub fn question(
        &self,
        project: &Project,
        named_image: Option<&str>,
    ) -> Result<Option<TrustQuestion>, FileError> {
        let needed = Demand::of(project, named_image);
        if needed.is_empty() {
            return Ok(None);
        }
        let trusted = self.of(&project.root, project.coastfile.kind.as_ref())?;
        let is_trusted =
            |demand: &Demand| trusted.as_ref().is_some_and(|trusted| trusted.demands.contains(demand));
        if needed.iter().all(is_trusted) {
            return Ok(None);
        }
        // The question is about everything in the Coastfile, so that it is not asked again without the named image.
        let demands = Demand::of(project, None);
        Ok(Some(TrustQuestion::of(project, demands, trusted)))
    }

    /// The trusted settings of the project at `root` with a type. A file that is not understood counts as no trust.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of(&self, root: &Path, kind: Option<&CoastfileType>) -> Result<Option<Trusted>, FileError> {
        let is_that = |trusted: &Trusted| *trusted.root == *root && trusted.kind.as_ref() == kind;
        Ok(Self::read(&self.file(root, kind))?.filter(is_that))
    }

    fn read(file: &Path) -> Result<Option<Trusted>, FileError> {
        let Some(text) =
            if_found(project_file::read_kept(file)).doing("read the trusted settings in", file)?
        else {
            return Ok(None);
        };
        let trusted: Option<Trusted> = serde_json::from_slice(&text).ok();
        Ok(trusted.filter(|trusted| trusted.version == VERSION))
    }

    /// Remembers that the user trusts these settings of the project at `root` with a type, and no others of this type.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record(
        &self,
        root: &Path,
        kind: Option<&CoastfileType>,
        demands: Vec<Demand>,
    ) -> Result<(), FileError> {
        let file = self.file(root, kind);
        let trusted =
            Trusted { version: VERSION, root: root.into(), kind: kind.cloned(), demands, at: now() };
        let written = serde_json::to_vec_pretty(&trusted)
            .map_err(std::io::Error::from)
            .and_then(|text| durable::replace(&file, &text));
        written.doing("write the trusted settings to", &file)
    }

    /// Forgets the answer for the project at `root` with a type. Returns whether there was one.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn revoke(&self, root: &Path, kind: Option<&CoastfileType>) -> Result<bool, FileError> {
        let file = self.file(root, kind);
        let existed = file.exists();
        durable::remove(&file).doing("remove the trusted settings in", &file)?;
        // The directories may have other files in them.
        let _ = fs::remove_dir(&self.directory);
        Ok(existed)
    }

    /// All answers, sorted by the root of the project.
    ///
    /// # Errors
    /// When the directory or a file in it cannot be read.
    pub fn all(&self) -> Result<Vec<Trusted>, FileError> {
        let doing = "list the trusted settings in";
        let Some(entries) = if_found(fs::read_dir(&self.directory)).doing(doing, &self.directory)? else {
            return Ok(Vec::new());
        };
        let mut all = Vec::new();
        for entry in entries {
            all.extend(Self::read(&entry.doing(doing, &self.directory)?.path())?);
        }
        all.sort_by(|a, b| (&a.root, &a.kind).cmp(&(&b.root, &b.kind)));
        Ok(all)
    }

    /// The file of the project at `root` with a type. Its name is a hash, because a path is too long for a name.
    pub(crate) fn file(&self, root: &Path, kind: Option<&CoastfileType>) -> PathBuf {
        let mut key = root.as_os_str().as_bytes().to_vec();
        // No path has a NUL in it.
        key.extend(kind.iter().flat_map(|kind| [b"\0", kind.as_str().as_bytes()].concat()));
        let hash = ContentHash::of(&key);
        self.directory.join(format!("{}.json", data_encoding::HEXLOWER.encode(hash.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A project with this Coastfile, and the directories of a user.
    fn stage(coastfile: &str) -> (tempfile::TempDir, Places) {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir_all(scratch.path().join("shop/.git")).unwrap();
        fs::write(scratch.path().join("shop/Coastfile"), coastfile).unwrap();
        let places = Places::below(&scratch.path().join("home"));
        (scratch, places)
    }

    fn project(scratch: &tempfile::TempDir) -> Project {
        Project::find(&scratch.path().join("shop")).unwrap()
    }

    const HARMLESS: &str = "[remote]\nworkspace_sync = \"mutagen\"\nexclude = [\"x\"]\nown = \"none\"\n";
    const ALL: &str = "extends = \"../base\"\n[remote]\nworkspace_sync = \"mutagen\"\nshell_image = \"i\"\n\
                       shell_network = \"host\"\nuse_default_rules = false\nown = \"all\"\n";

    #[test]
    fn only_settings_that_can_do_harm_need_trust() {
        let (scratch, places) = stage(HARMLESS);
        let store = TrustStore::new(&places);
        assert_eq!(store.question(&project(&scratch), None).unwrap(), None);
        assert!(!scratch.path().join("home").exists(), "nothing is recorded for it");

        fs::write(scratch.path().join("base"), "").unwrap();
        fs::write(scratch.path().join("shop/Coastfile"), ALL).unwrap();
        let base = fs::canonicalize(scratch.path().join("base")).unwrap();
        let all = Demand::of(&project(&scratch), None);
        let shown: Vec<String> = all.iter().map(ToString::to_string).collect();
        let expected = [
            "[remote] shell_image = \"i\"".to_owned(),
            "[remote] shell_network = \"host\"".to_owned(),
            "[remote] use_default_rules = false".to_owned(),
            "[remote] own = \"all\"".to_owned(),
            format!("extends = {base:?}"),
        ];
        assert_eq!(shown, expected);
        assert_eq!(Demand::of(&project(&scratch), Some("mine")), all[1..], "the user has named an image");

        fs::write(scratch.path().join("shop/Coastfile"), ALL.replace("mutagen", "rsync")).unwrap();
        assert_eq!(Demand::of(&project(&scratch), None), all[2..], "there is no shell container");
    }

    #[test]
    fn a_file_of_the_repository_is_not_outside_and_a_link_out_of_it_is() {
        let (scratch, _) = stage("");
        let at = |path: &str| scratch.path().join(path);
        fs::create_dir(at("shop/web")).unwrap();
        fs::write(at("shop/web/Coastfile"), "extends = \"../Coastfile.base\"\n").unwrap();
        fs::write(at("shop/Coastfile.base"), "").unwrap();
        let project = || Project::find(&at("shop/web")).unwrap();
        assert_eq!(Demand::of(&project(), None), []);
        fs::rename(at("shop/Coastfile.base"), at("base")).unwrap();
        std::os::unix::fs::symlink(at("base"), at("shop/Coastfile.base")).unwrap();
        let base = fs::canonicalize(at("base")).unwrap();
        assert_eq!(Demand::of(&project(), None), [Demand::SettingsFrom(base.as_path().into())]);
    }

    #[test]
    fn a_worktree_dir_needs_trust_only_outside_of_the_repository() {
        let inside = "[coast]\nworktree_dir = [\".worktrees\", \"a/../wt/*\", \"../shop/x\"]\n";
        let (scratch, _) = stage(inside);
        assert_eq!(Demand::of(&project(&scratch), None), []);
        let outside = "[coast]\nworktree_dir = [\"../wt\", \".wt\", \"~/wt/*\", \"/wt\", \"link\"]\n";
        fs::write(scratch.path().join("shop/Coastfile"), outside).unwrap();
        std::os::unix::fs::symlink("/var", scratch.path().join("shop/link")).unwrap();
        let demanded = ["../wt", "~/wt/*", "/wt", "link"].map(|dir| Demand::WorktreeDir(dir.to_owned()));
        assert_eq!(Demand::of(&project(&scratch), None), demanded);
    }

    #[test]
    fn an_answer_is_for_one_project_and_for_the_settings_that_were_shown() {
        let (scratch, places) = stage(HARMLESS);
        let store = TrustStore::new(&places);
        let image = |image: &str| format!("{HARMLESS}shell_image = \"{image}\"\n");
        let coastfile = scratch.path().join("shop/Coastfile");
        fs::write(&coastfile, image("one")).unwrap();
        let question = store.question(&project(&scratch), None).unwrap().unwrap();
        assert!(question.trusted.is_empty());
        let again = TrustQuestion { trusted: question.demands.clone(), ..question.clone() };
        assert!(!again.to_string().contains("other settings"), "{again}");
        store.record(&question.root, None, question.demands.clone()).unwrap();
        assert_eq!(store.question(&project(&scratch), None).unwrap(), None);
        let file = store.file(&question.root, None);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

        fs::write(&coastfile, image("two")).unwrap();
        let changed = store.question(&project(&scratch), None).unwrap().unwrap().to_string();
        assert!(changed.contains("other settings"), "{changed}");
        assert!(changed.contains("\n+ [remote] shell_image = \"two\"\n"), "{changed}");
        assert!(changed.ends_with("\n- [remote] shell_image = \"one\""), "{changed}");

        // Fewer settings than those that are trusted need no answer.
        fs::write(&coastfile, HARMLESS).unwrap();
        assert_eq!(store.question(&project(&scratch), None).unwrap(), None);

        fs::write(&coastfile, image("one")).unwrap();
        fs::create_dir(scratch.path().join("clone")).unwrap();
        fs::copy(&coastfile, scratch.path().join("clone/Coastfile")).unwrap();
        let clone = Project::find(&scratch.path().join("clone")).unwrap();
        assert!(store.question(&clone, None).unwrap().is_some());

        assert_eq!(store.all().unwrap().len(), 1);
        assert!(store.revoke(&question.root, None).unwrap() && !store.revoke(&question.root, None).unwrap());
        assert!(store.question(&project(&scratch), None).unwrap().is_some());
        assert_eq!(store.all().unwrap(), []);
    }

    #[test]
    fn each_type_of_a_coastfile_is_trusted_on_its_own() {
        let (scratch, places) = stage(&format!("{HARMLESS}shell_image = \"one\"\n"));
        let store = TrustStore::new(&places);
        let root = scratch.path().join("shop");
        fs::copy(root.join("Coastfile"), root.join("Coastfile.remote.light")).unwrap();
        let light: CoastfileType = "light".parse().unwrap();
        let typed = || Project::find_typed(&root, Some(&light)).unwrap();
        let untyped = project(&scratch);
        store.record(&untyped.root, None, Demand::of(&untyped, None)).unwrap();
        let question = store.question(&typed(), None).unwrap().unwrap();
        assert!(question.to_string().contains("with the type light asks for:"), "{question}");
        assert_eq!(question.command(), "coast trust --type light");
        store.record(&question.root, Some(&light), question.demands).unwrap();
        assert_eq!(store.question(&typed(), None).unwrap(), None);
        assert!(store.revoke(&untyped.root, None).unwrap());
        assert_eq!(store.question(&typed(), None).unwrap(), None);
        let all: Vec<_> = store.all().unwrap().into_iter().map(|trusted| trusted.kind).collect();
        assert_eq!(all, [Some(light)]);
    }

    #[test]
    fn a_file_that_is_not_understood_is_no_trust() {
        let (scratch, places) = stage(&format!("{HARMLESS}shell_image = \"one\"\n"));
        let store = TrustStore::new(&places);
        let project = project(&scratch);
        store.record(&project.root, None, Demand::of(&project, None)).unwrap();
        let file = store.file(&project.root, None);
        let text = fs::read_to_string(&file).unwrap();
        for damaged in [text.replace("\"version\": 1", "\"version\": 2"), "{".to_owned(), String::new()] {
            fs::write(&file, damaged).unwrap();
            assert!(store.question(&project, None).unwrap().is_some());
        }
    }

    #[test]
    fn what_is_shown_cannot_steer_a_terminal_or_imitate_a_line() {
        let evil = "x\u{1b}[2J\n  [remote] own = \"none\"\u{202e}";
        for demand in [
            Demand::ShellImage(evil.to_owned()),
            Demand::ShellNetwork(evil.to_owned()),
            Demand::SettingsFrom(Path::new(evil).into()),
            Demand::WorktreeDir(evil.to_owned()),
        ] {
            let question =
                TrustQuestion { root: evil.into(), kind: None, demands: vec![demand], trusted: Vec::new() };
            let shown = question.to_string();
            assert_eq!(shown.lines().count(), 3, "{shown}");
            let steers = |letter: char| (letter.is_control() && letter != '\n') || letter == '\u{202e}';
            assert!(!shown.contains(steers), "{shown:?}");
        }
    }
}
