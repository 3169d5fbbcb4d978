//! The continuous layer by mutagen, in a shell container.

use std::fs;
use std::time::Duration;

use coast_mutagen::{
    Docker, DockerEnvironment, Endpoint, EndpointState, Ensured, Interrupt, MutagenError, RemoteAccess,
    SessionSpec, SessionState, Shell, ShellSpec, Status, Zeroizing, shell_labels,
};
use coast_sync::{Cancel, CancelHook, IdentityUsed};

use crate::continuous::{
    Access, Activity, BeginStep, Conflict, ContainerChange, Continuous, ContinuousError, ContinuousStart,
    ContinuousStatus, Extent, Failure, InstanceId, Problem, Remains, Side, Started, container_name,
};
use crate::ignores;
use crate::record::Step;

/// How long the first look, or carrying what has changed, may take: mutagen reads every file of both sides once.
const FLUSH_PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Follows by mutagen. The Docker engine is looked for at each call, since it may come and go.
#[derive(Debug, Clone)]
pub struct MutagenLayer {
    environment: DockerEnvironment,
}

impl MutagenLayer {
    /// With the Docker engine that `environment` names.
    pub fn new(environment: DockerEnvironment) -> Self {
        Self { environment }
    }

    /// With the Docker engine that this process's environment names.
    pub fn from_process() -> Self {
        Self::new(DockerEnvironment::from_process())
    }

    /// Connects to Docker; `cancel` interrupts what is asked of it, for as long as the hook lives.
    fn docker(&self, cancel: &Cancel) -> Result<(Docker, CancelHook), ContinuousError> {
        let interrupt = Interrupt::new();
        let hook = cancel.on_cancel({
            let interrupt = interrupt.clone();
            move || interrupt.interrupt()
        });
        Ok((Docker::connect(&self.environment)?.interrupted_by(&interrupt), hook))
    }
}

/// The shell container of an instance, if there is one and it runs.
fn running_shell(
    docker: &Docker,
    id: &InstanceId,
) -> Result<Result<Option<Shell>, Foreign>, ContinuousError> {
    let found = found(docker.find_shell(&container_name(id), &labels(id)))?;
    Ok(found.map(|shell| shell.filter(Shell::is_running)))
}

impl Continuous for MutagenLayer {
    fn start(
        &self,
        start: &ContinuousStart<'_>,
        begin: &mut BeginStep<'_>,
        cancel: &Cancel,
    ) -> Result<Started, ContinuousError> {
        // First what needs nobody's help to be known.
        let remote = remote_access(start.access)?;
        let image = start.image.ok_or_else(no_image)?;
        let ignores =
            ignores::for_mutagen(start.excludes, start.default_rules).map_err(|(pattern, why)| {
                failure("session", "telling mutagen what to ignore", format!("{pattern:?}: {why}"))
            })?;
        let (docker, _hook) = self.docker(cancel)?;

        let (project, instance) = (start.id.project.as_str(), start.id.instance.as_str());
        let spec = ShellSpec::new(project, instance, image, start.worktree, start.network);
        begin(Step::Container)?;
        let (shell, ensured) = docker.ensure_shell(&spec)?;
        begin(Step::Access)?;
        let endpoint: Endpoint = shell.install_access(&remote)?;
        begin(Step::Session)?;
        shell.create_session(&SessionSpec {
            project: project.to_owned(),
            instance: instance.to_owned(),
            endpoint,
            // The slash says that it is a directory.
            remote_path: format!("{}/", start.remote_path.trim_end_matches('/')),
            ignores,
        })?;
        // What the session has not looked at yet it will take for its own; only after that can be told what fell into the gap.
        let status = flushed(&shell, start.id)?;
        let container = match ensured {
            Ensured::Created => ContainerChange::Created,
            Ensured::Reused => ContainerChange::Reused,
            Ensured::Recreated => ContainerChange::Recreated,
        };
        Ok(Started { container, status })
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
        // The one that a killed command asked for may still be on its way.
        let shell = match found(docker.settled_shell(&name, &labels(id)))? {
            Ok(Some(shell)) => shell,
            Ok(None) => return Ok(Remains::Nothing),
            Err(Foreign { said }) => return Ok(Remains::Foreign { said }),
        };
        let running = shell.is_running();
        let mut session_left = None;
        if running {
            begin(Step::EndSession)?;
            session_left = end_session(&shell, id)?;
        }
        let mut access_left = None;
        match extent {
            Extent::Session => return session_left.map_or(Ok(Remains::Container), |error| Err(error.into())),
            Extent::Access if running => {
                begin(Step::RemoveAccess)?;
                access_left = uninterrupted(shell.remove_access())?;
                if session_left.is_none() && access_left.is_none() {
                    return Ok(Remains::Container);
                }
            }
            Extent::Access | Extent::Everything => {}
        }
        // With the container all that is in it goes: what could not be ended in it, or cannot be since it does not run.
        begin(Step::RemoveContainer)?;
        let Some(error) = uninterrupted(docker.remove_shell(&name, &labels(id)))? else {
            return Ok(Remains::Nothing);
        };
        let session = session_left.is_some() || !running;
        let access = access_left.is_some() || extent == Extent::Everything || !running;
        let mut failure = failure(error.step().as_str(), &error.step().to_string(), error.to_string());
        for (what, why) in [("the session", session_left), ("the key", access_left)] {
            if let Some(why) = why {
                failure.said.push_str(&format!("; {what} could not be taken out of it either: {why}"));
            }
        }
        Err(ContinuousError::Left { failure, session, access })
    }

