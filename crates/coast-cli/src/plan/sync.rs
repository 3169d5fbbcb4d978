//! From the arguments of `coast sync` to a run.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use coast_sync::{Delete, Itemize, Options, Ownership, Sudo, SyncRequest};

use super::{ConnectionOptions, Plan, local_destination, rules, timeout};
use crate::args::sync::SyncArgs;
use crate::endpoint::{Endpoint, RemoteEndpoint};
use crate::output::{Detail, Form, Itemizer, Manner, OutputOptions, ProgressWish};
use crate::remote_shell::RemoteShell;

/// Returns the run that the arguments ask for.
pub(crate) fn plan(args: &SyncArgs) -> anyhow::Result<Plan> {
    let (source, destination) = endpoints(args)?;
    let is_remote = matches!(destination, Endpoint::Remote(_));
    let mut rules = rules::list(&args.rules.0)?;
    if args.deletion.delete_excluded {
        rules.delete_excluded();
    }
    let output = output(args, is_remote, &source);
    let options = Options {
        verbose: output.detail > Detail::Problems,
        itemize: if output.detail > Detail::Problems { Itemize::Changes } else { Itemize::Nothing },
        ..options(args)?
    };
    let (destination, notice) = match destination {
        Endpoint::Local(path) => (local_destination(path)?, None),
        Endpoint::Remote(endpoint) => remote(args, endpoint, &source, &options)?,
    };
    let request = SyncRequest::new(source, destination)
        .options(options)
        .rules(rules)
        .compress(args.transfer.compress)
        .timeout(timeout(args.transfer.timeout))
        .bytes_per_second(args.transfer.bwlimit.and_then(|rate| rate.0))
        .streams(args.transfer.streams.streams);
    Ok(Plan { request: args.transfer.cache.apply(request), output, notice })
}

fn endpoints(args: &SyncArgs) -> anyhow::Result<(PathBuf, Endpoint)> {
    let destination = Endpoint::parse(&args.destination)?;
    match (Endpoint::parse(&args.source)?, destination) {
        (Endpoint::Local(source), destination) => Ok((source, destination)),
        (Endpoint::Remote(_), Endpoint::Local(_)) => bail!(
            "a transfer from a remote to here is not supported yet; run coast on the remote with this machine as \
             destination, or write ./NAME for a local name with a colon"
        ),
        (Endpoint::Remote(_), Endpoint::Remote(_)) => {
            bail!(
                "a transfer from remote to remote is not supported; run coast on the machine that has the files"
            )
        }
    }
}

fn options(args: &SyncArgs) -> anyhow::Result<Options> {
    let entries = &args.entries;
    let deletion = &args.deletion;
    let all = entries.archive;
    let delete = deletion.delete || deletion.delete_after || deletion.delete_excluded;
    let recursive = entries.recursive || all;
    if delete && !recursive {
        bail!("--delete needs -r: without it there is no directory whose entries could be extraneous");
    }
    let ownership = match &entries.chown {
        Some(chown) => parse_chown(chown)?,
        None => Ownership::Receiver,
    };
    Ok(Options {
        recursive,
        links: entries.links || all,
        devices: entries.devices || entries.devices_and_specials || all,
        specials: entries.specials || entries.devices_and_specials || all,
        perms: entries.perms || all,
        executability: entries.executability,
        times: entries.times || all,
        owner: entries.owner || all,
        group: entries.group || all,
        checksum: entries.checksum,
        sparse: entries.sparse,
        ownership,
        // A negative limit is zero, as in rsync.
        delete: delete.then(|| Delete {
            max: deletion.max_delete.map(|limit| u64::try_from(limit).unwrap_or_default()),
            ..Delete::default()
        }),
        dry_run: args.transfer.dry_run,
        partial: args.transfer.partial || args.output.partial_and_progress,
        delay_updates: args.transfer.delay_updates,
        ..Options::default()
    })
}

