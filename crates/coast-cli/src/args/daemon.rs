//! The arguments of `coast daemon`.

use clap::{Args, Subcommand};

pub(super) const ABOUT: &str = "\
Runs coastd, a daemon of your own user. It carries the edits of instances whose Coastfile says workspace_sync = \"native\", and has \
running instances follow again when something breaks; `coast run`, `assign` and `start` start it for that. It also keeps one \
connection to each remote in use, so that other commands need no new one; they work without it, too. A program named `coastd`, a link to coast for \
example, is `coast daemon run`.";

pub(super) const AFTER: &str = "\
EXAMPLES
  coast daemon start
  coast daemon status
  coast daemon install
      Have the system start it at each login.

FILES
  $XDG_RUNTIME_DIR/coast/coastd.sock
      The socket, where the variable is set; otherwise it is beside the log.
  $XDG_STATE_HOME/coast/.daemon/coastd.log
      The log (by default below ~/.local/state), and up to three older ones, of 1 MiB each.";

const STATUS_ABOUT: &str = "\
Shows the state of the daemon. The exit code is 0 if it runs, and 3 if it does not.";

/// `coast daemon`
#[derive(Debug, Subcommand)]
pub(crate) enum DaemonCommand {
    /// Run the daemon in this terminal
    Run(RunArgs),
    /// Start the daemon, unless it runs
    Start,
    /// End the daemon
    Stop,
    /// End the daemon, and start it again
    Restart,
    /// Show the state of the daemon
    #[command(long_about = STATUS_ABOUT)]
    Status(StatusArgs),
    /// Print the log
    Logs(LogsArgs),
    /// Have the system start the daemon at each login (a systemd user unit, or a launchd property list)
    Install,
    /// Undo what `install` did
    Uninstall,
}

/// Arguments of `coast daemon run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Close a connection that no command has used for this time
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) keep_connections: u64,

    /// Leave the terminal; `coast daemon start` starts it so.
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
}

/// Arguments of `coast daemon status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Print one JSON object
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// Arguments of `coast daemon logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Go on with every line that is added
    #[arg(short, long, help_heading = "Output")]
    pub(crate) follow: bool,
}