    fn flush(&self, id: &InstanceId, cancel: &Cancel) -> Result<ContinuousStatus, ContinuousError> {
        let (docker, _hook) = self.docker(cancel)?;
        match running_shell(&docker, id)? {
            Ok(Some(shell)) if !shell.sessions(id.project.as_str(), id.instance.as_str())?.is_empty() => {
                flushed(&shell, id)
            }
            Ok(_) => Ok(ContinuousStatus::default()),
            Err(foreign) => Ok(foreign.into()),
        }
    }

    fn status(&self, id: &InstanceId, cancel: &Cancel) -> Result<ContinuousStatus, ContinuousError> {
        let (docker, _hook) = self.docker(cancel)?;
        match running_shell(&docker, id)? {
            Ok(Some(shell)) => status_of(&shell, id),
            Ok(None) => Ok(ContinuousStatus::default()),
            Err(foreign) => Ok(foreign.into()),
        }
    }
}

/// A container that has the name of an instance's shell container and is not it: for the instance, there is none.
struct Foreign {
    said: String,
}

impl From<Foreign> for ContinuousStatus {
    fn from(foreign: Foreign) -> Self {
        Self { last_error: Some(foreign.said), ..Self::default() }
    }
}

fn found(shell: Result<Option<Shell>, MutagenError>) -> Result<Result<Option<Shell>, Foreign>, MutagenError> {
    match shell {
        Err(error @ MutagenError::ForeignContainer { .. }) => Ok(Err(Foreign { said: error.to_string() })),
        shell => shell.map(Ok),
    }
}

/// What tells the shell container of an instance from any other of that name.
fn labels(id: &InstanceId) -> Vec<(String, String)> {
    shell_labels(id.project.as_str(), id.instance.as_str())
}

/// What kept something from being done, but for an interruption, after which nothing else can be done either.
fn uninterrupted<T>(done: Result<T, MutagenError>) -> Result<Option<MutagenError>, ContinuousError> {
    match done {
        Ok(_) => Ok(None),
        Err(error) if error.is_interrupted() => Err(error.into()),
        Err(error) => Ok(Some(error)),
    }
}

/// Ends the sessions in a container that runs, or gives why some may be left.
fn end_session(shell: &Shell, id: &InstanceId) -> Result<Option<MutagenError>, ContinuousError> {
    let (project, instance) = (id.project.as_str(), id.instance.as_str());
    let ended = shell.unpause().and_then(|()| shell.start_daemon());
    match ended.and_then(|()| shell.terminate(project, instance)) {
        // Without mutagen there is no session.
        Err(MutagenError::NoProgram { .. }) => Ok(None),
        ended => uninterrupted(ended),
    }
}

/// Waits until all is carried; gives the state after that.
fn flushed(shell: &Shell, id: &InstanceId) -> Result<ContinuousStatus, ContinuousError> {
    shell.flush(id.project.as_str(), id.instance.as_str(), FLUSH_PATIENCE)?;
    status_of(shell, id)
}

fn status_of(shell: &Shell, id: &InstanceId) -> Result<ContinuousStatus, ContinuousError> {
    let sessions = shell.sessions(id.project.as_str(), id.instance.as_str())?;
    Ok(sessions.last().map_or_else(ContinuousStatus::default, status))
}

/// How to get to the remote from the container, if there is a way.
fn remote_access(access: &Access) -> Result<RemoteAccess, Failure> {
    let unable = |said: String| failure("key", "giving the shell container access to the remote", said);
    let path = match &access.identity {
        IdentityUsed::File { path, encrypted: false } => path,
        IdentityUsed::File { path, encrypted: true } => {
            return Err(unable(format!(
                "the key {} has a passphrase, which nobody can type inside the container; give the remote a key without one \
                 (coast remote add --replace --key) that only reaches this remote",
                path.display()
            )));
        }
        IdentityUsed::Agent { comment } => {
            return Err(unable(format!(
                "the key that was accepted ({comment}) is only in the agent, which the container cannot reach; give the remote a \
                 key in a file (coast remote add --replace --key)"
            )));
        }
        other => {
            return Err(unable(format!(
                "the key that was accepted ({other}) cannot be put into the container"
            )));
        }
    };
    if let Some(jump) = access.jumps.first() {
        return Err(unable(format!(
            "the remote is reached through {jump}, and the container could only reach it directly"
        )));
    }
    let private_key =
        fs::read(path).map_err(|error| unable(format!("cannot read the key {}: {error}", path.display())))?;
    Ok(RemoteAccess {
        user: access.user.clone(),
        host: access.host_name.clone(),
        port: access.port,
        private_key: Zeroizing::new(private_key),
        host_key: access.host_key.clone(),
    })
}

