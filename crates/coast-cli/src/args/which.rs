//! The instances of a command: one by its name, or all of a project.

use clap::Args;
use coast_instance::Name;

/// One instance, or all instances of a project.
#[derive(Debug, Clone, Args)]
pub(crate) struct WhichArgs {
    /// The instance
    #[arg(required_unless_present = "all")]
    pub(crate) instance: Option<Name>,

    /// All instances of this project, or of the one that --project names, one after the other
    #[arg(long, conflicts_with = "instance")]
    pub(crate) all: bool,
}
