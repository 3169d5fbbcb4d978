//! The upload of the helper to the host, and the host's report on each directory.

use crate::error::{DeployAttempt, DeployFailure, SshError};
use crate::helper::script::{OWN, UPLOAD, script_line};
use crate::helper::spec::HelperProgram;
use crate::session::Session;
use std::io::{Read, Write};

/// The most bytes that are read of the upload script's report.
const MAX_REPORT_BYTES: u64 = 64 << 10;

/// Uploads `program` into the first of `directories` that can take it.
///
/// # Errors
/// When the program cannot be read, no directory can take it, or the connection is lost.
pub(crate) fn upload(
    session: &Session,
    program: &HelperProgram,
    directories: &[String],
) -> Result<(), SshError> {
    let bytes = program
        .source
        .read()
        .map_err(|source| SshError::HelperSource { name: program.source.to_string(), source })?;
    // The directories that have not been tried.
    let mut left: Vec<&str> = directories.iter().map(String::as_str).collect();
    let mut attempts = Vec::new();
    loop {
        let report = upload_once(session, program, &bytes, &left)?;
        let tried = report.failures.len();
        attempts.extend(report.failures);
        if report.stored {
            return Ok(());
        }
        // The script reads its input into the first directory that seems fit. When storing fails there, the input is
        // used up, so the remaining directories need another upload.
        if tried == 0 || tried >= left.len() {
            return Err(SshError::Deploy { host: session.host().to_owned(), attempts });
        }
        left.drain(..tried);
    }
}

/// The report of the upload script.
struct Report {
    stored: bool,
    failures: Vec<DeployAttempt>,
}

fn upload_once(
    session: &Session,
    program: &HelperProgram,
    bytes: &[u8],
    directories: &[&str],
) -> Result<Report, SshError> {
    let size = bytes.len().to_string();
    let mut args: Vec<&[u8]> = vec![program.name.as_bytes(), size.as_bytes()];
    args.extend(directories.iter().map(|directory| directory.as_bytes()));
    let (reader, mut writer, status) = session.exec(&script_line(&[OWN, UPLOAD], &args))?.split();
    // Writing fails when the script ends without reading its input. Its report says why it ended.
    let _ = writer.write_all(bytes).and_then(|()| writer.finish());
    let mut output = Vec::new();
    reader.take(MAX_REPORT_BYTES).read_to_end(&mut output).map_err(|_| status.lost())?;
    let exit = status.wait()?;
    let mut report = Report { stored: false, failures: Vec::new() };
    for line in String::from_utf8_lossy(&output).lines() {
        if let Some(rest) = line.strip_prefix("coast-no ") {
            report.failures.extend(parse_failure(rest));
        } else if line.starts_with("coast-at ") {
            report.stored = exit.success();
        }
    }
    if !report.stored && report.failures.is_empty() {
        return Err(SshError::HelperFailed {
            host: session.host().to_owned(),
            status: format!("the upload ended with {exit}"),
            stderr: String::from_utf8_lossy(&status.stderr()).into_owned(),
        });
    }
    Ok(report)
}

/// Reads `STAGE DIRECTORY REASON`, the rest of a `coast-no` line of [`UPLOAD`].
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
    fn the_reasons_of_the_script_are_told_apart() {
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
