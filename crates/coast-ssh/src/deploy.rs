//! Putting the helper on the remote host: which directories it may live in, the upload, and what can be wrong with each
//! directory. A helper that is started as root must come from a place that only its user can write.

use crate::error::SshError;
use crate::helper::{HelperProgram, script_line};
use crate::session::Session;
use std::fmt;
use std::io::{Read, Write};

/// Where the helper may live, in the order of preference. A name that ends in `-` gets the user's numeric id appended.
/// Relative names are relative to the user's home, where commands start.
pub(crate) const DIRECTORIES: [&str; 4] =
    [".cache/coast", "/var/tmp/coast-", "/tmp/coast-", "/dev/shm/coast-"];

/// The most that is read of what the upload script reports, in bytes.
const MAX_REPORT_LEN: u64 = 64 << 10;

/// Receives a helper of `$2` bytes named `$1` on standard input and puts it into the first of the directories `$3...`
/// that will do. Every directory that will not is told on a line of its own, `coast-no STAGE DIRECTORY REASON`; success
/// is `coast-at DIRECTORY`.
///
/// One line without single quotes, backslashes or exclamation marks before letters, so that it survives any login shell
/// between single quotes. The size is checked before the rename: a connection that breaks in the middle leaves nothing
/// under the final name. A directory is used only if it is no symlink and the user's own, and is closed to all others.
/// Whether programs may be started from it is found out by starting one. Left-overs of broken uploads go after an hour,
/// helpers of other versions after a month.
const UPLOAD: &str = "\
n=$1; s=$2; shift 2; set -f; umask 077; LC_ALL=C; export LC_ALL; i=$(id -u); \
for d in \"$@\"; do \
case $d in *-) d=$d$i;; esac; \
t=$d/.new-$n-$$; \
case $d in /*) ;; */*) mkdir -p \"${d%/*}\" 2>/dev/null;; esac; \
if [ -L \"$d\" ]; then echo coast-no unsafe \"$d\" it is a symlink; continue; fi; \
if [ -d \"$d\" ] || e=$(mkdir -m 700 \"$d\" 2>&1) || [ -d \"$d\" ]; then :; else echo coast-no make \"$d\" $e; continue; fi; \
if [ -O \"$d\" ]; then :; else echo coast-no unsafe \"$d\" it belongs to another user; continue; fi; \
if e=$(chmod 700 \"$d\" 2>&1); then :; else echo coast-no make \"$d\" $e; continue; fi; \
if e=$( { echo : > \"$t\"; } 2>&1 ) && e=$(chmod 700 \"$t\" 2>&1); then :; \
else rm -f \"$t\"; echo coast-no write \"$d\" $e; continue; fi; \
if e=$(\"$t\" 2>&1 </dev/null); then :; else rm -f \"$t\"; echo coast-no run \"$d\" $e; continue; fi; \
e=$( { cat > \"$t\"; } 2>&1 ); c=$(wc -c < \"$t\"); \
if [ \"$c\" -eq \"$s\" ] && e=$(mv -f \"$t\" \"$d/helper-$n\" 2>&1); then echo coast-at \"$d\"; \
set +f; find \"$d\" -name \".new-*\" -mmin +60 -exec rm -f {} + 2>/dev/null; \
find \"$d\" -name \"helper-*\" -mtime +30 -exec rm -f {} + 2>/dev/null; exit 0; fi; \
rm -f \"$t\"; cat >/dev/null; echo coast-no store \"$d\" $e - $c of $s bytes arrived; exit 1; \
done; exit 1";

/// A directory that the helper could not be put into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployAttempt {
    /// The directory; relative to the user's home if it is not absolute.
    pub directory: String,
    /// What was wrong with it.
    pub failure: DeployFailure,
}

impl fmt::Display for DeployAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.directory, self.failure)
    }
}

/// What can be wrong with a directory for the helper.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeployFailure {
    /// Its file system is full, or the user's share of it.
    NoSpace,
    /// Its file system does not allow programs to be started from it.
    NoExec,
    /// Its file system is read-only.
    ReadOnly,
    /// The user may not write there.
    NotWritable(String),
    /// It is not the user's alone.
    Unsafe(String),
    /// Something else, in the words of the remote.
    Other(String),
}

impl fmt::Display for DeployFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeployFailure::NoSpace => f.write_str("no space left"),
            DeployFailure::NoExec => f.write_str("programs cannot be started from it (noexec)"),
            DeployFailure::ReadOnly => f.write_str("read-only file system"),
            DeployFailure::NotWritable(said) => write!(f, "not writable: {said}"),
            DeployFailure::Unsafe(why) => write!(f, "not safe: {why}"),
            DeployFailure::Other(said) if said.is_empty() => f.write_str("it did not work"),
            DeployFailure::Other(said) => f.write_str(said),
        }
    }
}

