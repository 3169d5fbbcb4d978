//! Sessions over the connections of the daemon.

use std::io;

use coast_ssh::{ConnectOptions, Connector, Prompt, Relay, RelayStream, Route, Session, SshError, Target};

use crate::Client;

/// Takes a connection of the daemon where it has one, and makes one otherwise. It asks and tells the user the same as
/// [`Direct`](coast_ssh::Direct). It never starts the daemon.
#[derive(Debug, Clone)]
pub struct WarmConnector {
    client: Client,
}

impl WarmConnector {
    /// Uses the connections of the daemon of `client`.
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

impl Connector for WarmConnector {
    fn connect(
        &self,
        target: &Target,
        options: &ConnectOptions,
        prompt: &dyn Prompt,
    ) -> Result<Session, SshError> {
        let route = Route::of(target, options)?;
        // Whatever is wrong with the daemon: nothing has been sent yet, and the command can do without.
        let Ok(found) = self.client.find_connection(&route) else {
            return Session::connect_by(&route, prompt);
        };
        let Some(found) = found else {
            let session = Session::connect_by(&route, prompt)?;
            // The next command finds it. This one does not need it.
            let _ = self.client.warm_up(&route);
            return Ok(session);
        };
        route.notices().for_each(|notice| prompt.notice(notice));
        let relay = Channels { client: self.client.clone(), connection: found.id };
        Ok(Session::relayed(&found.host, found.peer, Box::new(relay)))
    }
}

/// Commands on a connection of the daemon.
struct Channels {
    client: Client,
    connection: u64,
}

impl Relay for Channels {
    fn exec(&self, command: &[u8]) -> io::Result<RelayStream> {
        self.client.exec(self.connection, command).map_err(io::Error::other)
    }
}
