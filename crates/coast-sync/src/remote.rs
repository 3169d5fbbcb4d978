//! A destination on another machine: connect, start the helper there, run the transfer over its two streams.

use std::net::SocketAddr;
use std::os::unix::ffi::OsStringExt;

use coast_engine::{Cancel, EngineError, Monitor, RunReport, SenderConfig};
use coast_ssh::{
    ChannelStatus, ExitStatus, HelperProcess, HelperSpec, HostKey, IdentityUsed, Peer, Prompt, RunsAs,
    Session, SshError,
};

use crate::SyncError;
use crate::destination::{RemoteDestination, RemoteHelper};
use crate::receiver_arguments::ReceiverArguments;

/// How the other machine was reached.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionReport {
    /// The host's name, with its port if that is not 22.
    pub host: String,
    /// The user who logged in.
    pub user: String,
    /// The name or address that was connected to, once the ssh configuration had its say.
    pub host_name: String,
    /// The TCP port.
    pub port: u16,
    /// The address that answered. None behind a jump host, which looks it up itself.
    pub address: Option<SocketAddr>,
    /// The jump hosts on the way, first one first, each with its port if that is not 22.
    pub jumps: Vec<String>,
    /// The key that the host proved to have, and that was accepted.
    pub host_key: HostKey,
    /// The key that let us in.
    pub identity: IdentityUsed,
    /// Whether the helper had to be uploaded.
    pub uploaded_helper: bool,
    /// Whom the helper ran as.
    pub runs_as: RunsAs,
}

impl ConnectionReport {
    fn of(session: &Session, helper: &HelperProcess) -> Self {
        let Peer { user, host_name, port, address, jumps, host_key, identity, .. } = session.peer().clone();
        Self {
            host: session.host().to_owned(),
            user,
            host_name,
            port,
            address,
            jumps,
            host_key,
            identity,
            uploaded_helper: helper.deployed(),
            runs_as: helper.runs_as().clone(),
        }
    }
}

/// Runs a transfer to another machine.
pub(crate) fn send(
    sender: SenderConfig,
    remote: &RemoteDestination,
    receiver: &ReceiverArguments,
    monitor: &dyn Monitor,
    prompt: &dyn Prompt,
    cancel: &Cancel,
) -> Result<(RunReport, ConnectionReport), SyncError> {
    let spec = helper_spec(remote, receiver)?;
    let session = Session::connect(&remote.target, &remote.connect, prompt)?;
    if cancel.is_cancelled() {
        return Err(SyncError::Interrupted);
    }
    let helper = session.start_helper(&spec)?;
    let report = ConnectionReport::of(&session, &helper);
    if let RunsAs::UserAfter(refusal) = &report.runs_as {
        prompt.notice(&format!("{}: writing as the user who logged in: {refusal}", report.host));
    }
    let (reader, writer, status) = helper.split();
    cancel.on_cancel({
        let closer = session.closer();
        move || closer.close()
    });
    let run = coast_engine::send(sender, reader, writer, monitor, cancel)
        .map_err(|error| explain(error, &status))?;
    Ok((run, report))
}

fn helper_spec(remote: &RemoteDestination, receiver: &ReceiverArguments) -> Result<HelperSpec, SyncError> {
    let mut spec = match &remote.helper {
        RemoteHelper::Deployed(store) => {
            let programs = store.programs().map_err(|(path, source)| SshError::HelperSource {
                name: path.display().to_string(),
                source,
            })?;
            HelperSpec::new(programs)
        }
        RemoteHelper::Installed(path) => {
            let mut spec = HelperSpec::new(Vec::new());
            spec.path = Some(path.clone().into_os_string().into_vec());
            spec
        }
    };
    spec.args = receiver.to_words().into_iter().map(OsStringExt::into_vec).collect();
    spec.sudo = remote.sudo;
    Ok(spec)
}

/// Why the stream ended, if that is what the transfer failed of: the connection or the helper knows better.
fn explain(error: EngineError, status: &ChannelStatus) -> SyncError {
    if !matches!(error, EngineError::Disconnected | EngineError::Wire(_)) {
        return error.into();
    }
    match status.wait() {
        Err(connection) => SyncError::ConnectionLost { connection: Box::new(connection), engine: error },
        // The helper said all there is to say before it ended; what is wrong is in the stream itself.
        Ok(ExitStatus::Code(0)) => error.into(),
        Ok(exit) => SyncError::ReceiverDied {
            status: exit.to_string(),
            stderr: String::from_utf8_lossy(&status.stderr()).into_owned(),
        },
    }
}
