//! Sessions: creating, listing, flushing, resetting and ending them, each by a program run in the container.

use crate::access::Endpoint;
use crate::error::{MutagenError, Step};
use crate::exec::Exec;
use crate::inspection::{WORKSPACE, is_running};
use crate::name::{INSTANCE_LABEL, PROJECT_LABEL, is_label_value, selector, session_name};
use crate::shell::Shell;
use crate::state::{SessionState, parse};
use bollard::query_parameters::RestartContainerOptionsBuilder;
use std::time::Duration;

/// How long creating a session may take: mutagen uploads its agent, some MB, over a link that may be slow.
const CREATE_PATIENCE: Duration = Duration::from_secs(180);
/// How long connecting again may take.
const RESET_PATIENCE: Duration = Duration::from_secs(120);

/// What a session is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSpec {
    /// The project's name.
    pub project: String,
    /// The instance's name.
    pub instance: String,
    /// The remote.
    pub endpoint: Endpoint,
    /// The absolute path of the directory there.
    pub remote_path: String,
    /// What is not carried over, as patterns of mutagen, in their order, beside what version control keeps.
    pub ignores: Vec<String>,
}

impl SessionSpec {
    /// The arguments that create it.
    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = ["mutagen", "sync", "create"].map(str::to_owned).into();
        let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        option("--name", session_name(&self.project, &self.instance));
        option("--label", format!("{PROJECT_LABEL}={}", self.project));
        option("--label", format!("{INSTANCE_LABEL}={}", self.instance));
        option("--sync-mode", "one-way-safe".to_owned());
        // As the bulk layer does: links travel as they are. By default, an absolute one would be a problem each.
        option("--symlink-mode", "posix-raw".to_owned());
        // The services run as other users than the one who logs in; mutagen's own default is 0600 and 0700.
        option("--default-file-mode-beta", "0644".to_owned());
        option("--default-directory-mode-beta", "0755".to_owned());
        for ignore in &self.ignores {
            option("--ignore", listed(ignore));
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

/// A value of an option that mutagen reads as a line of comma-separated values (RFC 4180).
fn listed(value: &str) -> String {
    if value.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value.to_owned()
    }
}

impl Shell {
    /// Has mutagen's daemon run. One that runs is fine.
    ///
    /// # Errors
    /// [`MutagenError::NoProgram`] if the image has no mutagen.
    pub fn start_daemon(&self) -> Result<(), MutagenError> {
        self.must(&self.command(Step::Mutagen, &["mutagen", "daemon", "start"])).map(drop)
    }

    /// The sessions of an instance.
    ///
    /// # Errors
    /// When mutagen does not list them, or lists them in a way that this version does not understand.
    pub fn sessions(&self, project: &str, instance: &str) -> Result<Vec<SessionState>, MutagenError> {
        check_names(project, instance)?;
        self.list(&["--label-selector", &selector(project, instance)])
    }

    /// Creates a session, having ended those that were there for the instance. It is connected then; its first transfer
    /// goes on.
    ///
    /// # Errors
    /// The step of the error tells whether the remote was not reached from here ([`Step::Ssh`]), could not run mutagen's
    /// agent ([`Step::Agent`]), or something else failed.
    pub fn create_session(&self, spec: &SessionSpec) -> Result<SessionState, MutagenError> {
        spec.check()?;
        self.end_abandoned_create()?;
        self.start_daemon()?;
        self.end_stale(spec)?;
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

    /// Waits until the sessions of an instance have carried every change that was made before.
    ///
    /// # Errors
    /// [`MutagenError::TimedOut`] after `patience`, [`MutagenError::Failed`] if a session is paused, halted or not
    /// connected.
    pub fn flush(&self, project: &str, instance: &str, patience: Duration) -> Result<(), MutagenError> {
        self.each("flush", project, instance, patience)
    }

    /// Has the sessions of an instance forget what they know, and compare the two sides anew.
    ///
    /// # Errors
    /// As [`Shell::flush`].
    pub fn reset(&self, project: &str, instance: &str) -> Result<(), MutagenError> {
        self.each("reset", project, instance, RESET_PATIENCE)
    }

    /// Ends the sessions of an instance. None being there is fine.
    ///
    /// # Errors
    /// When mutagen cannot end them.
    pub fn terminate(&self, project: &str, instance: &str) -> Result<(), MutagenError> {
        self.end_abandoned_create()?;
        self.each("terminate", project, instance, RESET_PATIENCE)
    }

    fn each(
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

    /// Ends what is there for the instance: by its labels, and by the name, since mutagen takes a second session of the
    /// same name without a word.
    fn end_stale(&self, spec: &SessionSpec) -> Result<(), MutagenError> {
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
        command.patience = RESET_PATIENCE;
        self.must(&command).map(drop)
    }

    /// A program outlives the one that had it run: what a killed command left creating a session would finish behind our
    /// back, and there would be two. Docker cannot end a single program, so the container is started anew.
    fn end_abandoned_create(&self) -> Result<(), MutagenError> {
        let not_running = || MutagenError::NotRunning { name: self.name().to_owned() };
        let found = self.docker().inspect(self.name())?.filter(is_running).ok_or_else(not_running)?;
        let abandoned = self.docker().call(Step::Session, async {
            for id in found.exec_ids.iter().flatten() {
                // One that is gone meanwhile has ended.
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
        })
    }

    /// Why a session was not created. Whether it was the way to the remote, ssh itself tells by its exit code.
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
