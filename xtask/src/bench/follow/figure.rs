//! What is measured of a layer, and the figures to reach.

use super::layer::LayerName;
use super::tree::TreeSize;
use crate::bench::spread::Spread;
use serde::Serialize;
use std::time::Duration;

/// A thing that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measure {
    SaveAgain,
    SaveFirst,
    NewFile,
    Delete,
    Chmod,
    Rename,
    AtomicSave,
    Link,
    NewFiles,
    Checkout,
    Run,
    Killed,
    Away,
    DaemonMemory,
    HelperMemory,
    DaemonProcessor,
    HelperProcessor,
}

/// What the number of a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    Milliseconds,
    Megabytes,
    Percent,
}

impl Measure {
    /// In the order of the report.
    pub(crate) const ALL: [Self; 17] = [
        Self::SaveAgain,
        Self::SaveFirst,
        Self::NewFile,
        Self::Delete,
        Self::Chmod,
        Self::Rename,
        Self::AtomicSave,
        Self::Link,
        Self::NewFiles,
        Self::Checkout,
        Self::Run,
        Self::Killed,
        Self::Away,
        Self::DaemonMemory,
        Self::HelperMemory,
        Self::DaemonProcessor,
        Self::HelperProcessor,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::SaveAgain => "save of a recently changed file",
            Self::SaveFirst => "save of a file not touched before",
            Self::NewFile => "new file in a new directory",
            Self::Delete => "deletion",
            Self::Chmod => "chmod",
            Self::Rename => "rename",
            Self::AtomicSave => "atomic save",
            Self::Link => "save, over a link of 40 ms round trip",
            Self::NewFiles => "10,000 new files until equal",
            Self::Checkout => "git checkout that changes 500 files until equal",
            Self::Run => "run on a workspace that is right, until an edit has followed",
            Self::Killed => "back after the daemon was killed",
            Self::Away => "back after sshd was away 60 s, once it answers",
            Self::DaemonMemory => "memory of the daemon",
            Self::HelperMemory => "memory of the remote helper",
            Self::DaemonProcessor => "processor of the daemon over an idle minute",
            Self::HelperProcessor => "processor of the remote helper over an idle minute",
        }
    }

    /// The trees that it is measured with.
    pub(super) fn trees(self) -> &'static [TreeSize] {
        match self {
            Self::SaveAgain | Self::SaveFirst => &TreeSize::ALL,
            Self::Run
            | Self::Killed
            | Self::DaemonMemory
            | Self::HelperMemory
            | Self::DaemonProcessor
            | Self::HelperProcessor => &[TreeSize::Large],
            _ => &[TreeSize::Small],
        }
    }

    /// The figure that the native layer is to reach.
    pub(super) fn goal(self, tree: TreeSize) -> &'static str {
        match (self, tree) {
            (Self::SaveAgain | Self::SaveFirst, TreeSize::Small) => "10 ms, p99 40",
            (Self::SaveAgain | Self::SaveFirst, TreeSize::Large) => "15 ms, p99 40",
            (Self::NewFile | Self::Delete | Self::Chmod | Self::Rename | Self::AtomicSave, _) => "20 ms",
            (Self::Link, _) => "55 ms",
            (Self::NewFiles, _) => "2500 ms",
            (Self::Checkout, _) => "500 ms",
            (Self::Run | Self::Killed | Self::Away, _) => "1000 ms",
            (Self::DaemonMemory, _) => "60 MB",
            (Self::HelperMemory, _) => "40 MB",
            (Self::DaemonProcessor | Self::HelperProcessor, _) => "0.0 %",
        }
    }

    pub(super) fn unit(self) -> Unit {
        match self {
            Self::DaemonMemory | Self::HelperMemory => Unit::Megabytes,
            Self::DaemonProcessor | Self::HelperProcessor => Unit::Percent,
            _ => Unit::Milliseconds,
        }
    }
}

/// The measurements of one thing.
#[derive(Serialize)]
pub(crate) struct Figure {
    pub(super) layer: LayerName,
    pub(super) tree: TreeSize,
    pub(super) measure: Measure,
    unit: Unit,
    spread: Spread,
    samples: Vec<f64>,
}

impl Figure {
    pub(super) fn new(layer: LayerName, tree: TreeSize, measure: Measure, samples: Vec<f64>) -> Self {
        let spread = Spread::of(samples.iter().copied());
        Self { layer, tree, measure, unit: measure.unit(), spread, samples }
    }

    /// The median, and of several samples also the 99th percentile and their number.
    pub(super) fn cell(&self) -> String {
        let Spread { median, p99, .. } = self.spread;
        let (unit, digits) = match self.unit {
            Unit::Milliseconds => ("ms", usize::from(median < 100.0)),
            Unit::Megabytes => ("MB", 0),
            Unit::Percent => ("%", 2),
        };
        let one = format!("**{median:.digits$} {unit}**");
        match self.samples.len() {
            0 | 1 => one,
            count => format!("{one} (p99 {p99:.digits$}, n {count})"),
        }
    }
}

/// In milliseconds.
pub(super) fn milliseconds(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(measure: Measure, samples: &[f64]) -> String {
        Figure::new(LayerName::Native, TreeSize::Small, measure, samples.to_vec()).cell()
    }

    #[test]
    fn a_cell_has_the_median_the_percentile_and_the_count() {
        assert_eq!(cell(Measure::SaveAgain, &[9.04, 12.0, 31.26]), "**12.0 ms** (p99 31.3, n 3)");
        assert_eq!(cell(Measure::NewFiles, &[2204.4, 2300.0]), "**2252 ms** (p99 2300, n 2)");
        assert_eq!(cell(Measure::DaemonMemory, &[58.7]), "**59 MB**");
        assert_eq!(cell(Measure::HelperProcessor, &[0.0]), "**0.00 %**");
    }
}
