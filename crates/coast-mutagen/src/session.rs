//! Creating, listing, flushing and terminating mutagen's sessions. Each is a call of the program `mutagen` in the container.

use crate::access::Endpoint;
use crate::error::{MutagenError, Step};
use crate::exec::Exec;
use crate::inspection::{WORKSPACE, is_running};
use crate::name::{INSTANCE_LABEL, PRIVATE_LABEL, PROJECT_LABEL, is_label_value, selector, session_name};
use crate::pattern::literal_pattern;
use crate::shell::Shell;
use crate::state::{SessionState, parse};
use bollard::query_parameters::RestartContainerOptionsBuilder;
use std::time::Duration;

/// How long creating a session may take: mutagen uploads its agent, some MB, over a link that may be slow.
const CREATE_PATIENCE: Duration = Duration::from_secs(180);
/// How long terminating a session may take.
const TERMINATE_PATIENCE: Duration = Duration::from_secs(120);

/// The parameters of a new session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSpec {
    /// The name of the project.
    pub project: String,
    /// The name of the instance.
    pub instance: String,
    /// The remote, as the container reaches it.
    pub endpoint: Endpoint,
    /// The absolute path of the workspace on the remote.
    pub remote_path: String,
    /// Mutagen's ignore patterns, in order. Mutagen adds the directories of version control systems.
    pub ignores: Vec<String>,
    /// Files that the session leaves out because they are private: their paths, relative to the worktree.
    pub private: Vec<String>,
    /// The mode of every file that mutagen writes on the remote, without execute bits. Mutagen adds these for executable files.
    pub file_mode: u32,
}

impl SessionSpec {
    /// The command line of `mutagen sync create`.
    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = ["mutagen", "sync", "create"].map(str::to_owned).into();
        let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        option("--name", session_name(&self.project, &self.instance));
        option("--label", format!("{PROJECT_LABEL}={}", self.project));
        option("--label", format!("{INSTANCE_LABEL}={}", self.instance));
        if !self.private.is_empty() {
            option("--label", format!("{PRIVATE_LABEL}={}", self.private.len()));
        }
        option("--sync-mode", "one-way-safe".to_owned());
        // The bulk layer sends symlinks unchanged. Mutagen's default mode would report each absolute symlink as a problem.
        option("--symlink-mode", "posix-raw".to_owned());
        // Who may read a directory may enter it.
        let directory_mode = self.file_mode | (self.file_mode & 0o444) >> 2;
        option("--default-file-mode-beta", format!("{:04o}", self.file_mode));
        option("--default-directory-mode-beta", format!("{directory_mode:04o}"));
        for ignore in &self.ignores {
            option("--ignore", csv_field(ignore));
        }
        // These are the last patterns, so that no other pattern takes one back, and so that `SessionState::private` finds them.
        for path in &self.private {
            option("--ignore", csv_field(&literal_pattern(path)));
        }
        arguments.push("--ignore-vcs".to_owned());
        arguments.push(format!("{WORKSPACE}/"));
        arguments.push(self.endpoint.url(&self.remote_path));
        arguments
    }

    fn check(&self) -> Result<(), MutagenError> {
        check_names(&self.project, &self.instance)?;
        let unusable = |what, value: &str, problem| {
            Err(MutagenError::Unusable { step: Step::Session, what, value: value.to_owned(), problem })
        };
        if !self.remote_path.starts_with('/') {
            return unusable("the remote directory", &self.remote_path, "is not absolute");
        }
        for pattern in &self.ignores {
            if pattern.is_empty() || pattern == "!" {
                return unusable("the pattern", pattern, "is empty");
            }
        }
        Ok(())
    }
}

/// Quotes the value of an option that mutagen parses as a line of comma-separated values (RFC 4180).
fn csv_field(value: &str) -> String {
    if value.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value.to_owned()
    }
}

impl Shell {
    /// The sessions that have the labels of an instance.
    ///
    /// # Errors
    /// When `mutagen sync list` fails or prints JSON of another form.
    pub fn sessions(&self, project: &str, instance: &str) -> Result<Vec<SessionState>, MutagenError> {
        check_names(project, instance)?;
        self.list(&["--label-selector", &selector(project, instance)])
    }

    /// Terminates the sessions of an instance and creates a new one. On return the new session is connected and its first
    /// transfer may still be under way.
    ///
    /// # Errors
    /// The step of the error is [`Step::Ssh`] if the container cannot log in at the remote, [`Step::Agent`] if mutagen's agent
    /// cannot be installed or started there, and another step otherwise.
    pub fn create_session(&self, spec: &SessionSpec) -> Result<SessionState, MutagenError> {
        spec.check()?;
        self.stop_abandoned_create()?;
        self.terminate_stale(spec)?;
        let arguments = spec.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = self.command(Step::Session, &arguments);
        command.patience = CREATE_PATIENCE;
        let created = self.run(&command)?;
        if !created.success() {
            return Err(self.not_created(spec, &command.name(), &created));
        }
        let mut sessions = self.sessions(&spec.project, &spec.instance)?;
        sessions
            .pop()
            .ok_or_else(|| MutagenError::SessionGone { name: session_name(&spec.project, &spec.instance) })
    }

    /// Waits until the sessions of an instance have applied every change that was made before the call.
    ///
    /// # Errors
    /// [`MutagenError::TimedOut`] after `patience`, [`MutagenError::Failed`] if a session is paused, halted or not
    /// connected.
    pub fn flush(&self, project: &str, instance: &str, patience: Duration) -> Result<(), MutagenError> {
        self.sync("flush", project, instance, patience)
    }

