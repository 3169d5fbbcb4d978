//! A network for the bench alone. No other program sends over its loopback interface, so the counter of that interface holds
//! exactly the bytes that the two sides sent to each other, with every header and acknowledgement.

use crate::program;
use anyhow::{Context, Result};
use std::fs;
use std::process::{Child, Command, Stdio};

/// A network namespace with nothing but a loopback interface.
pub(crate) struct Network {
    /// A program in the namespace that ends when its standard input does, so also when this process is killed.
    holder: Child,
}

impl Network {
    pub(crate) fn create() -> Result<Self> {
        let holder = Command::new("unshare")
            .args(["--net", "--", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting unshare (of the package util-linux)")?;
        let mut network = Self { holder };
        network.wait_until_entered()?;
        program::output(network.command("ip").args(["link", "set", "lo", "up"]))
            .context("raising the loopback interface of a new network namespace")?;
        Ok(network)
    }

    /// Waits until `cat` has echoed a byte: it starts after the namespace is entered.
    fn wait_until_entered(&mut self) -> Result<()> {
        use std::io::{Read as _, Write as _};
        let mut echo = [0];
        let input = self.holder.stdin.as_mut().expect("standard input is a pipe");
        let written = input.write_all(&echo).and_then(|()| input.flush());
        let output = self.holder.stdout.as_mut().expect("standard output is a pipe");
        written
            .and_then(|()| output.read_exact(&mut echo))
            .context("entering a new network namespace (does this container allow it?)")
    }

    /// A command that runs inside the namespace.
    pub(crate) fn command(&self, program: &str) -> Command {
        let [nsenter, arguments @ ..] = self.words();
        let mut command = Command::new(nsenter);
        command.args(arguments).arg(program);
        command
    }

    /// The words that come before a command line and make it run inside the namespace. They become the program by `exec`.
    pub(crate) fn words(&self) -> [String; 3] {
        ["nsenter".to_owned(), format!("--net=/proc/{}/ns/net", self.holder.id()), "--".to_owned()]
    }

    /// The bytes that went over the loopback so far, both directions together.
    pub(crate) fn bytes(&self) -> Result<u64> {
        let path = format!("/proc/{}/net/dev", self.holder.id());
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        received_bytes(&text).with_context(|| format!("{path} has no line about lo"))
    }
}

/// The loopback receives everything that is sent over it, so the counter of received bytes holds both directions.
fn received_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("lo:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        // The program ends with its input. Nothing can be done about an error here.
        let _ = self.holder.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_counter_is_read() {
        let text = "Inter-| Receive\n face |bytes\n  eth0: 5 1\n    lo:  123456 10 0 0\n";
        assert_eq!(received_bytes(text), Some(123_456));
        assert_eq!(received_bytes("  eth0: 5 1\n"), None);
    }
}