/// Uploads `program` into the first of `directories` that will do.
pub(crate) fn upload(
    session: &Session,
    program: &HelperProgram,
    directories: &[String],
) -> Result<(), SshError> {
    let bytes = program
        .source
        .read()
        .map_err(|source| SshError::HelperSource { name: program.source.to_string(), source })?;
    let mut left: Vec<&str> = directories.iter().map(String::as_str).collect();
    let mut attempts = Vec::new();
    loop {
        let outcome = upload_once(session, program, &bytes, &left)?;
        let tried = outcome.failures.len();
        attempts.extend(outcome.failures);
        if outcome.stored {
            return Ok(());
        }
        // The script reports each directory up to the one that took the bytes and could not keep them. The bytes are
        // gone then, so the rest is tried with another upload.
        if tried == 0 || tried >= left.len() {
            return Err(SshError::Deploy { host: session.host().to_owned(), attempts });
        }
        left.drain(..tried);
    }
}

struct Outcome {
    stored: bool,
    failures: Vec<DeployAttempt>,
}

fn upload_once(
    session: &Session,
    program: &HelperProgram,
    bytes: &[u8],
    directories: &[&str],
) -> Result<Outcome, SshError> {
    let size = bytes.len().to_string();
    let mut args: Vec<&[u8]> = vec![program.name.as_bytes(), size.as_bytes()];
    args.extend(directories.iter().map(|directory| directory.as_bytes()));
    let (reader, mut writer, status) = session.exec(&script_line(UPLOAD, &args))?.split();
    // The script may end without reading when no directory will do; it then says why.
    drop(writer.write_all(bytes).and_then(|()| writer.finish()));
    let mut output = Vec::new();
    reader.take(MAX_REPORT_LEN).read_to_end(&mut output).map_err(|_| status.lost())?;
    let exit = status.wait()?;
    let mut outcome = Outcome { stored: false, failures: Vec::new() };
    for line in String::from_utf8_lossy(&output).lines() {
        if let Some(rest) = line.strip_prefix("coast-no ") {
            outcome.failures.extend(parse_failure(rest));
        } else if line.starts_with("coast-at ") {
            outcome.stored = exit.success();
        }
    }
    if !outcome.stored && outcome.failures.is_empty() {
        return Err(SshError::HelperFailed {
            host: session.host().to_owned(),
            status: format!("the upload ended with {exit}"),
            stderr: String::from_utf8_lossy(&status.stderr()).into_owned(),
        });
    }
    Ok(outcome)
}

/// Reads `STAGE DIRECTORY REASON`.
fn parse_failure(text: &str) -> Option<DeployAttempt> {
    let mut words = text.splitn(3, ' ');
    let (stage, directory) = (words.next()?, words.next()?);
    let said = words.next().unwrap_or_default().trim().to_owned();
    let has = |needle: &str| said.contains(needle);
    let failure = if has("No space left") || has("quota exceeded") {
        DeployFailure::NoSpace
    } else if has("Read-only file system") {
        DeployFailure::ReadOnly
    } else {
        match stage {
            "unsafe" => DeployFailure::Unsafe(said),
            "run" if has("ermission denied") => DeployFailure::NoExec,
            "make" | "write" => DeployFailure::NotWritable(said),
            _ => DeployFailure::Other(said),
        }
    };
    Some(DeployAttempt { directory: directory.to_owned(), failure })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_script_says_is_told_apart() {
        let failure = |text: &str| parse_failure(text).unwrap().failure;
        assert_eq!(
            failure("store .cache/coast cat: write error: No space left on device"),
            DeployFailure::NoSpace
        );
        assert_eq!(
            failure("make /tmp/coast-1 mkdir: cannot create: Read-only file system"),
            DeployFailure::ReadOnly
        );
        assert_eq!(failure("run /tmp/coast-1 sh: 1: /tmp/x: Permission denied"), DeployFailure::NoExec);
        assert_eq!(
            failure("make /d Permission denied"),
            DeployFailure::NotWritable("Permission denied".to_owned())
        );
        assert_eq!(failure("unsafe /d it is a symlink"), DeployFailure::Unsafe("it is a symlink".to_owned()));
        assert_eq!(failure("store /d"), DeployFailure::Other(String::new()));
        assert_eq!(parse_failure("make"), None);
    }

    #[test]
    fn the_script_survives_single_quotes() {
        assert!(!UPLOAD.contains(['\'', '\\', '\n', '!']));
    }
}
