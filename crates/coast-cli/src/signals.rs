//! What stops a run from outside: the first signal ends it cleanly, the second at once.

use std::io;
use std::process;
use std::thread;

use coast_sync::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// rsync's exit code for a run that a signal ended.
const INTERRUPTED: i32 = 20;

/// Cancels the run at the first signal: the connection is closed, so that the other side cleans up. At the second this
/// process ends where it stands.
pub(crate) fn cancel_on_signals(cancel: &Cancel) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let cancel = cancel.clone();
    thread::spawn(move || {
        for _ in &mut signals {
            if cancel.is_cancelled() {
                process::exit(INTERRUPTED);
            }
            cancel.cancel();
        }
    });
    Ok(())
}
