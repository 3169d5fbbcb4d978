//! Running a program in the container and reading its output, with a limit on the time and on the output that is kept.

use crate::docker::Docker;
use crate::error::{MutagenError, Step};
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use futures_util::StreamExt;
use std::time::Duration;
use tokio::time::{self, Instant};

/// The most that is kept of a program's standard output, in bytes: its beginning. The list of sessions with all conflicts that
/// mutagen lists is well below one MiB.
const MAX_STDOUT_LEN: usize = 8 << 20;
/// The most that is kept of a program's standard error, in bytes: its end, where programs write the reason of a failure.
const MAX_STDERR_LEN: usize = 64 << 10;
/// How long a program may print nothing before Docker is asked whether it still runs. Its background processes can hold its
/// output open after its end.
const SILENCE: Duration = Duration::from_secs(1);
/// How often, and for how long, Docker is asked for the exit code of a program whose output has ended.
const EXIT_INTERVAL: Duration = Duration::from_millis(20);
const EXIT_PATIENCE: Duration = Duration::from_secs(10);
/// The time limit of a program unless the caller sets another.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(60);

/// Keeps mutagen's command line from starting a daemon. The daemon is the program of the container; a second daemon would hide that
/// the first has ended.
const NO_AUTOSTART: &str = "MUTAGEN_DISABLE_AUTOSTART=1";

/// The exit code and output of a program in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exec {
    pub(crate) code: i64,
    /// The first 8 MiB of its standard output.
    pub(crate) stdout: Vec<u8>,
    /// The last 64 KiB of its standard error.
    pub(crate) stderr: Vec<u8>,
}

impl Exec {
    pub(crate) fn success(&self) -> bool {
        self.code == 0
    }

    /// The text that explains a failure: the standard error, or the standard output if the standard error is empty.
    pub(crate) fn said(&self) -> String {
        let stderr = readable(&self.stderr);
        if stderr.is_empty() { readable(&self.stdout) } else { stderr }
    }
}

/// The output as a terminal would show it. Mutagen rewrites its progress line after a carriage return, so only the last state
/// of each line is kept.
fn readable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().map(|line| {
        let line = line.trim_end_matches('\r');
        let seen = line.rsplit('\r').find(|part| !part.trim().is_empty()).unwrap_or("");
        seen.trim_end().chars().filter(|character| *character == '\t' || !character.is_control()).collect()
    });
    let lines: Vec<String> = lines.filter(|line: &String| !line.is_empty()).collect();
    lines.join("\n")
}

/// A program to run in a container.
pub(crate) struct Command<'a> {
    pub(crate) container: &'a str,
    pub(crate) image: &'a str,
    pub(crate) arguments: &'a [&'a str],
    pub(crate) step: Step,
    pub(crate) patience: Duration,
}

impl<'a> Command<'a> {
    pub(crate) fn new(
        container: &'a str,
        image: &'a str,
        step: Step,
        arguments: &'a [&'a str],
    ) -> Command<'a> {
        Command { container, image, arguments, step, patience: DEFAULT_PATIENCE }
    }

    /// The name for messages: up to three words before the first option.
    pub(crate) fn name(&self) -> String {
        let leading = self.arguments.iter().take_while(|argument| !argument.starts_with('-'));
        leading.take(3).copied().collect::<Vec<_>>().join(" ")
    }
}

impl Docker {
    /// Runs a program until it ends, its time is over, or the call is interrupted. In the last two cases the program may go on in
    /// the container: Docker cannot end a single program.
    pub(crate) fn exec(&self, command: &Command<'_>) -> Result<Exec, MutagenError> {
        let exec = self.call(command.step, async {
            time::timeout(command.patience, self.run(command)).await.unwrap_or_else(|_| {
                Err(MutagenError::TimedOut {
                    step: command.step,
                    command: command.name(),
                    after: command.patience,
                })
            })
        })?;
        // Like a shell, Docker answers 126 or 127 when the program cannot be started, and sends its message as output.
        if matches!(exec.code, 126 | 127) && exec.said().contains("exec failed") {
            let program = command.arguments.first().copied().unwrap_or_default();
            return Err(MutagenError::NoProgram {
                step: if program == "mutagen" { Step::Mutagen } else { command.step },
                program: program.to_owned(),
                image: command.image.to_owned(),
            });
        }
        Ok(exec)
    }

