//! The scenarios: things that users do, each on fresh destinations, with all programs in turns, over a link.
//! A round of runs whose results differ is an error.

use super::change::Change;
use super::compare;
use super::contender::{Contender, Remote, Tool, Way};
use super::inputs::{self, Extent, Input, Inputs};
use super::interrupt::Interrupt;
use super::kept::KeptConnection;
use super::limits::Limits;
use super::link::LinkName;
use super::measure::{self, Run};
use super::profile::{self, Profile};
use anyhow::{Context, Result};
use clap::ValueEnum;
use coast_testkit::Snapshot;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
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
    /// Push a million small files to an empty place. Only on demand: it needs 12 GB in memory.
    Million,
    /// Push them again, with nothing changed. Only on demand, too.
    #[value(name = "million-second")]
    #[serde(rename = "million-second")]
    MillionSecond,
}

/// The runs of one scenario over one link, round by round.
#[derive(Serialize)]
pub(crate) struct Outcome {
    pub(crate) scenario: Scenario,
    pub(crate) link: LinkName,
    pub(crate) limits: Limits,
    pub(crate) rounds: Vec<Round>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<Profile>,
}

/// A run of each program, one right after the other.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct Round(pub(crate) BTreeMap<Tool, Run>);

impl Round {
    /// The time of coast by that of another program, below 1 where coast is the faster one. `None` if the other did not take part.
    pub(crate) fn ratio_to(&self, other: Tool) -> Option<f64> {
        Some(self.of(Tool::Coast)?.wall_seconds / self.of(other)?.wall_seconds)
    }

    pub(crate) fn of(&self, tool: Tool) -> Option<&Run> {
        self.0.get(&tool)
    }
}

impl Display for Round {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        for (tool, run) in &self.0 {
            write!(out, "{} {:.2} s", tool.name(), run.wall_seconds)?;
            match self.ratio_to(*tool) {
                Some(ratio) if *tool != Tool::Coast => write!(out, " (ratio {ratio:.2}), ")?,
                _ => {}
            }
        }
        Ok(())
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
            Self::MillionSecond => "million files, second push",
        }
    }

    /// Whether a program can do what the scenario asks for.
    fn suits(self, tool: Tool) -> bool {
        match tool {
            Tool::Rsync | Tool::Coast => true,
            Tool::Tar => self == Self::First,
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
            Self::Million | Self::MillionSecond => Input::Many,
        }
    }

    fn pushes(self, inputs: &Inputs, extent: Extent) -> Pushes<'_> {
        let pair = inputs.of(self.input(extent));
        let (old, new) = (pair.old.as_path(), pair.new.as_path());
        let (before, measured) = match self {
            Self::First | Self::Million => (vec![], new),
            Self::Second | Self::Warm | Self::Edit | Self::Moved | Self::MillionSecond => (vec![new], new),
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
    pub(crate) contenders: &'a [Contender],
    pub(crate) inputs: &'a Inputs,
    pub(crate) rounds: NonZeroUsize,
    /// Where the samples of profiles are written to, if there are any.
    pub(crate) profiles: Option<&'a Path>,
    pub(crate) interrupt: &'a Interrupt,
}