/// Parses `USER:GROUP`, `USER`, `USER:` or `:GROUP`.
fn parse_chown(text: &OsStr) -> anyhow::Result<Ownership> {
    let bytes = text.as_bytes();
    let (user, group) = match bytes.iter().position(|byte| *byte == b':') {
        Some(colon) => (&bytes[..colon], &bytes[colon + 1..]),
        None => (bytes, &b""[..]),
    };
    if user.is_empty() && group.is_empty() {
        bail!("--chown needs a user, a group, or both: USER:GROUP");
    }
    let part = |bytes: &[u8]| (!bytes.is_empty()).then(|| bytes.to_vec().into());
    Ok(Ownership::Fixed { user: part(user), group: part(group) })
}

/// Returns whether the helper writes as root. As with rsync, only `--rsync-path` or `--sudo` ask for it.
fn sudo(args: &SyncArgs) -> anyhow::Result<Sudo> {
    let from_path = match args.transfer.rsync_path.as_deref() {
        None => Sudo::Never,
        Some(command) => match command.split_whitespace().collect::<Vec<_>>()[..] {
            [program] if is_rsync(program) => Sudo::Never,
            ["sudo", program] | ["sudo", "-n", program] if is_rsync(program) => Sudo::Always,
            _ => bail!(
                "--rsync-path={command:?} cannot be used, because no rsync is started: write \"sudo rsync\" to receive as \
                 root, or \"rsync\" to receive as the user who logs in"
            ),
        },
    };
    Ok(args.transfer.sudo.map_or(from_path, Sudo::from))
}

fn is_rsync(program: &str) -> bool {
    Path::new(program).file_name() == Some(OsStr::new("rsync"))
}

fn remote(
    args: &SyncArgs,
    endpoint: RemoteEndpoint,
    source: &Path,
    options: &Options,
) -> anyhow::Result<(coast_sync::Destination, Option<String>)> {
    let shell = match (&args.transfer.rsh, std::env::var("RSYNC_RSH")) {
        (Some(command), _) => RemoteShell::parse(command).context("-e")?,
        (None, Ok(command)) if !command.is_empty() => RemoteShell::parse(&command).context("RSYNC_RSH")?,
        (None, _) => RemoteShell::default(),
    };
    let connection = ConnectionOptions {
        port: shell.port,
        user: shell.user,
        identities: shell.identities,
        options: shell.options,
        installed_helper: args.transfer.helper.helper.clone(),
    };
    let deletes = options.delete.is_some();
    let notice =
        deletes.then(|| connection.instance_notice(&endpoint, &deletion_root(source, &endpoint.path)));
    Ok((connection.destination(endpoint, sudo(args)?)?, notice.flatten()))
}

/// The directory at `destination` in which entries are deleted: without a slash at its end, the source directory itself is sent.
fn deletion_root(source: &Path, destination: &Path) -> PathBuf {
    match source.strip_prefix(coast_sync::transfer_root(source)) {
        Ok(below) => destination.join(below),
        Err(_) => destination.to_owned(),
    }
}

