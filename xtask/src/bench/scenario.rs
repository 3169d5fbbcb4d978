//! The scenarios: things that users do, each on fresh destinations, with both programs in turns, over a link.
//! A pair of runs whose results differ is an error.

use super::change::Change;
use super::compare;
use super::contender::{Contender, Remote, Tool, Way};
use super::inputs::{self, Extent, Input, Inputs};
use super::interrupt::Interrupt;
use super::kept::KeptConnection;
use super::link::LinkName;
use super::measure::{self, Run};
use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use tempfile::TempDir;

/// A thing that users do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scenario {
    /// Push a source tree to an empty place.
    First,
    /// Push it again, with nothing changed.
    Second,
    /// Push it again over a connection that stays.
    Warm,
    /// Push another release over it.
    Switch,
    /// Push a worktree that git has just made of another commit, after the worktree of a first commit.
    Worktree,
    /// Push the first release again after the switch, with both caches warm.
    #[value(name = "switch-back")]
    #[serde(rename = "switch-back")]
    SwitchBack,
    /// Push after an edit of one file.
    Edit,
    /// Push after the move of a directory of 5,700 files.
    Moved,
    /// Push a new version of one large file over the old one.
    Big,
    /// Push a large file over one that it has nothing in common with.
    Unrelated,
    /// Push a million small files to an empty place. Only on demand: it needs 16 GB in memory.
    Million,
}

/// The runs of one scenario over one link, pair by pair.
#[derive(Serialize)]
pub(crate) struct Outcome {
    pub(crate) scenario: Scenario,
    pub(crate) link: LinkName,
    pub(crate) pairs: Vec<Pair>,
}

/// A run of either program, one right after the other.
#[derive(Serialize)]
pub(crate) struct Pair {
    pub(crate) rsync: Run,
    pub(crate) coast: Run,
}

impl Pair {
    /// Below 1 where coast is the faster one.
    pub(crate) fn ratio(&self) -> f64 {
        self.coast.wall_seconds / self.rsync.wall_seconds
    }

    pub(crate) fn of(&self, tool: Tool) -> &Run {
        match tool {
            Tool::Rsync => &self.rsync,
            Tool::Coast => &self.coast,
        }
    }
}

/// The trees that a scenario pushes, one after the other, to one destination.
struct Pushes<'a> {
    pair: &'a inputs::Pair,
    before: Vec<&'a Path>,
    /// What is done to the newer tree of the pair before the measured push.
    change: Change,
    measured: &'a Path,
    way: Way,
}

impl Scenario {
    /// Those that are measured by default.
    pub(crate) const DEFAULT: [Self; 10] = [
        Self::First,
        Self::Second,
        Self::Warm,
        Self::Switch,
        Self::Worktree,
        Self::SwitchBack,
        Self::Edit,
        Self::Moved,
        Self::Big,
        Self::Unrelated,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::First => "first push",
            Self::Second => "second push",
            Self::Warm => "second push, warm",
            Self::Switch => "switch",
            Self::Worktree => "git worktree",
            Self::SwitchBack => "switch back",
            Self::Edit => "one edit",
            Self::Moved => "moved directory",
            Self::Big => "big file",
            Self::Unrelated => "unrelated file",
            Self::Million => "million files",
        }
    }

    /// The kind of input that the scenario pushes.
    pub(crate) fn input(self, extent: Extent) -> Input {
        match self {
            Self::First
            | Self::Second
            | Self::Warm
            | Self::Switch
            | Self::SwitchBack
            | Self::Edit
            | Self::Moved => Input::Trees(extent),
            Self::Worktree => Input::Worktrees(extent),
            Self::Big => Input::BigFile,
            Self::Unrelated => Input::Unrelated,
            Self::Million => Input::Many,
        }
    }

    fn pushes(self, inputs: &Inputs, extent: Extent) -> Pushes<'_> {
        let pair = inputs.of(self.input(extent));
        let (old, new) = (pair.old.as_path(), pair.new.as_path());
        let (before, measured) = match self {
            Self::First | Self::Million => (vec![], new),
            Self::Second | Self::Warm | Self::Edit | Self::Moved => (vec![new], new),
            Self::Switch | Self::Worktree | Self::Big | Self::Unrelated => (vec![old], new),
            Self::SwitchBack => (vec![old, new], old),
        };
        let change = match self {
            Self::Worktree => Change::CheckOut,
            Self::Edit => Change::Edit,
            Self::Moved => Change::Move,
            _ => Change::None,
        };
        let way = if self == Self::Warm { Way::Kept } else { Way::Link };
        Pushes { pair, before, change, measured, way }
    }
}

