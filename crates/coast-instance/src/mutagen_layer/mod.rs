//! The continuous layer with mutagen. Its runner is a *shell container*: a Docker container with the worktree mounted in it, mutagen
//! and an ssh client.

mod access;
mod status;

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use coast_mutagen::{
    Docker, DockerEnvironment, Endpoint, Ensured, Interrupt, MutagenError, RemoteAccess, SessionSpec,
    SessionState, Shell, ShellSpec, shell_labels, shell_name,
};
use coast_sync::{Cancel, CancelHook};

use crate::continuous::{
    AfterTransfer, BeginStep, Continuous, ContinuousError, ContinuousStart, ContinuousStatus, Extent,
    Failure, InstanceId, Remains, RunnerChange, Side, Started, WatchSession,
};
use crate::private::Private;
use crate::record::Step;
use crate::records::Records;
use crate::{Addressed, Coastfile, Places, bulk, ignores};
use access::remote_access;
use status::{foreign_status, latest_status, stopped_status};

/// The time limit of a flush, the first scan included: mutagen reads every file of both sides once.
const FLUSH_PATIENCE: Duration = Duration::from_secs(15 * 60);

/// The time between two looks at a session that is waited for. A look is a program in the container.
const WATCHED_EVERY: Duration = Duration::from_millis(500);

/// The greatest number of private files that a session leaves out. Mutagen compares every path with every pattern.
const MAX_PRIVATE: usize = 1000;

/// Carries edits with mutagen. Each call connects to the Docker engine, which may start and end at any time.
#[derive(Debug, Clone)]
pub struct MutagenLayer {
    environment: DockerEnvironment,
    records: Records,
    image: Option<String>,
    network: String,
}

impl MutagenLayer {
    /// A layer for the instances that `places` holds, with the image and the network that the Coastfile names. The image in an
    /// instance's record takes precedence.
    pub fn new(environment: DockerEnvironment, places: &Places, coastfile: &Coastfile) -> Self {
        Self {
            environment,
            records: Records::new(places.clone()),
            image: coastfile.shell_image.clone(),
            network: coastfile.shell_network.clone(),
        }
    }

    /// Like [`MutagenLayer::new`], with the Docker engine that this process's environment names.
    pub fn from_process(places: &Places, coastfile: &Coastfile) -> Self {
        Self::new(DockerEnvironment::from_process(), places, coastfile)
    }

    /// Connects to Docker. `cancel` interrupts the calls for as long as the hook lives.
    fn docker(&self, cancel: &Cancel) -> Result<(Docker, CancelHook), ContinuousError> {
        let interrupt = Interrupt::new();
        let hook = cancel.on_cancel({
            let interrupt = interrupt.clone();
            move || interrupt.interrupt()
        });
        Ok((Docker::connect_until(&self.environment, &interrupt)?, hook))
    }

    /// The error of a session that could not be created. A server that listens on this machine's loopback address alone cannot be
    /// reached from the network of a container.
    fn explained(&self, error: MutagenError, remote: &RemoteAccess) -> ContinuousError {
        let mut error = ContinuousError::from(error);
        if let ContinuousError::Failed(failure) = &mut error
            && matches!(failure.part.as_str(), "ssh" | "agent" | "session")
            && self.network != "host"
            && remote.is_this_machine()
        {
            failure.said.push_str(
                "; the shell container reaches this machine through the gateway of its network, where an SSH server that listens on \
                 127.0.0.1 alone does not answer: set [remote] shell_network = \"host\" in the Coastfile",
            );
        }
        error
    }

    /// The image for an instance: that of `coast run --image`, or else the Coastfile's.
    fn image(&self, id: &InstanceId) -> Result<String, ContinuousError> {
        let record = self.records.load(&id.project, &id.instance)?;
        let image = record.and_then(|record| record.image).or_else(|| self.image.clone());
        image.ok_or_else(|| no_image().into())
    }
}

impl Continuous for MutagenLayer {
    fn runner(&self, id: &InstanceId) -> String {
        format!("container {}", container_name(id))
    }

    fn reach(&self, cancel: &Cancel) -> Result<(), ContinuousError> {
        self.docker(cancel).map(drop)
    }

