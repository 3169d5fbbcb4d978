//! A remote: a machine that instances can live on, with its address, its key and the directory of its workspaces.

use std::path::PathBuf;
use std::time::Duration;

use coast_sync::{ConnectOptions, Environment, RemoteDestination, RemoteHelper, Sudo, Target};
use serde::{Deserialize, Serialize};

use crate::Name;
use crate::remotes::RemotesError;

/// The directory of workspaces on a remote that was added without `--service-home`.
const DEFAULT_SERVICE_HOME: &str = "/data";

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    /// The user to log in as; by default the one of the ssh configuration.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user: Option<String>,
    /// A host name, an address, or an alias of the ssh configuration.
    pub host: String,
    /// The port; by default the one of the ssh configuration.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port: Option<u16>,
    /// The private key that is tried first.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<PathBuf>,
    /// The private key for the sessions of instances, which is copied into their runners. Without it that is the key that logs in.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub session_key: Option<PathBuf>,
    /// The absolute path of the directory that holds `workspaces/`.
    #[serde(default = "default_service_home")]
    pub service_home: String,
    /// Whether the helper has to run as root. Otherwise it does where sudo allows it.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub as_root: bool,
}

fn default_service_home() -> String {
    DEFAULT_SERVICE_HOME.to_owned()
}

/// Why an address is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum BadAddress {
    /// The form is wrong.
    #[error(
        "{0:?} does not say where to connect; it must be USER@HOST or USER@HOST:PORT (an IPv6 address in brackets)"
    )]
    Form(String),
    /// A part has a space or a control character, which would break the lines and columns of output.
    #[error("the {part} {text:?} has a space or a control character in it")]
    Letters { part: &'static str, text: String },
}

impl Remote {
    /// Parses the address `[USER@]HOST[:PORT]` of a machine.
    ///
    /// # Errors
    /// When the address or the service home is invalid.
    pub fn parse(
        address: &str,
        key: Option<PathBuf>,
        service_home: Option<String>,
    ) -> Result<Self, RemotesError> {
        let target = Target::parse(address).ok_or_else(|| BadAddress::Form(address.to_owned()))?;
        let service_home = service_home.unwrap_or_else(default_service_home);
        let service_home = checked_service_home(&service_home)
            .filter(|path| !path.contains(char::is_whitespace))
            .ok_or(RemotesError::ServiceHome(service_home))?;
        let remote = Self {
            user: target.user,
            host: target.host,
            port: target.port,
            key,
            session_key: None,
            service_home,
            as_root: false,
        };
        remote.check_address()?;
        Ok(remote)
    }

    pub(crate) fn check_address(&self) -> Result<(), BadAddress> {
        let parts = [("user", self.user.as_deref()), ("host", Some(self.host.as_str()))];
        for (part, text) in parts {
            let bad = |letter: char| letter.is_whitespace() || letter.is_control();
            if let Some(text) = text.filter(|text| text.contains(bad)) {
                return Err(BadAddress::Letters { part, text: text.to_owned() });
            }
        }
        Ok(())
    }

    /// The path of an instance's workspace on the remote: `{service_home}/workspaces/{project}/{instance}`.
    pub fn workspace(&self, project: &Name, instance: &Name) -> String {
        format!("{}/workspaces/{project}/{instance}", self.service_home)
    }

    /// A directory on the remote, as the destination of a transfer.
    pub fn destination(&self, path: &str, helper: RemoteHelper) -> RemoteDestination {
        self.destination_within(path, helper, None)
    }

    /// Like [`Remote::destination`], connected to in another environment than that of this process.
    pub(crate) fn destination_from(
        &self,
        environment: Environment,
        path: &str,
        helper: RemoteHelper,
    ) -> RemoteDestination {
        let connect = ConnectOptions { environment, ..self.connect_options() };
        self.destination(path, helper).connect(connect)
    }

    fn connect_options(&self) -> ConnectOptions {
        ConnectOptions { identities: self.key.iter().cloned().collect(), ..ConnectOptions::default() }
    }

    /// Like [`Remote::destination`], with a limit for the time of connecting.
    pub(crate) fn quick_destination(
        &self,
        path: &str,
        helper: RemoteHelper,
        limit: Duration,
    ) -> RemoteDestination {
        self.destination_within(path, helper, Some(limit))
    }

    fn destination_within(
        &self,
        path: &str,
        helper: RemoteHelper,
        connect_timeout: Option<Duration>,
    ) -> RemoteDestination {
        let connect = ConnectOptions { connect_timeout, ..self.connect_options() };
        let sudo = if self.as_root { Sudo::Always } else { Sudo::Auto };
        RemoteDestination::new(self.target(), path).connect(connect).helper(helper).sudo(sudo)
    }

    /// The machine and the user, as the ssh configuration is asked for them.
    pub(crate) fn target(&self) -> Target {
        Target { user: self.user.clone(), host: self.host.clone(), port: self.port }
    }

    /// The address in the form `USER@HOST:PORT`.
    pub fn address(&self) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        match self.port {
            Some(port) if self.host.contains(':') => format!("{user}[{}]:{port}", self.host),
            Some(port) => format!("{user}{}:{port}", self.host),
            None => format!("{user}{}", self.host),
        }
    }
}

/// The path without slashes at its end; `None` if it cannot hold workspaces.
pub(crate) fn checked_service_home(path: &str) -> Option<String> {
    let trimmed = path.trim_end_matches('/');
    let mut components = trimmed.strip_prefix('/')?.split('/');
    let valid = components.all(|component| !matches!(component, "" | "." | ".."))
        && !trimmed.contains(char::is_control);
    valid.then(|| trimmed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_or_no_home_for_workspaces_is_refused() {
        for address in ["", "@host", "host:0", "-oProxyCommand=x"] {
            assert!(
                matches!(Remote::parse(address, None, None), Err(RemotesError::Address(_))),
                "{address:?}"
            );
        }
        for (address, said) in [
            ("de v@host", "the user \"de v\""),
            ("dev\n@host", "the user \"dev\\n\""),
            ("dev@ho\tst", "the host \"ho\\tst\""),
            ("ho\u{1b}[31mst", "the host \"ho\\u{1b}[31mst\""),
        ] {
            let message = Remote::parse(address, None, None).unwrap_err().to_string();
            assert_eq!(message, format!("{said} has a space or a control character in it"), "{address:?}");
        }
        for home in ["", "/", "data", "/data/../etc", "/data//x", "~/x", "/a\nb", "/a b", "/a\u{1b}b"] {
            let parsed = Remote::parse("h", None, Some(home.to_owned()));
            assert!(matches!(parsed, Err(RemotesError::ServiceHome(_))), "{home:?}");
        }
    }
}
