//! Links for measurements: a TCP proxy on 127.0.0.1 that treats bytes as a long or slow network does, and counts them.
//!
//! Programs that connect to the proxy reach the server behind it over a [`Link`]: each direction has a rate, a bounded queue, and
//! a delay of half a round trip. [`Proxy::traffic`] tells the bytes each way and the round trips so far.
//!
//! ```
//! use coast_benches::{Link, Proxy};
//! use std::io::{Read, Write};
//! use std::net::{Ipv4Addr, TcpListener, TcpStream};
//!
//! let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
//! let proxy = Proxy::to(server.local_addr()?.port(), Link::LAN)?;
//! let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port()))?;
//! client.write_all(b"question")?;
//!
//! let (mut accepted, _) = server.accept()?;
//! let mut question = [0; 8];
//! accepted.read_exact(&mut question)?;
//! accepted.write_all(b"answer")?;
//! drop(accepted);
//!
//! let mut answer = String::new();
//! client.read_to_string(&mut answer)?;
//! drop(client);
//! proxy.wait_until_closed();
//! let traffic = proxy.traffic();
//! assert_eq!((traffic.up_bytes, traffic.down_bytes), (8, 6));
//! // One to connect, and one for the question and its answer.
//! assert_eq!(traffic.round_trips, 2);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # What a link does not do
//!
//! No byte is lost. The TCP of both ends talks to the proxy, so it starts no slower on a long link than on a short one.
//!
//! Micro-benchmarks live in the bench targets of this package.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod link;
mod proxy;
mod queue;
mod traffic;

pub use link::Link;
pub use proxy::Proxy;
pub use traffic::Traffic;
