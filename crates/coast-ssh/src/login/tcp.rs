//! The TCP connection to a host with one or more addresses.

use crate::config::{AddressFamily, HostSettings};
use crate::error::{SshError, Stage};
use crate::login::progress::Progress;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// How long an address may stay without an answer before the next address is tried as well. RFC 8305 suggests 250 ms.
const NEXT_ADDRESS_DELAY: Duration = Duration::from_millis(250);

/// One address that was tried.
struct Attempt {
    address: SocketAddr,
    result: io::Result<TcpStream>,
}

/// Connects to the first address of the host that answers. Addresses are tried in the resolver's order, each a moment
/// after the one before it, or at once when that one failed.
///
/// # Errors
/// When the host has no address, or none of its addresses can be connected to. Of several failures a refusal is
/// reported, else the first one.
pub(crate) async fn connect(settings: &HostSettings, progress: &Progress) -> Result<TcpStream, SshError> {
    let host = &settings.host_name;
    let mut waiting = addresses(settings)
        .await
        .map_err(|source| SshError::Resolve { host: host.clone(), source })?
        .into_iter();
    progress.reach(Stage::Connecting);
    let mut attempts = JoinSet::new();
    let mut failure: Option<SshError> = None;
    loop {
        if let Some(address) = waiting.next() {
            let bind = settings.bind_address;
            attempts.spawn(async move { Attempt { address, result: open(address, bind).await } });
        }
        let more = waiting.len() > 0;
        tokio::select! {
            attempt = attempts.join_next() => match attempt {
                Some(Ok(Attempt { result: Ok(stream), .. })) => {
                    progress.reach(Stage::Greeting);
                    return Ok(stream);
                }
                Some(Ok(Attempt { address, result: Err(error) })) => {
                    let error = failed(host, address, error);
                    // A host with two families often has no route for one of them, so a refusal says more.
                    if failure.is_none() || matches!(error, SshError::Refused { .. }) {
                        failure = Some(error);
                    }
                }
                Some(Err(panicked)) => failure = Some(SshError::Runtime(io::Error::other(panicked))),
                None => {
                    return Err(failure.unwrap_or_else(|| SshError::Resolve {
                        host: host.clone(),
                        source: no_address(),
                    }));
                }
            },
            () = tokio::time::sleep(NEXT_ADDRESS_DELAY), if more => {}
        }
    }
}

/// The host's addresses of the family that the settings ask for; at least one.
async fn addresses(settings: &HostSettings) -> io::Result<Vec<SocketAddr>> {
    let found = tokio::net::lookup_host((settings.host_name.as_str(), settings.port)).await?;
    let usable = |address: &SocketAddr| match settings.address_family {
        AddressFamily::Any => settings.bind_address.is_none_or(|bind| bind.is_ipv4() == address.is_ipv4()),
        AddressFamily::V4 => address.is_ipv4(),
        AddressFamily::V6 => address.is_ipv6(),
    };
    let mut addresses: Vec<SocketAddr> = found.filter(usable).collect();
    addresses.dedup();
    if addresses.is_empty() { Err(no_address()) } else { Ok(addresses) }
}

fn no_address() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        "it has no address of the family that AddressFamily or BindAddress asks for",
    )
}

async fn open(address: SocketAddr, bind: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(bind) = bind {
        socket.bind(SocketAddr::new(bind, 0))?;
    }
    let stream = socket.connect(address).await?;
    // Without it the last packet of every burst waits for an acknowledgement. A failure to set it only costs time.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

fn failed(host: &str, address: SocketAddr, source: io::Error) -> SshError {
    let (host, address) = (host.to_owned(), address.to_string());
    match source.kind() {
        io::ErrorKind::ConnectionRefused => SshError::Refused { host, address },
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        // The system gave up before the connect timeout.
        | io::ErrorKind::TimedOut => SshError::NoRoute { host, address, source },
        _ => SshError::Tcp { host, address, source },
    }
}
