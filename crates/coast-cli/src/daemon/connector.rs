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

/// Where connections come from: the daemon if it runs and has one, unless `--no-daemon` or the variable says otherwise.
pub(crate) fn connector() -> Arc<dyn Connector> {
    let variable = std::env::var_os(VARIABLE).is_some_and(|value| !value.is_empty() && value != "0");
    if variable || ALONE.load(Ordering::Relaxed) {
        return Arc::new(Direct);
    }
    match Places::from_process() {
        Ok(places) => Arc::new(WarmConnector::new(Client::new(DaemonPlaces::from_process(&places)))),
        // Without a home there is no daemon.
        Err(_) => Arc::new(Direct),
    }
}
