//! A program with a terminal: a pseudo-terminal is its controlling terminal, its input and its output.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use coast_testkit::require;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::program::Program;

/// The time limit of each wait.
const LIMIT: Duration = Duration::from_secs(60);

/// A program that runs in a terminal. It is killed when dropped before its end.
pub struct InTerminal {
    controller: File,
    /// Keeps the terminal and its settings alive after the program's end.
    terminal: File,
    child: Child,
    output: Receiver<Vec<u8>>,
    seen: String,
}

impl InTerminal {
    /// Starts the program in a new terminal of 100 columns.
    ///
    /// # Panics
    /// When the terminal cannot be made or the program cannot be started.
    #[must_use]
    pub fn start(program: &Program) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("a pseudo-terminal can be opened");
        grantpt(&controller).expect("the pseudo-terminal is ours");
        unlockpt(&controller).expect("the pseudo-terminal is ours");
        let name = ptsname(&controller, Vec::new()).expect("a pseudo-terminal has a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = File::from(rustix::fs::open(name, flags, Mode::empty()).expect("it was unlocked"));
        let size = Winsize { ws_row: 40, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&controller, size).expect("it is a terminal");
        let end = || Stdio::from(terminal.try_clone().expect("an open file can be cloned"));
        // It becomes the program by `exec`, since it leads no process group.
        let program = program.clone().by([require("setsid", "util-linux").as_os_str(), "--ctty".as_ref()]);
        let mut command = program.command();
        command.env("TERM", "xterm").stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.command_line()));
        let controller = File::from(controller);
        let mut reader = controller.try_clone().expect("an open file can be cloned");
        let (tell, output) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The read fails when the terminal is closed.
            while let Ok(read @ 1..) = reader.read(&mut bytes) {
                if tell.send(bytes[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { controller, terminal, child, output, seen: String::new() }
    }

    /// Waits until the terminal has shown `text`.
    ///
    /// # Panics
    /// When it does not show it in time.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        let started = Instant::now();
        while !self.seen.contains(text) {
            let left = LIMIT.saturating_sub(started.elapsed());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{text:?} is missing from\n{}", self.seen),
            }
        }
    }

    /// Types `text`.
    ///
    /// # Panics
    /// When the terminal takes no input.
    pub fn type_in(&mut self, text: &str) {
        self.controller.write_all(text.as_bytes()).expect("the terminal takes input");
    }

    /// Whether the terminal shows at this moment what is typed.
    #[must_use]
    pub fn echoes(&self) -> bool {
        self.settings().echo()
    }

    /// The settings of the terminal, which can be asked for also after the program's end.
    ///
    /// # Panics
    /// Never: an open file can be cloned.
    #[must_use]
    pub fn settings(&self) -> TerminalSettings {
        TerminalSettings(self.terminal.try_clone().expect("an open file can be cloned"))
    }

    /// Sends a signal to the program.
    ///
    /// # Panics
    /// When the program has ended.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is still running");
    }

    /// Waits for the end of the program. Returns its exit code, which is 128 and the number of a signal that ended it, and all that
    /// the terminal has shown.
    ///
    /// # Panics
    /// When the program does not end in time.
    #[track_caller]
    pub fn wait(mut self) -> (i32, String) {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            while let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(20)) {
                self.seen.push_str(&String::from_utf8_lossy(&bytes));
            }
            assert!(started.elapsed() < LIMIT, "still running:\n{}", self.seen);
        };
        while let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(100)) {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        let code = status.code().unwrap_or_else(|| 128 + status.signal().expect("ended by code or signal"));
        (code, std::mem::take(&mut self.seen))
    }
}

/// The settings of a terminal.
pub struct TerminalSettings(File);

impl TerminalSettings {
    /// Whether the terminal shows at this moment what is typed.
    ///
    /// # Panics
    /// Never: the terminal is open.
    #[must_use]
    pub fn echo(&self) -> bool {
        let settings = tcgetattr(&self.0).expect("it is a terminal");
        settings.local_modes.contains(LocalModes::ECHO)
    }
}

impl Drop for InTerminal {
    fn drop(&mut self) {
        // Fails when the program has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
