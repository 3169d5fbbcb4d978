//! Signals: the first one cancels the run, the second one ends the process at once.

use std::io;
use std::process;
use std::thread;

use coast_sync::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// rsync's exit code for a run that a signal interrupted.
const INTERRUPTED: i32 = 20;

/// Starts a thread that cancels the run at the first SIGHUP, SIGINT or SIGTERM: the connection closes, so the other side cleans
/// up. At the second signal the thread ends the process.
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
