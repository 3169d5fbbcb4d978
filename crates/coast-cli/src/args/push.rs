//! The arguments of `coast push`.

use std::ffi::OsString;
use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::{ArgAction, Args, ValueHint};

use super::cache::CacheArgs;
use super::connection::{HelperArgs, OwnArg, StreamsArg, SudoArg};
use super::rules::PushRules;
use super::size::parse_rate;
use crate::remote_shell::{SshOption, parse_port};

pub(super) const ABOUT: &str = "\
Makes a directory on another machine equal to a local directory. Files, directories, symlinks and devices are created and \
replaced; extraneous entries are deleted at the very end. The SSH user owns every entry that is sent, and gets the other entries that belong to root. Missing parents of the \
destination are created. One run replaces this rsync command and the `chown -R` that followed it:

  rsync -rlDzP --delete-after \\
    --rsync-path=\"sudo rsync\" \\
    --filter 'P generated/***' \\
    --filter 'P .react-router/***' \\
    --filter 'P internal/generated/***' \\
    --filter 'P app/generated/***' \\
    --exclude .git --exclude node_modules \\
    --exclude target --exclude __pycache__ \\
    --exclude .react-router --exclude .next \\
    -e \"ssh -p PORT -i KEY\" LOCAL/ USER@HOST:PATH/

A file is executable at the destination if it is executable at the source. Modification times are the times of the transfer. \
Source files that vanish during the run are only a warning. So are entries at the destination that another program changed \
during the run, and entries that could not arrive because a protected path is in the way. The exit code is then 0. Any other \
entry that could not be brought up to date makes the exit code 23, and the last lines of the output name the first of these entries.

Two promises differ from rsync. An entry that is already right is not touched: content is compared, not times, and an entry \
with the right content, kind and mode keeps its inode and its modification time, so no file watcher wakes up. An entry that \
appears at the destination during the run is not deleted.

A deleted entry that no run had put there, or that may have been changed there since, moves to a trash in the private state directory of the \
destination. The same holds for an entry that is replaced by one of another kind, and a replaced file that no run had put there as it was is kept \
there, too; both also with --no-delete. It stays there for 7 days. While the trash is larger than 1 GiB, the entries of the oldest run go; those of the \
latest run stay whatever their size. `coast restore` lists the trash and brings entries back. The last lines of the output name the first deleted entries.";

pub(super) const AFTER: &str = "\
EXAMPLES
  coast push ./workspace dev@host:/data/workspaces/shop/1
  coast push -p 2222 -i ~/.ssh/dev_key . dev@host:/srv/app
  coast push -n -v . host:work
      Show what would be done, and change nothing in `work`, which is below the user's home directory.
  coast push --protect 'uploads/***' \\
    --exclude '*.log' . host:/srv/app
  coast push --json . host:/srv/app
      Print one JSON object per line, for programs.

JSON
  Each line is an object with the field \"event\": \"notice\", \"host_key\" (a key that was not known before), \"problem\" or \"progress\", with -v also \"changed\" and \
\"deleted\", and at the end \"done\" or \"failed\". The last object has the \"exit_code\". The object \"done\" also has all \
counts, and in \"failures\" the number of entries that could not be brought up to date and the first of them. A \"path\" that \
is not valid UTF-8 comes with its bytes in hexadecimal as \"path_bytes\".";

/// Arguments of `coast push`.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub(crate) struct PushArgs {
    /// The local directory; its content is pushed, with or without a trailing slash
    #[arg(value_name = "LOCAL", value_hint = ValueHint::DirPath)]
    pub(crate) local: PathBuf,

    // An attribute, not a doc comment: rustdoc reads brackets as links.
    #[arg(help = "The destination: [USER@]HOST:PATH, ssh://[USER@]HOST[:PORT]/PATH, or a local directory")]
    #[arg(value_name = "[USER@]HOST:PATH", value_hint = ValueHint::Other)]
    pub(crate) destination: OsString,

    /// Delete nothing at the destination
    #[arg(long)]
    pub(crate) no_delete: bool,

    /// Keep nothing in the trash of what was made or changed at the destination and is deleted or replaced
    #[arg(long)]
    pub(crate) no_trash: bool,

    #[command(flatten)]
    pub(crate) rules: PushRules,

    /// Drop the default rules, which protect generated code and leave out .git, node_modules, target and the like
    #[arg(long, help_heading = super::rules::HEADING)]
    pub(crate) no_default_rules: bool,

    /// The port of the SSH server
    #[arg(short, long, value_name = "PORT", value_parser = parse_port, help_heading = "Connection")]
    pub(crate) port: Option<u16>,

    /// A private key to log in with; may be given several times
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

    /// Which excluded, protected and other remote entries are given to the SSH user, if files are written as root
    #[arg(long, value_name = "WHICH", default_value = "root")]
    pub(crate) own: OwnArg,

    #[command(flatten)]
    pub(crate) helper: HelperArgs,

    /// Give up when no data moves for this long; 0 means never
    #[arg(long, value_name = "SECONDS", default_value_t = 0, help_heading = "Connection")]
    pub(crate) timeout: u64,

    /// Send at most this much per second: in KiB, or with a suffix (1.5m, 2MB); 0 means no limit
    #[arg(long, value_name = "RATE", help_heading = "Connection")]
    pub(crate) bwlimit: Option<Rate>,

    #[command(flatten)]
    pub(crate) streams: StreamsArg,

    /// Move all replaced files into place together, at the end, so that a file watcher sees one short burst
    #[arg(long)]
    pub(crate) delay_updates: bool,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,

    /// Change nothing in the destination, only show what would be done. The helper is uploaded if it is missing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,

    /// Name each changed or deleted entry; given twice, itemize the changes
    #[arg(short, long, action = ArgAction::Count, help_heading = "Output")]
    pub(crate) verbose: u8,

    /// Print nothing but warnings and errors
    #[arg(short, long, help_heading = "Output")]
    pub(crate) quiet: bool,

    /// Print all counts at the end
    #[arg(long, help_heading = "Output")]
    pub(crate) stats: bool,

    /// Print one JSON object per line instead of text
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// A rate in bytes per second. `None` means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) Option<NonZeroU64>);

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_rate(text).map(Self)
    }
}
