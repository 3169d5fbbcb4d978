//! The arguments of `coast restore`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, ValueHint};

use super::connection::{HelperArgs, SudoArg};
use super::lifecycle::ProjectArg;
use crate::remote_shell::{SshOption, parse_port};

pub(super) const ABOUT: &str = "\
Lists the trash of a workspace, or brings entries back from it.

When `coast push`, `run --adopt`, `assign` or `unassign` deletes an entry that no run had put there, or that was changed there \
since, the entry moves to a trash in the private state directory of the workspace. `start` and `flush` move only changed entries there, \
and what is in directories that were deleted here. It stays there for 7 days. While the trash is larger than 1 GiB, the entries of \
the oldest run go; those of the latest run stay whatever their size.

Without a PATH, `coast restore` lists the trash: the latest run that deleted something comes first. With a PATH, it moves the entry \
back, with everything below it, from the latest run that deleted something at that path. Content, owner, mode and times are \
as they were. An entry that exists in the workspace is never replaced: move or delete it there first. A directory that is \
missing is made as it was.

The next run does not know a restored entry: it counts as made there. `coast start` leaves it. The next `coast push` or `assign` moves it to the \
trash again, unless the source has it or a rule protects it (--protect, or [remote] protect in the Coastfile).";

pub(super) const AFTER: &str = "\
EXAMPLES
  coast restore dev-1
      List what was deleted from an instance's workspace.
  coast restore dev-1 .env uploads
      Bring back a file, and a directory with everything below it.
  coast restore dev-1 .
      Bring back all that the latest run moved to the trash.
  coast restore dev@host:/data/workspaces/shop/1
      List the trash of a destination of `coast push`.
  coast restore -p 2222 -i ~/.ssh/dev_key \\
    dev@host:/srv/app a.db
  coast restore ./copy a.db
      A directory on this machine needs a slash in its name.

WHICH WORKSPACE IS MEANT
  A word without a colon and without a slash is an instance. Everything else is a destination as `coast push` takes it. Use the \
same user and the same --sudo as for the push: the trash belongs to the user who wrote the files.

EXIT CODES
  Those of `coast --help`. 3 when the workspace does not exist or a run works on it. 23 when a PATH is not in the trash, when it \
exists in the workspace, or when it cannot be moved because something else is mounted there.

JSON
  One object. For a list it has \"event\": \"trash\", the counts \"entries\" and \"bytes\", and in \"first\" the first 4000 entries with \
\"at\" (seconds since 1970), \"kind\", \"size\" and \"path\". After restoring it has \"event\": \"restored\", \"exit_code\", the counts \
\"entries\" and \"bytes\", and in \"left\" the number of entries that were not restored and the first of them with the reason in \"text\". A \
\"path\" that is not valid UTF-8 comes with its bytes in hexadecimal as \"path_bytes\". Notices come before, as objects of their own.";

/// Arguments of `coast restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    // An attribute, not a doc comment: rustdoc reads brackets as links.
    #[arg(
        help = "An instance, or a destination of coast push: [USER@]HOST:PATH, ssh://[USER@]HOST[:PORT]/PATH, or a local directory"
    )]
    #[arg(value_name = "WORKSPACE", value_hint = ValueHint::Other)]
    pub(crate) workspace: OsString,

    /// The entries to bring back, relative to the workspace; `.` for all of the latest run [default: list the trash]
    #[arg(value_name = "PATH", value_hint = ValueHint::Other)]
    pub(crate) paths: Vec<OsString>,

    #[command(flatten)]
    pub(crate) project: ProjectArg,

    /// The port of the SSH server, with HOST:PATH
    #[arg(short, long, value_name = "PORT", value_parser = parse_port, help_heading = "Connection")]
    pub(crate) port: Option<u16>,

    /// A private key to log in with, with HOST:PATH; may be given several times
    #[arg(short, long, value_name = "FILE", action = ArgAction::Append, value_hint = ValueHint::FilePath)]
    #[arg(help_heading = "Connection")]
    pub(crate) identity: Vec<PathBuf>,

    /// An option of ssh_config(5), with HOST:PATH; may be given several times
    #[arg(short = 'o', long, value_name = "NAME=VALUE", action = ArgAction::Append, value_parser = SshOption::parse)]
    #[arg(help_heading = "Connection")]
    pub(crate) ssh_option: Vec<SshOption>,

    /// Whether the helper runs as root, with HOST:PATH [default: auto]
    #[arg(long, value_name = "WHEN", help_heading = "Connection")]
    pub(crate) sudo: Option<SudoArg>,

    #[command(flatten)]
    pub(crate) helper: HelperArgs,

    /// Print nothing but the list, warnings and errors
    #[arg(short, long, help_heading = "Output")]
    pub(crate) quiet: bool,

    /// Print one JSON object instead of text
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

impl RestoreArgs {
    /// The first option about the connection, of which only a destination on another machine has one.
    pub(crate) fn connection_option(&self) -> Option<&'static str> {
        [
            (self.port.is_some(), "--port"),
            (!self.identity.is_empty(), "--identity"),
            (!self.ssh_option.is_empty(), "--ssh-option"),
            (self.sudo.is_some(), "--sudo"),
        ]
        .into_iter()
        .find_map(|(given, name)| given.then_some(name))
    }
}
