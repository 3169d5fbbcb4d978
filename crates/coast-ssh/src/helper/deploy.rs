//! Putting the helper on the remote host: the upload, and what the host says of each directory that it was to go into.

use crate::error::{DeployAttempt, DeployFailure, SshError};
use crate::helper::script::{OWN, UPLOAD, script_line};
use crate::helper::spec::HelperProgram;
use crate::session::Session;
use std::io::{Read, Write};

/// The most that is read of what the upload script reports, in bytes.
const MAX_REPORT_BYTES: u64 = 64 << 10;

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
    let (reader, mut writer, status) = session.exec(&script_line(&[OWN, UPLOAD], &args))?.split();
    // The script may end without reading when no directory will do; it then says why.
    let _ = writer.write_all(bytes).and_then(|()| writer.finish());
    let mut output = Vec::new();
    reader.take(MAX_REPORT_BYTES).read_to_end(&mut output).map_err(|_| status.lost())?;
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
}
