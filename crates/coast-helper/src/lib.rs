//! The remote program. It greets with [`GREETING`] and does one of these things:
//!
//! | call | task |
//! |---|---|
//! | `coast-helper receive --root PATH` | receives a tree, with the protocol of `coast-wire` on standard input and output |
//! | `coast-helper follow --root PATH` | receives many trees, one after the other, over the same two streams |
//! | `coast-helper join --streams=RUN --number=N` | hands standard input over to the helper that receives with `--streams=RUN` |
//! | `coast-helper probe --root PATH` | tells what there is at PATH |
//! | `coast-helper remove --root PATH` | removes the workspace PATH |
//! | `coast-helper trash --root PATH` | lists the trash of the workspace PATH |
//! | `coast-helper restore --root PATH -- PATH...` | restores paths of the workspace from its trash |
//! | `coast-helper survey --root PATH` | lists the workspaces in the directory PATH |
//! | `coast-helper leftovers --root PATH` | lists what coast and mutagen have left in the home directory PATH |
//! | `coast-helper sweep --root PATH -- NAME...` | removes these leftovers |
//!
//! The path comes on the command line because the process confines itself to that path before it reads a byte from the peer.
//! The exit code is never 1: 1 is the exit code of a `sudo` that refuses.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod arguments;
mod confine;
mod input;
#[cfg_attr(not(target_os = "linux"), path = "joining_elsewhere.rs")]
mod joining;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};
use std::process::ExitCode;
use std::thread;

use coast_engine::{Cancel, EngineError, Receiver, VoidMonitor, refuse};
use coast_tree::RelPath;
use coast_wire::limits::MAX_KEPT_NAMED;
use coast_wire::{
    Answer, Event, GREETING, PROTOCOL_VERSION, ProblemKind, Removal, StripedReader, SurveyTotals,
    bounded_text,
};
use coast_workspace::{
    AccountDirectories, DoomedWorkspace, LeftoverPath, ProbedDirectory, RemovalNews, TrashedWorkspace,
    WorkspacesDirectory, decline, say,
};

use arguments::{Command, Reception, RunName};
use input::Input;
use joining::Joining;

/// The exit code for a wrong command line. It is not 1, see above.
const USAGE: u8 = 64;

/// Runs the helper with these arguments (without the program's name).
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let command = match arguments::parse(arguments) {
        Ok(command) => command,
        Err(error) => {
            complain(&error);
            return ExitCode::from(USAGE);
        }
    };
    match command {
        Command::Version => {
            let text = format!("coast-helper {} (protocol {PROTOCOL_VERSION})\n", env!("CARGO_PKG_VERSION"));
            exit_after(io::stdout().write_all(text.as_bytes()))
        }
        Command::Receive(reception) => receive(reception),
        Command::Follow(reception) => follow(reception),
        Command::Join(run, number) => join(&run, number),
        Command::Probe(path) => answering(|_, output| probe(&path, output)),
        Command::Remove { root, with_empty_parent } => {
            answering(|input, output| remove(&root, with_empty_parent, input, output))
        }
        Command::Trash(path) => answering(|input, output| trash(&path, input, output)),
        Command::Restore(path, paths) => answering(|input, output| restore(&path, &paths, input, output)),
        Command::Survey(path) => answering(|input, output| survey(&path, input, output)),
        Command::Leftovers(home) => answering(|_, output| leftovers(&home, output)),
        Command::Sweep(home, paths) => answering(|_, output| sweep(&home, &paths, output)),
    }
}

/// Whether these arguments (without the program's name) call the helper. A program that contains the helper asks this.
pub fn is_call(arguments: &[OsString]) -> bool {
    arguments::is_call(arguments)
}

fn receive(reception: Reception) -> ExitCode {
    receiving(reception, |receiver, input, output, confined| {
        receiver.run(StripedReader::new(input), output, confined, &VoidMonitor, &Cancel::new()).map(|_| ())
    })
}

/// Receives until the client closes the stream. Between two runs the client may be silent for any time.
fn follow(reception: Reception) -> ExitCode {
    receiving(reception, |receiver, input, output, confined| {
        let waiting = input.waiting();
        // One kind of reader for both keeps the program small. No stream joins here.
        let mut following = receiver.follow(StripedReader::new(input), output, confined);
        while waiting.without_limit(|| following.wait())? {
            following.serve(&VoidMonitor, &Cancel::new())?;
        }
        Ok(())
    })
}