    /// Pauses the sessions of an instance, if there are any.
    ///
    /// # Errors
    /// When mutagen cannot pause them, or the container does not run.
    pub fn pause(&self, project: &str, instance: &str) -> Result<(), MutagenError> {
        self.sync("pause", project, instance, TERMINATE_PATIENCE)
    }

    /// Terminates the sessions of an instance, if there are any.
    ///
    /// # Errors
    /// When mutagen cannot terminate them.
    pub fn terminate(&self, project: &str, instance: &str) -> Result<(), MutagenError> {
        self.stop_abandoned_create()?;
        self.sync("terminate", project, instance, TERMINATE_PATIENCE)
    }

    fn sync(
        &self,
        verb: &str,
        project: &str,
        instance: &str,
        patience: Duration,
    ) -> Result<(), MutagenError> {
        check_names(project, instance)?;
        let selector = selector(project, instance);
        let arguments = ["mutagen", "sync", verb, "--label-selector", &selector];
        let mut command = self.command(Step::Session, &arguments);
        command.patience = patience;
        self.must(&command).map(drop)
    }

    fn list(&self, selection: &[&str]) -> Result<Vec<SessionState>, MutagenError> {
        let arguments = [&["mutagen", "sync", "list"], selection, &["--template", "{{json .}}"]].concat();
        let command = self.command(Step::Session, &arguments);
        let listed = self.must(&command)?;
        parse(&listed.stdout).map_err(|error| MutagenError::Output {
            step: Step::Session,
            command: command.name(),
            problem: error.to_string(),
        })
    }

    /// Terminates every session that has the labels or the name of the instance's session: mutagen allows two sessions of one
    /// name.
    fn terminate_stale(&self, spec: &SessionSpec) -> Result<(), MutagenError> {
        let name = session_name(&spec.project, &spec.instance);
        let is_ours = |session: &SessionState| {
            session.name == name
                || (session.labels.get(PROJECT_LABEL) == Some(&spec.project)
                    && session.labels.get(INSTANCE_LABEL) == Some(&spec.instance))
        };
        let stale: Vec<_> = self.list(&[])?.into_iter().filter(is_ours).collect();
        if stale.is_empty() {
            return Ok(());
        }
        let identifiers = stale.iter().map(|session| session.identifier.as_str());
        let arguments: Vec<&str> = ["mutagen", "sync", "terminate"].into_iter().chain(identifiers).collect();
        let mut command = self.command(Step::Session, &arguments);
        command.patience = TERMINATE_PATIENCE;
        self.must(&command).map(drop)
    }

    /// Restarts the container if a `mutagen sync create` of a killed command still runs in it. That program would create a second
    /// session later, and Docker cannot end a single program of a container. On return mutagen's daemon answers.
    fn stop_abandoned_create(&self) -> Result<(), MutagenError> {
        let not_running = || MutagenError::NotRunning { name: self.name().to_owned() };
        let found = self.docker().inspect(self.name())?.filter(is_running).ok_or_else(not_running)?;
        let abandoned = self.docker().call(Step::Session, async {
            for id in found.exec_ids.iter().flatten() {
                // Docker forgets a program after its end.
                let Ok(exec) = self.docker().api().inspect_exec(id).await else { continue };
                let arguments = exec.process_config.and_then(|process| process.arguments).unwrap_or_default();
                if exec.running == Some(true)
                    && arguments.starts_with(&["sync".to_owned(), "create".to_owned()])
                {
                    return Ok(true);
                }
            }
            Ok(false)
        })?;
        if !abandoned {
            return Ok(());
        }
        let options = RestartContainerOptionsBuilder::new().t(0).build();
        self.docker().call(Step::Container, async {
            let restarted = self.docker().api().restart_container(self.name(), Some(options)).await;
            restarted.map_err(|error| {
                self.docker().refused(
                    Step::Container,
                    format!("restart the container {}", self.name()),
                    &error,
                )
            })
        })?;
        self.await_daemon()
    }

    /// Finds out at which step creating a session failed, by an `ssh` to the same remote: its exit code is reliable, while
    /// mutagen reports a failed connection only in its text.
    fn not_created(&self, spec: &SessionSpec, command: &str, created: &Exec) -> MutagenError {
        let failed = |step, command: &str, exec: &Exec| MutagenError::Failed {
            step,
            command: command.to_owned(),
            code: exec.code,
            said: exec.said(),
        };
        match self.try_ssh(&spec.endpoint) {
            Ok(ssh) if !ssh.success() => {
                let command = format!("ssh {}@{}", spec.endpoint.user(), spec.endpoint.host());
                failed(Step::Ssh, &command, &ssh)
            }
            Err(error) if error.is_interrupted() || matches!(error, MutagenError::TimedOut { .. }) => error,
            _ if created.said().contains("agent") => failed(Step::Agent, command, created),
            _ => failed(Step::Session, command, created),
        }
    }
}

fn check_names(project: &str, instance: &str) -> Result<(), MutagenError> {
    for (what, value) in [("the project's name", project), ("the instance's name", instance)] {
        if !is_label_value(value) {
            return Err(MutagenError::Unusable {
                step: Step::Session,
                what,
                value: value.to_owned(),
                problem: "may only have 1 to 63 letters, digits, `-`, `_` and `.`, at the ends a letter or digit",
            });
        }
    }
    Ok(())
}
