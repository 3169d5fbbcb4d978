//! `coast push` as a run.

use anyhow::bail;
use coast_sync::{Itemize, SyncRequest, profile};

use super::{Plan, Reach, local_destination, rules, timeout};
use crate::args::push::PushArgs;
use crate::endpoint::Endpoint;
use crate::output::{Detail, Form, Itemizer, Manner, OutputOptions, ProgressWish};

/// What the arguments ask for.
pub(crate) fn plan(args: PushArgs) -> anyhow::Result<Plan> {
    if let Endpoint::Remote(_) = Endpoint::parse(args.local.as_os_str())? {
        bail!(
            "the source must be local: from a remote to here is not supported yet (write ./NAME for a name with a colon)"
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
    options.dry_run = args.dry_run;
    options.delay_updates = args.delay_updates;
    options.verbose = args.verbose > 0;
    options.itemize = if output.detail > Detail::Problems { Itemize::Changes } else { Itemize::Nothing };

    let destination = match Endpoint::parse(&args.destination)? {
        Endpoint::Local(path) => local_destination(path)?,
        Endpoint::Remote(endpoint) => {
            let reach = Reach {
                port: args.port,
                user: None,
                identities: args.identity,
                options: args.ssh_option,
                installed_helper: args.helper.helper,
            };
            reach.destination(endpoint, args.sudo.into())?
        }
    };
    let request = SyncRequest::push(args.local, destination)?
        .options(options)
        .rules(rules)
        .timeout(timeout(args.timeout))
        .bytes_per_second(args.bwlimit.and_then(|rate| rate.0));
    Ok(Plan { request, output })
}

fn output(args: &PushArgs) -> OutputOptions {
    OutputOptions {
        manner: Manner::Push,
        form: if args.json { Form::Json } else { Form::Text },
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
    }
}