fn no_image() -> Failure {
    let said = "no image is named; it needs one that has mutagen and an ssh client: [remote] shell_image in the Coastfile, or --image";
    failure("image", "getting the image of the shell container", said.to_owned())
}

fn failure(step: &str, doing: &str, said: String) -> Failure {
    Failure { step: step.to_owned(), doing: doing.to_owned(), said }
}

impl From<MutagenError> for ContinuousError {
    fn from(error: MutagenError) -> Self {
        if error.is_interrupted() {
            return Self::Interrupted;
        }
        let step = error.step();
        Self::Failed(failure(step.as_str(), &step.to_string(), error.to_string()))
    }
}

/// A session in the words of the layer.
fn status(session: &SessionState) -> ContinuousStatus {
    let activity = match &session.status {
        _ if session.paused => Activity::Halted,
        status if status.is_halted() => Activity::Halted,
        Status::Watching => Activity::Watching,
        Status::Disconnected | Status::ConnectingAlpha | Status::ConnectingBeta => Activity::Connecting,
        _ => Activity::Carrying,
    };
    let sides = [(Side::Local, &session.alpha), (Side::Remote, &session.beta)];
    let problems = sides.into_iter().flat_map(|(side, endpoint)| problems(side, endpoint)).collect();
    let more =
        |endpoint: &EndpointState| endpoint.excluded_scan_problems + endpoint.excluded_transition_problems;
    ContinuousStatus {
        activity,
        word: if session.paused { "paused".to_owned() } else { session.status.as_str().to_owned() },
        files: session.alpha.files,
        directories: session.alpha.directories,
        conflicts: session
            .conflicts
            .iter()
            .map(|conflict| Conflict { path: conflict.root.clone().into_bytes() })
            .collect(),
        more_conflicts: session.excluded_conflicts,
        problems,
        more_problems: more(&session.alpha) + more(&session.beta),
        last_error: session.last_error.clone(),
    }
}

fn problems(side: Side, endpoint: &EndpointState) -> impl Iterator<Item = Problem> {
    endpoint.problems().map(move |problem| Problem {
        side,
        path: problem.path.clone().into_bytes(),
        text: problem.error.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(identity: IdentityUsed) -> Access {
        Access {
            user: "dev".to_owned(),
            host_name: "remote.example".to_owned(),
            port: 22,
            jumps: Vec::new(),
            host_key: "ssh-ed25519 AAAA".to_owned(),
            identity,
        }
    }

    #[test]
    fn a_key_that_cannot_be_put_into_a_container_is_told_with_what_to_do() {
        for (identity, said) in [
            (IdentityUsed::File { path: "/k".into(), encrypted: true }, "/k has a passphrase"),
            (IdentityUsed::Agent { comment: "me@laptop".to_owned() }, "(me@laptop) is only in the agent"),
            (
                IdentityUsed::File { path: "/no/such/key".into(), encrypted: false },
                "cannot read the key /no/such/key",
            ),
        ] {
            let failure = remote_access(&access(identity)).unwrap_err();
            assert_eq!(failure.step, "key");
            assert!(failure.said.contains(said), "{failure}");
        }
        let jumping = Access {
            jumps: vec!["jump.example".to_owned()],
            ..access(IdentityUsed::File { path: "/k".into(), encrypted: false })
        };
        assert!(remote_access(&jumping).unwrap_err().said.contains("through jump.example"));
    }

    /// A recorded list of sessions.
    fn recorded(name: &str) -> ContinuousStatus {
        let path = format!("{}/../../fixtures/mutagen/recordings/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let sessions: Vec<SessionState> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        status(&sessions[0])
    }

    #[test]
    fn a_session_is_told_in_the_words_of_the_layer() {
        let watching = recorded("watching");
        assert_eq!(
            (watching.activity, watching.word.as_str(), watching.files),
            (Activity::Watching, "watching", 798)
        );
        assert!(watching.conflicts.is_empty() && watching.problems.is_empty());
        let conflict = recorded("conflict");
        assert_eq!(conflict.conflicts, [Conflict { path: b"conf.txt".to_vec() }]);
        assert_eq!(
            conflict.problems,
            [Problem {
                side: Side::Remote,
                path: b"perm".to_vec(),
                text: "unable to open directory: permission denied".to_owned()
            }]
        );
        assert_eq!(recorded("just-created").activity, Activity::Carrying);
        let emptied = recorded("emptied");
        assert_eq!((emptied.activity, emptied.word.as_str()), (Activity::Halted, "halted-on-root-emptied"));
        assert_eq!(recorded("paused").activity, Activity::Halted);
    }
}
