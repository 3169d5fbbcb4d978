//! The arguments of `coast init`.

use clap::Args;

pub(super) const ABOUT: &str = "\
Writes a first Coastfile, with comments, into the root of this project. The name is that of the directory. Of the patterns in the \
root's .gitignore, those that both layers read in the same way become `exclude`; the others are in a comment. A Coastfile that \
exists is never overwritten: then the exit code is 3.";

/// Arguments of `coast init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Print the Coastfile, and write nothing
    #[arg(long)]
    pub(crate) print: bool,
}
