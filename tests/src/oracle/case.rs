//! A question to the oracle, and the comparison of the answers.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use coast_testkit::{Aspects, Snapshot, Tree, quote};

use super::circumstances::{Circumstances, Stage};
use crate::program::Outcome;

/// Seconds since the epoch: later than any time that a tree of a case is given, earlier than any run.
const LONG_AGO: i64 = 1_750_000_000;

/// The program that is compared with rsync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `coast sync`.
    Coast,
    /// rsync itself. The comparison shows that a case has only one answer.
    Rsync,
}

/// Two trees, the circumstances and the command line of a run.
#[derive(Clone)]
pub struct Case {
    source: Tree,
    destination: Option<Tree>,
    arguments: Vec<OsString>,
    files: Vec<(&'static str, Vec<u8>)>,
    from: OsString,
    to: OsString,
    umask: u32,
    circumstances: Circumstances,
}

impl Case {
    /// A run that sends the entries of `source` to `destination` (`src/ dst/`), with the options in `arguments`, which are
    /// split at spaces, and umask 022. Entries without a time get a time that differs between the two trees: rsync takes
    /// contents with equal size and time for equal, and we do not.
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
            circumstances: Circumstances::default(),
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

    /// The destination does not exist.
    #[must_use]
    pub fn without_destination(mut self) -> Self {
        self.destination = None;
        self
    }

    /// Sets the source argument of the command line. The source tree is at `src`.
    #[must_use]
    pub fn from(mut self, argument: impl Into<OsString>) -> Self {
        self.from = argument.into();
        self
    }

    /// Sets the destination argument of the command line. The destination tree is at `dst`.
    #[must_use]
    pub fn to(mut self, argument: impl Into<OsString>) -> Self {
        self.to = argument.into();
        self
    }

    /// Sets the umask of both programs.
    #[must_use]
    pub fn umask(mut self, umask: u32) -> Self {
        self.umask = umask;
        self
    }

    /// Adds a file beside the trees, for `--exclude-from` and merge files.
    #[must_use]
    pub fn beside(mut self, name: &'static str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((name, content.into()));
        self
    }

    /// The destination tree, if there is one.
    pub(super) fn destination(&self) -> Option<&Tree> {
        self.destination.as_ref()
    }

    /// Sets the circumstances of the run.
    #[must_use]
    pub fn under(mut self, circumstances: Circumstances) -> Self {
        self.circumstances = circumstances;
        self
    }

