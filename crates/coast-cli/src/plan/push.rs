//! From the arguments of `coast push` to a run.

use std::path::Path;

use anyhow::bail;
use coast_sync::{Itemize, Ownership, SyncRequest, profile};

use super::restore::{TypedConnection, restore_words};
use super::{ConnectionOptions, Plan, local_destination, rules, timeout};
use crate::args::push::PushArgs;
use crate::endpoint::Endpoint;
use crate::output::{Detail, Form, Itemizer, Manner, OutputOptions, ProgressWish};

/// Returns the run that the arguments ask for.
pub(crate) fn plan(args: PushArgs) -> anyhow::Result<Plan> {
    if let Endpoint::Remote(_) = Endpoint::parse(args.local.as_os_str())? {
        bail!(
            "the source must be local, because a transfer from a remote is not supported yet; write ./NAME for a local name with a colon"
        );
    }
    let mut rules = rules::list(&args.rules.0)?;
    if !args.no_default_rules {
        profile::add_default_rules(&mut rules)?;
    }
    let output = output(&args);
    let mut options = profile::options();
    if args.no_delete {
        options.delete = None;
    }
    options.trash = !args.no_trash;
    options.ownership = Ownership::LoginUser { own: args.own.into() };
    options.dry_run = args.dry_run;
    options.delay_updates = args.delay_updates;
    options.verbose = args.verbose > 0;
    options.itemize = if output.detail > Detail::Problems { Itemize::Changes } else { Itemize::Nothing };

    let mut notice = None;
    let destination = match Endpoint::parse(&args.destination)? {
        Endpoint::Local(path) => {
            check_meant_local(&path, &args)?;
            local_destination(path)?
        }
        Endpoint::Remote(endpoint) => {
            let connection = ConnectionOptions {
                port: args.port,
                user: None,
                identities: args.identity,
                options: args.ssh_option,
                installed_helper: args.helper.helper,
            };
            if options.delete.is_some() {
                notice = connection.instance_notice(&endpoint, &endpoint.path);
            }
            connection.destination(endpoint, args.sudo.into())?
        }
    };
    let request = SyncRequest::push(args.local, destination)?
        .options(options)
        .rules(rules)
        .timeout(timeout(args.timeout))
        .bytes_per_second(args.bwlimit.and_then(|rate| rate.0))
        .streams(args.streams.streams);
    Ok(Plan { request: args.cache.apply(request), output, notice })
}

/// Refuses a local destination that was probably meant for another machine, and a destination inside the workspace.
///
/// A destination without a colon is a local directory. Without this check, a forgotten colon would copy the workspace into a
/// directory that has the name of a host.
fn check_meant_local(path: &Path, args: &PushArgs) -> anyhow::Result<()> {
    let shown = path.display();
    if args.port.is_some() || !args.identity.is_empty() || !args.ssh_option.is_empty() {
        bail!(
            "the destination {shown} is a directory on this machine, and -p, -i and -o apply only to another machine; write HOST:PATH"
        );
    }
    let first = path.components().next().map_or(&b""[..], |first| first.as_os_str().as_encoded_bytes());
    if first.contains(&b'@') && !path.exists() {
        bail!(
            "the destination {shown} names a host without a path; write {shown}:PATH, or ./{shown} for a local directory"
        );
    }
    let absolute = |path: &Path| {
        // The directory itself and some of its parents may be missing.
        let known = path.ancestors().find_map(|above| Some((above, std::fs::canonicalize(above).ok()?)));
        known.map(|(above, real)| real.join(path.strip_prefix(above).unwrap_or(path)))
    };
    let (from, to) = (std::path::absolute(&args.local), std::path::absolute(path));
    let (Ok(from), Ok(to)) = (from, to) else { return Ok(()) };
    if let (Some(from), Some(to)) = (absolute(&from), absolute(&to))
        && to.starts_with(&from)
    {
        bail!(
            "the destination {shown} is inside the workspace {}, which would be copied into itself; choose a destination outside of it",
            args.local.display()
        );
    }
    Ok(())
}

fn output(args: &PushArgs) -> OutputOptions {
    OutputOptions {
        manner: Manner::Push,
        form: Form::of(args.json),
        detail: match args.verbose {
            _ if args.quiet => Detail::Problems,
            0 => Detail::Problems,
            1 => Detail::Names,
            _ => Detail::Itemized,
        },
        quiet: args.quiet,
        stats: args.stats,
        dry_run: args.dry_run,
        progress: match (args.quiet, args.json) {
            (true, _) => ProgressWish::Never,
            (false, true) => ProgressWish::Always,
            (false, false) => ProgressWish::OnTerminal,
        },
        itemizer: Itemizer {
            remote: matches!(Endpoint::parse(&args.destination), Ok(Endpoint::Remote(_))),
            checksum: false,
        },
        transfer_root: args.local.clone(),
        restorable: (!args.no_trash).then(|| {
            let connection = TypedConnection {
                port: args.port,
                identities: &args.identity,
                options: &args.ssh_option,
                sudo: args.sudo,
            };
            restore_words(&args.destination, &connection)
        }),
    }
}
