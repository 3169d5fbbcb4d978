//! The arguments of `coast sync`, spelled as rsync's.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Args, ValueHint};

use super::cache::CacheArgs;
use super::connection::{HelperArgs, StreamsArg, SudoArg};
use super::push::Rate;
use super::rules::SyncRules;
use crate::refused;

pub(super) const ABOUT: &str = "\
Makes DST equal to SRC, with rsync's options. A trailing slash on SRC means its content; without it, SRC itself is put into \
DST. DST is a local path, [USER@]HOST:PATH or ssh://[USER@]HOST[:PORT]/PATH. A relative remote path starts at the user's home \
directory. Every other option of rsync is refused by name, with the option to use instead.

Two promises differ from rsync. An entry that is already right is not touched: an entry with the right content, kind and mode \
keeps its inode and its modification time, with or without -t. An entry that appears at the destination during the run is not \
deleted. Deletion always comes last, whichever --delete option is given.";

pub(super) const AFTER: &str = "\
EXAMPLES
  coast sync -rlDzP --delete-after \\
    --rsync-path=\"sudo rsync\" ./src/ dev@host:/srv/src/
  coast sync -a --delete \\
    -e \"ssh -p 2222 -i ~/.ssh/key\" build/ host:site/
  coast sync -rln --itemize-changes \\
    --exclude .git ./ /backup/project/

Of the value of -e, or of RSYNC_RSH, the options -p, -l, -i, -J and -o are used; no program is started. The remote side writes \
as the user who logs in, as with rsync, unless --rsync-path or --sudo ask for root.";

/// Arguments of `coast sync`.
#[derive(Debug, Args)]
#[command(args_override_self = true, disable_help_flag = true)]
pub(crate) struct SyncArgs {
    /// The local file or directory to send; a trailing slash means its content
    #[arg(value_name = "SRC", value_hint = ValueHint::AnyPath)]
    pub(crate) source: OsString,

    /// The destination
    #[arg(value_name = "DST", value_hint = ValueHint::AnyPath)]
    pub(crate) destination: OsString,

    #[command(flatten)]
    pub(crate) entries: Entries,

    #[command(flatten)]
    pub(crate) deletion: Deletion,

    #[command(flatten)]
    pub(crate) rules: SyncRules,

    #[command(flatten)]
    pub(crate) transfer: Transfer,

    #[command(flatten)]
    pub(crate) output: Output,

