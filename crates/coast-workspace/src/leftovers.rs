//! The files that coast and mutagen leave in the account that logs in: helpers, mutagen's agents, and what its sessions cache and
//! stage. They are listed, and removed by their names.
//!
//! Nothing but these is touched, whatever the names that are given say: see [`LeftoverPath`]. The process needs no rights but
//! those of the account, and should have no others.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use coast_engine::EngineError;
use coast_tree::{DirHandle, Kind, Name, TrustedPath, remove_entry};
use coast_wire::limits::MAX_SURVEYED;
use coast_wire::{Answer, Leftover};

/// The start of a helper's file name. The hash of its content in hexadecimal digits follows.
const HELPER: &str = "helper-";

/// Digits of a helper's hash.
const HELPER_DIGITS: usize = 64;

/// The directory of mutagen in the home directory.
const MUTAGEN: &str = ".mutagen";

/// The start of the identifier of a session, and how many letters and digits follow at least.
const SESSION: (&str, usize) = ("sync_", 20);

/// The clock ticks of a second in `/proc`, on every Linux that a helper runs on.
const TICKS: u64 = 100;

/// The directories of an account that hold leftovers, open.
#[derive(Debug)]
pub struct AccountDirectories {
    /// The directory from which this helper was started, if that is one of helpers.
    helpers: Option<DirHandle>,
    /// The directories `agents`, `caches` and `staging` in mutagen's directory.
    mutagen: Vec<(Kept, DirHandle)>,
    /// The sessions that a mutagen of this account itself has made.
    own_sessions: Vec<Name>,
    agents: Agents,
}

/// The kinds of leftovers, by the directory that holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Helper,
    Agent,
    Cache,
    Staging,
}

/// The name of a leftover: `helper-HASH`, `.mutagen/agents/VERSION`, `.mutagen/caches/SESSION_SIDE` or
/// `.mutagen/staging/SESSION-SIDE`. No other name can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftoverPath {
    kept: Kept,
    name: Name,
}

/// The agents of mutagen that run for this account.
#[derive(Debug, Default)]
struct Agents {
    versions: Vec<String>,
    /// When the first of them was started, in seconds since the epoch.
    oldest: Option<u64>,
}

impl Kept {
    const OF_MUTAGEN: [Self; 3] = [Self::Agent, Self::Cache, Self::Staging];

    fn directory(self) -> &'static str {
        match self {
            Self::Helper => "",
            Self::Agent => "agents",
            Self::Cache => "caches",
            Self::Staging => "staging",
        }
    }

    /// Whether an entry of the directory has the form of such a leftover.
    fn recognizes(self, name: &str) -> bool {
        match self {
            Self::Helper => name.strip_prefix(HELPER).is_some_and(|hash| {
                hash.len() == HELPER_DIGITS
                    && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            }),
            Self::Agent => {
                name.starts_with(|first: char| first.is_ascii_digit())
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+".contains(&byte))
            }
            Self::Cache | Self::Staging => self.session(name).is_some(),
        }
    }

    /// The session that an entry belongs to.
    fn session(self, name: &str) -> Option<&str> {
        let between = if self == Self::Cache { '_' } else { '-' };
        let (session, side) = name.rsplit_once(between)?;
        let letters = session.strip_prefix(SESSION.0)?;
        let is_session =
            letters.len() >= SESSION.1 && letters.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (is_session && matches!(side, "alpha" | "beta")).then_some(session)
    }
}

impl LeftoverPath {
    /// Parses a path relative to the home directory, or the name of a helper. None for every other path.
    pub fn parse(path: &OsStr) -> Option<Self> {
        let path = path.to_str()?;
        let (kept, name) = match path.split_once('/') {
            None => (Kept::Helper, path),
            Some((MUTAGEN, below)) => {
                let (directory, name) = below.split_once('/')?;
                (Kept::OF_MUTAGEN.into_iter().find(|kept| kept.directory() == directory)?, name)
            }
            Some(_) => return None,
        };
        kept.recognizes(name)
            .then(|| Name::new(name.as_bytes()).ok())
            .flatten()
            .map(|name| Self { kept, name })
    }
}

impl std::fmt::Display for LeftoverPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kept {
            Kept::Helper => write!(f, "{}", self.name),
            kept => write!(f, "{MUTAGEN}/{}/{}", kept.directory(), self.name),
        }
    }
}

