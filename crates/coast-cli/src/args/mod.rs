//! The command line: one module per group of subcommands, and the values that they share.

pub(crate) mod cache;
pub(crate) mod connection;
pub(crate) mod daemon;
#[cfg(feature = "demo")]
pub(crate) mod demo;
#[cfg(test)]
mod help_layout;
pub(crate) mod image;
pub(crate) mod init;
pub(crate) mod lifecycle;
pub(crate) mod push;
pub(crate) mod remote;
pub(crate) mod resolve;
pub(crate) mod restore;
pub(crate) mod rules;
pub(crate) mod size;
pub(crate) mod sync;
pub(crate) mod trust;
pub(crate) mod which;

use anyhow::Context;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// The text above the options in `coast --help`.
const ABOUT: &str = "\
Development on another machine. `coast run` transfers a git worktree to it and keeps it up to date with every edit. \
`coast push` and `coast sync` make a directory on another machine equal to a local directory, over SSH. They replace \
`rsync` over `ssh`, in pure Rust: neither machine needs either program, and nothing has to be installed on the remote.";

/// The text below the options in `coast --help`. A paragraph is one line here: clap breaks it to fit the terminal.
const AFTER: &str = "\
EXAMPLES
  coast remote add box dev@box.example
      Remember a machine that instances can live on.
  coast run dev-1
      Make an instance there: the project's worktree is transferred, and every later edit follows.
  coast assign dev-1 --worktree feature
      Make the same instance follow another worktree.
  coast push ./workspace dev@host:/data/workspaces/shop/1
      Push a workspace with the default rules. A second run transfers only the differences.
  coast sync -rlDzP --delete-after \\
    --rsync-path=\"sudo rsync\" ./src/ dev@host:/srv/src/
      The same engine with rsync's own options: a script needs `coast sync` in place of `rsync`.

TWO PROMISES
  An entry that is already right is not touched. An entry with the right content, kind and mode keeps its inode and its modification time. \
Nothing is renamed over it, so no file watcher wakes up. Content is compared, not times, unless -t is given.

  An entry that appears at the destination during the run is not deleted.

EXIT CODES (those of rsync)
    0  success
    1  the command line was not understood
    2  the two sides do not understand each other
    3  the source or the destination cannot be used
   10  no connection
   11  reading or writing files failed, or no space is left
   12  the connection or the helper broke
   20  interrupted
   23  some entries could not be transferred
   24  some source files vanished during the run
   25  --max-delete stopped the deletion, or `coast start` would delete most of what was sent
   30  nothing moved for --timeout seconds
  255  SSH failed: host key, no accepted key, sudo

  `coast push`, `run`, `assign` and `start` exit with 0, after a warning, in two cases where `coast sync` exits with 23 or 24: a \
source file vanished during the run; or an entry at the destination was left as it is, because another program changed it \
during the run or because a protected path is in the way.

  Commands on instances also exit with 3 when the instance, worktree or remote does not exist, exists already or is stopped, or when \
the settings of the Coastfile are not trusted (`coast trust`); \
with 12 when edits do not follow although --require-continuous was given or `coast flush` waits for them, also in a project \
that is bulk only; and with 23 when `coast flush` waited for edits that \
did not arrive.

FILES
  The section \"What a run leaves behind\" of README.md lists what a run leaves on both machines.

LIMITS
  The remote runs Linux on x86_64 or aarch64. This side runs Linux or macOS. Transfers go from here to a remote only.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "coast", version, about = ABOUT, after_long_help = AFTER, max_term_width = 110)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// When messages are coloured: on a terminal unless NO_COLOR is set, always, or never
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = "Output")]
    pub(crate) color: Color,

    /// Use no connection of coastd (also: COAST_NO_DAEMON=1)
    #[arg(long, global = true, help_heading = "Connection")]
    pub(crate) no_daemon: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// When messages are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Also where the output is no terminal
    Always,
    /// Nowhere
    Never,
}