impl Bench<'_> {
    /// Runs the rounds of a scenario and checks that each left equal trees.
    pub(crate) fn measure(&self, scenario: Scenario, extent: Extent, remote: &Remote<'_>) -> Result<Outcome> {
        let mut turns: Vec<&Contender> =
            self.contenders.iter().filter(|contender| scenario.suits(contender.tool)).collect();
        let pushes = scenario.pushes(self.inputs, extent);
        let limits = limits(&pushes, remote)?;
        let mut outcome = Outcome { scenario, link: remote.link, limits, rounds: Vec::new(), profile: None };
        for number in 1..=self.rounds.get() {
            let (mut runs, mut results) = (BTreeMap::new(), Vec::new());
            for contender in &turns {
                runs.insert(contender.tool, self.run(&pushes, contender, remote, None)?);
                // Only one destination takes room, and all programs find as much memory free.
                results.push((contender.tool, compare::read(&contender.destination(remote))?));
                contender.clear(remote)?;
            }
            ensure_equal(pushes.measured, &results)
                .with_context(|| format!("{}: the results differ", scenario.title()))?;
            let round = Round(runs);
            eprintln!("{}, {}, {number}/{}: {round}", scenario.title(), remote.link.name(), self.rounds);
            outcome.rounds.push(round);
            turns.rotate_left(1);
        }
        if let (Some(directory), Some(coast)) =
            (self.profiles, turns.iter().find(|contender| contender.tool == Tool::Coast))
        {
            let data = directory.join(format!("{} ({}).data", scenario.title(), remote.link.name()));
            let run = self.run(&pushes, coast, remote, Some(&data))?;
            outcome.profile = Some(Profile::read(&data, &run)?);
            coast.clear(remote)?;
        }
        Ok(outcome)
    }

    /// One run. Its samples are written to `profile`.
    fn run(
        &self,
        pushes: &Pushes<'_>,
        contender: &Contender,
        remote: &Remote<'_>,
        profile: Option<&Path>,
    ) -> Result<Run> {
        contender.start_fresh(remote)?;
        for basis in &pushes.before {
            measure::run(contender.push(remote, Way::Direct, basis), remote, self.interrupt)?;
        }
        let _until_pushed = pushes.change.make(pushes.pair)?;
        let kept = match pushes.way {
            Way::Kept => Some(KeptConnection::open(contender, remote, pushes.measured)?),
            Way::Link | Way::Direct => None,
        };
        let keeper = kept.as_ref().map(KeptConnection::keeper).transpose()?;
        remote.take_memory()?;
        let mut push = contender.push(remote, pushes.way, pushes.measured);
        if let Some(data) = profile {
            push = profile::watched(push, data);
        }
        measure::run_with(push, keeper, remote, self.interrupt)
    }

    /// Pushes a small tree with all programs. Then no measured run reads a program from disk or uploads the helper.
    pub(crate) fn warm_up(&self, remote: &Remote<'_>) -> Result<()> {
        let source = TempDir::with_prefix("coast-bench-").context("making a small tree")?;
        fs::write(source.path().join("file"), "content").context("making a small tree")?;
        for contender in self.contenders {
            contender.start_fresh(remote)?;
            let push = contender.push(remote, Way::Direct, source.path());
            measure::run(push, remote, self.interrupt)?;
            compare::ensure_equal(source.path(), &contender.destination(remote))
                .with_context(|| format!("{} did not push a small tree", contender.tool.name()))?;
            contender.clear(remote)?;
        }
        Ok(())
    }
}

/// What the machine needs for the measured push.
fn limits(pushes: &Pushes<'_>, remote: &Remote<'_>) -> Result<Limits> {
    let undo = pushes.change.make(pushes.pair)?;
    Limits::measure(pushes.before.last().copied(), pushes.measured, undo.changed(), remote.directory())
}

/// Fails unless all results are equal, and says which of them has other files than the source.
fn ensure_equal(source: &Path, results: &[(Tool, Snapshot)]) -> Result<()> {
    let Err(error) = results.windows(2).try_for_each(|both| {
        let [(left, left_tree), (right, right_tree)] = both else { return Ok(()) };
        compare::ensure_same(left_tree, right_tree)
            .with_context(|| format!("{} and {}", left.name(), right.name()))
    }) else {
        return Ok(());
    };
    let source = compare::read(source)?;
    let judged: Vec<String> = results
        .iter()
        .map(|(tool, tree)| {
            let stale = compare::stale_files(&source, tree);
            format!("{} left {stale} files that are not as the source", tool.name())
        })
        .collect();
    Err(error.context(judged.join("; ")))
}
