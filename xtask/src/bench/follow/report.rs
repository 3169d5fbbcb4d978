//! The figures of both layers beside each other, and beside the figures to reach.

use super::figure::{Figure, Measure};
use super::layer::LayerName;
use super::tree::TreeSize;
use crate::bench::machine::Machine;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};

/// The results of the scenario.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(super) machine: Machine,
    pub(super) figures: Vec<Figure>,
}

impl Report {
    /// Whether everything was measured of both layers.
    pub(crate) fn is_complete(&self) -> bool {
        rows().all(|row| LayerName::ALL.iter().all(|layer| self.figure(*layer, row).is_some()))
    }

    fn figure(&self, layer: LayerName, (tree, measure): (TreeSize, Measure)) -> Option<&Figure> {
        let mut figures = self.figures.iter();
        figures.find(|figure| figure.layer == layer && figure.tree == tree && figure.measure == measure)
    }
}

/// The rows of the table.
fn rows() -> impl Iterator<Item = (TreeSize, Measure)> {
    TreeSize::ALL.into_iter().flat_map(|tree| {
        Measure::ALL
            .into_iter()
            .filter(move |measure| measure.trees().contains(&tree))
            .map(move |measure| (tree, measure))
    })
}

impl Display for Report {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "# How fast edits follow\n")?;
        writeln!(
            out,
            "Written by `cargo xtask bench --scenario follow`: instances of both layers, over one OpenSSH server on"
        )?;
        writeln!(out, "the same machine. Medians from the begin of an edit until its result")?;
        writeln!(
            out,
            "is at the remote; the layer mutagen looks at most files every 10 s, and the edits are spread over that time.\n"
        )?;
        write!(out, "{}", self.machine)?;
        for tree in
            TreeSize::ALL.into_iter().filter(|tree| self.figures.iter().any(|figure| figure.tree == *tree))
        {
            writeln!(out, "\n## {}\n", tree.title())?;
            writeln!(out, "| | mutagen | native | to reach |")?;
            writeln!(out, "|---|--:|--:|--:|")?;
            for row in rows().filter(|(of, _)| *of == tree) {
                let cell = |layer| self.figure(layer, row).map(Figure::cell).unwrap_or_default();
                let [mutagen, native] = LayerName::ALL.map(cell);
                writeln!(out, "| {} | {mutagen} | {native} | {} |", row.1.title(), row.1.goal(tree))?;
            }
        }
        Ok(())
    }
}
