//! Where the commands of this process get their connections from.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coast_daemon::{Client, DaemonPlaces, WarmConnector};
use coast_instance::Places;
use coast_sync::{Connector, Direct};

/// The variable that has commands make their own connections.
const VARIABLE: &str = "COAST_NO_DAEMON";

/// Whether `--no-daemon` was given.
static ALONE: AtomicBool = AtomicBool::new(false);

/// Has all commands of this process make their own connections.
pub(crate) fn go_alone() {
    ALONE.store(true, Ordering::Relaxed);
}

fn goes_alone() -> bool {
    let variable = std::env::var_os(VARIABLE).is_some_and(|value| !value.is_empty() && value != "0");
    variable || ALONE.load(Ordering::Relaxed)
}

/// Where connections come from: the daemon if it runs and has one, unless `--no-daemon` or the variable says otherwise.
pub(crate) fn connector() -> Arc<dyn Connector> {
    if goes_alone() {
        return Arc::new(Direct);
    }
    match Places::from_process() {
        Ok(places) => Arc::new(WarmConnector::new(Client::new(DaemonPlaces::from_process(&places)))),
        // Without a home there is no daemon.
        Err(_) => Arc::new(Direct),
    }
}

/// Where connections to the workspaces of instances come from. The daemon connects to them by itself, too, so it gets the
/// passphrases that the user types, also with `--no-daemon`.
pub(crate) fn connector_of_instances(places: &Places) -> Arc<dyn Connector> {
    let daemon = WarmConnector::new(Client::new(DaemonPlaces::from_process(places))).hand_passphrases_over();
    Arc::new(if goes_alone() { daemon.without_connections_of_the_daemon() } else { daemon })
}