/// What the runs of all scenarios have in common.
pub(crate) struct Bench<'a> {
    pub(crate) contenders: &'a [Contender; 2],
    pub(crate) inputs: &'a Inputs,
    pub(crate) pairs: NonZeroUsize,
    pub(crate) interrupt: &'a Interrupt,
}

impl Bench<'_> {
    /// Runs the pairs of a scenario and checks that each left two equal trees.
    pub(crate) fn measure(&self, scenario: Scenario, extent: Extent, remote: &Remote<'_>) -> Result<Outcome> {
        let [rsync, coast] = self.contenders;
        let mut outcome = Outcome { scenario, link: remote.link, pairs: Vec::new() };
        let pushes = scenario.pushes(self.inputs, extent);
        for number in 1..=self.pairs.get() {
            let run = |contender: &Contender| self.run(&pushes, contender, remote);
            // The second program finds less memory free, so each is second every other time.
            let pair = if number % 2 == 1 {
                let rsync = run(rsync)?;
                Pair { rsync, coast: run(coast)? }
            } else {
                let coast = run(coast)?;
                Pair { rsync: run(rsync)?, coast }
            };
            self.ensure_equal(pushes.measured, remote)
                .with_context(|| format!("{}: the results differ", scenario.title()))?;
            eprintln!(
                "{}, {}, {number}/{}: rsync {:.2} s, coast {:.2} s, ratio {:.2}",
                scenario.title(),
                remote.link.name(),
                self.pairs,
                pair.rsync.wall_seconds,
                pair.coast.wall_seconds,
                pair.ratio()
            );
            outcome.pairs.push(pair);
            for contender in self.contenders {
                contender.clear(remote)?;
            }
        }
        Ok(outcome)
    }

    fn run(&self, pushes: &Pushes<'_>, contender: &Contender, remote: &Remote<'_>) -> Result<Run> {
        contender.start_fresh(remote)?;
        for basis in &pushes.before {
            measure::run(&mut contender.push(remote, Way::Direct, basis), remote, self.interrupt)?;
        }
        let _until_pushed = pushes.change.make(pushes.pair)?;
        let kept = match pushes.way {
            Way::Kept => Some(KeptConnection::open(contender, remote, pushes.measured)?),
            Way::Link | Way::Direct => None,
        };
        let keeper = kept.as_ref().map(KeptConnection::keeper).transpose()?;
        remote.take_memory()?;
        let mut push = contender.push(remote, pushes.way, pushes.measured);
        measure::run_with(&mut push, keeper, remote, self.interrupt)
    }

    /// Fails unless both destinations are equal, and says which of them has other files than the source.
    fn ensure_equal(&self, source: &Path, remote: &Remote<'_>) -> Result<()> {
        let destinations = self.contenders.each_ref().map(|contender| contender.destination(remote));
        let Err(error) = compare::ensure_equal(&destinations[0], &destinations[1]) else { return Ok(()) };
        let source = compare::read(source)?;
        let mut judged = String::new();
        for (contender, destination) in self.contenders.iter().zip(&destinations) {
            let stale = compare::stale_files(&source, &compare::read(destination)?);
            judged += &format!("{} left {stale} files that are not as the source; ", contender.tool.name());
        }
        Err(error.context(judged.trim_end_matches("; ").to_owned()))
    }

    /// Pushes a small tree with both programs. Then no measured run reads a program from disk or uploads the helper.
    pub(crate) fn warm_up(&self, remote: &Remote<'_>) -> Result<()> {
        let source = TempDir::with_prefix("coast-bench-").context("making a small tree")?;
        fs::write(source.path().join("file"), "content").context("making a small tree")?;
        for contender in self.contenders {
            contender.start_fresh(remote)?;
            let mut push = contender.push(remote, Way::Direct, source.path());
            measure::run(&mut push, remote, self.interrupt)?;
            compare::ensure_equal(source.path(), &contender.destination(remote))
                .with_context(|| format!("{} did not push a small tree", contender.tool.name()))?;
            contender.clear(remote)?;
        }
        Ok(())
    }
}