    /// Print help
    #[arg(long, action = ArgAction::HelpLong)]
    pub(crate) help: Option<bool>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Transferred entries")]
pub(crate) struct Entries {
    /// The same as -rlptgoD: everything but hard links, ACLs and extended attributes
    #[arg(short, long)]
    pub(crate) archive: bool,
    /// Transfer directories with everything below them
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Copy symlinks as symlinks
    #[arg(short, long)]
    pub(crate) links: bool,
    /// Keep permissions
    #[arg(short, long)]
    pub(crate) perms: bool,
    /// Keep whether a file is executable
    #[arg(short = 'E', long)]
    pub(crate) executability: bool,
    /// Keep modification times, and skip files of equal size and time
    #[arg(short, long)]
    pub(crate) times: bool,
    /// Keep owners (needs root at the destination)
    #[arg(short, long)]
    pub(crate) owner: bool,
    /// Keep groups
    #[arg(short, long)]
    pub(crate) group: bool,
    /// The same as --devices --specials
    #[arg(short = 'D')]
    pub(crate) devices_and_specials: bool,
    /// Copy device files (needs root at the destination)
    #[arg(long)]
    pub(crate) devices: bool,
    /// Copy FIFOs and sockets
    #[arg(long)]
    pub(crate) specials: bool,
    /// Write sequences of zeros as holes, also where the source has none
    #[arg(short = 'S', long)]
    pub(crate) sparse: bool,
    /// Compare content even where sizes and times are equal
    #[arg(short, long)]
    pub(crate) checksum: bool,
    /// Give every entry to this user and group; names or numbers
    #[arg(long, value_name = "USER:GROUP")]
    pub(crate) chown: Option<OsString>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Deletion (always last)")]
pub(crate) struct Deletion {
    /// Delete entries that the source does not have
    #[arg(long)]
    pub(crate) delete: bool,
    /// The same as --delete
    #[arg(long)]
    pub(crate) delete_after: bool,
    /// Also delete excluded entries
    #[arg(long)]
    pub(crate) delete_excluded: bool,
    /// Delete at most this many entries, and exit with 25 if there were more
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) max_delete: Option<i64>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Connection and transfer")]
pub(crate) struct Transfer {
    /// How to connect: "ssh" with its options -p, -l, -i, -J and -o; no program is started
    #[arg(short = 'e', long, value_name = "COMMAND", allow_hyphen_values = true)]
    pub(crate) rsh: Option<String>,
    /// "sudo rsync" to write as root, "rsync" to write as the user who logs in
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) rsync_path: Option<String>,
    /// Whether the files are written as root; wins over --rsync-path
    #[arg(long, value_name = "WHEN")]
    pub(crate) sudo: Option<SudoArg>,
    #[command(flatten)]
    pub(crate) helper: HelperArgs,
    /// Compress the data that is sent
    #[arg(short = 'z', long)]
    pub(crate) compress: bool,
    /// Keep the arrived part of a large file for the next run if this run is interrupted
    #[arg(long)]
    pub(crate) partial: bool,
    /// Move all replaced files into place together, at the end
    #[arg(long)]
    pub(crate) delay_updates: bool,
    /// Give up when no data moves for this long; 0 means never
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) timeout: u64,
    /// Send at most this much per second: in KiB, or with a suffix (1.5m, 2MB); 0 means no limit
    #[arg(long, value_name = "RATE")]
    pub(crate) bwlimit: Option<Rate>,
    #[command(flatten)]
    pub(crate) streams: StreamsArg,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
    /// Change nothing, only show what would be done
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Output {
    /// Name each entry that is transferred or deleted
    #[arg(short, long, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Print nothing but warnings and errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print the changes of each entry in rsync's eleven letters
    #[arg(short, long)]
    pub(crate) itemize_changes: bool,
    /// Show progress during the transfer
    #[arg(long)]
    pub(crate) progress: bool,
    /// The same as --partial --progress
    #[arg(short = 'P')]
    pub(crate) partial_and_progress: bool,
    /// Print all counts at the end
    #[arg(long)]
    pub(crate) stats: bool,
    /// Print one JSON object per line instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Rewrites clap's error about an option that only rsync knows: the new message names the replacement.
pub(crate) fn explain(error: clap::Error, command: &mut clap::Command) -> clap::Error {
    let in_sync = error.context().any(|(kind, value)| {
        kind == ContextKind::Usage
            && matches!(value, ContextValue::StyledStr(usage) if usage.to_string().contains("coast sync"))
    });
    if !in_sync || error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let message = match refused::hint(argument) {
        Some(hint) => format!("rsync's option {argument} is not supported: {hint}"),
        None if !argument.starts_with('-') => {
            format!(
                "unexpected {argument:?}: there is one source and one destination; run once for each source"
            )
        }
        None => return error,
    };
    match command.find_subcommand_mut("sync") {
        Some(sync) => sync.error(ErrorKind::UnknownArgument, message),
        None => error,
    }
}

/// The names of all options that `coast sync` takes, as `--long` and `-s`.
#[cfg(test)]
pub(crate) fn option_names() -> std::collections::HashSet<String> {
    let command = SyncArgs::augment_args(clap::Command::new("sync"));
    let long = command.get_arguments().filter_map(|arg| arg.get_long().map(|name| format!("--{name}")));
    let short = command.get_arguments().filter_map(|arg| arg.get_short().map(|letter| format!("-{letter}")));
    // Every command has these; they print the version of coast.
    let version = ["--version", "-V"].map(str::to_owned);
    long.chain(short).chain(version).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Command, parse};

    fn sync(line: &str) -> Result<SyncArgs, clap::Error> {
        let words = ["coast", "sync"].into_iter().chain(line.split_whitespace()).map(OsString::from);
        match parse(words)?.command {
            Command::Sync(args) => Ok(args),
            other => panic!("not sync: {other:?}"),
        }
    }

    #[test]
    fn short_options_combine() {
        let args = sync("-rlDzP --delete-after a/ h:b/").unwrap();
        assert!(args.entries.recursive && args.entries.links && args.entries.devices_and_specials);
        assert!(args.transfer.compress && args.output.partial_and_progress && args.deletion.delete_after);
        assert!(!args.entries.times && !args.entries.perms);
    }

    #[test]
    fn an_option_may_be_repeated() {
        let args = sync("-rr --recursive -vv --delete --delete --timeout 5 --timeout=7 a b").unwrap();
        assert_eq!((args.output.verbose, args.transfer.timeout), (2, 7));
    }

    #[test]
    fn a_short_option_takes_its_value_in_every_form() {
        for line in ["-essh a b", "-e ssh a b", "-e=ssh a b", "--rsh=ssh a b", "--rsh ssh a b", "-ressh a b"]
        {
            assert_eq!(sync(line).unwrap().transfer.rsh.as_deref(), Some("ssh"), "{line}");
        }
    }

    #[test]
    fn another_option_of_rsync_is_refused_by_name_with_a_hint() {
        for (line, name, hint) in [
            ("-rb a b", "-b", "no old versions"),
            ("--backup-dir=old a b", "--backup-dir", "no old versions"),
            ("--link-dest ../x a b", "--link-dest", "no replacement"),
            ("-aH a b", "-H", "leave it out"),
            ("--no-perms a b", "--no-perms", "-rlptgoD"),
            ("-avh a b", "-h", "--help"),
            ("--delete-during a b", "--delete-during", "--delete"),
            ("-aF a b", "-F", "dir-merge"),
        ] {
            let error = sync(line).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&format!("option {name} ")) && text.contains(hint), "{line}: {text}");
        }
    }

    #[test]
    fn a_second_source_and_an_unknown_option_are_refused() {
        assert!(sync("a b c").unwrap_err().to_string().contains("one source"));
        assert!(sync("--frobnicate a b").unwrap_err().to_string().contains("--frobnicate"));
        assert_eq!(sync("a").unwrap_err().kind(), ErrorKind::MissingRequiredArgument);
    }
}
