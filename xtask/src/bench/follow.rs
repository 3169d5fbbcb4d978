//! `cargo xtask bench --scenario follow`: the time from an edit of a worktree until it is seen at the remote, with `coast run`
//! over an SSH server, for either layer.

mod course;
mod edits;
mod figure;
mod layer;
mod project;
mod report;
mod returns;
mod site;
mod storms;
mod tree;
mod weight;

use super::interrupt::Interrupt;
use super::machine::{Coast, Machine};
use anyhow::{Context, Result};
use clap::Args;
use course::Course;
use layer::{Layer, LayerName, Shell};
pub(crate) use report::Report;
use site::Site;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use tree::TreeSize;

/// Options of the scenario `follow`.
#[derive(Args)]
#[command(next_help_heading = "Options of --scenario follow")]
pub(crate) struct FollowOptions {
    /// Measure only these layers [default: native, and mutagen if --mutagen is given].
    #[arg(long = "layer", value_name = "NAME", value_enum, num_args = 1..)]
    layers: Vec<LayerName>,
    /// Measure mutagen, too, from the archive of a release for Linux. Docker is started if no engine answers.
    #[arg(long, value_name = "ARCHIVE")]
    mutagen: Option<PathBuf>,
    /// Measure only with these trees [default: both].
    #[arg(long = "tree", value_name = "SIZE", value_enum, num_args = 1..)]
    trees: Vec<TreeSize>,
    /// Edits of each kind, or as many as fit into two minutes.
    #[arg(long, value_name = "N", default_value = "100")]
    edits: NonZeroUsize,
}

/// Measures the chosen layers with the chosen trees. `work` is a directory that may hold inputs.
/// Worktrees and workspaces are in the system's directory for temporary files.
pub(crate) fn measure(
    options: &FollowOptions,
    coast: &Coast,
    work: &Path,
    interrupt: &Interrupt,
) -> Result<Measured> {
    let layers = match (&options.layers[..], &options.mutagen) {
        ([], None) => vec![LayerName::Native],
        ([], Some(_)) => LayerName::ALL.to_vec(),
        (chosen, _) => chosen.to_vec(),
    };
    let trees = if options.trees.is_empty() { TreeSize::ALL.to_vec() } else { options.trees.clone() };
    let mut machine = Machine::describe(coast)?;
    let (mut figures, mut failed) = (Vec::new(), Vec::new());
    for name in layers {
        let layer = match name {
            LayerName::Native => Layer::Native,
            LayerName::Mutagen => {
                let archive =
                    options.mutagen.as_deref().context("--layer mutagen needs --mutagen ARCHIVE")?;
                let shell = Shell::build(&coast.program, archive)?;
                machine.programs.push(format!("mutagen {}", shell.version));
                Layer::Mutagen(shell)
            }
        };
        let site = Site::start(&coast.program, layer)?;
        for tree in &trees {
            let mut course = Course::new(&site, *tree, options.edits.get(), interrupt);
            let taken = course.take(work);
            figures.append(&mut course.figures);
            failed.append(&mut course.failed);
            interrupt.check()?;
            if let Err(error) = taken {
                eprintln!("{}, {} tree: {error:#}", name.name(), tree.name());
                failed.push(format!("the rest of {}, {} tree", name.name(), tree.name()));
            }
        }
    }
    Ok(Measured { report: Report { machine, figures }, failed })
}

/// The figures, and what could not be measured.
pub(crate) struct Measured {
    pub(crate) report: Report,
    pub(crate) failed: Vec<String>,
}
