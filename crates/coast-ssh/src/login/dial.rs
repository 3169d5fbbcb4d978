//! From a target to an authenticated connection: the way through the jump hosts, the TCP connection, the handshake and
//! the login, each with its own kind of failure and all within the connect timeout.

use crate::config::{AddressFamily, ConnectOptions, HostSettings, Role, Target, resolve};
use crate::error::{SshError, Stage};
use crate::link::{Lost, Meter, Transport};
use crate::login::auth::authenticate;
use crate::login::established::{Established, Hop};
use crate::login::handshake::{Client, ClientError, HostVerifier, described, preferred};
use crate::login::peer::{HostKey, Peer};
use crate::login::prompt::{Clock, Prompts};
use russh::client::{self, Handle};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// The most hosts on the way.
const MAX_HOPS: usize = 8;
/// How long one address of a host is waited for before the next is tried beside it (RFC 8305 suggests 250 ms).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// What may be under way on a channel towards us, in bytes.
const WINDOW_BYTES: u32 = 8 << 20;
/// The largest piece of data we take in one packet, in bytes: as much as the SSH library allows.
const PACKET_BYTES: u32 = 65_535;

/// Connects to `target` and logs in, through all the hosts on the way.
pub(crate) async fn establish(
    target: Target,
    options: ConnectOptions,
    prompts: Prompts,
) -> Result<Established, SshError> {
    let mut route = Vec::new();
    plan(&target, &options, Role::Destination, &mut route)?;
    let destination = route.len() - 1;
    let mut carriers: Vec<Hop> = Vec::new();
    let mut next = None;
    for (index, settings) in route.into_iter().enumerate() {
        for notice in &settings.notices {
            prompts.notice(notice);
        }
        let host = label(&settings.host_name, settings.port);
        let hop = connect(&carriers, host.clone(), settings, &prompts).await;
        let hop = match hop {
            Err(error) if index < destination => {
                return Err(SshError::Jump { jump: host, source: Box::new(error) });
            }
            hop => hop?,
        };
        if index < destination {
            carriers.push(hop);
        } else {
            next = Some(hop);
        }
    }
    match next {
        Some(last) => Ok(Established { carriers, last }),
        // The route always ends with the destination itself.
        None => Err(SshError::Unsupported { host: target.host, problem: "there is no way to it".to_owned() }),
    }
}

/// Appends the hosts on the way to `target`, and `target` itself, to `route`. The first jump host may have a way of its
/// own; for the others, the one before is the way.
fn plan(
    target: &Target,
    options: &ConnectOptions,
    role: Role,
    route: &mut Vec<HostSettings>,
) -> Result<(), SshError> {
    let settings = resolve(target, options, role)?;
    if route.len() >= MAX_HOPS {
        let problem = format!("the way there has more than {MAX_HOPS} hosts, or goes in a circle");
        return Err(SshError::Unsupported { host: target.host.clone(), problem });
    }
    for (index, jump) in settings.jumps.iter().enumerate() {
        if index == 0 {
            plan_first_jump(jump, options, route, MAX_HOPS)?;
        } else {
            route.push(resolve(jump, options, Role::Jump)?);
        }
    }
    route.push(settings);
    Ok(())
}

fn plan_first_jump(
    jump: &Target,
    options: &ConnectOptions,
    route: &mut Vec<HostSettings>,
    depth: usize,
) -> Result<(), SshError> {
    let settings = resolve(jump, options, Role::Jump)?;
    if depth == 0 {
        let problem = "the jump hosts of the configuration go in a circle".to_owned();
        return Err(SshError::Unsupported { host: jump.host.clone(), problem });
    }
    if let Some((first, others)) = settings.jumps.split_first() {
        plan_first_jump(first, options, route, depth - 1)?;
        for other in others {
            route.push(resolve(other, options, Role::Jump)?);
        }
    }
    route.push(settings);
    Ok(())
}