fn output(args: &SyncArgs, remote: bool, source: &Path) -> OutputOptions {
    let output = &args.output;
    OutputOptions {
        manner: Manner::Sync,
        form: Form::of(output.json),
        detail: match (output.itemize_changes, output.verbose) {
            (true, _) => Detail::Itemized,
            (false, 0) => Detail::Problems,
            // -q takes back one -v, as in rsync.
            (false, 1) if output.quiet => Detail::Problems,
            (false, _) => Detail::Names,
        },
        quiet: output.quiet,
        stats: output.stats,
        dry_run: args.transfer.dry_run,
        progress: if (output.progress || output.partial_and_progress) && !output.quiet {
            ProgressWish::Always
        } else {
            ProgressWish::Never
        },
        itemizer: Itemizer { remote, checksum: args.entries.checksum },
        transfer_root: coast_sync::transfer_root(source).to_owned(),
        restorable: None,
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::args::{Command, parse};

    fn args(line: &str) -> SyncArgs {
        let words = ["coast".to_owned(), "sync".to_owned()]
            .into_iter()
            .chain(line.split(' ').map(|word| word.replace('_', " ")))
            .map(OsString::from);
        match parse(words).unwrap().command {
            Command::Sync(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn archive_is_its_seven_letters() {
        let archive = options(&args("-a s d")).unwrap();
        assert_eq!(archive, options(&args("-rlptgoD s d")).unwrap());
        assert_eq!(archive, options(&args("-rlptgo --devices --specials s d")).unwrap());
        assert!(!archive.checksum && !archive.executability && archive.delete.is_none());
    }

    #[test]
    fn every_way_to_delete_is_the_same() {
        let delete = options(&args("-r --delete s d")).unwrap();
        assert_eq!(delete.delete, Some(Delete::default()));
        assert_eq!(options(&args("-r --delete-after s d")).unwrap(), delete);
        assert_eq!(options(&args("-r --delete-excluded s d")).unwrap(), delete);
        let limit = |line: &str| options(&args(line)).unwrap().delete;
        assert_eq!(
            limit("-r --delete --max-delete=3 s d"),
            Some(Delete { max: Some(3), ..Delete::default() })
        );
        assert_eq!(
            limit("-r --delete --max-delete=-1 s d"),
            Some(Delete { max: Some(0), ..Delete::default() })
        );
        assert_eq!(limit("-r --max-delete=3 s d"), None);
        assert!(options(&args("--delete s d")).is_err());
    }

    #[test]
    fn sparse_is_an_option_of_the_run() {
        for line in ["-rS s d", "-r --sparse s d"] {
            assert!(options(&args(line)).unwrap().sparse, "{line}");
        }
        assert!(!options(&args("-a s d")).unwrap().sparse);
    }

    #[test]
    fn chown_takes_names_numbers_and_halves() {
        let fixed = |user: Option<&str>, group: Option<&str>| Ownership::Fixed {
            user: user.map(|name| name.as_bytes().to_vec().into()),
            group: group.map(|name| name.as_bytes().to_vec().into()),
        };
        for (text, expected) in [
            ("dev:staff", fixed(Some("dev"), Some("staff"))),
            ("1000:100", fixed(Some("1000"), Some("100"))),
            ("dev", fixed(Some("dev"), None)),
            ("dev:", fixed(Some("dev"), None)),
            (":staff", fixed(None, Some("staff"))),
        ] {
            assert_eq!(parse_chown(OsStr::new(text)).unwrap(), expected, "{text}");
        }
        assert!(parse_chown(OsStr::new(":")).is_err() && parse_chown(OsStr::new("")).is_err());
    }

    #[test]
    fn the_rsync_path_says_whether_to_use_sudo() {
        for (line, expected) in [
            ("s d", Some(Sudo::Never)),
            ("--rsync-path=rsync s d", Some(Sudo::Never)),
            ("--rsync-path=/usr/local/bin/rsync s d", Some(Sudo::Never)),
            ("--rsync-path=sudo_rsync s d", Some(Sudo::Always)),
            ("--rsync-path=sudo_-n_/usr/bin/rsync s d", Some(Sudo::Always)),
            ("--rsync-path=sudo_-u_dev_rsync s d", None),
            ("--rsync-path=nice_rsync s d", None),
            ("--rsync-path=sudo_rsync --sudo=auto s d", Some(Sudo::Auto)),
        ] {
            assert_eq!(sudo(&args(line)).ok(), expected, "{line}");
        }
    }

    #[test]
    fn only_local_sources_are_taken() {
        assert!(endpoints(&args("s h:d")).is_ok());
        assert!(endpoints(&args("h:s d")).unwrap_err().to_string().contains("not supported yet"));
        assert!(endpoints(&args("h:s g:d")).unwrap_err().to_string().contains("remote to remote"));
        assert!(endpoints(&args("s h::d")).is_err());
    }

    #[test]
    fn paths_are_relative_to_the_transfer_root() {
        for (source, root) in
            [("a/b/", "a/b/"), ("a/b", "a"), ("a", ""), (".", "."), ("a/.", "a/."), ("/", "/")]
        {
            assert_eq!(coast_sync::transfer_root(Path::new(source)).as_os_str(), root, "{source}");
        }
    }
}
