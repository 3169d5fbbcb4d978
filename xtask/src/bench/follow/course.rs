//! The measurements of one layer with one tree, one after the other. If one of them fails, the others are still wanted.

use super::edits::Edits;
use super::figure::{Figure, Measure};
use super::project::Project;
use super::returns;
use super::site::{Site, Way};
use super::storms;
use super::tree::TreeSize;
use super::weight::{self, Weight};
use crate::bench::interrupt::Interrupt;
use anyhow::Result;
use std::path::Path;

/// The measurements so far.
pub(super) struct Course<'a> {
    site: &'a Site,
    tree: TreeSize,
    /// The number of edits of each kind.
    edits: usize,
    interrupt: &'a Interrupt,
    pub(super) figures: Vec<Figure>,
    /// What could not be measured.
    pub(super) failed: Vec<String>,
}

impl<'a> Course<'a> {
    pub(super) fn new(site: &'a Site, tree: TreeSize, edits: usize, interrupt: &'a Interrupt) -> Self {
        Self { site, tree, edits, interrupt, figures: Vec::new(), failed: Vec::new() }
    }

    /// Measures everything. `inputs` is the directory of the bench's inputs.
    pub(super) fn take(&mut self, inputs: &Path) -> Result<()> {
        let project = Project::make(self.site, self.tree, inputs, self.interrupt)?;
        match self.tree {
            TreeSize::Small => self.small(&project),
            TreeSize::Large => self.large(&project),
        }
    }

    fn small(&mut self, project: &Project<'_>) -> Result<()> {
        let near = project.run("near", Way::Direct)?;
        let mut edits = Edits::of(&near, self.edits)?;
        self.record(Measure::SaveAgain, edits.save_again())?;
        self.record(Measure::SaveFirst, edits.save_first())?;
        self.record(Measure::NewFile, edits.make())?;
        self.record(Measure::Delete, edits.delete())?;
        self.record(Measure::Chmod, edits.chmod())?;
        self.record(Measure::Rename, edits.rename())?;
        self.record(Measure::AtomicSave, edits.save_atomically())?;
        self.record(Measure::Checkout, storms::checkouts(&near))?;
        near.remove()?;

        let far = project.run("far", Way::Link)?;
        self.record(Measure::Link, Edits::of(&far, self.edits)?.save_again())?;
        far.remove()?;

        let shy = project.run("shy", Way::Proxy)?;
        self.record(Measure::Away, returns::absences(&shy))?;
        shy.remove()?;

        // Its files stay: a follower would refuse to delete more than half of the workspace.
        let full = project.run("full", Way::Direct)?;
        self.record(Measure::NewFiles, storms::new_files(&full))?;
        full.remove()
    }

    fn large(&mut self, project: &Project<'_>) -> Result<()> {
        let (instance, runs) = returns::runs(project)?;
        self.record(Measure::Run, Ok(runs))?;
        let mut edits = Edits::of(&instance, self.edits)?;
        self.record(Measure::SaveAgain, edits.save_again())?;
        self.record(Measure::SaveFirst, edits.save_first())?;
        self.weigh([Measure::DaemonMemory, Measure::HelperMemory], weight::memory(&instance))?;
        self.record(Measure::Killed, returns::kills(&instance))?;
        let processor = weight::idle_processor(&instance, self.interrupt);
        self.weigh([Measure::DaemonProcessor, Measure::HelperProcessor], processor)?;
        instance.remove()
    }

    fn weigh(&mut self, [daemon, helper]: [Measure; 2], weight: Result<Weight>) -> Result<()> {
        match weight {
            Ok(weight) => {
                self.record(daemon, Ok(vec![weight.daemon]))?;
                self.record(helper, Ok(vec![weight.helper]))
            }
            Err(error) => self.record(daemon, Err(error)),
        }
    }

    /// Keeps the samples of a measurement, or what has failed. An interrupt is an error.
    fn record(&mut self, measure: Measure, samples: Result<Vec<f64>>) -> Result<()> {
        self.interrupt.check()?;
        let what =
            format!("{}, {} tree, {}", self.site.layer.name().name(), self.tree.name(), measure.title());
        match samples {
            Ok(samples) => {
                let figure = Figure::new(self.site.layer.name(), self.tree, measure, samples);
                eprintln!("{what}: {}", figure.cell());
                self.figures.push(figure);
            }
            Err(error) => {
                eprintln!("{what}: {error:#}");
                self.failed.push(what);
            }
        }
        Ok(())
    }
}