/// Connects to one host, through the last of `carriers` if there is one, and logs in.
async fn connect(
    carriers: &[Hop],
    host: String,
    settings: HostSettings,
    prompts: &Prompts,
) -> Result<Hop, SshError> {
    let meter = Arc::new(Meter::default());
    let lost = Lost::new(&host);
    let progress = Progress::default();
    let connecting = async {
        let mut address = None;
        let (mut handle, host_key) = match carriers.last() {
            None => {
                let stream = dial(&settings, &progress).await?;
                address = stream.peer_addr().ok();
                handshake(stream, &host, &settings, &meter, &lost, prompts, &progress).await?
            }
            Some(carrier) => {
                progress.set(Stage::Connecting);
                let channel = carrier
                    .handle
                    .channel_open_direct_tcpip(&settings.host_name, settings.port.into(), "127.0.0.1", 0)
                    .await
                    .map_err(|error| through_failed(carrier, &host, &error))?;
                let stream = channel.into_stream();
                handshake(stream, &host, &settings, &meter, &lost, prompts, &progress).await?
            }
        };
        progress.set(Stage::Authenticating);
        let identity = authenticate(&mut handle, &host, &settings, prompts, &lost).await?;
        let peer = Peer {
            user: settings.user.clone(),
            host_name: settings.host_name.clone(),
            port: settings.port,
            address,
            jumps: carriers.iter().map(|carrier| carrier.host.clone()).collect(),
            host_key,
            identity,
        };
        Ok((handle, peer))
    };
    let allowed = settings.connect_timeout;
    let (handle, peer) = match within(allowed, prompts.clock(), connecting).await {
        Some(result) => result?,
        None => {
            let stage = match progress.get() {
                Stage::Greeting if meter.received() > 0 => Stage::KeyExchange,
                stage => stage,
            };
            return Err(SshError::TimedOut { host, after: allowed, stage });
        }
    };
    Ok(Hop { handle, meter, lost, host, settings, peer })
}

/// Runs `future` for at most `allowed`, not counting the time spent in prompts.
async fn within<T>(allowed: Duration, clock: &Clock, future: impl Future<Output = T>) -> Option<T> {
    let started = Instant::now();
    let paused_before = clock.paused();
    let mut future = pin!(future);
    loop {
        let spent = started.elapsed().saturating_sub(clock.paused() - paused_before);
        let left = allowed.checked_sub(spent).filter(|left| !left.is_zero())?;
        tokio::select! {
            result = &mut future => return Some(result),
            () = tokio::time::sleep(left) => {}
        }
    }
}

/// How far a connection has got, for the message when its time runs out.
#[derive(Default)]
struct Progress(Mutex<Option<Stage>>);

impl Progress {
    fn set(&self, stage: Stage) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(stage);
    }

    fn get(&self) -> Stage {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(Stage::Resolving)
    }
}

/// Makes the TCP connection, trying the host's addresses one beside the other.
async fn dial(settings: &HostSettings, progress: &Progress) -> Result<TcpStream, SshError> {
    let host = &settings.host_name;
    let resolve = |source| SshError::Resolve { host: host.clone(), source };
    let found = tokio::net::lookup_host((host.as_str(), settings.port)).await.map_err(resolve)?;
    let wanted = |address: &SocketAddr| match settings.address_family {
        AddressFamily::Any => settings.bind_address.is_none_or(|bind| bind.is_ipv4() == address.is_ipv4()),
        AddressFamily::V4 => address.is_ipv4(),
        AddressFamily::V6 => address.is_ipv6(),
    };
    let mut addresses: Vec<SocketAddr> = found.filter(wanted).collect();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(resolve(io::Error::new(
            io::ErrorKind::NotFound,
            "it has no address of the wanted family",
        )));
    }
    progress.set(Stage::Connecting);
    let mut waiting = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut failure: Option<SshError> = None;
    loop {
        if let Some(address) = waiting.next() {
            let bind = settings.bind_address;
            attempts.spawn(async move { (address, dial_address(address, bind).await) });
        }
        let more = waiting.len() > 0;
        tokio::select! {
            Some(attempt) = attempts.join_next() => match attempt {
                Ok((_, Ok(stream))) => {
                    progress.set(Stage::Greeting);
                    return Ok(stream);
                }
                Ok((address, Err(error))) => {
                    let error = tcp_failed(host, address, error);
                    // A refusal says more than the lack of a route, which a host with two families often has for one.
                    if failure.is_none() || matches!(error, SshError::Refused { .. }) {
                        failure = Some(error);
                    }
                }
                Err(panicked) => failure = Some(SshError::Runtime(io::Error::other(panicked))),
            },
            () = tokio::time::sleep(NEXT_ADDRESS), if more => {}
        }
        if attempts.is_empty() && waiting.len() == 0 {
            let gone = || resolve(io::Error::new(io::ErrorKind::NotFound, "it has no address"));
            return Err(failure.unwrap_or_else(gone));
        }
    }
}