impl AccountDirectories {
    /// Opens the directories of the account whose home directory is `home`. `program` is the path of this helper. Directories that
    /// do not exist, and those of other users, have no leftovers.
    ///
    /// # Errors
    /// [`EngineError::Destination`] when the home directory cannot be opened.
    pub fn open(home: &Path, program: Option<&Path>) -> Result<Self, EngineError> {
        let resolved = TrustedPath::resolve(home).map_err(|error| failed(home, error.into()))?;
        let home = resolved.directory();
        let own = |directory: DirHandle| {
            let stat = directory.stat_self().ok()?;
            (stat.uid == rustix::process::geteuid().as_raw()).then_some(directory)
        };
        let child =
            |parent: &DirHandle, name: &str| own(parent.child(&Name::new(name.as_bytes()).ok()?).ok()?);
        let mutagen = child(home, MUTAGEN);
        let inside = |name: &str| mutagen.as_ref().and_then(|mutagen| child(mutagen, name));
        let is_helper = |program: &&Path| {
            program.file_name().and_then(OsStr::to_str).is_some_and(|name| Kept::Helper.recognizes(name))
        };
        let helpers = program.filter(is_helper).and_then(Path::parent);
        let helpers = helpers.and_then(|path| TrustedPath::resolve(path).ok());
        let own_sessions = inside("sessions").and_then(|sessions| sessions.list().ok()).unwrap_or_default();
        Ok(Self {
            helpers: helpers.and_then(|resolved| own(resolved.directory().reopen().ok()?)),
            mutagen: Kept::OF_MUTAGEN
                .into_iter()
                .filter_map(|kept| Some((kept, inside(kept.directory())?)))
                .collect(),
            own_sessions: own_sessions.into_iter().map(|entry| entry.name).collect(),
            // A confined process cannot see them.
            agents: Agents::running(),
        })
    }

    /// The directories in which leftovers are removed, to which the process can be confined.
    pub fn reach(&self) -> Vec<DirHandle> {
        self.directories().map(|(_, directory)| directory.clone()).collect()
    }

    fn directories(&self) -> impl Iterator<Item = (Kept, &DirHandle)> {
        let helpers = self.helpers.iter().map(|directory| (Kept::Helper, directory));
        helpers.chain(self.mutagen.iter().map(|(kept, directory)| (*kept, directory)))
    }

