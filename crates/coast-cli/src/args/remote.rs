//! The arguments of `coast remote`.

use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Subcommand, ValueHint};
use coast_instance::Name;

use super::connection::HelperArgs;

pub(super) const ABOUT: &str = "\
Manages the machines that instances live on. They are kept in $XDG_CONFIG_HOME/coast/remotes.toml (by default \
~/.config/coast/remotes.toml), which only you can read. A Coastfile never says how to connect. A single remote is the default; \
with several, `coast run --remote` chooses.";

pub(super) const AFTER: &str = "\
EXAMPLES
  coast remote add box dev@box.example
  coast remote add lab dev@10.0.0.7:2222 \\
    --key ~/.ssh/lab_key --service-home /srv/coast
  coast remote test box
      Connect, and check the host key, sudo, the helper, the free space and the architecture.
  coast remote setup box
      Check more, and print the command that mends each fault.
  coast remote sudoers box
      Print what to put into /etc/sudoers.d there, so that transfers write as root.
  coast remote key box --create
      Make a key that sessions of mutagen use, so that your own key is not copied into a container.
  coast remote prune box --dry-run
      List what instances that are gone have left there.
  coast remote rm lab
      Forget the machine. This is refused while instances live on it.";

const TEST_ABOUT: &str = "\
Connects in the same way as `coast run`, and prints one line for each check: the connection, the host key (and whether it was new, and accepted just now), the accepted key, \
whether sudo works without a password, whether the helper can be uploaded and answers, whether the service home has space and \
can be written to, and the architecture. A check that fails says what to do, and the exit code is then not 0. Nothing on the \
remote is changed, except that the helper is uploaded to its user's cache directory.";

const KEY_ABOUT: &str = "\
Shows which keys are used at a machine. Transfers and coastd log in with your own key, which stays where it is. With \
workspace_sync = \"mutagen\", the session that makes edits follow runs in a shell container, and a key is copied into that \
container. With --create this is a key that is made for the purpose: an ed25519 key without a passphrase in $XDG_DATA_HOME/coast/keys (by default ~/.local/share/coast/keys). Its line in \
~/.ssh/authorized_keys on the machine begins with `restrict`, so it can run commands there, but has no terminal and forwards \
nothing. Without such a key, the key that logs in is copied, and it must be in a file without a passphrase.";

const SETUP_ABOUT: &str = "\
Does all that `coast remote test` does, and looks further: whether the directory of workspaces can be written to, how many files and \
directories its file system can still have, whether the kernel confines the helper (landlock), how many files a user may watch \
(fs.inotify.max_user_watches), and whether the SSH server runs two commands on one connection. Where root can be reached with sudo, \
the server's MaxSessions and MaxStartups are read with `sshd -T`. For each fault it prints the command that mends it, and runs none \
of them. The exit code is 0 when all is well, 3 when anything is not, and that of the connection when there is none.";

const SUDOERS_ABOUT: &str = "\
Prints lines for a file in /etc/sudoers.d on the machine. They let the user who logs in run the helper as root without a password, \
and nothing else: the file is checked by its hash, and its arguments must name the directory of workspaces. Comments in the output \
say what is granted, and how to install the lines (visudo -f /etc/sudoers.d/coast). The helper is uploaded, since the lines name its \
place. The hash changes with the version of coast.";

const PRUNE_ABOUT: &str = "\
Lists what is left on the machine and belongs to no instance of this machine, of any project: workspaces and state directories in \
workspaces/ of the service home, empty directories of projects, helpers in the user's cache directory, and agents, caches and staged \
files of mutagen in the user's home directory. Each is listed with its last use and its size, and with what its trash holds. Then it \
asks, and removes all of it. The machine does not say who uses it: instances of other machines look the same, so look at the list \
first. Only a directory project/instance with the private state directory of coast beside it counts as a workspace. What stays is \
named: a workspace that a run works on, a path of an instance on another remote, and what a running session of mutagen may use.";

/// Replaces clap's error about a port of `coast remote add`, which is a part of the address.
pub(super) fn explain(error: &clap::Error, command: &mut clap::Command) -> Option<clap::Error> {
    let in_add = error.context().any(|(kind, value)| {
        kind == ContextKind::Usage
            && matches!(value, ContextValue::StyledStr(usage) if usage.to_string().contains("coast remote add"))
    });
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else { return None };
    let is_port = matches!(argument.split('=').next(), Some("--port" | "-p"));
    let add = command.find_subcommand_mut("remote")?.find_subcommand_mut("add")?;
    let message = format!("there is no {argument}: the port is a part of the address: USER@HOST:PORT");
    (in_add && is_port).then(|| add.error(ErrorKind::UnknownArgument, message))
}

/// Subcommands of `coast remote`.
#[derive(Debug, Subcommand)]
pub(crate) enum RemoteCommand {
    /// Remember a machine
    Add(AddArgs),
    /// List the machines
    Ls(ListArgs),
    /// Forget a machine that no instance lives on
    Rm(RemoveArgs),
    /// Connect to a machine and check whether instances can live on it
    #[command(long_about = TEST_ABOUT)]
    Test(TestArgs),
    /// Check everything that instances need on a machine, and print a command for each fault
    #[command(long_about = SETUP_ABOUT)]
    Setup(TestArgs),
    /// Print the lines of sudoers that let the user run the helper as root
    #[command(long_about = SUDOERS_ABOUT)]
    Sudoers(TestArgs),
    /// List and remove what no instance known here owns on a machine
    #[command(long_about = PRUNE_ABOUT)]
    Prune(PruneArgs),
    /// Show, make or remove the key that sessions use at a machine
    #[command(long_about = KEY_ABOUT)]
    Key(KeyArgs),
}

/// Arguments of `coast remote add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The name to give to the machine
    pub(crate) name: Name,

    // An attribute, not a doc comment: rustdoc reads brackets as links.
    #[arg(
        help = "The address: [USER@]HOST[:PORT]; the ssh configuration supplies the parts that are left out"
    )]
    #[arg(value_name = "USER@HOST[:PORT]", value_hint = ValueHint::Hostname)]
    pub(crate) address: String,

    /// The private key to try first. Without a session key (coast remote key --create), edits follow only if it has no passphrase
    #[arg(short, long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) key: Option<PathBuf>,

    /// The directory on the machine that holds workspaces/ [default: /data]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::Other)]
    pub(crate) service_home: Option<String>,

    /// Replace the address and the key of a machine that has this name already
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

/// Arguments of `coast remote test`, `setup` and `sudoers`.
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

/// Arguments of `coast remote prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// The machine
    pub(crate) name: Name,

    /// Only list
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,

    /// Do not ask before all that is listed is removed
    #[arg(short, long, conflicts_with = "dry_run")]
    pub(crate) yes: bool,

    #[command(flatten)]
    pub(crate) helper: HelperArgs,

    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `coast remote key`.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// The machine
    pub(crate) name: Name,

    /// Make the key if it does not exist, let it log in at the machine, and use it for sessions
    #[arg(long)]
    pub(crate) create: bool,

    /// Remove the key, here and at the machine
    #[arg(long, conflicts_with = "create")]
    pub(crate) remove: bool,

    /// Remove the key here even if the machine cannot be reached
    #[arg(long, requires = "remove")]
    pub(crate) force: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}
