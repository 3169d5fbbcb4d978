//! `coast daemon logs`: all logs, the oldest first, and then every line that is added.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use coast_daemon::DaemonPlaces;

use crate::exit_code::UNUSABLE;
use crate::output::{Weight, complain};

/// The interval between two looks for new lines.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Prints the logs. With `follow` it goes on until it is interrupted, or the output is closed.
pub(super) fn print(places: &DaemonPlaces, follow: bool) -> anyhow::Result<u8> {
    let mut last = None;
    for path in places.logs() {
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => {
                let mut file = opened.with_context(|| format!("cannot read {}", path.display()))?;
                if !pass_on(&mut file)? {
                    return Ok(0);
                }
                last = Some(file);
            }
        }
    }
    if !follow {
        if last.is_none() {
            complain(Weight::Error, &format!("there is no log {}", places.log().display()));
            return Ok(UNUSABLE);
        }
        return Ok(0);
    }
    loop {
        thread::sleep(LOOK_AGAIN);
        if let Some(file) = &mut last
            && !pass_on(file)?
        {
            return Ok(0);
        }
        // The log moves aside when it is full, and lines go on in a new one.
        let Ok(newest) = File::open(places.log()) else { continue };
        let inode = |file: &File| file.metadata().map(|metadata| metadata.ino()).ok();
        if last.as_ref().and_then(inode) != inode(&newest) {
            if let Some(file) = &mut last {
                pass_on(file)?;
            }
            last = Some(newest);
        }
    }
}

/// Prints the rest of the file. Returns false if the output is closed.
fn pass_on(file: &mut File) -> anyhow::Result<bool> {
    let mut text = Vec::new();
    file.read_to_end(&mut text).context("cannot read the log")?;
    let mut out = io::stdout().lock();
    match out.write_all(&text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => Ok(written.map(|()| true)?),
    }
}
