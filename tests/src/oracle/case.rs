//! One question to the oracle, and the comparison of the answers.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use coast_testkit::{Aspects, Snapshot, Tree, quote};

use crate::program::Outcome;
use crate::sandbox::Sandbox;

/// Seconds since the epoch: later than any time that a tree of a case is given, earlier than any run.
const LONG_AGO: i64 = 1_750_000_000;

/// Who is compared with rsync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `coast sync`.
    Coast,
    /// rsync itself: shows that a case has one answer only.
    Rsync,
}

/// Two trees and one run. Made with [`Case::new`] and the methods that follow it.
#[derive(Clone)]
pub struct Case {
    source: Tree,
    destination: Option<Tree>,
    arguments: Vec<OsString>,
    files: Vec<(&'static str, Vec<u8>)>,
    from: OsString,
    to: OsString,
    umask: u32,
}

impl Case {
    /// The content of `source` goes onto `destination` (`src/ dst/`), with the options in `arguments`, which are split
    /// at spaces, and umask 022. What has no time in the trees gets one that differs between the two: where size and
    /// time are equal rsync takes the content for equal, and we do not.
    #[must_use]
    pub fn new(source: Tree, destination: Tree, arguments: &str) -> Self {
        Self {
            source: source.with_default_mtime(LONG_AGO - 2000),
            destination: Some(destination.with_default_mtime(LONG_AGO - 1000)),
            arguments: arguments.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect(),
            files: Vec::new(),
            from: "src/".into(),
            to: "dst/".into(),
            umask: 0o022,
        }
    }

    /// Adds `--filter=RULE`.
    #[must_use]
    pub fn filter(self, rule: impl AsRef<OsStr>) -> Self {
        let mut argument = OsString::from("--filter=");
        argument.push(rule);
        self.argument(argument)
    }

    /// Adds an option that may hold spaces.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// There is no destination yet.
    #[must_use]
    pub fn without_destination(mut self) -> Self {
        self.destination = None;
        self
    }

    /// What stands for the source on the command line; the source tree is at `src`.
    #[must_use]
    pub fn from(mut self, argument: impl Into<OsString>) -> Self {
        self.from = argument.into();
        self
    }

    /// What stands for the destination on the command line; the destination tree is at `dst`.
    #[must_use]
    pub fn to(mut self, argument: impl Into<OsString>) -> Self {
        self.to = argument.into();
        self
    }

    /// Both run with this umask.
    #[must_use]
    pub fn umask(mut self, umask: u32) -> Self {
        self.umask = umask;
        self
    }

    /// A file beside the trees, for `--exclude-from` and merge files.
    #[must_use]
    pub fn beside(mut self, name: &'static str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((name, content.into()));
        self
    }

