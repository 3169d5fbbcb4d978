//! Signals: the first one cancels the run, a later one ends the process at once.

use std::io;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use coast_sync::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit_code::INTERRUPTED;

/// Signals within this time of the first count as one: `timeout` signals its child, and then the process group of the child.
const TAKEN_FOR_ONE: Duration = Duration::from_millis(500);

/// Starts a thread that cancels the run at the first SIGHUP, SIGINT or SIGTERM: the connection closes, so the other side cleans
/// up. At a later signal the thread ends the process.
pub(crate) fn cancel_on_signals(cancel: &Cancel) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let cancel = cancel.clone();
    thread::spawn(move || {
        let mut first: Option<Instant> = None;
        for _ in &mut signals {
            match first {
                Some(first) if first.elapsed() >= TAKEN_FOR_ONE => process::exit(i32::from(INTERRUPTED)),
                Some(_) => {}
                None => {
                    first = Some(Instant::now());
                    cancel.cancel();
                }
            }
        }
    });
    Ok(())
}
