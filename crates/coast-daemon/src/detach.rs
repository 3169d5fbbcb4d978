//! Starting the daemon as a process of its own, which outlives the command that started it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::directory::{Parents, make_private};
use crate::lock::Lock;
use crate::release::{Release, Standing};
use crate::{Client, ClientError, DaemonPlaces, DaemonStatus};

/// How long to wait for another command that starts a daemon.
const TURN_TIMEOUT: Duration = Duration::from_secs(60);
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
    /// The daemon is newer than this program, and has another API.
    #[error(
        "coastd is of version {version}, and this program of version {} is too old for it; use the program of that version, or go on with \
         this one after: coast daemon restart",
        env!("CARGO_PKG_VERSION")
    )]
    TooOld { version: String },
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
    /// It has just been started, in the place of one of this older version or of a program file that was replaced.
    InPlaceOf { version: String, status: DaemonStatus },
}

/// Whether a daemon is started where none runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absent {
    Start,
    Leave,
}

/// Starts `program daemon run --detached` unless a daemon runs, and waits until it answers. A daemon that is older than this
/// program is ended first, when its requests are answered and its batches have ended. What should follow follows again, so nothing
/// is lost.
///
/// # Errors
/// When it cannot be started, or ends at once; and when a daemon runs that this program is too old for.
pub fn start(places: &DaemonPlaces, program: &Path) -> Result<Started, StartError> {
    let started = ensure(places, program, Absent::Start)?;
    Ok(started.expect("a daemon that does not run is started"))
}

/// Does what [`start`] does, but starts nothing where no daemon runs.
///
/// # Errors
/// As [`start`].
pub fn take_over(places: &DaemonPlaces, program: &Path) -> Result<(), StartError> {
    match standing(&Client::new(places.clone())) {
        Err(ClientError::NotRunning) => Ok(()),
        Ok((Standing::Usable, _)) => Ok(()),
        _ => ensure(places, program, Absent::Leave).map(drop),
    }
}

/// How the daemon stands to this program, and its version.
fn standing(client: &Client) -> Result<(Standing, String), ClientError> {
    let release = client.release()?;
    Ok((Release::of_this_process().judge(&release), release.version))
}

/// Has a daemon run that this program can use. `None` if none runs and none is started.
fn ensure(places: &DaemonPlaces, program: &Path, absent: Absent) -> Result<Option<Started>, StartError> {
    let unusable = |path: &Path, error| StartError::Place { path: path.to_owned(), error };
    make_private(places.state(), Parents::Made).map_err(|error| unusable(places.state(), error))?;
    let client = Client::new(places.clone());
    let turn = places.start_lock();
    let _turn =
        Lock::wait(&turn, TURN_TIMEOUT).map_err(|error| unusable(&turn, error))?.ok_or(StartError::Turn)?;
    let older = match standing(&client) {
        Err(ClientError::NotRunning) if absent == Absent::Leave => return Ok(None),
        Err(ClientError::NotRunning) => None,
        Err(error) => return Err(error.into()),
        Ok((Standing::Usable, _)) => return Ok(Some(Started::Before(client.status()?))),
        Ok((Standing::TooNew, version)) => return Err(StartError::TooOld { version }),
        Ok((Standing::Older, version)) => {
            client.shut_down()?;
            Some(version)
        }
    };
    let status = spawn(&client, program)?;
    Ok(Some(match older {
        Some(version) => Started::InPlaceOf { version, status },
        None => Started::Now(status),
    }))
}

/// Starts a daemon, and waits until it answers.
fn spawn(client: &Client, program: &Path) -> Result<DaemonStatus, StartError> {
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
        Ok(status) => Ok(status),
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

/// Closes what the parent had open and this program does not know of. A lock or a pipe of a script would otherwise stay open as
/// long as the daemon runs, and the script would wait for ever.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DaemonOptions, PROTOCOL, run};
    use coast_instance::Places;
    use coast_sync::RemoteHelper;
    use std::sync::mpsc;
    use std::thread::JoinHandle;

    /// A daemon on a thread of this process that says that it is of another release.
    struct Other {
        scratch: tempfile::TempDir,
        thread: JoinHandle<Result<(), crate::DaemonError>>,
    }

    impl Other {
        fn of(version: &str, protocol: u32) -> Self {
            let scratch = tempfile::tempdir().unwrap();
            let release = Release { version: version.to_owned(), protocol, program: None };
            let helper = RemoteHelper::Installed("/nonexistent".into());
            let places = DaemonPlaces::below(scratch.path());
            let options = DaemonOptions::new(places, Places::below(scratch.path()), helper).release(release);
            let (ready, is_ready) = mpsc::channel();
            let thread = thread::spawn(move || run(&options, || ready.send(()).unwrap()));
            is_ready.recv().unwrap();
            Self { scratch, thread }
        }

        fn places(&self) -> DaemonPlaces {
            DaemonPlaces::below(self.scratch.path())
        }

        fn end(self) {
            Client::new(self.places()).shut_down().unwrap();
            self.thread.join().unwrap().unwrap();
        }
    }

    /// A program that ends at once.
    const NO_DAEMON: &str = "/bin/true";

    #[test]
    fn an_older_daemon_is_ended_and_the_program_started_in_its_place() {
        type Call = fn(&DaemonPlaces) -> Result<(), StartError>;
        let starting: Call = |places| start(places, Path::new(NO_DAEMON)).map(drop);
        let taking_over: Call = |places| take_over(places, Path::new(NO_DAEMON));
        for call in [starting, taking_over] {
            let older = Other::of("0.0.1", PROTOCOL + 1);
            let started = call(&older.places());
            assert!(matches!(started, Err(StartError::Client(ClientError::NotRunning))), "{started:?}");
            older.thread.join().unwrap().unwrap();
        }
    }

    #[test]
    fn a_newer_daemon_is_used_if_its_api_is_the_same() {
        let newer = Other::of("99.0.0", PROTOCOL);
        take_over(&newer.places(), Path::new(NO_DAEMON)).unwrap();
        let started = start(&newer.places(), Path::new(NO_DAEMON)).unwrap();
        assert!(matches!(started, Started::Before(status) if status.version == "99.0.0"));
        newer.end();

        let newer = Other::of("99.0.0", PROTOCOL + 1);
        for refused in [
            start(&newer.places(), Path::new(NO_DAEMON)).unwrap_err(),
            take_over(&newer.places(), Path::new(NO_DAEMON)).unwrap_err(),
        ] {
            assert!(refused.to_string().contains("coastd is of version 99.0.0"), "{refused}");
        }
        newer.end();
    }

    #[test]
    fn nothing_is_taken_over_where_no_daemon_runs() {
        let scratch = tempfile::tempdir().unwrap();
        let places = DaemonPlaces::below(scratch.path());
        take_over(&places, Path::new("/nonexistent")).unwrap();
        assert!(!places.state().exists());
    }
}
