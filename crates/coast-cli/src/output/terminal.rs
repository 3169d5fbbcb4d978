//! Questions on the terminal of the process. They are asked there even if standard input or output is something else. A question
//! ends when the run is cancelled: a signal must end a program that waits for an answer.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::sync::mpsc;
use std::thread;

use coast_sync::{Cancel, HostAnswer, PresentedKey, Zeroizing};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::Shown;

/// The device that is the terminal of the process.
const DEVICE: &str = "/dev/tty";

/// The terminal of the process.
pub(crate) struct Terminal {
    cancel: Cancel,
}

impl Terminal {
    /// A terminal whose questions end when `cancel` is cancelled.
    pub(crate) fn new(cancel: &Cancel) -> Self {
        Self { cancel: cancel.clone() }
    }

    /// Asks a question. Returns the answer without the end of its line, or `None` if there is no terminal or the run is cancelled. A user
    /// who ends the input has answered nothing.
    pub(crate) fn ask(&self, question: &str) -> Option<String> {
        let terminal = open().ok()?;
        match self.answer(&terminal, question) {
            Ok(answer) => Some(answer.to_string()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Some(String::new()),
            Err(_) => None,
        }
    }

    /// Asks a question whose answer is not shown while it is typed.
    pub(crate) fn ask_hidden(&self, question: &str) -> Option<Zeroizing<String>> {
        let terminal = open().ok()?;
        let _hidden = Hidden::hide(&terminal).ok()?;
        self.answer(&terminal, question).ok()
    }

    /// Asks in the words of `ssh` whether to trust a host that is not in `known_hosts`.
    pub(crate) fn confirm_host(&self, presented: &PresentedKey) -> HostAnswer {
        let PresentedKey { host, algorithm, fingerprint, .. } = presented;
        let mut question = format!(
            "The authenticity of host '{}' can't be established.\n{} key fingerprint is {}.\nAre you sure you want to continue \
             connecting (yes/no/[fingerprint])? ",
            Shown(host.as_bytes()),
            key_kind(algorithm),
            Shown(fingerprint.as_bytes())
        );
        loop {
            let Some(answer) = self.ask(&question) else { return HostAnswer::NobodyToAsk };
            match answer.trim() {
                "" => return HostAnswer::Refuse,
                answer if answer.eq_ignore_ascii_case("no") => return HostAnswer::Refuse,
                answer if answer.eq_ignore_ascii_case("yes") || answer == fingerprint => {
                    return HostAnswer::Trust;
                }
                _ => question = "Please type 'yes', 'no' or the fingerprint: ".to_owned(),
            }
        }
    }

    fn answer(&self, terminal: &File, question: &str) -> io::Result<Zeroizing<String>> {
        let (tell, told) = mpsc::channel();
        // A read of a terminal cannot be interrupted, and macOS cannot poll this device. So a thread reads, and is left behind
        // when the run is cancelled. No question follows then.
        let _hook = self.cancel.on_cancel({
            let tell = tell.clone();
            move || {
                // The question has been answered already if nobody receives.
                let _ = tell.send(Err(io::ErrorKind::Interrupted.into()));
            }
        });
        let mut reader = BufReader::new(terminal.try_clone()?);
        (&*terminal).write_all(question.as_bytes())?;
        thread::spawn(move || {
            let mut line = Zeroizing::new(String::new());
            let read = reader.read_line(&mut line).map(|_| line);
            let _ = tell.send(read);
        });
        let mut line = told.recv().map_err(io::Error::other)??;
        if self.cancel.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if !line.ends_with('\n') {
            // The user ended the input.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let len = line.trim_end_matches(['\n', '\r']).len();
        line.truncate(len);
        Ok(line)
    }
}

fn open() -> io::Result<File> {
    File::options().read(true).write(true).open(DEVICE)
}

/// The algorithm of a key as `ssh` names it in its question.
fn key_kind(algorithm: &str) -> String {
    match algorithm {
        "ssh-ed25519" => "ED25519".to_owned(),
        "ssh-rsa" => "RSA".to_owned(),
        other if other.starts_with("ecdsa-") => "ECDSA".to_owned(),
        other => Shown(other.as_bytes()).to_string(),
    }
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn hide(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        // The end of the line is shown, so that the next output begins on a new line.
        hidden.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // The terminal cannot be told anything if this fails.
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_name_that_ssh_asks_with() {
        for (algorithm, kind) in [
            ("ssh-ed25519", "ED25519"),
            ("ecdsa-sha2-nistp256", "ECDSA"),
            ("ssh-rsa", "RSA"),
            ("odd\x1b", "odd\\#033"),
        ] {
            assert_eq!(key_kind(algorithm), kind);
        }
    }
}
