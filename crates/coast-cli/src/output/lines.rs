//! Lines on standard output and standard error. A closed output (`coast ... | head`) ends the printing, not the run.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::Mutex;

use anstyle::{AnsiColor, Style};

use super::Shown;
use coast_tree::LockExt;

/// Standard output. It is buffered unless it is a terminal.
pub(crate) struct Lines {
    /// `None` after a failed write. The lock is the last one that is taken.
    out: Mutex<Option<BufWriter<io::Stdout>>>,
    /// Flush after every line.
    at_once: bool,
}

/// Prints one line to the standard output.
pub(crate) fn println(line: &str) {
    let lines = Lines::new();
    lines.print(line);
    lines.flush();
}

impl Lines {
    pub(crate) fn new() -> Self {
        let stdout = io::stdout();
        let at_once = stdout.is_terminal();
        Self { out: Mutex::new(Some(BufWriter::new(stdout))), at_once }
    }

    /// Whether lines may have colours in them.
    pub(crate) fn are_coloured(&self) -> bool {
        anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
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

/// The weight of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Something to know. Not coloured.
    Note,
    /// Something to look at. Yellow, as with cargo and git.
    Warning,
    /// Something failed. Red.
    Error,
}

impl Weight {
    pub(crate) fn style(self) -> Style {
        match self {
            Self::Note => Style::new(),
            Self::Warning => AnsiColor::Yellow.on_default().bold(),
            Self::Error => AnsiColor::Red.on_default().bold(),
        }
    }
}

/// Prints a message to standard error. `text` may have several lines, and may quote a peer.
pub(crate) fn complain(weight: Weight, text: &str) {
    // The stream leaves the colours out where `--color`, `NO_COLOR` or the lack of a terminal say so. If standard error is closed,
    // the error cannot be printed anywhere.
    let _ = anstream::stderr().write_all(message(weight, text).as_bytes());
}

/// The message with its prefix, which is coloured.
fn message(weight: Weight, text: &str) -> String {
    let style = weight.style();
    let prefix = match weight {
        Weight::Warning => format!("{style}coast: warning:{style:#} "),
        Weight::Note | Weight::Error => format!("{style}coast:{style:#} "),
    };
    let lines: Vec<String> = text.split('\n').map(|line| Shown(line.as_bytes()).to_string()).collect();
    format!("{prefix}{}\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::{Weight, message, shown};

    #[test]
    fn only_the_prefix_of_a_message_is_coloured_and_text_cannot_add_colours() {
        assert_eq!(message(Weight::Note, "a\nb"), "coast: a\nb\n");
        assert_eq!(message(Weight::Warning, "w"), "\x1b[1m\x1b[33mcoast: warning:\x1b[0m w\n");
        assert_eq!(message(Weight::Error, "e\x1b[32m"), "\x1b[1m\x1b[31mcoast:\x1b[0m e\\#033[32m\n");
    }

    #[test]
    fn what_others_say_cannot_steer_the_terminal() {
        assert_eq!(shown("one\x1b[2J\ntwo\r"), "one\\#033[2J\ntwo\\#015");
    }
}
