//! From the command line to a run: what was typed becomes a [`SyncRequest`] and the way its progress is told.

mod merge_files;
mod push;
mod rules;
mod sync;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use coast_sync::{
    ConnectOptions, Destination, HelperStore, LocalDestination, LocalReceiver, Platform, RemoteDestination,
    RemoteHelper, Sudo, SyncRequest, Target,
};

use crate::args::connection::SudoArg;
use crate::endpoint::RemoteEndpoint;
use crate::output::OutputOptions;
use crate::remote_shell::SshOption;

pub(crate) use push::plan as push;
pub(crate) use sync::plan as sync;

/// The hidden subcommand with which this program is its own helper; the helper's arguments follow.
pub(crate) const HELPER_SUBCOMMAND: &str = "__helper";

/// A run, ready to be carried out.
pub(crate) struct Plan {
    /// What to do.
    pub(crate) request: SyncRequest,
    /// What to print.
    pub(crate) output: OutputOptions,
}

/// How to reach another machine, from all the places where it can be said.
#[derive(Debug, Default)]
struct Reach {
    port: Option<u16>,
    user: Option<String>,
    identities: Vec<PathBuf>,
    options: Vec<SshOption>,
    installed_helper: Option<PathBuf>,
}

impl Reach {
    /// The destination at `endpoint`. What the endpoint itself says wins.
    fn destination(self, endpoint: RemoteEndpoint, sudo: Sudo) -> anyhow::Result<Destination> {
        let target = Target {
            user: endpoint.user.or(self.user),
            host: endpoint.host,
            port: endpoint.port.or(self.port),
        };
        let connect = ConnectOptions {
            identities: self.identities,
            overrides: self.options.into_iter().map(|option| (option.name, option.value)).collect(),
            ..ConnectOptions::default()
        };
        let helper = match self.installed_helper {
            Some(path) => RemoteHelper::Installed(path),
            None => RemoteHelper::Deployed(helper_store()?),
        };
        Ok(RemoteDestination::new(target, endpoint.path).connect(connect).sudo(sudo).helper(helper).into())
    }
}

/// The helpers at hand: those beside this program, those inside of it, and at last the program itself.
pub(crate) fn helper_store() -> anyhow::Result<HelperStore> {
    let mut store = HelperStore::discover();
    if let Some(platform) = Platform::of_this_program() {
        store.add_file(platform, own_file()?);
    }
    Ok(store)
}

/// A destination on this machine, written by a child process that confines itself to it.
fn local_destination(path: PathBuf) -> anyhow::Result<Destination> {
    let receiver = LocalReceiver::Program { program: own_file()?, arguments: vec![HELPER_SUBCOMMAND.into()] };
    Ok(LocalDestination::new(path, receiver).into())
}

fn own_file() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find this program's own file")
}

/// Zero means never.
fn timeout(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

impl From<SudoArg> for Sudo {
    fn from(argument: SudoArg) -> Self {
        match argument {
            SudoArg::Auto => Self::Auto,
            SudoArg::Always => Self::Always,
            SudoArg::Never => Self::Never,
        }
    }
}
