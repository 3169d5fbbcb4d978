//! `coast remote`: the machines that instances live on.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use coast_instance::Name;

use super::connection::HelperArgs;

pub(super) const ABOUT: &str = "\
The machines that instances live on. They are kept in $XDG_CONFIG_HOME/coast/remotes.toml (by default \
~/.config/coast/remotes.toml), for you alone; a Coastfile never says how to connect. With one remote it is the default, with \
several `coast run --remote` chooses.";

pub(super) const AFTER: &str = "\
EXAMPLES
  coast remote add box dev@box.example
  coast remote add lab dev@10.0.0.7:2222 --key ~/.ssh/lab_key --service-home /srv/coast
  coast remote test box     connects and looks: host key, sudo, helper, room, architecture
  coast remote rm lab       refused while instances live there";

const TEST_ABOUT: &str = "\
Connects as `coast run` will, and tells line by line what it finds: the connection, the host key, the key that was accepted, \
whether sudo works without a password, whether the helper can be put there and answers, whether there is room and a right to \
write in the service home, and the architecture. When one fails it says what to do, and the exit code is not 0. Changes nothing \
on the remote but for the helper in its user's cache directory.";

/// Subcommands of `coast remote`.
#[derive(Debug, Subcommand)]
pub(crate) enum RemoteCommand {
    /// Remember a machine
    Add(AddArgs),
    /// List the machines
    Ls(ListArgs),
    /// Forget a machine that no instance lives on
    Rm(RemoveArgs),
    /// Connect to a machine and tell whether instances can live there
    #[command(long_about = TEST_ABOUT)]
    Test(TestArgs),
}

/// Arguments of `coast remote add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// What it shall be called here
    pub(crate) name: Name,

    /// Where it is.
    // Not from the comment above: brackets are links there.
    #[arg(help = "Where it is: [USER@]HOST[:PORT]; what is left out is as the ssh configuration has it")]
    #[arg(value_name = "USER@HOST[:PORT]", value_hint = ValueHint::Hostname)]
    pub(crate) address: String,

    /// Private key to log in with, before all others. Edits can only follow with one that has no passphrase
    #[arg(short, long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) key: Option<PathBuf>,

    /// The directory there that holds workspaces/ [default: /data]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::Other)]
    pub(crate) service_home: Option<String>,

    /// Give a machine that is remembered already this address and key
    #[arg(long)]
    pub(crate) replace: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `coast remote ls`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `coast remote rm`.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The machine
    pub(crate) name: Name,

    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `coast remote test`.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The machine [default: the only one]
    pub(crate) name: Option<Name>,

    #[command(flatten)]
    pub(crate) helper: HelperArgs,

    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}
