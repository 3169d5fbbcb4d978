//! The scenarios: things that users do, each on fresh destinations, with both programs in turns, over a link.
//! A pair of runs whose results differ is an error.

use super::compare;
use super::contender::{Contender, Remote, Tool, Way};
use super::inputs::{Extent, Input, Inputs};
use super::interrupt::Interrupt;
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
    /// Push another release over it.
    Switch,
    /// Push a new version of one large file over the old one.
    Big,
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
    before: Vec<&'a Path>,
    measured: &'a Path,
}

impl Scenario {
    pub(crate) const ALL: [Self; 4] = [Self::First, Self::Second, Self::Switch, Self::Big];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::First => "first push",
            Self::Second => "second push",
            Self::Switch => "switch",
            Self::Big => "big file",
        }
    }

    /// The kind of input that the scenario pushes.
    pub(crate) fn input(self, extent: Extent) -> Input {
        match self {
            Self::First | Self::Second | Self::Switch => Input::Trees(extent),
            Self::Big => Input::BigFile,
        }
    }

    fn pushes(self, inputs: &Inputs, extent: Extent) -> Pushes<'_> {
        let pair = inputs.of(self.input(extent));
        let (old, new) = (pair.old.as_path(), pair.new.as_path());
        let before = match self {
            Self::First => vec![],
            Self::Second => vec![new],
            Self::Switch | Self::Big => vec![old],
        };
        Pushes { before, measured: new }
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
            compare::ensure_equal(&rsync.destination(remote), &coast.destination(remote))
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
        remote.take_memory()?;
        measure::run(&mut contender.push(remote, Way::Link, pushes.measured), remote, self.interrupt)
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