async fn dial_address(address: SocketAddr, bind: Option<std::net::IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(bind) = bind {
        socket.bind(SocketAddr::new(bind, 0))?;
    }
    let stream = socket.connect(address).await?;
    // Without it the last piece of every burst waits for an acknowledgement. Failing to set it costs time only.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

fn tcp_failed(host: &str, address: SocketAddr, source: io::Error) -> SshError {
    let (host, address) = (host.to_owned(), address.to_string());
    match source.kind() {
        io::ErrorKind::ConnectionRefused => SshError::Refused { host, address },
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            SshError::NoRoute { host, address, source }
        }
        // The system's own patience, which may be shorter than ours.
        io::ErrorKind::TimedOut => SshError::NoRoute { host, address, source },
        _ => SshError::Tcp { host, address, source },
    }
}

fn through_failed(carrier: &Hop, host: &str, error: &russh::Error) -> SshError {
    let problem = match error {
        russh::Error::ChannelOpenFailure(reason) => {
            format!("the jump host {} cannot connect there: {}", carrier.host, reason.description())
        }
        _ => carrier.lost.error().to_string(),
    };
    SshError::Handshake { host: host.to_owned(), problem }
}

/// Agrees on keys with the host and checks that it is the right one.
async fn handshake<S>(
    stream: S,
    host: &str,
    settings: &HostSettings,
    meter: &Arc<Meter>,
    lost: &Lost,
    prompts: &Prompts,
    progress: &Progress,
) -> Result<(Handle<Client>, HostKey), SshError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    progress.set(Stage::Greeting);
    let verifier = HostVerifier::new(settings, prompts);
    let config = client::Config {
        preferred: preferred(&verifier.algorithms()),
        window_size: WINDOW_BYTES,
        maximum_packet_size: PACKET_BYTES,
        nodelay: true,
        ..client::Config::default()
    };
    let transport = Transport::new(stream, Arc::clone(meter));
    let accepted = Arc::new(OnceLock::new());
    let client = Client::new(verifier, lost.clone(), Arc::clone(&accepted));
    let handle =
        client::connect_stream(Arc::new(config), transport, client).await.map_err(|error| match error {
            ClientError::Ours(error) => *error,
            ClientError::Library(russh::Error::Version) => SshError::NotSsh { host: host.to_owned() },
            ClientError::Library(error) => {
                let before = if meter.received() == 0 { " before it said anything" } else { "" };
                SshError::Handshake { host: host.to_owned(), problem: described(&error) + before }
            }
        })?;
    // The library reports the end of the handshake only after it has asked for the host's key.
    let host_key = accepted.get().cloned().ok_or_else(|| SshError::Handshake {
        host: host.to_owned(),
        problem: "it did not prove that it holds a host key".to_owned(),
    })?;
    Ok((handle, host_key))
}

/// A host with its port, as it is named in messages.
fn label(host: &str, port: u16) -> String {
    match (port, host.contains(':')) {
        (22, _) => host.to_owned(),
        (_, true) => format!("[{host}]:{port}"),
        (_, false) => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn route(config: &str, target: &str) -> Result<Vec<String>, SshError> {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("config");
        std::fs::write(&file, config).unwrap();
        let environment = Environment::isolated(home.path(), "me");
        let options = ConnectOptions { config_file: Some(file), environment, ..ConnectOptions::default() };
        let mut route = Vec::new();
        plan(&Target::host(target), &options, Role::Destination, &mut route)?;
        Ok(route.into_iter().map(|settings| settings.host_name).collect())
    }

    #[test]
    fn the_way_leads_through_all_jump_hosts_in_order() {
        let config = "Host d\n ProxyJump a,b\nHost a\n ProxyJump z\nHost b\n ProxyJump ignored\n";
        assert_eq!(route(config, "d").unwrap(), ["z", "a", "b", "d"]);
        assert_eq!(route(config, "plain").unwrap(), ["plain"]);
    }

    #[test]
    fn a_circle_of_jump_hosts_is_an_error() {
        assert!(matches!(
            route("Host a\n ProxyJump b\nHost b\n ProxyJump a\n", "a"),
            Err(SshError::Unsupported { .. })
        ));
    }
}
