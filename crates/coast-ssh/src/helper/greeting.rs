//! The helper's greeting, and the output that may come before it: that of login scripts and that of the start script.

use crate::error::SudoRefusal;
use crate::session::ChannelReader;
use coast_wire::{GREETING_PREFIX, PROTOCOL_VERSION};
use std::io;
use std::time::Instant;

/// The most bytes that may come before the greeting, such as the output of a `.bashrc`.
const MAX_PREAMBLE_BYTES: usize = 64 << 10;
/// How many of the last bytes are searched for the messages of the start script.
const MAX_LINE_BYTES: usize = 1024;
/// How many bytes of a wrong answer are shown.
const SHOWN_BYTES: usize = 200;

/// All output up to the end of the greeting.
#[derive(Default)]
pub(crate) struct Preamble {
    seen: Vec<u8>,
    /// The first bytes, for messages.
    pub(crate) start: Vec<u8>,
}

/// The result of waiting for the greeting.
pub(crate) enum Greeting {
    /// The helper speaks this program's protocol version.
    Fits,
    /// The helper speaks this protocol version.
    OtherVersion(String),
    /// More than [`MAX_PREAMBLE_BYTES`] arrived without a greeting.
    Garbage,
    /// The deadline passed.
    Silent,
    /// The output ended.
    Ended,
}

impl Preamble {
    /// Reads up to the end of the greeting and not a byte further.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(crate) fn read_greeting(
        &mut self,
        reader: &mut ChannelReader,
        deadline: Instant,
    ) -> io::Result<Greeting> {
        loop {
            let bytes = match reader.peek(Some(deadline))? {
                None => return Ok(Greeting::Silent),
                Some([]) => return Ok(Greeting::Ended),
                Some(bytes) => bytes,
            };
            let before = self.seen.len();
            self.seen.extend_from_slice(bytes);
            let shown = self.seen.len().min(SHOWN_BYTES);
            self.start = self.seen[..shown].to_vec();
            if let Some((version, end)) = find_greeting(&self.seen) {
                let fits = version == PROTOCOL_VERSION.to_string();
                let version = version.to_owned();
                reader.consume(end - before);
                self.seen.truncate(end);
                return Ok(if fits { Greeting::Fits } else { Greeting::OtherVersion(version) });
            }
            reader.consume(self.seen.len() - before);
            if self.seen.len() > MAX_PREAMBLE_BYTES {
                return Ok(Greeting::Garbage);
            }
        }
    }

    /// Returns the rest of the line that the start script begins with `coast-` and `word`. Only lines since the script
    /// last went on to another directory (`coast-again`) count.
    pub(crate) fn script_line(&self, word: &str) -> Option<&str> {
        let text = std::str::from_utf8(tail(&self.seen)).ok()?;
        let text = text.rsplit("coast-again").next()?;
        let (_, rest) = text.split_once(&format!("coast-{word} "))?;
        rest.lines().next().map(str::trim)
    }

    /// The reason why sudo refused, or `None` if it did not refuse.
    pub(crate) fn sudo_refusal(&self, stderr: &str) -> Option<SudoRefusal> {
        match self.script_line("sudo")? {
            "missing" => Some(SudoRefusal::NotInstalled),
            _ => Some(read_refusal(stderr)),
        }
    }
}

/// The lines of the start script, which come last before the greeting. Output of login scripts before them, which may be
/// in any encoding, is left out.
fn tail(seen: &[u8]) -> &[u8] {
    let start = seen.len().saturating_sub(MAX_LINE_BYTES);
    let tail = &seen[start..];
    match tail.windows(6).position(|window| window == b"coast-") {
        Some(at) => &tail[at..],
        None => &[],
    }
}

/// Finds a greeting. Returns its version and the offset of its end.
fn find_greeting(seen: &[u8]) -> Option<(&str, usize)> {
    let mut from = 0;
    while let Some(at) = find(&seen[from..], GREETING_PREFIX.as_bytes()) {
        let version = from + at + GREETING_PREFIX.len();
        let digits = seen[version..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if (1..=9).contains(&digits) && seen.get(version + digits) == Some(&b'\n') {
            let text = std::str::from_utf8(&seen[version..version + digits]).ok()?;
            return Some((text, version + digits + 1));
        }
        from = version;
    }
    None
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Tells sudo's refusals apart by its messages with `LC_ALL=C`.
fn read_refusal(stderr: &str) -> SudoRefusal {
    let line = |needles: &[&str]| {
        let mut lines = stderr.lines().map(str::trim);
        lines.find(|line| needles.iter().any(|needle| line.contains(needle))).map(str::to_owned)
    };
    if line(&["password is required", "terminal is required to read the password"]).is_some() {
        return SudoRefusal::WantsPassword;
    }
    let not_allowed =
        ["not in the sudoers", "not allowed", "may not run sudo", "must have a tty", "no new privileges"];
    if let Some(said) = line(&not_allowed) {
        return SudoRefusal::NotAllowed(said);
    }
    SudoRefusal::Other(line(&["sudo"]).or_else(|| line(&[""])).unwrap_or_default())
}

#[cfg(test)]
#[path = "greeting_tests.rs"]
mod tests;