impl Color {
    /// Makes this the choice for all output of the process. JSON is never coloured.
    pub(crate) fn write_global(self) {
        match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make an instance: transfer a worktree to a remote and make edits follow
    #[command(long_about = lifecycle::RUN_ABOUT, after_long_help = lifecycle::RUN_AFTER)]
    Run(lifecycle::RunArgs),
    /// Make an instance follow another worktree
    #[command(long_about = lifecycle::ASSIGN_ABOUT, after_long_help = lifecycle::ASSIGN_AFTER)]
    Assign(lifecycle::AssignArgs),
    /// Make an instance follow the project's root again
    Unassign(lifecycle::UnassignArgs),
    /// Stop an instance: edits no longer follow, the workspace stays
    #[command(long_about = lifecycle::STOP_ABOUT, after_long_help = lifecycle::STOP_AFTER)]
    Stop(lifecycle::StopArgs),
    /// Start a stopped instance, or repair an instance that does not follow
    #[command(long_about = lifecycle::START_ABOUT, after_long_help = lifecycle::START_AFTER)]
    Start(lifecycle::StartArgs),
    /// Remove an instance and its workspace
    #[command(long_about = lifecycle::RM_ABOUT, after_long_help = lifecycle::RM_AFTER)]
    Rm(lifecycle::RmArgs),
    /// List instances
    #[command(long_about = lifecycle::LS_ABOUT)]
    Ls(lifecycle::LsArgs),
    /// Show the state of an instance
    #[command(long_about = lifecycle::STATUS_ABOUT, after_long_help = lifecycle::STATUS_AFTER)]
    Status(lifecycle::StatusArgs),
    /// Wait until every edit has arrived, and mend conflicts
    #[command(long_about = lifecycle::FLUSH_ABOUT, after_long_help = lifecycle::FLUSH_AFTER)]
    Flush(lifecycle::FlushArgs),
    /// Settle conflicts by taking one side
    #[command(long_about = resolve::ABOUT, after_long_help = resolve::AFTER)]
    Resolve(resolve::ResolveArgs),
    /// List what was deleted from a workspace, or bring it back
    #[command(long_about = restore::ABOUT, after_long_help = restore::AFTER)]
    Restore(restore::RestoreArgs),
    /// Write a first Coastfile for this project
    #[command(long_about = init::ABOUT)]
    Init(init::InitArgs),
    /// Trust the settings of this project's Coastfile that could do harm
    #[command(long_about = trust::ABOUT, after_long_help = trust::AFTER)]
    Trust(trust::TrustArgs),
    /// Manage the machines that instances live on
    #[command(subcommand, long_about = remote::ABOUT, after_long_help = remote::AFTER)]
    Remote(remote::RemoteCommand),
    /// Make images for the shell containers of instances
    #[command(subcommand, long_about = image::ABOUT, after_long_help = image::AFTER)]
    Image(image::ImageCommand),
    /// Run coastd, the daemon that keeps connections warm
    #[command(subcommand, long_about = daemon::ABOUT, after_long_help = daemon::AFTER)]
    Daemon(daemon::DaemonCommand),
    /// Push a workspace to another machine
    #[command(long_about = push::ABOUT, after_long_help = push::AFTER)]
    Push(push::PushArgs),
    /// Make a directory equal to another, with rsync's options
    #[command(long_about = sync::ABOUT, after_long_help = sync::AFTER)]
    Sync(sync::SyncArgs),
    /// Show two pushes on this machine alone, and compare both trees
    #[cfg(feature = "demo")]
    #[command(long_about = demo::ABOUT)]
    Demo(demo::DemoArgs),
    /// Print the completion script for a shell
    Completions {
        /// The shell to complete in
        shell: Shell,
    },
    /// Print the manual page, in roff (read it with `coast man push | man -l -`)
    Man {
        /// The subcommand to describe, such as `push` or `remote add` [default: coast itself]
        subcommand: Vec<String>,
    },
}

/// Parses the command line.
///
/// # Errors
/// clap's error. For an option of rsync that `coast sync` does not take, the message names the replacement.
pub(crate) fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    let matches =
        command.try_get_matches_from_mut(arguments).map_err(|error| explain(error, &mut command))?;
    Cli::from_arg_matches(&matches)
}

/// Replaces clap's error about `coast demo` in a build without it, and its errors about options of rsync, by better messages.
fn explain(error: clap::Error, command: &mut clap::Command) -> clap::Error {
    let unknown = error.get(ContextKind::InvalidSubcommand);
    if cfg!(not(feature = "demo")) && unknown == Some(&ContextValue::String("demo".to_owned())) {
        let message = "this program was built without `coast demo`; in a checkout of the source, run `cargo run --release \
                       --bin coast -- demo`";
        return command.error(ErrorKind::InvalidSubcommand, message);
    }
    if let Some(explained) = remote::explain(&error, command) {
        return explained;
    }
    sync::explain(error, command)
}

/// Returns the manual page of the program, or of one subcommand, named by its words, in roff.
pub(crate) fn manual_page(subcommand: &[String]) -> anyhow::Result<Vec<u8>> {
    let mut command = Cli::command();
    // Gives the subcommands their full names, as in `coast push`.
    command.build();
    for name in subcommand {
        let found = command.get_subcommands().find(|subcommand| subcommand.get_name() == name);
        command =
            found.cloned().with_context(|| format!("there is no subcommand {:?}", subcommand.join(" ")))?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    let page = String::from_utf8(page).context("the manual page is not text")?;
    // The library puts the text after the options below the heading EXTRA, which manual pages do not have.
    Ok(page.replace("\n.SH EXTRA\n", "\n.SH NOTES\n").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_states_the_promises_and_the_exit_codes() {
        let help = Cli::command().render_long_help().to_string();
        for text in
            ["TWO PROMISES", "EXIT CODES", "is already right is not touched", "during the run is not deleted"]
        {
            assert!(help.contains(text), "{text}");
        }
    }

    #[test]
    fn the_manual_page_and_the_completions_come_from_the_same_definitions() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let page = |text| String::from_utf8(manual_page(&words(text)).unwrap()).unwrap();
        assert!(page("").contains("TWO PROMISES") && page("push").contains("no\\-default\\-rules"));
        assert!(page("sync").contains("itemize\\-changes") && manual_page(&words("frobnicate")).is_err());
        assert!(
            page("remote key").contains("coast remote key")
                || page("remote key").contains("coast\\-remote\\-key")
        );
        assert!(page("remote key").contains("authorized_keys") && !page("push").contains("EXTRA"));
        assert!(manual_page(&words("remote frobnicate")).is_err());
        let mut script = Vec::new();
        clap_complete::generate(Shell::Bash, &mut Cli::command(), "coast", &mut script);
        assert!(String::from_utf8(script).unwrap().contains("--no-default-rules"));
    }
}
