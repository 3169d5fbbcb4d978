//! Starting other programs. An error names the program, its arguments, its exit status and its standard error.

use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::process::{Command, Stdio};

/// Runs `command` with the terminal of this process as its output. Every exit code but 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {}", line(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", line(command));
    }
    Ok(())
}

/// Runs `command` without output and returns its standard output, without the last newline.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("starting {}", line(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} ended with {}: {}", line(command), output.status, said.trim());
    }
    let text = String::from_utf8(output.stdout)
        .with_context(|| format!("{} wrote something that is not UTF-8", line(command)))?;
    Ok(text.trim_end().to_owned())
}

/// The words of a command, for messages. They are not quoted for a shell.
pub(crate) fn line(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        // Writing to a string cannot fail.
        let _ = write!(text, " {}", argument.to_string_lossy());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_names_the_program_its_arguments_and_what_it_said() {
        let error = output(Command::new("ls").arg("/nonexistent-for-this-test")).unwrap_err().to_string();
        assert!(error.starts_with("ls /nonexistent-for-this-test ended with exit status"), "{error}");
        assert!(error.contains("No such file"), "{error}");
    }

    #[test]
    fn program_that_cannot_start_is_named() {
        let error = run(&mut Command::new("/nonexistent-program")).unwrap_err().to_string();
        assert_eq!(error, "starting /nonexistent-program");
    }
}