    /// Runs both programs, and compares exit codes and trees.
    ///
    /// # Errors
    /// Lists the differences.
    pub fn check(&self, subject: Subject) -> Result<(), String> {
        let stage = Stage::new(&self.circumstances);
        let source = stage.place.path("src");
        self.source.build(&source);
        for (name, content) in &self.files {
            fs::write(stage.place.path(name), content).map_err(|error| error.to_string())?;
        }
        let before = Snapshot::of(&source);
        stage.prepare("before", self.destination.as_ref());
        let destination = stage.snapshots("before");
        let theirs = self.answer(&stage, "rsync", Subject::Rsync);
        let ours = self.answer(&stage, "coast", subject);
        let refused = |line: &str| line.contains("change_dir#1") && line.contains("Permission denied");
        if self.circumstances.user.is_some() && theirs.text().lines().any(refused) {
            // rsync refuses a destination of its user that it may not enter. We give the user the right for the time of the run.
            return Ok(());
        }

        let mut differences = Snapshot::of(&source).differences(&before, Aspects::UNTOUCHED);
        if !differences.is_empty() {
            differences.insert(0, "the source was changed:".into());
        }
        let code = if subject == Subject::Coast { our_code(&theirs) } else { theirs.code() };
        let given_way =
            if subject == Subject::Coast { self.given_way(&stage, &destination) } else { Vec::new() };
        // A directory in the way that we keep prevents its file from arriving.
        let kept_in_the_way = ours.code() == PARTIAL && code == 0 && !given_way.is_empty();
        let allowed = kept_in_the_way || (subject == Subject::Coast && self.may_end_with(&ours, &theirs));
        if ours.code() != code && !allowed {
            differences.push(format!("exit code {} instead of {code}", ours.code()));
        }
        if code == UNUSABLE {
            // rsync may already have made directories then, also behind a symlink that it refuses. We touch nothing.
            stage.clear("rsync");
            stage.prepare("rsync", self.destination.as_ref());
        }
        if theirs.code() == SYNTAX && theirs.text().contains("<rule from ") {
            // An invalid rule file of the tree ends the run. No program promises how much is done before.
        } else if self.circumstances.user.is_some() && theirs.text().contains("skipping file deletion") {
            // The user may read the whole source. rsync met a directory in the way of an entry that it could not read at the
            // destination, and then deletes nothing at all. We leave that one directory.
        } else {
            let sides = stage.snapshots("coast").into_iter().zip(stage.snapshots("rsync"));
            let sides = sides.zip(&destination);
            differences.extend(
                sides.flat_map(|((ours, theirs), before)| self.compare(ours, theirs, before, &given_way)),
            );
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(format!("{}\n{theirs}{ours}", differences.join("\n")))
    }

    /// The differences between the trees that the two programs left.
    fn compare(
        &self,
        ours: Snapshot,
        theirs: Snapshot,
        before: &Snapshot,
        given_way: &[PathBuf],
    ) -> Vec<String> {
        let contested = |path: &Path| given_way.iter().any(|given| given == path);
        let found = ours.without(is_state).without(contested).with_times_alike_after(LONG_AGO);
        // Where no option keeps the time of a directory, rsync changes it by writing files again that were right. Those files are
        // new ones and inherit from their directory. We do not write them.
        let expected = theirs
            .without(contested)
            .with_times_alike_after(LONG_AGO)
            .with_directories_untouched_as_in(&found)
            .with_files_kept_as_in(&found, before);
        if self.order_decides() {
            if found.len() == expected.len() {
                return Vec::new();
            }
            return vec![format!("{} entries remain, {} with rsync", found.len(), expected.len())];
        }
        let mut differences = found.differences(&expected, self.aspects());
        if self.circumstances.holes {
            for (path, seen) in found.iter() {
                let allowed = expected.get(path).map_or(u64::MAX, |expected| expected.blocks + SLACK_BLOCKS);
                if seen.blocks > allowed {
                    differences.push(format!(
                        "{}: {} blocks, {allowed} allowed",
                        path.display(),
                        seen.blocks
                    ));
                }
            }
        }
        differences
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

    /// Whether a user without rights may meet this exit code where rsync ended as `theirs`.
    fn may_end_with(&self, ours: &Outcome, theirs: &Outcome) -> bool {
        let code = ours.code();
        if self.circumstances.user.is_none() {
            return false;
        }
        // rsync sets the time of another user's directory again after it has changed an entry there, and ignores that it cannot.
        if code == PARTIAL && theirs.code() == 0 {
            let said = ours.text();
            let mut errors =
                said.lines().filter(|line| line.contains(": error: ") && !line.ends_with("(code 23):"));
            // rsync takes it for a file system without sockets and FIFOs when it may not make one, and goes on.
            return theirs.text().contains("(creation unsupported here)")
                || (errors.clone().next().is_some()
                    && errors.all(|line| line.contains(": cannot set the attributes of the directory: ")));
        }
        // The entry that reaches the limit may be one that cannot be deleted.
        if self.order_decides() {
            return [code, theirs.code()].iter().all(|code| [PARTIAL, LIMIT].contains(code));
        }
        // rsync tries to remove a directory that holds something protected, and counts the answer of the system as failure where
        // that is another one than "not empty". We leave such a directory.
        let said = theirs.text();
        let mut failures = said.lines().filter(|line| line.contains("rsync: ["));
        let named = failures.clone().next().is_some();
        code == 0
            && theirs.code() == PARTIAL
            && named
            && failures.all(|line| line.contains(" delete_file: rmdir("))
    }

    /// The directories that rsync replaced with something else while rule files of the tree were to be read. rsync does so
    /// before it has read the rule files above the directory, and deletes entries that they protect. We read them first, and
    /// keep a directory that then holds an entry.
    fn given_way(&self, stage: &Stage<'_>, destination: &[Snapshot]) -> Vec<PathBuf> {
        let by_rule_files = |word: &OsString| {
            let word = word.as_encoded_bytes();
            let rule = word.strip_prefix(b"--filter=").or_else(|| word.strip_prefix(b"-f")).unwrap_or(word);
            rule.starts_with(b":") || rule.starts_with(b"dir-merge")
        };
        if !self.arguments.iter().any(by_rule_files) {
            return Vec::new();
        }
        let sides = destination.iter().zip(stage.snapshots("rsync"));
        let replaced = |(before, after): (&Snapshot, Snapshot)| {
            let gone = |path: &PathBuf| after.get(path).is_some_and(|now| !now.is_dir());
            before.directories().filter(gone).collect::<Vec<_>>()
        };
        sides.flat_map(replaced).collect()
    }

    fn answer(&self, stage: &Stage<'_>, side: &str, subject: Subject) -> Outcome {
        stage.prepare(side, self.destination.as_ref());
        let program = match subject {
            Subject::Coast => stage.place.coast(["sync"]),
            Subject::Rsync => {
                // We always delete last, which matters to rsync only where rule files arrive.
                let delete = self.deletes().then_some("--delete-after");
                let sparse = self.circumstances.holes.then_some("--sparse");
                stage.place.rsync(delete.into_iter().chain(sparse))
            }
        };
        let to = [OsStr::new(&stage.parent(side)), &self.to].into_iter().collect::<OsString>();
        let program = program.args(&self.arguments).arg(&self.from).arg(to).umask(self.umask);
        stage.run_under(program, side).run()
    }

    /// The aspects that rsync makes equal with these options. Modes always count: without `-p` they follow the umask, which
    /// is the same for both programs. So do ACLs, which follow those of the destination directory.
    fn aspects(&self) -> Aspects {
        let mut aspects = Aspects::CONTENT.with_modes().with_acls();
        if self.circumstances.set_group_id.is_some() {
            aspects = aspects.with_groups();
        }
        if self.circumstances.user.is_some() {
            // Before rsync deletes an entry of its user, it gives the owner the right to write it. The entry keeps that when it
            // cannot be deleted; coast leaves it as it is.
            aspects = aspects.with_mode_bits(0o7577);
        }
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

    /// Whether a limit on deletions leaves open which entries are deleted. Then only the number of the remaining entries is
    /// known.
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

/// The exit code for an invalid option or rule.
const SYNTAX: i32 = 1;

/// The exit code for entries that could not be transferred.
const PARTIAL: i32 = 23;

/// The exit code for a limit on deletions that was reached.
const LIMIT: i32 = 25;

/// The exit code for a source or destination that cannot be used at all.
const UNUSABLE: i32 = 3;

/// The blocks of 512 bytes that a file of ours may take above the same file of rsync. Both make holes of whole blocks of the
/// file system, but not of the same ones.
const SLACK_BLOCKS: u64 = 128;

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

/// Whether a path is a state directory. The receiver keeps it beside the destination, or in it where that cannot be.
fn is_state(path: &Path) -> bool {
    let name = path.file_name().map_or(&b""[..], OsStr::as_encoded_bytes);
    name == b".coast-state" || (name.starts_with(b".") && name.ends_with(b".coast"))
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
            writeln!(out, "for side in rsync coast; do :\n{}done", self.circumstances)?;
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