    fn start(
        &self,
        start: &ContinuousStart<'_>,
        transferred: &AfterTransfer<'_>,
        begin: &mut BeginStep<'_>,
        watch: &WatchSession<'_>,
        cancel: &Cancel,
    ) -> Result<Started, ContinuousError> {
        // Everything that can fail without Docker is checked first.
        let remote = remote_access(transferred.access)?;
        let image = self.image(start.id)?;
        let ignores =
            ignores::for_mutagen(start.excludes, start.default_rules).map_err(|(pattern, why)| {
                Failure::new(
                    "session",
                    "translating the exclude patterns for mutagen",
                    format!("{pattern:?}: {why}"),
                )
            })?;
        let private = private(start)?;
        let (docker, _hook) = self.docker(cancel)?;

        let (project, instance) = (start.id.project.as_str(), start.id.instance.as_str());
        let spec = ShellSpec::new(project, instance, image, start.worktree, &self.network);
        begin(Step::Runner)?;
        let (shell, ensured) = docker.ensure_shell(&spec)?;
        begin(Step::Access)?;
        let endpoint: Endpoint = shell.install_access(&remote)?;
        begin(Step::Session)?;
        let created = shell.create_session(&SessionSpec {
            project: project.to_owned(),
            instance: instance.to_owned(),
            endpoint,
            // Mutagen takes a path with a slash at its end for a directory.
            remote_path: format!("{}/", start.remote_path.trim_end_matches('/')),
            ignores,
            private: private.paths,
            file_mode: private.file_mode,
        });
        created.map_err(|error| self.explained(error, &remote))?;
        // Only after its first scan can mutagen tell which paths differ from the bulk transfer.
        let sessions = flushed(&shell, start.id, watch)?;
        let runner = match ensured {
            Ensured::Created => RunnerChange::Created,
            Ensured::Reused => RunnerChange::Reused,
            Ensured::Recreated => RunnerChange::Recreated,
        };
        Ok(Started {
            runner,
            status: latest_status(&sessions),
            traces: sessions.iter().flat_map(|session| traces(&session.identifier)).collect(),
        })
    }

    fn stop(
        &self,
        id: &InstanceId,
        extent: Extent,
        begin: &mut BeginStep<'_>,
        cancel: &Cancel,
    ) -> Result<Remains, ContinuousError> {
        let (docker, _hook) = self.docker(cancel)?;
        let name = container_name(id);
        // A container that a killed command asked for may not be visible yet.
        let shell = match FoundShell::of(docker.settled_shell(&name, &labels(id)))? {
            FoundShell::Own(shell) => shell,
            FoundShell::Absent => return Ok(Remains::Nothing),
            FoundShell::Foreign { said } => return Ok(Remains::Foreign { said }),
        };
        // In a container of an earlier version no daemon runs by itself, and `start` would replace the container anyway.
        let is_running = shell.is_running() && shell.is_current();
        let mut session_error = None;
        if is_running {
            begin(Step::EndSession)?;
            session_error = end_session(&shell, id)?;
        }
        let mut access_error = None;
        match extent {
            Extent::Session if shell.is_current() => {
                return session_error.map_or(Ok(Remains::Runner), |error| Err(error.into()));
            }
            Extent::Access if is_running => {
                begin(Step::RemoveAccess)?;
                access_error = uninterrupted(shell.remove_access())?;
                if session_error.is_none()
                    && access_error.is_none()
                    // A container that goes on would also start again with Docker and with this machine.
                    && uninterrupted(docker.stop_shell(&name, &labels(id)))?.is_none()
                {
                    return Ok(Remains::Runner);
                }
            }
            Extent::Session | Extent::Access | Extent::Everything => {}
        }
        // Removing the container also removes its session and its key, even where ending them failed or the container was not running.
        begin(Step::RemoveRunner)?;
        let Some(error) = uninterrupted(docker.remove_shell(&name, &labels(id)))? else {
            return Ok(Remains::Nothing);
        };
        let session = session_error.is_some() || !is_running;
        let access = access_error.is_some() || extent == Extent::Everything || !is_running;
        let mut failure = Failure::new(error.step().as_str(), &error.step().to_string(), error.to_string());
        for (part, error) in [("the session", session_error), ("the key", access_error)] {
            if let Some(error) = error {
                failure.said.push_str(&format!("; {part} could not be removed from it either: {error}"));
            }
        }
        Err(ContinuousError::NotRemoved { failure, session, access })
    }