/// Hands standard input over, greets when that is done, and stays until the run ends: the server closes the channel when this process
/// ends. It reads nothing of what it hands over.
fn join(run: &RunName, number: u8) -> ExitCode {
    match joining::join(run, number, || io::stdout().write_all(GREETING.as_bytes())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("joining the run failed: {error}"));
            exit_after(Err(error))
        }
    }
}

/// Greets, opens the destination, confines the process to it, and has `receive` do the rest.
fn receiving(
    reception: Reception,
    receive: impl FnOnce(Receiver, Input, File, bool) -> Result<(), EngineError>,
) -> ExitCode {
    let Reception { mut config, patience, run } = reception;
    coast_tree::raise_descriptor_limit();
    // The engine applies the user's umask itself, so the system must not apply one.
    config.umask = rustix::process::umask(rustix::fs::Mode::empty()).as_raw_mode() & 0o777;
    config.login = login_user();
    let (input, mut output) = match streams() {
        Ok(streams) => streams,
        Err(error) => return exit_after(Err(error)),
    };
    // Streams may join as soon as the client has read the greeting.
    let joining = Joining::new(run.as_ref(), config.login.map(|login| login.uid));
    if let Err(error) = output.write_all(GREETING.as_bytes()) {
        return exit_after(Err(error));
    }
    let receiver = match Receiver::open(*config) {
        Ok(receiver) => receiver,
        Err(error) => {
            let told = refuse(&error, &mut output);
            return told.map_or_else(|error| exit_after(Err(error)), |()| exit_code(&error));
        }
    };
    let confined = confine::to(&receiver.directories(), None);
    match receive(receiver, Input::new(input, joining, patience), output, confined) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit_code(&error),
    }
}

/// Greets and answers. A failure is told to the client too.
fn answering(answer: impl FnOnce(File, &mut File) -> Result<(), EngineError>) -> ExitCode {
    coast_tree::raise_descriptor_limit();
    let greeted = streams()
        .and_then(|(input, mut output)| output.write_all(GREETING.as_bytes()).map(|()| (input, output)));
    let (input, mut output) = match greeted {
        Ok(streams) => streams,
        Err(error) => return exit_after(Err(error)),
    };
    match answer(input, &mut output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Fails if standard output is broken, and then nobody can be told.
            let _ = decline(&error, &mut output);
            exit_code(&error)
        }
    }
}

fn probe(path: &Path, output: &mut File) -> Result<(), EngineError> {
    let probed = ProbedDirectory::open(path)?;
    let confined = confine::to(&[probed.handle()], None);
    probed.look(env!("CARGO_PKG_VERSION"), confined, |answer| say(answer, output))
}

/// Removes a workspace. The removal stops when the client is gone.
fn remove(path: &Path, with_empty_parent: bool, input: File, output: &mut File) -> Result<(), EngineError> {
    let removal = match DoomedWorkspace::open(path, login_user())? {
        Some(workspace) => {
            let workspace = if with_empty_parent { workspace.with_empty_parent()? } else { workspace };
            let reach = workspace.reach();
            let confined = confine::to(&reach.directories, Some(&reach.parent));
            let cancel = cancel_at_end_of(input);
            workspace.remove(confined, &cancel, &mut |news| {
                let answer = match news {
                    RemovalNews::Stays(event) => Answer::Event(event),
                    RemovalNews::Removed(removed_entries) => Answer::Removing { removed_entries },
                };
                // The thread above notices when the client is gone.
                let _ = say(&answer, &mut *output);
            })?
        }
        None => Removal { existed: false, removed_entries: 0, kept_entries: 0, confined: false },
    };
    say(&Answer::Removal(removal), output)
}

/// Lists the trash of a workspace.
fn trash(path: &Path, input: File, output: &mut File) -> Result<(), EngineError> {
    let workspace = TrashedWorkspace::open(path, login_user())?;
    let confined = confine::to(&workspace.reach(), None);
    let cancel = cancel_at_end_of(input);
    let totals = workspace.list(confined, &cancel, &mut |answer| say(&answer, &mut *output))?;
    say(&Answer::Trash(totals), output)
}