    /// Asks both and compares: exit codes and trees.
    ///
    /// # Errors
    /// Says what differs.
    pub fn check(&self, subject: Subject) -> Result<(), String> {
        let place = Sandbox::in_memory();
        self.source.build(place.path("src"));
        for (name, content) in &self.files {
            fs::write(place.path(name), content).map_err(|error| error.to_string())?;
        }
        let before = Snapshot::of(place.path("src"));
        let theirs = self.answer(&place, "rsync", Subject::Rsync);
        let ours = self.answer(&place, "coast", subject);

        let mut differences = Snapshot::of(place.path("src")).differences(&before, Aspects::UNTOUCHED);
        if !differences.is_empty() {
            differences.insert(0, "the source was changed:".into());
        }
        let code = if subject == Subject::Coast { our_code(&theirs) } else { theirs.code() };
        let given_way = if subject == Subject::Coast { self.given_way(&place) } else { Vec::new() };
        // What stays in a directory in the way keeps its file from arriving.
        if ours.code() != code && !(ours.code() == PARTIAL && code == 0 && !given_way.is_empty()) {
            differences.push(format!("exit code {} instead of {code}", ours.code()));
        }
        if code == UNUSABLE && theirs.code() != UNUSABLE {
            // rsync may already have made the destination then; we touch nothing at all.
            fs::remove_dir_all(place.path("rsync")).map_err(|error| error.to_string())?;
            self.prepare(&place, "rsync");
        }
        let contested = |path: &Path| given_way.iter().any(|given| given == path);
        let found = Snapshot::of(place.path("coast"))
            .without(is_state)
            .without(contested)
            .with_times_alike_after(LONG_AGO);
        // Where no option keeps a directory's time, rsync changes it by writing files again that were right: we do not.
        let expected = Snapshot::of(place.path("rsync"))
            .without(contested)
            .with_times_alike_after(LONG_AGO)
            .with_directories_untouched_as_in(&found);
        if theirs.code() == SYNTAX && theirs.text().contains("<rule from ") {
            // A rule file of the tree that is none ends the run; how far it got by then is nobody's promise.
        } else if !self.order_decides() {
            differences.extend(found.differences(&expected, self.aspects()));
        } else if found.len() != expected.len() {
            differences.push(format!("{} entries remain, {} with rsync", found.len(), expected.len()));
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(format!("{}\n{theirs}{ours}", differences.join("\n")))
    }

    /// Fails the test when [`check`](Self::check) finds a difference.
    ///
    /// # Panics
    /// When it does.
    #[track_caller]
    pub fn assert_agrees(&self) {
        if let Err(difference) = self.check(Subject::Coast) {
            panic!("{difference}\n{self:?}");
        }
    }

    fn prepare(&self, place: &Sandbox, side: &str) {
        fs::create_dir(place.path(side)).expect("a new sandbox has no such side");
        if let Some(destination) = &self.destination {
            destination.build(place.path(side).join("dst"));
        }
    }

    /// The directories that rsync replaced with something else while rule files of the tree were to be read: it does so
    /// before it has read those above the directory, and deletes what they protect. We ask them first, and a
    /// directory that then holds something stays.
    fn given_way(&self, place: &Sandbox) -> Vec<PathBuf> {
        let by_rule_files = |word: &OsString| {
            let word = word.as_encoded_bytes();
            let rule = word.strip_prefix(b"--filter=").or_else(|| word.strip_prefix(b"-f")).unwrap_or(word);
            rule.starts_with(b":") || rule.starts_with(b"dir-merge")
        };
        if !self.arguments.iter().any(by_rule_files) {
            return Vec::new();
        }
        self.prepare(place, "before");
        let (before, after) = (Snapshot::of(place.path("before")), Snapshot::of(place.path("rsync")));
        before.directories().filter(|path| after.get(path).is_some_and(|now| !now.is_dir())).collect()
    }

    fn answer(&self, place: &Sandbox, side: &str, subject: Subject) -> Outcome {
        self.prepare(place, side);
        let program = match subject {
            Subject::Coast => place.coast(["sync"]),
            // Deletion always comes last here, which matters to rsync only where rule files arrive.
            Subject::Rsync if self.deletes() => place.rsync(["--delete-after"]),
            Subject::Rsync => place.rsync([""; 0]),
        };
        let to = [OsStr::new(side), OsStr::new("/"), &self.to].into_iter().collect::<OsString>();
        program.args(&self.arguments).arg(&self.from).arg(to).umask(self.umask).run()
    }

    /// What rsync promises to make equal with these options. Modes always count: without `-p` they follow the umask,
    /// which is the same for both.
    fn aspects(&self) -> Aspects {
        let mut aspects = Aspects::CONTENT.with_modes();
        for letter in self.letters() {
            aspects = match letter {
                'a' => aspects.with_mtimes().with_users().with_groups(),
                't' => aspects.with_mtimes(),
                'o' => aspects.with_users(),
                'g' => aspects.with_groups(),
                _ => aspects,
            };
        }
        aspects
    }

    /// Whether a limit on deletions leaves a choice of what to delete, so that only the number of survivors is known.
    fn order_decides(&self) -> bool {
        let limit = self.arguments.iter().find_map(|word| word.to_str()?.strip_prefix("--max-delete="));
        limit.is_some_and(|limit| !["0", "1000"].contains(&limit))
    }

    fn deletes(&self) -> bool {
        self.arguments.iter().any(|word| word == "--delete" || word == "--delete-excluded")
    }

    fn letters(&self) -> impl Iterator<Item = char> {
        let groups = self.arguments.iter().filter_map(|word| word.to_str()?.strip_prefix('-'));
        groups.filter(|word| !word.starts_with('-')).flat_map(str::chars)
    }
}

/// The exit code for an option or rule that is none.
const SYNTAX: i32 = 1;

/// The exit code for entries that could not be transferred.
const PARTIAL: i32 = 23;

/// The exit code for a source or destination that cannot be used at all.
const UNUSABLE: i32 = 3;

/// Our exit code where rsync ended like this. The documented differences: a source or destination that cannot be used at
/// all is always 3, where rsync counts a missing source as a partial transfer and a missing parent as an input error.
fn our_code(theirs: &Outcome) -> i32 {
    let said = theirs.text();
    let unusable = |side: &str, doing: &str| {
        said.lines()
            .any(|line| line.starts_with(&format!("rsync: [{side}] {doing} ")) && line.contains(" failed: "))
    };
    match theirs.code() {
        23 if unusable("sender", "link_stat") || unusable("sender", "change_dir") => UNUSABLE,
        11 if unusable("Receiver", "mkdir") || unusable("Receiver", "change_dir#3") => UNUSABLE,
        code => code,
    }
}

/// The receiver keeps its cache and staging beside the destination.
fn is_state(path: &Path) -> bool {
    let name = path.file_name().map_or(&b""[..], OsStr::as_encoded_bytes);
    name.starts_with(b".") && name.ends_with(b".coast")
}

/// A script for bash that repeats the case.
impl fmt::Debug for Case {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "\numask 022; cd $(mktemp -d); mkdir rsync coast")?;
        write!(out, "{}", self.source.script("src"))?;
        for (name, content) in &self.files {
            writeln!(out, "printf %s {} > {name}", quote(content))?;
        }
        if let Some(destination) = &self.destination {
            write!(out, "{}", destination.script("rsync/dst"))?;
            writeln!(out, "cp -a rsync/dst coast/dst")?;
        }
        writeln!(out, "umask {:03o}", self.umask)?;
        let words: Vec<_> = self.arguments.iter().map(|word| quote(word.as_encoded_bytes())).collect();
        let when = if self.deletes() { "--delete-after " } else { "" };
        let (from, to) = (quote(self.from.as_encoded_bytes()), quote(self.to.as_encoded_bytes()));
        writeln!(
            out,
            "rsync {1}{0} {from} rsync/{to}\ncoast sync {0} {from} coast/{to}",
            words.join(" "),
            when
        )
    }
}
