//! Several helpers that carry one run together, and those that are kept out.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use coast_engine::{Cancel, SenderConfig, Source, VoidMonitor, send};
use coast_wire::{GREETING, OutgoingStream, StripedWriter};

/// The number of a user who owns nothing.
const NOBODY: u32 = 65534;

/// A helper, and its two streams.
struct Helper {
    process: Child,
    stream: UnixStream,
}

impl Helper {
    fn start(command: &mut Command) -> Self {
        let (stream, far) = UnixStream::pair().unwrap();
        let process = command
            .stdin(Stdio::from(OwnedFd::from(far.try_clone().unwrap())))
            .stdout(Stdio::from(OwnedFd::from(far)))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { process, stream }
    }

    fn receive(run: &Run, command: &mut Command) -> Self {
        let helper = Self::start(command.args(["receive", &run.word(), "--root"]).arg(run.root()));
        helper.await_greeting();
        helper
    }

    fn join(run: &Run, number: u8) -> Self {
        Self::start(program().args(["join", &run.word(), &format!("--number={number}")]))
    }

    fn await_greeting(&self) {
        let mut greeting = [0; GREETING.len()];
        (&self.stream).read_exact(&mut greeting).unwrap();
        assert_eq!(greeting, GREETING.as_bytes());
    }

    /// A writer whose drop is the end of the stream.
    fn writer(&self) -> OutgoingStream<'static> {
        Box::new(Ending(self.stream.try_clone().unwrap()))
    }

    /// The standard error of a helper that fails.
    fn failure(mut self) -> String {
        assert!(!self.process.wait().unwrap().success());
        let mut text = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn succeed(mut self) {
        assert!(self.process.wait().unwrap().success());
    }
}

struct Ending(UnixStream);

impl Write for Ending {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0.write(data)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // Fails for a helper that has ended.
        let _ = self.0.shutdown(Shutdown::Write);
    }
}

/// A run with a source of noise and a name.
struct Run {
    scratch: tempfile::TempDir,
    name: String,
}

impl Run {
    fn new() -> Self {
        static NAMES: AtomicU32 = AtomicU32::new(0);
        let number = NAMES.fetch_add(1, Ordering::Relaxed);
        let scratch = tempfile::tempdir().unwrap();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let source = scratch.path().join("source");
        fs::create_dir(&source).unwrap();
        let mut state = 1_u64;
        let mut noise = |bytes: usize| -> Vec<u8> {
            let mut draw = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_be_bytes()[0]
            };
            (0..bytes).map(|_| draw()).collect()
        };
        for (name, bytes) in [("large", 5 << 20), ("medium", 300_000), ("small", 17)] {
            fs::write(source.join(name), noise(bytes)).unwrap();
        }
        Self { scratch, name: format!("{:08x}{:016x}{number:08x}", 1, std::process::id()) }
    }

    fn source(&self) -> PathBuf {
        self.scratch.path().join("source")
    }

    fn root(&self) -> PathBuf {
        self.scratch.path().join("root")
    }

    fn word(&self) -> String {
        format!("--streams={}", self.name)
    }

    /// Sends the source to `receiver`, over these streams from the first frame on.
    fn send(&self, receiver: &Helper, others: Vec<(u8, OutgoingStream<'static>)>) {
        let mut config = SenderConfig::new(Source::Contents(self.source()));
        config.options.recursive = true;
        let mut writer = StripedWriter::new(receiver.writer());
        writer.widen(others).unwrap();
        let reader = receiver.stream.try_clone().unwrap();
        let report = send(config, reader, writer, &VoidMonitor, &Cancel::new()).unwrap();
        assert!(report.ready.confined, "needs a kernel with landlock, from Linux 5.19");
        for name in ["large", "medium", "small"] {
            assert!(read(&self.source(), name) == read(&self.root(), name), "{name} differs");
        }
    }
}

fn read(directory: &Path, name: &str) -> Vec<u8> {
    fs::read(directory.join(name)).unwrap()
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_coast-helper"))
}

/// The program at a place that every user can reach.
fn program_for_all(run: &Run) -> Command {
    let copy = run.scratch.path().join("coast-helper");
    fs::copy(env!("CARGO_BIN_EXE_coast-helper"), &copy).unwrap();
    Command::new(copy)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn several_helpers_carry_one_run() {
    let run = Run::new();
    let receiver = Helper::receive(&run, &mut program());
    let joined: Vec<_> = [1, 4, 6].map(|number| (number, Helper::join(&run, number))).into();
    joined.iter().for_each(|(_, helper)| helper.await_greeting());
    let others = joined.iter().map(|(number, helper)| (*number, helper.writer())).collect();
    run.send(&receiver, others);
    receiver.succeed();
    // They end because the receiver has.
    joined.into_iter().for_each(|(_, helper)| helper.succeed());
}

#[test]
fn helper_that_joined_and_carries_nothing_does_not_hold_the_run_up() {
    let run = Run::new();
    let receiver = Helper::receive(&run, &mut program());
    let idle = Helper::join(&run, 1);
    idle.await_greeting();
    run.send(&receiver, Vec::new());
    receiver.succeed();
    idle.succeed();
}

#[test]
fn nobody_joins_a_run_that_is_not_there() {
    let text = Helper::join(&Run::new(), 1).failure();
    assert!(text.contains("joining the run failed"), "{text}");
}

#[test]
fn helper_of_another_user_is_kept_out() {
    assert!(is_root(), "needs root, to run a helper as another user");
    let run = Run::new();
    let receiver = Helper::receive(&run, &mut program());
    let foreign = Helper::start(
        program_for_all(&run).args(["join", &run.word(), "--number=1"]).uid(NOBODY).gid(NOBODY),
    );
    let text = foreign.failure();
    assert!(text.contains("joining the run failed"), "{text}");
    let own = Helper::join(&run, 1);
    own.await_greeting();
    run.send(&receiver, vec![(1, own.writer())]);
    receiver.succeed();
    own.succeed();
}

#[test]
fn user_who_started_the_receiver_with_sudo_may_join() {
    assert!(is_root(), "needs root, to run a helper as another user");
    let run = Run::new();
    let sudo = [("SUDO_UID", NOBODY.to_string()), ("SUDO_GID", NOBODY.to_string())];
    let receiver = Helper::receive(&run, program().envs(sudo));
    let joined = Helper::start(
        program_for_all(&run).args(["join", &run.word(), "--number=1"]).uid(NOBODY).gid(NOBODY),
    );
    joined.await_greeting();
    run.send(&receiver, vec![(1, joined.writer())]);
    receiver.succeed();
    joined.succeed();
}

#[test]
fn stream_is_not_handed_over_to_another_user_who_has_taken_the_name() {
    assert!(is_root(), "needs root, to run a helper as another user");
    let run = Run::new();
    fs::create_dir(run.root()).unwrap();
    std::os::unix::fs::chown(run.root(), Some(NOBODY), Some(NOBODY)).unwrap();
    let _thief = Helper::receive(&run, program_for_all(&run).uid(NOBODY).gid(NOBODY));
    let text = Helper::join(&run, 1).failure();
    assert!(text.contains("another user has taken the name"), "{text}");
}