/// Restores entries of a workspace. It stops when the client is gone.
fn restore(path: &Path, paths: &[RelPath], input: File, output: &mut File) -> Result<(), EngineError> {
    // A rule of sudoers for some directories cannot tell such a path from the paths that follow it.
    if path.components().any(|component| component == Component::ParentDir) {
        let reason = "its path holds \"..\"; give the path without".to_owned();
        return Err(EngineError::NoWorkspace { path: path.to_owned(), reason });
    }
    let workspace = TrashedWorkspace::open(path, login_user())?;
    let confined = confine::to(&workspace.reach(), None);
    let cancel = cancel_at_end_of(input);
    let restored = workspace.restore(paths, confined, &cancel, &mut |answer| say(&answer, &mut *output))?;
    say(&Answer::Restoration(restored), output)
}

/// Lists the workspaces in a directory. It stops when the client is gone.
fn survey(path: &Path, input: File, output: &mut File) -> Result<(), EngineError> {
    let totals = match WorkspacesDirectory::open(path, login_user())? {
        Some(workspaces) => {
            let confined = confine::to(&[workspaces.handle()], None);
            let cancel = cancel_at_end_of(input);
            workspaces.survey(confined, &cancel, &mut |answer| say(answer, &mut *output))?
        }
        None => SurveyTotals::default(),
    };
    say(&Answer::Survey(totals), output)
}

/// Lists what coast and mutagen have left in an account.
fn leftovers(home: &Path, output: &mut File) -> Result<(), EngineError> {
    let account = account(home)?;
    account.list(&mut |answer| say(answer, &mut *output))?;
    say(&Answer::Leftovers, output)
}

/// Removes what coast and mutagen have left in an account.
fn sweep(home: &Path, paths: &[LeftoverPath], output: &mut File) -> Result<(), EngineError> {
    let account = account(home)?;
    let mut named = 0;
    let removed = account.remove(paths, &mut |path, why| {
        named += 1;
        if named <= MAX_KEPT_NAMED {
            let (path, kind) = (path.as_bytes(), ProblemKind::Destination);
            // The client that is gone cannot be told.
            let _ =
                say(&Answer::Event(Event::Problem { path, kind, text: &bounded_text(why) }), &mut *output);
        }
    });
    say(&Answer::Swept { removed }, output)
}

/// The directories of leftovers, to which the process is confined.
fn account(home: &Path) -> Result<AccountDirectories, EngineError> {
    let program = std::env::current_exe().ok();
    let account = AccountDirectories::open(home, program.as_deref())?;
    confine::to(&account.reach(), None);
    Ok(account)
}

/// Cancels when the client is gone: it sends nothing, so its stream ends only then. The process must be confined before, since
/// this starts a thread.
fn cancel_at_end_of(mut input: File) -> Cancel {
    let cancel = Cancel::new();
    thread::spawn({
        let cancel = cancel.clone();
        move || {
            let _ = io::copy(&mut input, &mut io::sink());
            cancel.cancel();
        }
    });
    cancel
}

/// The SSH user, when sudo made the helper root.
fn login_user() -> Option<coast_engine::LoginUser> {
    let number = |name| std::env::var(name).ok()?.parse().ok();
    Some(coast_engine::LoginUser { uid: number("SUDO_UID")?, gid: number("SUDO_GID")? })
}

/// Standard input and output without the buffers of the standard library: frames are large already.
fn streams() -> io::Result<(File, File)> {
    let own = |fd: OwnedFd| File::from(fd);
    Ok((own(io::stdin().as_fd().try_clone_to_owned()?), own(io::stdout().as_fd().try_clone_to_owned()?)))
}

fn exit_code(error: &EngineError) -> ExitCode {
    match error.exit_code() {
        1 => ExitCode::from(USAGE),
        code => ExitCode::from(code),
    }
}

fn exit_after(written: io::Result<()>) -> ExitCode {
    match written {
        Ok(()) => ExitCode::SUCCESS,
        // The client is gone, and nobody can be told.
        Err(_) => ExitCode::from(12),
    }
}

fn complain(text: &str) {
    // Standard error may be closed.
    let _ = writeln!(io::stderr(), "coast-helper: {text}");
}
