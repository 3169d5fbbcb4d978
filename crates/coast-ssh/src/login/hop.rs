//! One host of a route: connecting to it, the handshake and the login, all within the connect timeout.

use crate::config::HostSettings;
use crate::error::{SshError, Stage};
use crate::link::{Lost, Meter, QuickAckStream, Transport};
use crate::login::auth::authenticate;
use crate::login::handshake::{Client, ClientError, HostVerifier, described, preferred};
use crate::login::peer::{HostKey, Peer};
use crate::login::progress::{Progress, within};
use crate::login::prompt::Prompts;
use crate::login::route::Route;
use crate::login::tcp;
use russh::client::{self, Handle};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use tokio::io::{AsyncRead, AsyncWrite};

/// The window of a channel: how many bytes the host may send before it must wait for us.
const WINDOW_BYTES: u32 = 8 << 20;
/// The most data in one packet from the host, in bytes. The SSH library allows no more.
const PACKET_BYTES: u32 = 65_535;

/// The connections to all hosts of a route. Each jump host forwards the connection to the host after it.
pub(crate) struct Established {
    pub(crate) jumps: Vec<Hop>,
    pub(crate) destination: Hop,
}

/// An authenticated connection to one host.
pub(crate) struct Hop {
    pub(crate) handle: Handle<Client>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) lost: Lost,
    /// The host's name, with its port if that is not 22.
    pub(crate) host: String,
    pub(crate) settings: HostSettings,
    pub(crate) peer: Peer,
}

/// Connects to the destination of `route` through all its jump hosts, and logs in to each of them.
///
/// # Errors
/// When one of the hosts cannot be connected to.
pub(crate) async fn establish(route: Route, prompts: Prompts) -> Result<Established, SshError> {
    let mut jumps = Vec::new();
    for settings in route.jumps {
        let jump = settings.label();
        match Hop::connect(&jumps, settings, &prompts).await {
            Ok(hop) => jumps.push(hop),
            Err(error) => return Err(SshError::Jump { jump, source: Box::new(error) }),
        }
    }
    let destination = Hop::connect(&jumps, route.destination, &prompts).await?;
    Ok(Established { jumps, destination })
}

impl Hop {
    /// Connects to one host, through the last of `jumps` if there is one, and logs in.
    async fn connect(jumps: &[Hop], settings: HostSettings, prompts: &Prompts) -> Result<Hop, SshError> {
        for notice in &settings.notices {
            prompts.notice(notice);
        }
        let host = settings.label();
        let connecting = Connecting {
            lost: Lost::new(&host),
            host,
            settings,
            prompts,
            meter: Arc::default(),
            progress: Progress::new(),
        };
        let allowed = connecting.settings.connect_timeout;
        match within(allowed, prompts.clock(), connecting.log_in(jumps)).await {
            Some(logged_in) => {
                let LoggedIn { handle, peer } = logged_in?;
                let Connecting { lost, host, settings, meter, .. } = connecting;
                Ok(Hop { handle, meter, lost, host, settings, peer })
            }
            None => {
                let stage = connecting.stage();
                Err(SshError::TimedOut { host: connecting.host, after: allowed, stage })
            }
        }
    }
}

/// A connection that is being made.
struct Connecting<'a> {
    host: String,
    settings: HostSettings,
    prompts: &'a Prompts,
    meter: Arc<Meter>,
    lost: Lost,
    progress: Progress,
}

struct LoggedIn {
    handle: Handle<Client>,
    peer: Peer,
}

/// A connection whose host has proved that it holds an accepted key.
struct Verified {
    handle: Handle<Client>,
    host_key: HostKey,
}

impl Connecting<'_> {
    async fn log_in(&self, jumps: &[Hop]) -> Result<LoggedIn, SshError> {
        let mut address: Option<SocketAddr> = None;
        let Verified { mut handle, host_key } = match jumps.last() {
            None => {
                let stream = tcp::connect(&self.settings, &self.progress).await?;
                address = stream.peer_addr().ok();
                self.shake_hands(QuickAckStream::new(stream)).await?
            }
            Some(jump) => {
                self.progress.reach(Stage::Connecting);
                let (host, port) = (&self.settings.host_name, self.settings.port.into());
                // The last two arguments name who connected to us, which nobody did.
                let channel = jump.handle.channel_open_direct_tcpip(host, port, "127.0.0.1", 0).await;
                let channel = channel.map_err(|error| self.not_forwarded(jump, &error))?;
                self.shake_hands(channel.into_stream()).await?
            }
        };
        self.progress.reach(Stage::Authenticating);
        let identity =
            authenticate(&mut handle, &self.host, &self.settings, self.prompts, &self.lost).await?;
        let peer = Peer {
            user: self.settings.user.clone(),
            host_name: self.settings.host_name.clone(),
            port: self.settings.port,
            address,
            jumps: jumps.iter().map(|jump| jump.host.clone()).collect(),
            host_key,
            identity,
        };
        Ok(LoggedIn { handle, peer })
    }

    /// Agrees on keys with the host and checks its host key.
    async fn shake_hands<S>(&self, stream: S) -> Result<Verified, SshError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.progress.reach(Stage::Greeting);
        let verifier = HostVerifier::new(&self.settings, self.prompts);
        let config = client::Config {
            preferred: preferred(&verifier.algorithms()),
            window_size: WINDOW_BYTES,
            maximum_packet_size: PACKET_BYTES,
            nodelay: true,
            ..client::Config::default()
        };
        let transport = Transport::new(stream, Arc::clone(&self.meter));
        let accepted = Arc::new(OnceLock::new());
        let client = Client::new(verifier, self.lost.clone(), Arc::clone(&accepted));
        let handle = client::connect_stream(Arc::new(config), transport, client).await;
        let handle = handle.map_err(|error| self.handshake_failed(error))?;
        // The library ends the handshake only after the host key has been checked.
        let host_key = accepted.get().cloned().ok_or_else(|| SshError::Handshake {
            host: self.host.clone(),
            problem: "it did not prove that it holds a host key".to_owned(),
        })?;
        Ok(Verified { handle, host_key })
    }

    fn handshake_failed(&self, error: ClientError) -> SshError {
        let host = self.host.clone();
        match error {
            ClientError::Ours(error) => *error,
            ClientError::Library(russh::Error::Version) => SshError::NotSsh { host },
            ClientError::Library(error) => {
                let before = if self.meter.received() == 0 { " before it said anything" } else { "" };
                SshError::Handshake { host, problem: described(&error) + before }
            }
        }
    }

    fn not_forwarded(&self, jump: &Hop, error: &russh::Error) -> SshError {
        let problem = match error {
            russh::Error::ChannelOpenFailure(reason) => {
                format!("the jump host {} cannot connect there: {}", jump.host, reason.description())
            }
            _ => jump.lost.error().to_string(),
        };
        SshError::Handshake { host: self.host.clone(), problem }
    }

    fn stage(&self) -> Stage {
        match self.progress.stage() {
            Stage::Greeting if self.meter.received() > 0 => Stage::KeyExchange,
            stage => stage,
        }
    }
}
