//! Starting the helper. Usually this is one command on one channel; the helper is uploaded only when that command
//! reports that the helper is missing.

use crate::error::{SshError, SudoRefusal};
use crate::helper::deploy::upload;
use crate::helper::greeting::{Greeting, Preamble};
use crate::helper::input::{HelperInput, InputSource};
use crate::helper::script::{FIND, OWN, RUN, START, START_PATH, script_line};
use crate::helper::spec::{HelperProgram, HelperSpec, Sudo};
use crate::link::ExitStatus;
use crate::session::{Channel, ChannelReader, ChannelStatus, ChannelWriter, Session};
use coast_wire::PROTOCOL_VERSION;
use std::time::{Duration, Instant};

/// How long the helper may take to greet. `sudo` may have to ask a slow directory service.
const GREETING_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait for sudo's message. Standard error may arrive after standard output that was written later.
const STDERR_TIMEOUT: Duration = Duration::from_secs(1);

/// A running helper whose greeting has been read.
#[derive(Debug)]
pub struct HelperProcess {
    channel: Channel,
    deployed: bool,
    runs_as: RunsAs,
}

/// The user that the helper runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunsAs {
    /// Root: by `sudo`, or because root logged in.
    Root,
    /// The user who logged in, because [`Sudo::Never`] was asked for.
    User,
    /// The user who logged in, because sudo refused.
    UserAfter(SudoRefusal),
}

impl HelperProcess {
    pub(crate) fn start(session: &Session, spec: &HelperSpec) -> Result<HelperProcess, SshError> {
        let (input, source) = HelperInput::pair();
        let GreetedHelper { reader, status, deployed, runs_as } =
            StartingHelper::start(session, spec, source)?.greeting()?;
        let writer = input.into_greeted().expect("nothing was written, and the helper has greeted");
        Ok(HelperProcess { channel: Channel { reader, writer, status }, deployed, runs_as })
    }

    /// Whether the helper had to be uploaded.
    pub fn deployed(&self) -> bool {
        self.deployed
    }

    /// The user that the helper runs as.
    pub fn runs_as(&self) -> &RunsAs {
        &self.runs_as
    }

    /// Splits the helper into its output, its input and its status. The output starts right after the greeting.
    pub fn split(self) -> (ChannelReader, ChannelWriter, ChannelStatus) {
        self.channel.split()
    }
}

/// A helper that was started and may not have greeted yet.
pub struct StartingHelper<'a> {
    starting: Starting<'a>,
    first: Output,
    input: InputSource,
}

/// The output and the status of a helper whose greeting has been read, while its input is a [`HelperInput`].
pub struct GreetedHelper {
    /// The output after the greeting.
    pub reader: ChannelReader,
    /// The exit status and standard error.
    pub status: ChannelStatus,
    /// Whether the helper had to be uploaded.
    pub deployed: bool,
    /// The user that the helper runs as.
    pub runs_as: RunsAs,
}

impl<'a> StartingHelper<'a> {
    /// Starts the helper's command, and does not wait for its greeting.
    pub(crate) fn start(
        session: &'a Session,
        spec: &'a HelperSpec,
        input: InputSource,
    ) -> Result<Self, SshError> {
        let starting = Starting { session, spec };
        let (first, writer) = starting.exec()?;
        input.begin_attempt(writer).map_err(SshError::Runtime)?;
        Ok(Self { starting, first, input })
    }

    /// Waits for the greeting. Uploads the helper and starts it again if the host does not have it.
    ///
    /// # Errors
    /// As [`Session::start_helper`].
    pub fn greeting(self) -> Result<GreetedHelper, SshError> {
        let Self { starting, first, input } = self;
        let greeted = starting.greeting(first, &input);
        if greeted.is_ok() {
            input.greeted();
        } else if input.has_early_bytes() {
            // A server that takes no bytes would hold up the end of the stream.
            starting.session.closer().close();
        }
        greeted
    }
}

struct Starting<'a> {
    session: &'a Session,
    spec: &'a HelperSpec,
}

/// A started command without its input.
struct Output {
    reader: ChannelReader,
    status: ChannelStatus,
}

enum Attempt<'a> {
    Greeted {
        output: Output,
        runs_as: RunsAs,
    },
    /// The host does not have this program, which is the one for its platform.
    Missing(&'a HelperProgram),
}

impl<'a> Starting<'a> {
    fn greeting(&self, first: Output, input: &InputSource) -> Result<GreetedHelper, SshError> {
        let program = match self.greet(first, input)? {
            Attempt::Greeted { output: Output { reader, status }, runs_as } => {
                return Ok(GreetedHelper { reader, status, deployed: false, runs_as });
            }
            Attempt::Missing(program) => program,
        };
        upload(self.session, program, &self.spec.directories)?;
        let (second, writer) = self.exec()?;
        input.begin_attempt(writer).map_err(SshError::Runtime)?;
        match self.greet(second, input)? {
            Attempt::Greeted { output: Output { reader, status }, runs_as } => {
                Ok(GreetedHelper { reader, status, deployed: true, runs_as })
            }
            Attempt::Missing(_) => Err(SshError::HelperFailed {
                host: self.host(),
                status: "it was uploaded, and is missing all the same".to_owned(),
                stderr: String::new(),
            }),
        }
    }

    fn exec(&self) -> Result<(Output, ChannelWriter), SshError> {
        let (reader, writer, status) = self.session.exec(&self.command())?.split();
        Ok((Output { reader, status }, writer))
    }

