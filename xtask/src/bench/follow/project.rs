//! A project of the client, with a tree as its worktree, and an instance of it.

use super::site::{Site, Way};
use super::tree::{self, TreeSize};
use crate::bench::interrupt::Interrupt;
use crate::bench::process::Process;
use crate::program;
use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The time between two looks at the remote side. A look takes about 5 us.
const LOOK_INTERVAL: Duration = Duration::from_micros(200);
/// Far longer than any edit takes. An edit that takes longer is an error.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(120);

/// Far longer than any command takes.
const COMMAND_LIMIT: Duration = Duration::from_secs(300);

const COASTFILE: &str = "Coastfile";

/// A git repository with a Coastfile.
pub(super) struct Project<'a> {
    pub(super) site: &'a Site,
    pub(super) interrupt: &'a Interrupt,
    name: String,
    pub(super) root: PathBuf,
}

impl<'a> Project<'a> {
    /// Makes a project whose worktree is a tree, made from the inputs in a directory.
    pub(super) fn make(
        site: &'a Site,
        size: TreeSize,
        inputs: &Path,
        interrupt: &'a Interrupt,
    ) -> Result<Self> {
        let name = format!("{}{}", site.prefix(), size.name());
        let root = site.path(size.name());
        size.make(&root, inputs, interrupt)?;
        let project = Self { site, interrupt, name, root };
        let coastfile =
            format!("[coast]\nname = \"{}\"\n\n[remote]\n{}", project.name, site.layer.settings());
        fs::write(project.root.join(COASTFILE), coastfile)
            .with_context(|| format!("writing a Coastfile into {}", project.root.display()))?;
        project.git(["init", "--quiet", "--initial-branch=main"])?;
        project.coast(["trust"])?;
        Ok(project)
    }

    /// Runs `git` in the worktree.
    pub(super) fn git<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<()> {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=Bench", "-c", "user.email=bench@example.org", "-c", "gc.auto=0"]);
        git.args(arguments).current_dir(&self.root).env("HOME", self.site.path("home"));
        program::output(&mut git).map(drop)
    }

    /// Commits everything in the worktree.
    pub(super) fn commit(&self) -> Result<()> {
        self.git(["add", "--all"])?;
        self.git(["commit", "--quiet", "--message=State"])
    }

    /// Runs `coast` in the worktree, until it ends or a signal ends the bench.
    pub(super) fn coast<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<()> {
        let mut command = self.site.coast(arguments);
        command.current_dir(&self.root).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let line = program::line(&command);
        let mut child = command.spawn().with_context(|| format!("starting {line}"))?;
        let mut log = child.stderr.take().expect("standard error is a pipe");
        let said = thread::spawn(move || {
            let mut said = Vec::new();
            // What was read before an error still counts.
            let _ = log.read_to_end(&mut said);
            said
        });
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().with_context(|| format!("waiting for {line}"))? {
                break status;
            }
            if self.interrupt.is_raised() || started.elapsed() > COMMAND_LIMIT {
                let _ = child.kill();
                let _ = child.wait();
                self.interrupt.check()?;
                bail!("{line} was ended: not done after {} s", COMMAND_LIMIT.as_secs());
            }
            thread::sleep(LOOK_INTERVAL);
        };
        let said = said.join().expect("reading does not panic");
        ensure!(status.success(), "{line} ended with {status}: {}", String::from_utf8_lossy(&said).trim());
        Ok(())
    }

    /// `coast run`. An error says why edits do not follow.
    pub(super) fn run(&self, instance: &str, way: Way) -> Result<Instance<'_>> {
        let words = ["run", instance, "--remote", way.remote(), "--adopt", "--require-continuous"];
        self.coast(words)?;
        Ok(self.instance(instance))
    }

    /// Transfers the worktree to where the workspace of an instance will be.
    pub(super) fn push(&self, instance: &str) -> Result<()> {
        program::output(&mut self.site.push(&self.root, &self.site.workspace(&self.name, instance))).map(drop)
    }

    fn instance(&self, name: &str) -> Instance<'_> {
        let workspace = self.site.workspace(&self.name, name);
        Instance { project: self, name: name.to_owned(), workspace }
    }
}

/// A running instance.
pub(super) struct Instance<'a> {
    pub(super) project: &'a Project<'a>,
    name: String,
    /// The directory on the remote, which is this machine.
    pub(super) workspace: PathBuf,
}

impl Instance<'_> {
    /// `coast rm`.
    pub(super) fn remove(self) -> Result<()> {
        self.project.coast(["rm", &self.name, "--yes"])
    }

    /// `coast flush`: returns when no edit is under way.
    pub(super) fn flush(&self) -> Result<()> {
        self.project.coast(["flush", &self.name])
    }

    /// The process on this machine that makes edits follow.
    pub(super) fn daemon(&self) -> Result<Process> {
        self.project.site.layer.daemon(self.project.site, &self.project.name, &self.name)
    }

    /// Makes an edit of the worktree, and returns the time from its begin until it is seen in the workspace.
    pub(super) fn time(
        &self,
        edit: impl FnOnce(&Path) -> std::io::Result<()>,
        arrived: impl Fn(&Path) -> bool,
    ) -> Result<Duration> {
        let started = Instant::now();
        edit(&self.project.root).context("editing the worktree")?;
        self.wait(started, arrived)?;
        Ok(started.elapsed())
    }

    /// Waits until something is seen in the workspace.
    pub(super) fn wait(&self, started: Instant, arrived: impl Fn(&Path) -> bool) -> Result<()> {
        while !arrived(&self.workspace) {
            self.project.interrupt.check()?;
            ensure!(
                started.elapsed() < ARRIVAL_LIMIT,
                "an edit did not arrive within {} s",
                ARRIVAL_LIMIT.as_secs()
            );
            thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    /// The files that an edit may be made to and that are in the workspace. The Coastfile is not among them.
    pub(super) fn editable_files(&self) -> Result<impl Iterator<Item = PathBuf> + use<>> {
        let files = tree::editable_files(&self.workspace)?.into_iter();
        let root = self.project.root.clone();
        Ok(files.filter(move |file| file != Path::new(COASTFILE) && root.join(file).is_file()))
    }
}

/// Whether a file of the workspace has this content.
pub(super) fn holds(workspace: &Path, file: &Path, content: &[u8]) -> bool {
    fs::read(workspace.join(file)).is_ok_and(|found| found == content)
}
