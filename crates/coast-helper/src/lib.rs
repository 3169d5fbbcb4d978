//! The remote program: one Receiver on standard input and output, confined to the workspace; and what else has to be
//! done or found out over there.
//!
//! It is started as `coast-helper receive --root PATH`, says [`GREETING`], and then speaks the protocol of
//! `coast-wire`. Started as `coast-helper probe --root PATH` it answers what there is, and ends; as
//! `coast-helper remove --root PATH` it removes a workspace. The path comes on the command line because the process
//! confines itself to it before it reads a byte from the peer. It never exits with 1: that is how a `sudo` that refused is told apart from a helper that failed.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod arguments;
mod confine;
mod input;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use coast_engine::{Cancel, EngineError, Receiver, VoidMonitor, refuse};
use coast_wire::{Answer, GREETING, PROTOCOL_VERSION, Removal};
use coast_workspace::{DoomedWorkspace, ProbedDirectory, decline, say};

use arguments::Command;
use input::Input;

/// The exit code of a helper that was called wrongly: not 1, see above.
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
        Command::Receive(config, patience) => receive(*config, patience),
        Command::Probe(path) => answering(|_, output| probe(&path, output)),
        Command::Remove(path) => answering(|input, output| remove(&path, input, output)),
    }
}

/// Whether these arguments (without the program's name) are a call of the helper, for a program that is one among other
/// things.
pub fn is_call(arguments: &[OsString]) -> bool {
    arguments::is_call(arguments)
}

fn receive(mut config: coast_engine::ReceiverConfig, patience: Duration) -> ExitCode {
    coast_tree::raise_descriptor_limit();
    // Modes are set as they shall be when things are made; the user's umask is applied by the engine's rules.
    config.umask = rustix::process::umask(rustix::fs::Mode::empty()).as_raw_mode() & 0o777;
    config.login = login_user();
    let (input, mut output) = match streams() {
        Ok(streams) => streams,
        Err(error) => return exit_after(Err(error)),
    };
    if let Err(error) = output.write_all(GREETING.as_bytes()) {
        return exit_after(Err(error));
    }
    let receiver = match Receiver::open(config) {
        Ok(receiver) => receiver,
        Err(error) => {
            let told = refuse(&error, &mut output);
            return told.map_or_else(|error| exit_after(Err(error)), |()| exit_code(&error));
        }
    };
    let confined = confine::to(&receiver.directories(), None);
    match receiver.run(Input::new(input, patience), output, confined, &VoidMonitor, &Cancel::new()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => exit_code(&error),
    }
}

/// Greets and answers; whoever asked is told why there is no answer.
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
            // Standard output may be what failed.
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

/// Removes a workspace for as long as whoever asked is there: where they are gone, so is the wish.
fn remove(path: &Path, mut input: File, output: &mut File) -> Result<(), EngineError> {
    let removal = match DoomedWorkspace::open(path, login_user())? {
        Some(workspace) => {
            let reach = workspace.reach();
            let confined = confine::to(&reach.directories, Some(&reach.parent));
            let cancel = Cancel::new();
            thread::spawn({
                let cancel = cancel.clone();
                move || {
                    // Nothing is sent to a helper that was asked, so whatever ends this is the end.
                    let _ = io::copy(&mut input, &mut io::sink());
                    cancel.cancel();
                }
            });
            workspace.remove(confined, &cancel, &mut |event| {
                // That nobody listens any more shows at the other stream.
                let _ = say(&Answer::Event(event), &mut *output);
            })?
        }
        None => Removal { existed: false, removed_entries: 0, kept_entries: 0, confined: false },
    };
    say(&Answer::Removal(removal), output)
}

/// Who logged in, when sudo made the helper root.
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
        // Whoever started the helper is gone; there is nobody to tell.
        Err(_) => ExitCode::from(12),
    }
}

fn complain(text: &str) {
    // Standard error may be closed.
    let _ = writeln!(io::stderr(), "coast-helper: {text}");
}
