//! The scenarios: four things that users do, each on fresh destinations, with both programs in turns.
//! A pair of runs whose results differ is an error.

use super::compare;
use super::contender::{Contender, Remote, Tool};
use super::inputs::{Input, Inputs};
use super::interrupt::Interrupt;
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

/// The runs of one scenario, pair by pair.
#[derive(Serialize)]
pub(crate) struct Outcome {
    pub(crate) scenario: Scenario,
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
    pub(crate) fn input(self) -> Input {
        match self {
            Self::First | Self::Second | Self::Switch => Input::Trees,
            Self::Big => Input::BigFile,
        }
    }

    /// The tree that is at the destination before, if any, and the tree that is pushed over it.
    fn sources(self, inputs: &Inputs) -> (Option<&Path>, &Path) {
        let pair = inputs.of(self.input());
        match self {
            Self::First => (None, &pair.new),
            Self::Second => (Some(&pair.new), &pair.new),
            Self::Switch | Self::Big => (Some(&pair.old), &pair.new),
        }
    }

    /// Runs `pairs` pairs and checks that each left two equal trees.
    pub(crate) fn measure(
        self,
        remote: &Remote<'_>,
        contenders: &[Contender; 2],
        inputs: &Inputs,
        pairs: NonZeroUsize,
        interrupt: &Interrupt,
    ) -> Result<Outcome> {
        let [rsync, coast] = contenders;
        let mut outcome = Outcome { scenario: self, pairs: Vec::new() };
        for number in 1..=pairs.get() {
            let run = |contender: &Contender| self.run(contender, remote, inputs, interrupt);
            // The second program finds less memory free, so each is second every other time.
            let pair = if number % 2 == 1 {
                let rsync = run(rsync)?;
                Pair { rsync, coast: run(coast)? }
            } else {
                let coast = run(coast)?;
                Pair { rsync: run(rsync)?, coast }
            };
            compare::ensure_equal(&rsync.destination(remote), &coast.destination(remote))
                .with_context(|| format!("{}: the results differ", self.title()))?;
            eprintln!(
                "{} {number}/{pairs}: rsync {:.2} s, coast {:.2} s, ratio {:.2}",
                self.title(),
                pair.rsync.wall_seconds,
                pair.coast.wall_seconds,
                pair.ratio()
            );
            outcome.pairs.push(pair);
            for contender in contenders {
                contender.clear(remote)?;
            }
        }
        Ok(outcome)
    }

    fn run(
        self,
        contender: &Contender,
        remote: &Remote<'_>,
        inputs: &Inputs,
        interrupt: &Interrupt,
    ) -> Result<Run> {
        contender.start_fresh(remote)?;
        let destination = contender.destination(remote);
        let (basis, source) = self.sources(inputs);
        if let Some(basis) = basis {
            measure::run(&mut contender.push(remote, basis, &destination), remote.server, interrupt)?;
        }
        remote.take_memory()?;
        measure::run(&mut contender.push(remote, source, &destination), remote.server, interrupt)
    }
}

/// Pushes a small tree with both programs. Then no measured run reads a program from disk or uploads the helper.
pub(crate) fn warm_up(remote: &Remote<'_>, contenders: &[Contender; 2], interrupt: &Interrupt) -> Result<()> {
    let source = TempDir::with_prefix("coast-bench-").context("making a small tree")?;
    fs::write(source.path().join("file"), "content").context("making a small tree")?;
    for contender in contenders {
        contender.start_fresh(remote)?;
        let destination = contender.destination(remote);
        measure::run(&mut contender.push(remote, source.path(), &destination), remote.server, interrupt)?;
        compare::ensure_equal(source.path(), &destination)
            .with_context(|| format!("{} did not push a small tree", contender.tool.name()))?;
        contender.clear(remote)?;
    }
    Ok(())
}

impl Pair {
    pub(crate) fn of(&self, tool: Tool) -> &Run {
        match tool {
            Tool::Rsync => &self.rsync,
            Tool::Coast => &self.coast,
        }
    }
}
