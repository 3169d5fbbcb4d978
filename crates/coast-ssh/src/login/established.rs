//! What a login leaves to whoever keeps the connection: every connection of the way, each with what belongs to it.

use crate::config::HostSettings;
use crate::link::{Lost, Meter};
use crate::login::handshake::Client;
use crate::login::peer::Peer;
use russh::client::Handle;
use std::sync::Arc;

/// A chain of connections as the handshake leaves it: the last one leads to the destination, each other carries the
/// next one.
pub(crate) struct Established {
    pub(crate) carriers: Vec<Hop>,
    pub(crate) last: Hop,
}

/// One connection of the chain.
pub(crate) struct Hop {
    pub(crate) handle: Handle<Client>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) lost: Lost,
    pub(crate) host: String,
    pub(crate) settings: HostSettings,
    pub(crate) peer: Peer,
}