    /// Hands each leftover to `tell`. A directory that cannot be read has none.
    ///
    /// # Errors
    /// The errors of `tell`.
    pub fn list(
        &self,
        tell: &mut dyn FnMut(&Answer<'_>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let mut told = 0;
        for (kept, directory) in self.directories() {
            for entry in directory.list().unwrap_or_default() {
                let Some(name) =
                    std::str::from_utf8(entry.name.as_bytes()).ok().filter(|name| kept.recognizes(name))
                else {
                    continue;
                };
                let Ok(Some(stat)) = directory.stat(&entry.name) else { continue };
                let (bytes, used_at) = match stat.kind {
                    Kind::File => (stat.size, stat.mtime.secs()),
                    Kind::Directory => measure(directory, &entry.name, stat.mtime.secs()),
                    _ => continue,
                };
                let used_at = u64::try_from(used_at).unwrap_or(0);
                told += 1;
                if told > MAX_SURVEYED {
                    return Ok(());
                }
                let path = LeftoverPath { kept, name: entry.name.clone() }.to_string();
                let in_use = self.may_be_in_use(kept, name, used_at);
                tell(&Answer::Leftover(Leftover { path: &path, bytes, used_at, in_use }))?;
            }
        }
        Ok(())
    }

    /// Whether a process of this account may use a leftover. An agent writes its session's cache soon after it starts. So a cache
    /// that is older than every agent belongs to a session that has ended, or that is not connected; that one makes its cache anew.
    fn may_be_in_use(&self, kept: Kept, name: &str, used_at: u64) -> bool {
        match kept {
            Kept::Helper => false,
            Kept::Agent => self.agents.versions.iter().any(|version| version == name),
            Kept::Cache | Kept::Staging => {
                let session = kept.session(name);
                let is_own =
                    self.own_sessions.iter().any(|own| session.map(str::as_bytes) == Some(own.as_bytes()));
                is_own || self.agents.oldest.is_some_and(|oldest| used_at >= oldest)
            }
        }
    }

    /// Removes leftovers. Returns how many there were, and hands those that stay to `stays` with the reason.
    pub fn remove(&self, paths: &[LeftoverPath], stays: &mut dyn FnMut(&str, &str)) -> u64 {
        let mut removed = 0;
        for path in paths {
            let found = self.directories().find(|(kept, _)| *kept == path.kept);
            let Some((_, directory)) = found else { continue };
            match directory.stat(&path.name) {
                Ok(None) => continue,
                Ok(Some(_)) => {}
                Err(error) => {
                    stays(&path.to_string(), &error.to_string());
                    continue;
                }
            }
            match remove_entry(directory, &path.name) {
                Ok(()) => removed += 1,
                Err(error) => stays(&path.to_string(), &error.to_string()),
            }
        }
        removed
    }
}

/// The size of all files in a directory that was changed at the time `changed`, and the latest time at which it or one of them was
/// changed. Agents and staged files lie two levels deep. What is gone, or cannot be read, does not count.
fn measure(parent: &DirHandle, name: &Name, changed: i64) -> (u64, i64) {
    let (mut bytes, mut latest) = (0, changed);
    let mut pending: Vec<_> = parent.child(name).ok().map(|directory| (directory, 0)).into_iter().collect();
    while let Some((directory, depth)) = pending.pop() {
        for entry in directory.list().unwrap_or_default() {
            let Ok(Some(stat)) = directory.stat(&entry.name) else { continue };
            latest = latest.max(stat.mtime.secs());
            match stat.kind {
                Kind::Directory if depth < 2 => {
                    pending.extend(directory.child(&entry.name).ok().map(|below| (below, depth + 1)));
                }
                _ => bytes += stat.size,
            }
        }
    }
    (bytes, latest)
}

impl Agents {
    /// Looks at the processes of this user. A system without `/proc` shows none.
    fn running() -> Self {
        let mut agents = Self::default();
        let booted = std::fs::read_to_string("/proc/stat").ok().and_then(|text| {
            text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok())
        });
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        for process in processes {
            let Ok(program) = std::fs::read_link(process.path().join("exe")) else { continue };
            let Some(version) = version_of_agent(&program) else { continue };
            agents.versions.push(version);
            // A process without a known start may use everything.
            let started =
                booted.zip(started_ticks(&process.path())).map(|(booted, ticks)| booted + ticks / TICKS);
            let started = started.unwrap_or(0);
            agents.oldest = Some(agents.oldest.map_or(started, |oldest| oldest.min(started)));
        }
        agents
    }
}

/// The version of the agent at `.../.mutagen/agents/VERSION/PROGRAM`.
fn version_of_agent(program: &Path) -> Option<String> {
    let version = program.parent()?;
    let agents = version.parent()?;
    (agents.ends_with(PathBuf::from(MUTAGEN).join(Kept::Agent.directory())))
        .then(|| version.file_name()?.to_str().map(str::to_owned))
        .flatten()
}

