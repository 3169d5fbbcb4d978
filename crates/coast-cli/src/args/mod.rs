//! The command line: one module a subcommand, and the values they share.

pub(crate) mod connection;
#[cfg(feature = "demo")]
pub(crate) mod demo;
pub(crate) mod lifecycle;
pub(crate) mod push;
pub(crate) mod remote;
pub(crate) mod rules;
pub(crate) mod size;
pub(crate) mod sync;

use anyhow::Context;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

/// What stands above the options in `coast --help`.
const ABOUT: &str = "\
Development on another machine: `coast run` brings a git worktree there and has every edit follow. Underneath, `coast push` and \
`coast sync` make a directory on another machine equal to a local one, over SSH. A pure-Rust replacement for `rsync` over \
`ssh`: neither program is needed on either side, and nothing has to be installed on the remote.";

/// What stands below the options in `coast --help`.
const AFTER: &str = "\
EXAMPLES
  coast remote add box dev@box.example
  coast run dev-1
      An instance on that machine: the project's worktree is brought there, and edits follow (`coast run --help`).
  coast assign dev-1 --worktree feature
      The same instance follows another worktree. Then: coast status, flush, stop, start, rm.
  coast push ./workspace dev@host:/data/workspaces/shop/1
      Push a workspace with the usual rules; run it again and only what differs is touched.
  coast sync -rlDzP --delete-after --rsync-path=\"sudo rsync\" ./src/ dev@host:/srv/src/
      The same engine with rsync's own options: in a script, put `coast sync` for `rsync`.

TWO PROMISES
  What is right is not touched. An entry whose content, kind and mode are right keeps its inode and its
  modification time; nothing is renamed over it, so no file watcher wakes up. Content is compared, not times
  (unless -t says otherwise).
  What is new is not deleted. Nothing is deleted at the destination that appeared there while the run went on.

WHAT A RUN LEAVES BEHIND
  .NAME.coast beside the destination NAME (.coast-state in it where that cannot be made): what its files
  hold, what came of interrupted ones, a lock. ~/.cache/coast on the remote: the helper. The same directory
  here: what the files of each source hold. All of it may be removed at any time.

EXIT CODES (those of rsync)
    0  success                              20  interrupted
    1  command line not understood          23  some entries could not be transferred
    2  the two sides do not understand      24  some source files vanished
       each other                           25  --max-delete stopped a deletion
    3  source or destination unusable       30  nothing moved for --timeout seconds
   10  no connection                       255  SSH failed: host key, no acceptable key, sudo
   11  file input or output failed
   12  the connection or the helper broke
  For `coast push`, `run`, `assign` and `start` 23 and 24 are warnings, and the exit code is 0. For commands on instances
  3 is also: there is no such instance, worktree or remote, or there is one already, or it is stopped; 12: edits do not
  follow where that was asked for; 23: edits that were waited for did not arrive.

LIMITS
  The remote runs Linux (x86_64 or aarch64); this side Linux or macOS. Push only: from a remote to here, and
  from remote to remote, is not supported yet.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "coast", version, about = ABOUT, after_long_help = AFTER, max_term_width = 110)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make an instance: bring a worktree to a remote and have edits follow
    #[command(long_about = lifecycle::RUN_ABOUT, after_long_help = lifecycle::RUN_AFTER)]
    Run(lifecycle::RunArgs),
    /// Have an instance follow another worktree
    #[command(long_about = lifecycle::ASSIGN_ABOUT, after_long_help = lifecycle::ASSIGN_AFTER)]
    Assign(lifecycle::AssignArgs),
    /// Have an instance follow the project's root again
    Unassign(lifecycle::FollowArgs),
    /// Stop an instance: nothing follows, the workspace stays
    #[command(long_about = lifecycle::STOP_ABOUT)]
    Stop(lifecycle::StopArgs),
    /// Start a stopped instance, or mend one that does not follow
    #[command(long_about = lifecycle::START_ABOUT)]
    Start(lifecycle::FollowArgs),
    /// Remove an instance and its workspace
    #[command(long_about = lifecycle::RM_ABOUT)]
    Rm(lifecycle::RmArgs),
    /// List instances
    Ls(lifecycle::LsArgs),
    /// Tell how an instance is
    #[command(long_about = lifecycle::STATUS_ABOUT, after_long_help = lifecycle::STATUS_AFTER)]
    Status(lifecycle::StatusArgs),
    /// Wait until every edit has arrived
    Flush(lifecycle::FlushArgs),
    /// The machines that instances live on
    #[command(subcommand, long_about = remote::ABOUT, after_long_help = remote::AFTER)]
    Remote(remote::RemoteCommand),
    /// Push a workspace to another machine
    #[command(long_about = push::ABOUT, after_long_help = push::AFTER)]
    Push(push::PushArgs),
    /// Make a directory equal to another, with rsync's options
    #[command(long_about = sync::ABOUT, after_long_help = sync::AFTER)]
    Sync(sync::SyncArgs),
    /// Show a push and a second one on this machine alone, and prove the result
    #[cfg(feature = "demo")]
    #[command(long_about = demo::ABOUT)]
    Demo(demo::DemoArgs),
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, in roff (read it with `coast man push | man -l -`)
    Man {
        /// The subcommand whose page it is [default: the page of coast itself]
        subcommand: Option<String>,
    },
}

/// Reads the command line; what it cannot mean is an error of clap, made to speak of rsync where that helps.
pub(crate) fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    let matches =
        command.try_get_matches_from_mut(arguments).map_err(|error| explain(error, &mut command))?;
    Cli::from_arg_matches(&matches)
}

/// Says more about an error of the command line than clap can know.
fn explain(error: clap::Error, command: &mut clap::Command) -> clap::Error {
    let unknown = error.get(ContextKind::InvalidSubcommand);
    if cfg!(not(feature = "demo")) && unknown == Some(&ContextValue::String("demo".to_owned())) {
        let message = "this program was built without `coast demo`; in a checkout of the source, run `cargo run --release \
                       --bin coast -- demo`";
        return command.error(ErrorKind::InvalidSubcommand, message);
    }
    sync::explain(error, command)
}

/// A manual page, in roff: the program's, or that of one subcommand.
pub(crate) fn manual_page(subcommand: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let mut command = Cli::command();
    // Gives the subcommands their full names, as in `coast push`.
    command.build();
    let command = match subcommand {
        None => command,
        Some(name) => {
            let found = command.get_subcommands().find(|subcommand| subcommand.get_name() == name);
            found.cloned().with_context(|| format!("there is no subcommand {name:?}"))?
        }
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(page)
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
            ["TWO PROMISES", "EXIT CODES", "What is right is not touched", "What is new is not deleted"]
        {
            assert!(help.contains(text), "{text}");
        }
    }

    #[test]
    fn the_manual_page_and_the_completions_come_from_the_same_definitions() {
        let page = |subcommand| String::from_utf8(manual_page(subcommand).unwrap()).unwrap();
        assert!(page(None).contains("TWO PROMISES") && page(Some("push")).contains("no\\-default\\-rules"));
        assert!(page(Some("sync")).contains("itemize\\-changes") && manual_page(Some("frobnicate")).is_err());
        let mut script = Vec::new();
        clap_complete::generate(Shell::Bash, &mut Cli::command(), "coast", &mut script);
        assert!(String::from_utf8(script).unwrap().contains("--no-default-rules"));
    }
}
