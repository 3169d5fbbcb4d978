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

/// A token that the first SIGHUP, SIGINT or SIGTERM cancels: the connection closes, so the other side cleans up. A later signal ends
/// the process.
///
/// # Errors
/// When the system cannot deliver the signals to a thread.
pub(crate) fn cancelled_by_signals() -> io::Result<Cancel> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let cancel = Cancel::new();
    let token = cancel.clone();
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
    Ok(token)
}