    fn greet(&self, mut output: Output, input: &InputSource) -> Result<Attempt<'a>, SshError> {
        let mut preamble = Preamble::default();
        let deadline = Instant::now() + GREETING_TIMEOUT;
        let greeted = preamble.read_greeting(&mut output.reader, deadline);
        match greeted {
            Ok(Greeting::Fits) => {
                let runs_as = self.runs_as(&output.status, &preamble);
                Ok(Attempt::Greeted { output, runs_as })
            }
            Ok(Greeting::OtherVersion(found)) => {
                Err(SshError::HelperVersion { host: self.host(), found, expected: PROTOCOL_VERSION })
            }
            Ok(Greeting::Garbage) => {
                Err(SshError::HelperGarbage { host: self.host(), start: preamble.start })
            }
            Ok(Greeting::Silent) => {
                Err(SshError::HelperSilent { host: self.host(), after: GREETING_TIMEOUT })
            }
            Ok(Greeting::Ended) => {
                input.end_attempt();
                self.ended(output, preamble)
            }
            Err(_) => Err(output.status.lost()),
        }
    }

    /// The command line that starts the helper.
    fn command(&self) -> Vec<u8> {
        let mode: &[u8] = match self.spec.sudo {
            Sudo::Auto => b"auto",
            Sudo::Always => b"always",
            Sudo::Never => b"never",
        };
        let names = self.spec.names();
        let directories = self.spec.directories.join(" ");
        let mut args: Vec<&[u8]> = vec![mode];
        let script: &[&str] = match &self.spec.path {
            Some(path) => {
                args.push(path);
                &[RUN, START_PATH]
            }
            None => {
                args.push(names.as_bytes());
                args.push(directories.as_bytes());
                &[OWN, FIND, RUN, START]
            }
        };
        args.extend(self.spec.args.iter().map(Vec::as_slice));
        script_line(script, &args)
    }

    /// Reads from the output and the status why the command ended without a greeting.
    fn ended(&self, output: Output, preamble: Preamble) -> Result<Attempt<'a>, SshError> {
        let Output { reader, status } = output;
        drop(reader);
        let exit = status.wait()?;
        let stderr = String::from_utf8_lossy(&status.stderr()).into_owned();
        if exit == ExitStatus::Code(127) {
            let missing = preamble.script_line("missing");
            let program = self.spec.programs.iter().find(|program| Some(program.name.as_str()) == missing);
            if let Some(program) = program {
                return Ok(Attempt::Missing(program));
            }
            if let Some(platform) = preamble.script_line("platform") {
                let available =
                    self.spec.programs.iter().filter_map(|program| program.platform.clone()).collect();
                return Err(SshError::NoHelperFor { platform: platform.to_owned(), available });
            }
        }
        if exit == ExitStatus::Code(1)
            && self.spec.sudo == Sudo::Always
            && let Some(refusal) = preamble.sudo_refusal(&stderr)
        {
            return Err(SshError::Sudo { host: self.host(), refusal });
        }
        if let Some(path) = &self.spec.path {
            let problem = match (&exit, stderr.trim()) {
                (ExitStatus::Code(code @ (126 | 127)), _) => cannot_start(*code, &stderr),
                (exit, "") => format!("it ended without a greeting ({exit}), so it is not coast-helper"),
                (exit, said) => format!("it ended without a greeting ({exit}): {said}"),
            };
            let path = String::from_utf8_lossy(path).into_owned();
            return Err(SshError::HelperPath { host: self.host(), path, problem });
        }
        if !preamble.start.is_empty() && stderr.trim().is_empty() {
            return Err(SshError::HelperGarbage { host: self.host(), start: preamble.start });
        }
        Err(SshError::HelperFailed { host: self.host(), status: exit.to_string(), stderr })
    }

    fn host(&self) -> String {
        self.session.host().to_owned()
    }

    fn runs_as(&self, status: &ChannelStatus, preamble: &Preamble) -> RunsAs {
        match preamble.script_line("sudo") {
            None if self.spec.sudo == Sudo::Never => return RunsAs::User,
            None => return RunsAs::Root,
            Some("refused") => status.shared().wait_for_stderr(STDERR_TIMEOUT),
            Some(_) => {}
        }
        let stderr = String::from_utf8_lossy(&status.stderr()).into_owned();
        preamble.sudo_refusal(&stderr).map_or(RunsAs::User, RunsAs::UserAfter)
    }
}

/// The reason why the shell could not start a program, without the shell's own name and line number. The shell ends with 127 if
/// the program is missing.
fn cannot_start(code: u32, stderr: &str) -> String {
    let reason = stderr.trim().rsplit(": ").next().filter(|reason| !reason.is_empty());
    let (reason, todo) = match (code, reason) {
        (127, _) => {
            ("it does not exist there", "install the helper there, or leave --helper out to have it uploaded")
        }
        (_, Some(reason)) => (reason, "let the user who logs in read and start it"),
        (_, None) => ("it cannot be started", "let the user who logs in read and start it"),
    };
    format!("{reason}; {todo}")
}

#[cfg(test)]
mod tests {
    use super::cannot_start;

    #[test]
    fn a_program_that_cannot_be_started_is_told_without_the_words_of_the_shell() {
        let missing = "coast: 1: /nonexist: not found\n";
        assert!(cannot_start(127, missing).starts_with("it does not exist there; install the helper"));
        let denied = "coast: line 1: /opt/helper: Permission denied\n";
        assert!(cannot_start(126, denied).starts_with("Permission denied; let the user"));
        assert!(cannot_start(126, "").starts_with("it cannot be started; "));
    }
}
