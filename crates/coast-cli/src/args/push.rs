//! `coast push`: the documented profile.

use std::ffi::OsString;
use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::{ArgAction, Args, ValueHint};

use super::connection::{HelperArgs, SudoArg};
use super::rules::PushRules;
use super::size::parse_rate;
use crate::remote_shell::{SshOption, parse_port};

pub(super) const ABOUT: &str = "\
Pushes the content of a local directory to a directory on another machine, which becomes equal to it: files, \
directories, symlinks and devices are created, replaced and (at the very end) deleted; the SSH user owns everything \
in the end; missing parents of the destination are made. It does in one run what this did, and `chown -R` after it:

  rsync -rlDzP --delete-after --rsync-path=\"sudo rsync\" \\
    --filter 'P generated/***' --filter 'P .react-router/***' \\
    --filter 'P internal/generated/***' --filter 'P app/generated/***' \\
    --exclude .git --exclude node_modules --exclude target --exclude __pycache__ \\
    --exclude .react-router --exclude .next \\
    -e \"ssh -p PORT -i KEY\" LOCAL/ USER@HOST:PATH/

Executability follows the source; modification times are those of the transfer. Files that could not be read or that \
vanished are warnings.

Two promises differ from rsync. What is right is not touched: content is compared, not times, and an entry whose content, \
kind and mode are right keeps its inode and modification time, so no file watcher wakes up. What is new is not \
deleted: nothing is deleted that appeared at the destination while the run went on.";

pub(super) const AFTER: &str = "\
EXAMPLES
  coast push ./workspace dev@host:/data/workspaces/shop/1
  coast push -p 2222 -i ~/.ssh/dev_key . dev@host:/data/workspaces/shop/1
  coast push -n -v . host:work              what would be done; `work` is below the home directory
  coast push --protect 'uploads/***' --exclude '*.log' . host:/srv/app
  coast push --json . host:/srv/app         one JSON object a line, for programs

JSON
  Each line is an object with an \"event\": \"notice\", \"problem\", \"progress\", with -v also \"changed\" and \
\"deleted\", and at last \"done\" or \"failed\" with \"exit_code\" and all counts. A \"path\" that is not valid UTF-8 \
comes with its bytes in hex as \"path_bytes\".";

/// Arguments of `coast push`.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub(crate) struct PushArgs {
    /// The local directory; its content is what is pushed, with or without a trailing slash
    #[arg(value_name = "LOCAL", value_hint = ValueHint::DirPath)]
    pub(crate) local: PathBuf,

    /// Where it goes.
    // Not from the comment above: brackets are links there.
    #[arg(help = "Where it goes: [USER@]HOST:PATH, ssh://[USER@]HOST[:PORT]/PATH, or a local directory")]
    #[arg(value_name = "[USER@]HOST:PATH", value_hint = ValueHint::Other)]
    pub(crate) destination: OsString,

    /// Delete nothing at the destination
    #[arg(long)]
    pub(crate) no_delete: bool,

    #[command(flatten)]
    pub(crate) rules: PushRules,

    /// Drop the default rules: protect generated code, leave out .git, node_modules, target and such
    #[arg(long, help_heading = super::rules::HEADING)]
    pub(crate) no_default_rules: bool,

    /// Port of the SSH server
    #[arg(short, long, value_name = "PORT", value_parser = parse_port, help_heading = "Connection")]
    pub(crate) port: Option<u16>,

    /// Private key to log in with; may be given several times
    #[arg(short, long, value_name = "FILE", action = ArgAction::Append, value_hint = ValueHint::FilePath)]
    #[arg(help_heading = "Connection")]
    pub(crate) identity: Vec<PathBuf>,

    /// An option of ssh_config(5), such as StrictHostKeyChecking=yes; may be given several times
    #[arg(short = 'o', long, value_name = "NAME=VALUE", action = ArgAction::Append, value_parser = SshOption::parse)]
    #[arg(help_heading = "Connection")]
    pub(crate) ssh_option: Vec<SshOption>,

    /// Whether the files are written as root
    #[arg(long, value_name = "WHEN", default_value = "auto", help_heading = "Connection")]
    pub(crate) sudo: SudoArg,

    #[command(flatten)]
    pub(crate) helper: HelperArgs,

    /// Give up when nothing moves for this long; 0 is never
    #[arg(long, value_name = "SECONDS", default_value_t = 0, help_heading = "Connection")]
    pub(crate) timeout: u64,

    /// Send at most this much a second: in KiB, or with a suffix (1.5m, 2MB); 0 is no limit
    #[arg(long, value_name = "RATE", help_heading = "Connection")]
    pub(crate) bwlimit: Option<Rate>,

    /// Move replaced files into place together at the end, so that a watcher sees one short burst
    #[arg(long)]
    pub(crate) delay_updates: bool,

    /// Change nothing, only say what would be done
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,

    /// Name each entry that is changed or deleted; twice: itemize what changes of it
    #[arg(short, long, action = ArgAction::Count, help_heading = "Output")]
    pub(crate) verbose: u8,

    /// Print nothing but warnings and errors
    #[arg(short, long, help_heading = "Output")]
    pub(crate) quiet: bool,

    /// Print all counts at the end
    #[arg(long, help_heading = "Output")]
    pub(crate) stats: bool,

    /// Print one JSON object a line instead of text
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// A rate in bytes a second; none is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) Option<NonZeroU64>);

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_rate(text).map(Self)
    }
}
