//! Sessions over the connections of the daemon.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use coast_ssh::{
    AcceptedKey, ConnectOptions, Connector, HostAnswer, PresentedKey, Prompt, Relay, RelayStream, Route,
    Session, SshError, Target, Zeroizing,
};
use coast_tree::{LockExt, LockResultExt};

use crate::Client;

/// Takes a connection of the daemon where it has one, and makes one otherwise. It asks and tells the user the same as
/// [`Direct`](coast_ssh::Direct). It never starts the daemon.
#[derive(Debug, Clone)]
pub struct WarmConnector {
    client: Client,
    source: Source,
    passphrases: TypedPassphrases,
}

/// Where a connector takes connections from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// From the daemon, if it has one.
    Daemon,
    /// It makes each of them.
    Own,
}

/// What becomes of the passphrases that the user types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TypedPassphrases {
    /// They are used once.
    Dropped,
    /// The daemon gets them when the login has succeeded.
    HandedOver,
}

impl WarmConnector {
    /// Uses the connections of the daemon of `client`.
    pub fn new(client: Client) -> Self {
        Self { client, source: Source::Daemon, passphrases: TypedPassphrases::Dropped }
    }

    /// Makes each connection anew, and has the daemon make none.
    #[must_use]
    pub fn without_connections_of_the_daemon(self) -> Self {
        Self { source: Source::Own, ..self }
    }

    /// Hands the passphrases that the user types over to the daemon, if it runs: it keeps them in its memory, and makes the same
    /// connections by itself.
    #[must_use]
    pub fn hand_passphrases_over(self) -> Self {
        Self { passphrases: TypedPassphrases::HandedOver, ..self }
    }

    /// Makes a connection.
    fn make(&self, route: &Route, prompt: &dyn Prompt) -> Result<Session, SshError> {
        match self.passphrases {
            TypedPassphrases::Dropped => Session::connect_by(route, prompt),
            TypedPassphrases::HandedOver => {
                let remembering = RememberingPrompt { prompt, typed: Mutex::default() };
                let session = Session::connect_by(route, &remembering)?;
                for (key, passphrase) in remembering.typed.into_inner().even_poisoned() {
                    // A daemon that does not run, or keeps no more, asks for it by its status when it needs it.
                    let _ = self.client.keep_passphrase(&key, &passphrase);
                }
                Ok(session)
            }
        }
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
        if self.source == Source::Own {
            return self.make(&route, prompt);
        }
        // Whatever is wrong with the daemon: nothing has been sent yet, and the command can do without.
        let Ok(found) = self.client.find_connection(&route) else {
            return self.make(&route, prompt);
        };
        let Some(found) = found else {
            let session = self.make(&route, prompt)?;
            // The next command finds it. This one does not need it.
            let _ = self.client.warm_up(&route);
            return Ok(session);
        };
        route.notices().for_each(|notice| prompt.notice(notice));
        let relay = Channels { client: self.client.clone(), connection: found.id };
        Ok(Session::relayed(&found.host, found.peer, Box::new(relay)))
    }
}

/// Passes everything on to another prompt, and remembers the passphrases.
struct RememberingPrompt<'a> {
    prompt: &'a dyn Prompt,
    /// The last passphrase of each key file: a passphrase that is asked for again was wrong. The lock guards nothing else, and no
    /// other lock is taken while it is held.
    typed: Mutex<BTreeMap<PathBuf, Zeroizing<String>>>,
}

impl Prompt for RememberingPrompt<'_> {
    fn passphrase(&self, key: &Path) -> Option<Zeroizing<String>> {
        let typed = self.prompt.passphrase(key);
        let mut passphrases = self.typed.enter();
        match &typed {
            Some(passphrase) => drop(passphrases.insert(key.to_owned(), passphrase.clone())),
            None => drop(passphrases.remove(key)),
        }
        typed
    }

    fn confirm_host(&self, presented: &PresentedKey) -> HostAnswer {
        self.prompt.confirm_host(presented)
    }

    fn host_key_accepted(&self, accepted: &AcceptedKey) {
        self.prompt.host_key_accepted(accepted);
    }

    fn notice(&self, text: &str) {
        self.prompt.notice(text);
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