/// The time from the start of the system to that of a process, in clock ticks.
fn started_ticks(process: &Path) -> Option<u64> {
    let stat = std::fs::read_to_string(process.join("stat")).ok()?;
    // The name of the program, in parentheses, may have spaces. The start is the 20th field after it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

fn failed(path: &Path, error: io::Error) -> EngineError {
    EngineError::Destination { path: path.to_owned(), doing: "looking for leftovers in it", error }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SESSION: &str = "sync_4N1kO0pYh3TqU5c8ZrGm2bXwEvAa7dLs9fJiKtHyQuR";

    fn helper() -> String {
        format!("helper-{}", "ab".repeat(32))
    }

    #[test]
    fn only_the_names_of_leftovers_are_paths() {
        for path in [
            helper(),
            format!(".mutagen/caches/{SESSION}_beta"),
            format!(".mutagen/staging/{SESSION}-alpha"),
            ".mutagen/agents/0.18.1".to_owned(),
        ] {
            assert_eq!(LeftoverPath::parse(OsStr::new(&path)).unwrap().to_string(), path);
        }
        for path in [
            "",
            "helper-x",
            ".ssh/authorized_keys",
            "../x",
            ".mutagen",
            ".mutagen/agents/..",
            ".mutagen/agents/.",
            ".mutagen/caches/../../x",
            ".mutagen/caches/sync_short_beta",
            ".mutagen/sessions/sync_4N1kO0pYh3TqU5c8ZrGm2bXwEvAa7dLs9fJiKtHyQuR",
            &format!(".mutagen/caches/{SESSION}-beta"),
            &format!(".mutagen/caches/{SESSION}_gamma"),
            &format!("/{}", helper()),
            &format!("x/{}", helper()),
            &helper().to_uppercase(),
        ] {
            assert_eq!(LeftoverPath::parse(OsStr::new(path)), None, "{path}");
        }
    }

    #[test]
    fn leftovers_are_listed_and_removed_and_nothing_else_is() {
        let scratch = tempfile::tempdir().unwrap();
        let home = scratch.path().canonicalize().unwrap();
        let left = [
            ".mutagen/agents/0.18.1/mutagen-agent".to_owned(),
            format!(".mutagen/caches/{SESSION}_beta"),
            format!(".mutagen/staging/{SESSION}-beta/ab/cd"),
            format!("cache/{}", helper()),
        ];
        let precious = [".mutagen/caches/note", ".mutagen/daemon/lock", "cache/helper-mine", "precious"];
        for path in left.iter().map(String::as_str).chain(precious) {
            fs::create_dir_all(home.join(path).parent().unwrap()).unwrap();
            fs::write(home.join(path), "content").unwrap();
        }
        let program = home.join("cache").join(helper());
        let mut account = AccountDirectories::open(&home, Some(&program)).unwrap();
        // Other tests may run agents on this machine.
        account.agents = Agents::default();
        let mut listed = Vec::new();
        account
            .list(&mut |answer| {
                let Answer::Leftover(leftover) = answer else { panic!("{answer:?}") };
                assert_eq!((leftover.bytes, leftover.in_use, leftover.used_at > 0), (7, false, true));
                listed.push(leftover.path.to_owned());
                Ok(())
            })
            .unwrap();
        listed.sort();
        let mut wanted = [
            ".mutagen/agents/0.18.1".to_owned(),
            format!(".mutagen/caches/{SESSION}_beta"),
            format!(".mutagen/staging/{SESSION}-beta"),
            helper(),
        ];
        wanted.sort();
        assert_eq!(listed, wanted);

        let paths: Vec<_> =
            wanted.iter().map(|path| LeftoverPath::parse(OsStr::new(path)).unwrap()).collect();
        let mut stays = |path: &str, why: &str| panic!("{path}: {why}");
        assert_eq!(account.remove(&paths, &mut stays), 4);
        assert_eq!(account.remove(&paths, &mut stays), 0);
        assert!(left.iter().all(|path| !home.join(path).exists()));
        assert!(precious.iter().all(|path| home.join(path).exists()));
        // A helper elsewhere says nothing of this directory.
        let installed = AccountDirectories::open(&home, Some(Path::new("/opt/coast-helper"))).unwrap();
        assert_eq!(installed.reach().len(), 3);
    }

    #[test]
    fn what_a_session_or_an_agent_may_use_is_said() {
        let scratch = tempfile::tempdir().unwrap();
        let home = scratch.path().canonicalize().unwrap();
        fs::create_dir_all(home.join(".mutagen/sessions")).unwrap();
        fs::write(home.join(".mutagen/sessions").join(SESSION), "").unwrap();
        let mut account = AccountDirectories::open(&home, None).unwrap();
        account.agents = Agents { versions: vec!["0.18.1".to_owned()], oldest: Some(100) };
        let other = SESSION.replace('4', "5");
        for (kept, name, used_at, in_use) in [
            (Kept::Agent, "0.18.1", 1, true),
            (Kept::Agent, "0.17.0", 1, false),
            (Kept::Cache, &*format!("{SESSION}_beta"), 1, true),
            (Kept::Cache, &format!("{other}_beta"), 99, false),
            (Kept::Staging, &format!("{other}-beta"), 100, true),
        ] {
            assert_eq!(account.may_be_in_use(kept, name, used_at), in_use, "{name}");
        }
        assert_eq!(
            version_of_agent(Path::new("/h/.mutagen/agents/0.18.1/mutagen-agent (deleted)")).unwrap(),
            "0.18.1"
        );
        assert_eq!(version_of_agent(Path::new("/usr/bin/mutagen")), None);
        assert!(started_ticks(Path::new("/proc/self")).is_some_and(|ticks| ticks > 0));
    }
}