    fn pause(&self, id: &InstanceId, cancel: &Cancel) -> Result<(), ContinuousError> {
        let (docker, _hook) = self.docker(cancel)?;
        match FoundShell::of(docker.find_shell(&container_name(id), &labels(id)))? {
            // A stopped container keeps its session, which goes on when the container is started: Docker says that it does not run.
            FoundShell::Own(shell) => Ok(shell.pause(id.project.as_str(), id.instance.as_str())?),
            FoundShell::Absent | FoundShell::Foreign { .. } => Ok(()),
        }
    }

    fn flush(
        &self,
        id: &InstanceId,
        watch: &WatchSession<'_>,
        cancel: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError> {
        let (docker, _hook) = self.docker(cancel)?;
        match running_shell(&docker, id)? {
            FoundShell::Own(shell)
                if !shell.sessions(id.project.as_str(), id.instance.as_str())?.is_empty() =>
            {
                Ok(latest_status(&flushed(&shell, id, watch)?))
            }
            FoundShell::Own(_) | FoundShell::Absent => Ok(ContinuousStatus::default()),
            FoundShell::Foreign { said } => Ok(foreign_status(said)),
        }
    }

    fn status(&self, id: &InstanceId, cancel: &Cancel) -> Result<ContinuousStatus, ContinuousError> {
        let (docker, _hook) = self.docker(cancel)?;
        match FoundShell::of(docker.find_shell(&container_name(id), &labels(id)))? {
            FoundShell::Own(shell) if shell.is_running() => status_of(&shell, id),
            FoundShell::Own(shell) => Ok(stopped_status(&shell)),
            FoundShell::Absent => Ok(ContinuousStatus::default()),
            FoundShell::Foreign { said } => Ok(foreign_status(said)),
        }
    }

    fn resolve(
        &self,
        id: &InstanceId,
        _paths: &[Vec<u8>],
        _take: Side,
        _cancel: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError> {
        let said = format!(
            "mutagen takes neither side; replace the files of the remote with: coast flush {}",
            id.instance
        );
        Err(Failure::new("session", "settling conflicts", said).into())
    }
}

/// The answer to a search for an instance's shell container.
enum FoundShell {
    /// The instance's own container.
    Own(Shell),
    /// No container has the name.
    Absent,
    /// Another owner's container has the name. For the instance, that is the same as no container.
    Foreign { said: String },
}

impl FoundShell {
    fn of(found: Result<Option<Shell>, MutagenError>) -> Result<Self, MutagenError> {
        match found {
            Ok(Some(shell)) => Ok(Self::Own(shell)),
            Ok(None) => Ok(Self::Absent),
            Err(error @ MutagenError::ForeignContainer { .. }) => {
                Ok(Self::Foreign { said: error.to_string() })
            }
            Err(error) => Err(error),
        }
    }
}

/// The shell container of an instance. A container that does not run counts as absent.
fn running_shell(docker: &Docker, id: &InstanceId) -> Result<FoundShell, ContinuousError> {
    match FoundShell::of(docker.find_shell(&container_name(id), &labels(id)))? {
        FoundShell::Own(shell) if !shell.is_running() => Ok(FoundShell::Absent),
        found => Ok(found),
    }
}

fn container_name(id: &InstanceId) -> String {
    shell_name(id.project.as_str(), id.instance.as_str())
}

/// The labels that distinguish an instance's shell container from another container of that name.
fn labels(id: &InstanceId) -> Vec<(String, String)> {
    shell_labels(id.project.as_str(), id.instance.as_str())
}

/// The error of a step after which other steps still make sense. After an interruption none do.
fn uninterrupted<T>(done: Result<T, MutagenError>) -> Result<Option<MutagenError>, ContinuousError> {
    match done {
        Ok(_) => Ok(None),
        Err(error) if error.is_interrupted() => Err(error.into()),
        Err(error) => Ok(Some(error)),
    }
}

/// Terminates the sessions in a container that runs. Returns the error if some may be left.
fn end_session(shell: &Shell, id: &InstanceId) -> Result<Option<MutagenError>, ContinuousError> {
    let (project, instance) = (id.project.as_str(), id.instance.as_str());
    let ended = shell.unpause().and_then(|()| shell.await_daemon());
    match ended.and_then(|()| shell.terminate(project, instance)) {
        // No session runs in an image without mutagen.
        Err(MutagenError::NoProgram { .. }) => Ok(None),
        ended => uninterrupted(ended),
    }
}

/// Flushes the sessions of an instance, and calls `watch` while that takes. Returns the sessions after that.
fn flushed(
    shell: &Shell,
    id: &InstanceId,
    watch: &WatchSession<'_>,
) -> Result<Vec<SessionState>, ContinuousError> {
    thread::scope(|scope| {
        let (flushing, flushed) = mpsc::channel::<()>();
        scope.spawn(move || {
            while flushed.recv_timeout(WATCHED_EVERY) == Err(RecvTimeoutError::Timeout) {
                // The flush itself reports a container that does not answer.
                if let Ok(status) = status_of(shell, id) {
                    watch(&status);
                }
            }
        });
        let done = shell.flush(id.project.as_str(), id.instance.as_str(), FLUSH_PATIENCE);
        drop(flushing);
        done
    })?;
    Ok(shell.sessions(id.project.as_str(), id.instance.as_str())?)
}

fn status_of(shell: &Shell, id: &InstanceId) -> Result<ContinuousStatus, ContinuousError> {
    Ok(latest_status(&shell.sessions(id.project.as_str(), id.instance.as_str())?))
}

/// The files that a session has in mutagen's directory on the remote, which is its side "beta".
fn traces(session: &str) -> [String; 2] {
    [format!(".mutagen/caches/{session}_beta"), format!(".mutagen/staging/{session}-beta")]
}

/// The files that the session would open to others. An error if they are too many to leave out.
fn private(start: &ContinuousStart<'_>) -> Result<Private, Failure> {
    let unable = |said: String| Failure::new("session", "looking for files that others may not read", said);
    let rules = bulk::exclusions(start.excludes, start.default_rules);
    let rules = rules.map_err(|error| unable(error.to_string()))?;
    let private = Private::of(start.worktree, &rules)
        .map_err(|error| unable(format!("{}: {error}", start.worktree.display())))?;
    if private.paths.len() > MAX_PRIVATE {
        return Err(unable(format!(
            "{} files, such as {:?}, may not be read by others, and mutagen would let them (mode {:04o}); exclude these files in the \
             Coastfile, or let others read them with chmod",
            private.paths.len(),
            private.paths[0],
            private.file_mode
        )));
    }
    Ok(private)
}

/// What to do about a part that only this layer has. `None` for every other part.
pub(crate) fn remedy(part: &str, instance: &Addressed) -> Option<String> {
    match part {
        // The agents and the daemon of mutagen are started anew each time.
        "agent" | "mutagen" => Some(format!("try again with: coast start {instance}")),
        "image" => Some(format!(
            "after that: coast start {instance}, or name another image with: coast start {instance} --image IMAGE"
        )),
        _ => None,
    }
}

fn no_image() -> Failure {
    let said = "no image is named; make one with mutagen and an ssh client with `coast image build`, and name it with [remote] shell_image in the Coastfile";
    Failure::new("image", "finding the image of the shell container", said.to_owned())
}

impl From<MutagenError> for ContinuousError {
    fn from(error: MutagenError) -> Self {
        if error.is_interrupted() {
            return Self::Interrupted;
        }
        let step = error.step();
        Self::Failed(Failure::new(step.as_str(), &step.to_string(), error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coast_mutagen::Zeroizing;

    #[test]
    fn a_remote_that_is_this_machine_needs_the_network_of_this_machine() {
        let said = |network: &str, step, host: &str| {
            let coastfile = Coastfile { shell_network: network.to_owned(), ..Coastfile::default() };
            let places = Places::below("/none".as_ref());
            let layer = MutagenLayer::new(DockerEnvironment::isolated("unix:///none"), &places, &coastfile);
            let error = MutagenError::Failed {
                step,
                command: "ssh".to_owned(),
                code: 255,
                said: "Connection refused".to_owned(),
            };
            let remote = RemoteAccess {
                user: "dev".to_owned(),
                host: host.to_owned(),
                port: 22,
                private_key: Zeroizing::new(Vec::new()),
                host_key: "ssh-ed25519 AAAA".to_owned(),
            };
            layer.explained(error, &remote).to_string()
        };
        let (ssh, key) = (coast_mutagen::Step::Ssh, coast_mutagen::Step::Key);
        let text = said("bridge", ssh, "localhost");
        assert!(
            text.contains("Connection refused; the shell container reaches this machine through the gateway"),
            "{text}"
        );
        assert!(text.contains("shell_network = \"host\""), "{text}");
        for (network, step, host) in
            [("host", ssh, "localhost"), ("bridge", ssh, "box"), ("bridge", key, "localhost")]
        {
            assert!(!said(network, step, host).contains("shell_network"), "{network} {host}");
        }
    }
}