    async fn run(&self, command: &Command<'_>) -> Result<Exec, MutagenError> {
        let refused = |error| match error {
            bollard::errors::Error::DockerResponseServerError { status_code: 404 | 409, .. } => {
                MutagenError::NotRunning { name: command.container.to_owned() }
            }
            error => self.refused(command.step, format!("run {}", command.name()), &error),
        };
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.arguments.to_vec()),
            env: Some(vec![NO_AUTOSTART]),
            ..CreateExecOptions::default()
        };
        let exec = self.api().create_exec(command.container, options).await.map_err(refused)?;
        let started = self.api().start_exec(&exec.id, None).await.map_err(refused)?;
        let mut kept = Kept::default();
        let mut code = None;
        if let StartExecResults::Attached { mut output, .. } = started {
            loop {
                match time::timeout(SILENCE, output.next()).await {
                    Ok(None) => break,
                    Ok(Some(part)) => kept.add(part.map_err(refused)?),
                    Err(_) => {
                        code = self.exit_code(&exec.id).await.map_err(refused)?;
                        if code.is_some() {
                            break;
                        }
                    }
                }
            }
        }
        let deadline = Instant::now() + EXIT_PATIENCE;
        let code = loop {
            if let Some(code) = code {
                break code;
            }
            code = self.exit_code(&exec.id).await.map_err(refused)?;
            if code.is_none() && Instant::now() > deadline {
                return Err(MutagenError::Output {
                    step: command.step,
                    command: command.name(),
                    problem: "it closed its output and did not end".to_owned(),
                });
            }
            if code.is_none() {
                time::sleep(EXIT_INTERVAL).await;
            }
        };
        Ok(Exec { code, stdout: kept.stdout, stderr: kept.stderr })
    }

    /// The exit code of a program; `None` while it runs.
    async fn exit_code(&self, id: &str) -> Result<Option<i64>, bollard::errors::Error> {
        let state = self.api().inspect_exec(id).await?;
        Ok(if state.running == Some(true) { None } else { state.exit_code })
    }
}

#[derive(Default)]
struct Kept {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Kept {
    fn add(&mut self, output: LogOutput) {
        match output {
            LogOutput::StdErr { message } => {
                self.stderr.extend_from_slice(&message);
                let excess = self.stderr.len().saturating_sub(MAX_STDERR_LEN);
                self.stderr.drain(..excess);
            }
            LogOutput::StdOut { message } | LogOutput::Console { message } => {
                let room = MAX_STDOUT_LEN - self.stdout.len();
                self.stdout.extend_from_slice(&message[..message.len().min(room)]);
            }
            LogOutput::StdIn { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_line_that_was_rewritten_the_last_state_is_told() {
        let printed = b"Creating session...\rConnecting to agent (POSIX)...\r        \r\nError: no\r\n\n";
        assert_eq!(readable(printed), "Connecting to agent (POSIX)...\nError: no");
        assert_eq!(readable(b"\x1b[31mred\xff"), "[31mred\u{fffd}");
    }

    #[test]
    fn of_standard_output_the_beginning_is_kept_and_of_standard_error_the_end() {
        let mut kept = Kept::default();
        let part = |byte: u8| bytes::Bytes::from(vec![byte; MAX_STDERR_LEN - 1]);
        kept.add(LogOutput::StdErr { message: part(b'a') });
        kept.add(LogOutput::StdErr { message: part(b'b') });
        assert!(kept.stderr.len() == MAX_STDERR_LEN);
        assert!(kept.stderr.ends_with(b"bb") && kept.stderr.starts_with(b"a"));

        let mut kept = Kept::default();
        for byte in [b'a', b'b'] {
            kept.add(LogOutput::StdOut { message: bytes::Bytes::from(vec![byte; MAX_STDOUT_LEN / 2 + 1]) });
        }
        assert!(kept.stdout.len() == MAX_STDOUT_LEN);
        assert!(kept.stdout.starts_with(b"aa") && kept.stdout.ends_with(b"bb"));
    }

    #[test]
    fn a_command_is_named_without_its_options() {
        let arguments = ["mutagen", "sync", "create", "--name", "x"];
        assert_eq!(Command::new("c", "i", Step::Session, &arguments).name(), "mutagen sync create");
        assert_eq!(Command::new("c", "i", Step::Key, &["id", "-u"]).name(), "id");
    }
}
