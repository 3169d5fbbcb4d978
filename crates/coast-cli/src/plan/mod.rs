//! From the command line to a run: the arguments become a [`SyncRequest`] and [`OutputOptions`].

mod merge_files;
mod push;
mod restore;
mod rules;
mod sync;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use coast_instance::{Addressed, Places, occupant};
use coast_sync::{
    ConnectOptions, Destination, HelperStore, LocalDestination, LocalReceiver, Platform, RemoteDestination,
    RemoteHelper, Sudo, SyncRequest, Target,
};

use crate::args::connection::SudoArg;
use crate::daemon::connector;
use crate::endpoint::RemoteEndpoint;
use crate::output::OutputOptions;
use crate::remote_shell::SshOption;

pub(crate) use push::plan as push;
pub(crate) use restore::{Restorable, TypedConnection, restorable, restore_words};
pub(crate) use sync::plan as sync;

/// The hidden subcommand that makes this program a helper. The helper's arguments follow it.
pub(crate) const HELPER_SUBCOMMAND: &str = "__helper";

/// A run that is ready to start.
pub(crate) struct Plan {
    pub(crate) request: SyncRequest,
    pub(crate) output: OutputOptions,
    /// What the user is told before the run.
    pub(crate) notice: Option<String>,
}

/// How to reach another machine, from all options that say so.
#[derive(Debug, Default)]
struct ConnectionOptions {
    port: Option<u16>,
    user: Option<String>,
    identities: Vec<PathBuf>,
    options: Vec<SshOption>,
    installed_helper: Option<PathBuf>,
}

impl ConnectionOptions {
    /// The machine of `endpoint`. The user and the port of the endpoint win over those of the options.
    fn target(&self, endpoint: &RemoteEndpoint) -> Target {
        Target {
            user: endpoint.user.clone().or(self.user.clone()),
            host: endpoint.host.clone(),
            port: endpoint.port.or(self.port),
        }
    }

    fn connect(&self) -> ConnectOptions {
        let overrides = self.options.iter().map(|option| (option.name.clone(), option.value.clone()));
        ConnectOptions {
            identities: self.identities.clone(),
            overrides: overrides.collect(),
            ..ConnectOptions::default()
        }
    }

    /// What to tell of a run that deletes in the workspace of an instance: it does not know the rules of the instance. `root` is the
    /// directory at `endpoint` in which entries are deleted.
    fn instance_notice(&self, endpoint: &RemoteEndpoint, root: &Path) -> Option<String> {
        // Without directories of its own this machine has no instance.
        let places = Places::from_process().ok()?;
        let id = occupant(&places, &self.target(endpoint), &self.connect(), root)?;
        let instance = Addressed::new(&id.instance, Some(&id.project));
        Some(format!(
            "{}:{} belongs to the instance {id}; this run does not know the rules of that instance, and deletes what only they \
             exclude or protect; transfer its worktree with: coast start {instance}; or another worktree with: coast assign \
             {instance} --worktree NAME_OR_PATH",
            endpoint.host,
            root.display()
        ))
    }

    /// Returns the destination at `endpoint`.
    fn destination(self, endpoint: RemoteEndpoint, sudo: Sudo) -> anyhow::Result<Destination> {
        let (target, connect) = (self.target(&endpoint), self.connect());
        let helper = match self.installed_helper {
            Some(path) => RemoteHelper::Installed(path),
            None => RemoteHelper::Deployed(helper_store()?),
        };
        let remote = RemoteDestination::new(target, endpoint.path).connect(connect).sudo(sudo).helper(helper);
        Ok(remote.connector(connector()).into())
    }
}

/// Returns the available helpers: those beside this program, those embedded in it, and last this program itself.
///
/// # Errors
/// When this program's own file cannot be found.
pub(crate) fn helper_store() -> anyhow::Result<HelperStore> {
    let mut store = HelperStore::discover();
    if let Some(platform) = Platform::of_this_program() {
        store.add_file(platform, own_file()?);
    }
    Ok(store)
}

/// Returns a destination on this machine. A child process, which confines itself to the destination, writes to it.
fn local_destination(path: PathBuf) -> anyhow::Result<Destination> {
    let receiver = LocalReceiver::Program { program: own_file()?, arguments: vec![HELPER_SUBCOMMAND.into()] };
    Ok(LocalDestination::new(path, receiver).into())
}

fn own_file() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find this program's own file")
}

/// Converts the value of `--timeout`. Zero means no timeout.
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
