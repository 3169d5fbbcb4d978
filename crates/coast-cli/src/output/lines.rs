//! Lines on standard output and standard error. A closed output (`coast ... | head`) ends the printing, not the run.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::Mutex;

use super::Shown;
use coast_tree::LockExt;

/// Standard output. It is buffered unless it is a terminal.
pub(crate) struct Lines {
    /// `None` after a failed write.
    out: Mutex<Option<BufWriter<io::Stdout>>>,
    /// Flush after every line.
    at_once: bool,
}

impl Lines {
    pub(crate) fn new() -> Self {
        let stdout = io::stdout();
        let at_once = stdout.is_terminal();
        Self { out: Mutex::new(Some(BufWriter::new(stdout))), at_once }
    }

    pub(crate) fn print(&self, line: &str) {
        let mut out = self.out.enter();
        let written = out.as_mut().map_or(Ok(()), |out| {
            writeln!(out, "{line}")?;
            if self.at_once { out.flush() } else { Ok(()) }
        });
        if written.is_err() {
            discard(&mut out);
        }
    }

    /// Writes the buffered lines.
    pub(crate) fn flush(&self) {
        let mut out = self.out.enter();
        if out.as_mut().is_some_and(|out| out.flush().is_err()) {
            discard(&mut out);
        }
    }
}

/// Gives up an output that failed. Dropping the writer would try to write the buffered lines once more, so it is taken apart.
fn discard(out: &mut Option<BufWriter<io::Stdout>>) {
    if let Some(out) = out.take() {
        drop(out.into_parts());
    }
}

/// Returns text from another program or machine in a form that cannot control the terminal. Line breaks are kept.
pub(crate) fn shown(text: &str) -> String {
    text.split('\n').map(|line| Shown(line.as_bytes()).to_string()).collect::<Vec<_>>().join("\n")
}

/// Prints a message to standard error. `text` may have several lines, and may quote a peer.
pub(crate) fn complain(text: &str) {
    let mut message = String::new();
    for (index, line) in text.split('\n').enumerate() {
        let prefix = if index == 0 { "coast: " } else { "" };
        message.push_str(&format!("{prefix}{}\n", Shown(line.as_bytes())));
    }
    // If standard error is closed, the error cannot be printed anywhere.
    let _ = io::stderr().write_all(message.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn what_others_say_cannot_steer_the_terminal() {
        assert_eq!(shown("one\x1b[2J\ntwo\r"), "one\\#033[2J\ntwo\\#015");
    }
}
