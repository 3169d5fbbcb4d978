//! Mutagen's daemon, the program of the shell container. Docker starts it with the container, and again when it ends.

use crate::container::LOOK_AGAIN;
use crate::error::{MutagenError, Step};
use crate::inspection::{exit_code, is_paused, is_restarting, is_running};
use crate::shell::Shell;
use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt;
use std::time::{Duration, Instant};

/// How long the daemon may take to answer after the container was started. It loads its sessions first.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// The number of lines of the daemon's output in the error of a daemon that does not stay.
const LOG_LINES: &str = "5";
/// Mutagen's words for a daemon that does not answer.
const NO_ANSWER: &str = "unable to connect to daemon";
/// The exit code of the container's init if it cannot start the program because the image lacks it.
const NOT_FOUND: i64 = 127;

impl Shell {
    /// Waits until mutagen's daemon answers in a container that was started. Does not start the container.
    ///
    /// # Errors
    /// [`MutagenError::NoProgram`] if the image has no mutagen, [`MutagenError::NotRunning`] if the container is stopped or paused,
    /// and [`MutagenError::Failed`] with the daemon's last lines if it ends again and again.
    pub fn await_daemon(&self) -> Result<(), MutagenError> {
        let until = Instant::now() + ANSWERS_WITHIN;
        loop {
            let late = Instant::now() >= until;
            // Mutagen has no command that only asks for the daemon.
            let asks = self.command(Step::Mutagen, &["mutagen", "sync", "list", "--template", "{{json .}}"]);
            match self.must(&asks) {
                // The daemon has not made its socket yet.
                Err(MutagenError::Failed { said, .. }) if said.contains(NO_ANSWER) && !late => {}
                Err(error @ MutagenError::NotRunning { .. }) => {
                    let found = self.docker().inspect(self.name())?;
                    let Some(found) = found.filter(|found| !is_paused(found)) else { return Err(error) };
                    if (is_restarting(&found) || !is_running(&found)) && exit_code(&found) == NOT_FOUND {
                        return Err(self.no_mutagen());
                    }
                    if !is_running(&found) {
                        return Err(error);
                    }
                    if late {
                        return Err(MutagenError::Failed {
                            step: Step::Mutagen,
                            command: "mutagen daemon run".to_owned(),
                            code: exit_code(&found),
                            said: self.last_lines()?,
                        });
                    }
                }
                answered => return answered.map(drop),
            }
            self.docker().pause(Step::Mutagen, LOOK_AGAIN)?;
        }
    }

    /// Whether mutagen's daemon answers in a container that is to be used again. A container without it is of no use.
    pub(crate) fn has_daemon(&self) -> Result<bool, MutagenError> {
        match self.await_daemon() {
            Ok(()) => Ok(true),
            Err(error) if error.is_interrupted() => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// The last lines that the container's program printed.
    fn last_lines(&self) -> Result<String, MutagenError> {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(LOG_LINES).build();
        let mut parts = self.docker().api().logs(self.name(), Some(options));
        self.docker().call(Step::Mutagen, async {
            let mut text = String::new();
            while let Some(part) = parts.next().await {
                let part: LogOutput = part.map_err(|error| {
                    self.docker().refused(Step::Mutagen, format!("read the log of {}", self.name()), &error)
                })?;
                text.push_str(&String::from_utf8_lossy(&part.into_bytes()));
            }
            Ok(text)
        })
    }
}
