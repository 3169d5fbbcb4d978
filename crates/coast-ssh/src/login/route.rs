//! The hosts of a connection: the destination, and the jump hosts on the way to it (`ProxyJump`).

use crate::config::{
    ConnectOptions, DEFAULT_ALIVE_INTERVAL, HostKeyPolicy, HostSettings, Role, Target, resolve,
};
use crate::error::SshError;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How many jump hosts may be reached through a jump host of their own. OpenSSH has no limit and never returns from a
/// configuration that goes in a circle.
const MAX_DEPTH: usize = 8;

/// How long a connection that is shared may take to be made.
const SHARED_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The hosts of a connection, with all their settings as the configuration has them at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Route {
    /// In the order in which they are connected to.
    pub(crate) jumps: Vec<HostSettings>,
    pub(crate) destination: HostSettings,
}

impl Route {
    /// Reads the configuration for a connection to `target`.
    ///
    /// # Errors
    /// When the configuration of one of the hosts cannot be used, or the jump hosts go in a circle.
    pub fn of(target: &Target, options: &ConnectOptions) -> Result<Route, SshError> {
        let destination = resolve(target, options, Role::Destination)?;
        let mut jumps = Vec::new();
        add_jumps(&destination.jumps, options, MAX_DEPTH, &mut jumps)?;
        Ok(Route { jumps, destination })
    }

    /// The same route for a connection that several programs share. It never asks about a host key and accepts none that is not on
    /// record, and it always asks for signs of life. Two routes with the same result may share a connection: the same users, hosts,
    /// ports, keys, files of known hosts and all other options.
    #[must_use]
    pub fn shared(mut self) -> Route {
        for host in self.jumps.iter_mut().chain([&mut self.destination]) {
            host.policy = HostKeyPolicy::Strict;
            host.connect_timeout = SHARED_CONNECT_TIMEOUT;
            host.alive_interval = host.alive_interval.or(Some(DEFAULT_ALIVE_INTERVAL));
            host.notices = Vec::new();
        }
        self
    }

    /// What the user should be told about the configuration, one sentence each, in the order of the hosts.
    pub fn notices(&self) -> impl Iterator<Item = &str> {
        let hosts = self.jumps.iter().chain([&self.destination]);
        hosts.flat_map(|host| host.notices.iter().map(String::as_str))
    }

    /// The destination's name, with its port if that is not 22.
    pub fn host(&self) -> String {
        self.destination.label()
    }

    /// The user to log in as.
    pub fn user(&self) -> &str {
        &self.destination.user
    }
}

/// Appends `hosts` to `jumps`. Only the first host may be reached through jump hosts of its own; each other host is
/// reached through the one before it.
fn add_jumps(
    hosts: &[Target],
    options: &ConnectOptions,
    depth: usize,
    jumps: &mut Vec<HostSettings>,
) -> Result<(), SshError> {
    let Some((first, others)) = hosts.split_first() else { return Ok(()) };
    if depth == 0 {
        let problem = "the jump hosts of the ssh configuration go in a circle; correct its ProxyJump lines";
        return Err(SshError::Unsupported { host: first.host.clone(), problem: problem.to_owned() });
    }
    let settings = resolve(first, options, Role::Jump)?;
    add_jumps(&settings.jumps, options, depth - 1, jumps)?;
    jumps.push(settings);
    for other in others {
        jumps.push(resolve(other, options, Role::Jump)?);
    }
    Ok(())
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
        let Route { jumps, destination } = Route::of(&Target::host(target), &options)?;
        Ok(jumps.into_iter().chain([destination]).map(|settings| settings.host_name).collect())
    }

    #[test]
    fn the_route_leads_through_all_jump_hosts_in_order() {
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
