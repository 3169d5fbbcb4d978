//! Starting the daemon as a process of its own, which outlives the command that started it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::directory::{Parents, make_private};
use crate::lock::Lock;
use crate::{Client, ClientError, DaemonPlaces, DaemonStatus};

/// How long to wait for another command that starts a daemon.
const TURN_TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of a starting daemon's message.
const MAX_MESSAGE_BYTES: u64 = 64 << 10;
/// The first descriptor that is none of the standard ones.
const FIRST_OTHER: i32 = 3;

/// Why the daemon was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of a variant explains its fields")]
pub enum StartError {
    /// A file or directory of the daemon cannot be used.
    #[error("cannot use {}: {error}", path.display())]
    Place { path: PathBuf, error: io::Error },
    /// The process cannot be started.
    #[error("cannot start {}: {error}", program.display())]
    Process { program: PathBuf, error: io::Error },
    /// The process ended at once.
    #[error("coastd did not start: {0}")]
    Ended(String),
    /// Another command starts the daemon, and does not come to an end.
    #[error("another command has been starting coastd for {} s; see what holds it up", TURN_TIMEOUT.as_secs())]
    Turn,
    /// The daemon does not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// A daemon that answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Started {
    /// It has just been started.
    Now(DaemonStatus),
    /// It ran already.
    Before(DaemonStatus),
}

/// Starts `program daemon run --detached` unless a daemon runs, and waits until it answers.
///
/// # Errors
/// When it cannot be started, or ends at once.
pub fn start(places: &DaemonPlaces, program: &Path) -> Result<Started, StartError> {
    let unusable = |path: &Path, error| StartError::Place { path: path.to_owned(), error };
    make_private(places.state(), Parents::Made).map_err(|error| unusable(places.state(), error))?;
    let client = Client::new(places.clone());
    let turn = places.start_lock();
    let _turn =
        Lock::wait(&turn, TURN_TIMEOUT).map_err(|error| unusable(&turn, error))?.ok_or(StartError::Turn)?;
    match client.status() {
        Err(ClientError::NotRunning) => {}
        running => return Ok(Started::Before(running?)),
    }
    let failed = |error| StartError::Process { program: program.to_owned(), error };
    let mut command = Command::new(program);
    command.args(["daemon", "run", "--detached"]).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    // The daemon closes this pipe as soon as it listens. Until then it writes there what goes wrong.
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        stderr.take(MAX_MESSAGE_BYTES).read_to_end(&mut said).map_err(failed)?;
    }
    // A process that started the daemon and lives on must not leave it as a zombie.
    thread::spawn(move || child.wait());
    match client.status() {
        Ok(status) => Ok(Started::Now(status)),
        Err(_) if !said.is_empty() => {
            Err(StartError::Ended(String::from_utf8_lossy(&said).trim().to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Separates this process, which [`start`] has started, from everything that its parent passed on: the terminal and open files. Must
/// come before this process opens any file of its own. Returns what to call once the daemon listens.
///
/// # Errors
/// When the system refuses.
pub fn leave_the_terminal() -> io::Result<impl FnOnce()> {
    close_inherited_files()?;
    rustix::process::setsid()?;
    let nowhere = File::options().read(true).write(true).open("/dev/null")?;
    Ok(move || {
        // The parent waits for the end of this pipe. It is the daemon's log that gets messages from here on.
        let _ = rustix::stdio::dup2_stderr(&nowhere);
    })
}

/// Closes what the parent had open and this program does not know of. A lock or a pipe of a script would otherwise stay open as long as
/// the daemon runs, and the script would wait for ever.
fn close_inherited_files() -> io::Result<()> {
    let numbers =
        std::fs::read_dir("/dev/fd")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    for number in numbers.collect::<Vec<i32>>() {
        if number >= FIRST_OTHER {
            // The descriptor that listed the directory is closed already.
            let _ = nix::unistd::close(number);
        }
    }
    Ok(())
}
