//! Programs that run at the same time, each of which reads what the program before it writes. A pipeline mostly has one program.

use super::process::Process;
use crate::program;
use anyhow::{Context, Result, bail};
use std::io::{self, PipeReader, Read as _};
use std::process::{Child, Command, Stdio};

/// The commands of a pipeline that was not started.
#[derive(Debug)]
pub(crate) struct Pipeline(Vec<Command>);

impl From<Command> for Pipeline {
    fn from(command: Command) -> Self {
        Self(vec![command])
    }
}

impl Pipeline {
    /// Adds a program that reads what the last one writes.
    pub(crate) fn pipe_to(mut self, next: Command) -> Self {
        self.0.push(next);
        self
    }

    /// The pipeline of a single program, which `starter` starts: the program's command line becomes its last arguments.
    pub(crate) fn started_by(self, mut starter: Command) -> Self {
        let [command] = <[Command; 1]>::try_from(self.0).expect("it has one program");
        starter.arg("--").arg(command.get_program()).args(command.get_args());
        starter.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        starter.into()
    }

    /// Runs the pipeline to its end. The error tells which program failed, and what all wrote to standard error.
    pub(crate) fn run(self) -> Result<()> {
        self.start()?.wait()
    }

    /// Starts all programs. The first one reads nothing, and the output of the last one is thrown away.
    pub(crate) fn start(self) -> Result<Running> {
        let (log, log_end) = io::pipe().context("making a pipe")?;
        let mut running = Running { programs: Vec::new(), log };
        let mut input = Stdio::null();
        let last = self.0.len() - 1;
        for (place, mut command) in self.0.into_iter().enumerate() {
            let line = program::line(&command);
            let output = if place == last { Stdio::null() } else { Stdio::piped() };
            let errors = log_end.try_clone().context("sharing a pipe")?;
            let mut child = command
                .stdin(input)
                .stdout(output)
                .stderr(errors)
                .spawn()
                .with_context(|| format!("starting {line}"))?;
            input = child.stdout.take().map_or_else(Stdio::null, Stdio::from);
            running.programs.push((line, child));
        }
        Ok(running)
    }
}

/// A pipeline that runs.
pub(crate) struct Running {
    /// The programs, each with its command line.
    programs: Vec<(String, Child)>,
    /// The standard error of all of them.
    log: PipeReader,
}

impl Running {
    pub(crate) fn processes(&self) -> Vec<Process> {
        self.programs.iter().map(|(_, child)| Process(child.id())).collect()
    }

    /// Waits until all have ended. An exit code other than 0 is an error that has what the programs wrote to standard error.
    pub(crate) fn wait(mut self) -> Result<()> {
        let mut said = Vec::new();
        let read = self.log.read_to_end(&mut said);
        let mut failed = None;
        for (line, child) in &mut self.programs {
            let status = child.wait().with_context(|| format!("waiting for {line}"))?;
            if !status.success() {
                // The programs before it failed because this one has ended.
                failed = Some((line, status));
            }
        }
        read.context("reading standard error")?;
        if let Some((line, status)) = failed {
            bail!("{line} ended with {status}: {}", String::from_utf8_lossy(&said).trim());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments);
        command
    }

    #[test]
    fn each_program_reads_what_the_one_before_it_writes() {
        let grep = |word| {
            Pipeline::from(command("echo", &["one two"]))
                .pipe_to(command("tr", &["a-z", "A-Z"]))
                .pipe_to(command("grep", &[word]))
        };
        grep("ONE TWO").run().unwrap();
        let error = grep("one").run().unwrap_err().to_string();
        assert!(error.starts_with("grep one ended with exit status: 1"), "{error}");
    }

    #[test]
    fn starter_gives_its_arguments_and_environment_to_the_program() {
        let mut inner = command("sh", &["-c", "test \"$NAME\" = value"]);
        inner.env_clear().env("NAME", "value").env("PATH", "/usr/bin:/bin");
        Pipeline::from(inner).started_by(command("nice", &[])).run().unwrap();
    }

    #[test]
    fn failure_of_the_first_program_is_told_with_what_it_said() {
        let pipeline = Pipeline::from(command("ls", &["/nonexistent-for-this-test"]));
        let error = pipeline.pipe_to(command("cat", &[])).run().unwrap_err().to_string();
        assert!(error.starts_with("ls /nonexistent-for-this-test ended with"), "{error}");
        assert!(error.contains("No such file"), "{error}");
    }
}
