//! Everything that can go wrong between a worktree and a session that follows it, one variant per cause that a user would
//! act on differently. Each knows the [`Step`] at which it happened, and what the other side said.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The part of the continuous layer that was at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// Reaching the Docker engine.
    Docker,
    /// Having the image of the shell container.
    Image,
    /// Having the shell container, and running programs in it.
    Container,
    /// Putting key, host key and ssh configuration into the container, or taking them out.
    Key,
    /// Having mutagen and its daemon.
    Mutagen,
    /// Reaching the remote from inside the container.
    Ssh,
    /// Mutagen's agent on the remote.
    Agent,
    /// The session itself.
    Session,
}

impl Step {
    /// A short name for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Docker => "docker",
            Step::Image => "image",
            Step::Container => "container",
            Step::Key => "key",
            Step::Mutagen => "mutagen",
            Step::Ssh => "ssh",
            Step::Agent => "agent",
            Step::Session => "session",
        }
    }
}

/// What was being done, in words that follow "while".
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Docker => "reaching the Docker engine",
            Step::Image => "getting the image of the shell container",
            Step::Container => "preparing the shell container",
            Step::Key => "giving the shell container access to the remote",
            Step::Mutagen => "starting mutagen",
            Step::Ssh => "reaching the remote from the shell container",
            Step::Agent => "installing mutagen's agent on the remote",
            Step::Session => "keeping the mutagen session",
        })
    }
}

/// Why the continuous layer could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MutagenError {
    /// What the environment says about where Docker is cannot be used.
    #[error("{place}: {problem}")]
    DockerAddress {
        /// The variable or file that says it.
        place: String,
        /// What is wrong with it, and what serves instead.
        problem: String,
    },

    /// Nobody answers where Docker should be.
    #[error(
        "cannot reach Docker at {address}: {answer}; is it running, and may this user use it? \
         DOCKER_HOST or a Docker context names another place"
    )]
    NoDocker {
        /// Where it was looked for.
        address: String,
        /// The system's answer.
        answer: String,
    },

    /// Docker refused a request.
    #[error("Docker could not {doing}: {answer}")]
    Refused {
        /// What was under way.
        step: Step,
        /// What was asked of it.
        doing: String,
        /// What it said.
        answer: String,
    },

    /// The image is neither here nor to be had.
    #[error(
        "there is no image {image} here, and pulling it failed: {answer}; build or load it, or name another one"
    )]
    NoImage {
        /// The image as given.
        image: String,
        /// What became of the attempt to pull it.
        answer: String,
    },

    /// The name of an image, container or network, or the path of a worktree, cannot be used.
    #[error("{what} {value:?} {problem}")]
    Unusable {
        /// What would have used it.
        step: Step,
        /// What it is.
        what: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        problem: &'static str,
    },

    /// A container of that name exists and was not made for this instance.
    #[error("there is a container {name} that does not belong to this instance; {}", owned_by(owner.as_ref()))]
    ForeignContainer {
        /// Its name.
        name: String,
        /// The project and the instance that it was made for, if it was made by this program.
        owner: Option<(String, String)>,
    },

    /// The name of a container is taken.
    #[error(
        "the name {name} is taken by a container that does not appear; look at Docker's own log, and try again"
    )]
    TakenName {
        /// The name.
        name: String,
    },

    /// The container is there and does not run.
    #[error("the shell container {name} is not running")]
    NotRunning {
        /// Its name.
        name: String,
    },

    /// The user of the image cannot use ssh.
    #[error("the user {user} of the image {image} {problem}, and ssh needs that")]
    User {
        /// Name or number of the user.
        user: String,
        /// The image.
        image: String,
        /// What is missing.
        problem: &'static str,
    },

    /// The ssh configuration that the image has cannot be added to.
    #[error("cannot add to {path} in the shell container {name}: {problem}")]
    SshConfig {
        /// The container.
        name: String,
        /// The file inside the container.
        path: String,
        /// What is wrong with it.
        problem: String,
    },

    /// A program that is needed is not in the image.
    #[error("there is no {program} in the image {image}; it needs one that has mutagen and an ssh client")]
    NoProgram {
        /// What needed it.
        step: Step,
        /// The program.
        program: String,
        /// The image.
        image: String,
    },

    /// A program in the container failed.
    #[error("{command} failed with exit code {code}{}", because(said))]
    Failed {
        /// What it was for.
        step: Step,
        /// The program and what it was to do.
        command: String,
        /// Its exit code.
        code: i64,
        /// What it said, mostly on its standard error.
        said: String,
    },

    /// A program in the container did not end in its time.
    #[error("{command} did not end within {} s", after.as_secs())]
    TimedOut {
        /// What it was for.
        step: Step,
        /// The program and what it was to do.
        command: String,
        /// How long it was given.
        after: Duration,
    },

    /// What a program printed is not what it should be.
    #[error("{command} printed something unexpected: {problem}")]
    Output {
        /// What it was for.
        step: Step,
        /// The program and what it was to do.
        command: String,
        /// What is wrong.
        problem: String,
    },

    /// A session was created and is not there.
    #[error("mutagen created the session {name}, and does not list it")]
    SessionGone {
        /// Its name.
        name: String,
    },

    /// A file of this side cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// What it was for.
        step: Step,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },

    /// This system has no means to start what talks to Docker.
    #[error("cannot start what talks to Docker: {0}")]
    Runtime(io::Error),

    /// It was interrupted.
    #[error("interrupted while {step}")]
    Interrupted {
        /// What was under way.
        step: Step,
    },
}

impl MutagenError {
    /// The step at which it happened.
    pub fn step(&self) -> Step {
        match self {
            Self::DockerAddress { .. } | Self::NoDocker { .. } | Self::Runtime(_) => Step::Docker,
            Self::NoImage { .. } => Step::Image,
            Self::ForeignContainer { .. } | Self::TakenName { .. } | Self::NotRunning { .. } => {
                Step::Container
            }
            Self::User { .. } | Self::SshConfig { .. } => Step::Key,
            Self::SessionGone { .. } => Step::Session,
            Self::Refused { step, .. }
            | Self::Unusable { step, .. }
            | Self::NoProgram { step, .. }
            | Self::Failed { step, .. }
            | Self::TimedOut { step, .. }
            | Self::Output { step, .. }
            | Self::Read { step, .. }
            | Self::Interrupted { step } => *step,
        }
    }

    /// Whether it ended because it was interrupted.
    pub fn is_interrupted(&self) -> bool {
        matches!(self, Self::Interrupted { .. })
    }
}

fn owned_by(owner: Option<&(String, String)>) -> String {
    match owner {
        Some((project, instance)) => format!(
            "it is that of the instance {instance:?} of the project {project:?}; give one of the two another name"
        ),
        None => "remove or rename it".to_owned(),
    }
}

fn because(said: &str) -> String {
    match said.trim() {
        "" => String::new(),
        said => format!(": {said}"),
    }
}
