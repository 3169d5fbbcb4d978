//! The errors of this crate: one variant for each cause that a user acts on differently. Each has the [`Step`] at which it happened
//! and the answer of Docker, the program or the system.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A part of the work, for messages and for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// Reaching the Docker engine.
    Docker,
    /// Finding or building the image of the shell container.
    Image,
    /// Creating the shell container and running programs in it.
    Container,
    /// Putting the key, the host key and the ssh configuration into the container, or removing them.
    Key,
    /// Starting mutagen's daemon.
    Mutagen,
    /// Reaching the remote from inside the container.
    Ssh,
    /// Installing and starting mutagen's agent on the remote.
    Agent,
    /// Creating, listing, flushing or terminating the session.
    Session,
}

impl Step {
    /// The name in JSON.
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

/// A participle phrase for messages, such as "starting mutagen".
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Docker => "reaching the Docker engine",
            Step::Image => "finding the image of the shell container",
            Step::Container => "preparing the shell container",
            Step::Key => "giving the shell container access to the remote",
            Step::Mutagen => "starting mutagen",
            Step::Ssh => "reaching the remote from the shell container",
            Step::Agent => "installing mutagen's agent on the remote",
            Step::Session => "keeping the mutagen session",
        })
    }
}

/// The error of a call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum MutagenError {
    /// The environment names an address of the engine that cannot be used.
    #[error("{place}: {problem}")]
    DockerAddress { place: String, problem: String },

    /// No engine answers at the address.
    #[error(
        "cannot reach Docker at {address}: {answer}; start it, allow this user to use it, \
         or name another address with DOCKER_HOST or a Docker context"
    )]
    NoDocker { address: String, answer: String },

    /// Docker refused a request.
    #[error("Docker could not {doing}: {answer}")]
    Refused { step: Step, doing: String, answer: String },

    /// The engine does not have the image.
    #[error("Docker has no image {image}, and coast pulls none by itself; {}", getting(image))]
    NoImage { image: String },

    /// The engine does not have the image to build on.
    #[error(
        "Docker has no image {image} to build on, and coast pulls none by itself; get it with: docker pull {image}, or build on \
         an archive of a root file system with --rootfs"
    )]
    NoBase { image: String },

    /// A step of an image's recipe failed.
    #[error("Docker could not build the image {tag}: {answer}; {}", mend(answer))]
    NotBuilt { tag: String, answer: String },

    /// The name of an image, container or network, or the path of a worktree, cannot be used.
    #[error("{what} {value:?} {problem}")]
    Unusable { step: Step, what: &'static str, value: String, problem: &'static str },

    /// A container of that name exists and does not have the labels of the instance.
    #[error("there is a container {name} that does not belong to this instance; {}", owned_by(owner.as_ref()))]
    ForeignContainer { name: String, owner: Option<(String, String)> },

    /// Docker has reserved the name of the container and shows no container.
    #[error(
        "Docker has reserved the name {name} for a container that does not appear; look at Docker's log, and try again"
    )]
    TakenName { name: String },

    /// The container exists and does not run.
    #[error("the shell container {name} is not running")]
    NotRunning { name: String },

    /// The user of the image cannot use ssh.
    #[error("the user {user} of the image {image} {problem}, and ssh needs that")]
    User { user: String, image: String, problem: &'static str },

    /// The ssh configuration of the image cannot be extended.
    #[error("cannot add to {path} in the shell container {name}: {problem}")]
    SshConfig { name: String, path: String, problem: String },

    /// The image lacks a program.
    #[error("the image {image} has no {program}; use an image that has mutagen and an ssh client")]
    NoProgram { step: Step, program: String, image: String },

    /// A program in the container failed.
    #[error("{command} failed with exit code {code}{}", because(said))]
    Failed { step: Step, command: String, code: i64, said: String },

    /// A program in the container did not end within its time limit.
    #[error("{command} did not end within {} s", after.as_secs())]
    TimedOut { step: Step, command: String, after: Duration },

    /// A program printed something unexpected.
    #[error("{command} printed something unexpected: {problem}")]
    Output { step: Step, command: String, problem: String },

    /// Mutagen created a session and does not list it.
    #[error("mutagen created the session {name} and does not list it")]
    SessionGone { name: String },

    /// A file of this machine cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read { step: Step, path: PathBuf, error: io::Error },

    /// The asynchronous runtime for the Docker client cannot be started.
    #[error("cannot start the Docker client: {0}")]
    Runtime(io::Error),

    /// An [`Interrupt`](crate::Interrupt) ended the call.
    #[error("interrupted while {step}")]
    Interrupted { step: Step },
}

impl MutagenError {
    /// The step at which it happened.
    pub fn step(&self) -> Step {
        match self {
            Self::DockerAddress { .. } | Self::NoDocker { .. } | Self::Runtime(_) => Step::Docker,
            Self::NoImage { .. } | Self::NoBase { .. } | Self::NotBuilt { .. } => Step::Image,
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

    /// Whether an [`Interrupt`](crate::Interrupt) ended the call.
    pub fn is_interrupted(&self) -> bool {
        matches!(self, Self::Interrupted { .. })
    }
}

fn owned_by(owner: Option<&(String, String)>) -> String {
    match owner {
        Some((project, instance)) => format!(
            "it belongs to the instance {instance:?} of the project {project:?}; give one of the two another name"
        ),
        None => "remove or rename it".to_owned(),
    }
}

/// How to get an image for shell containers. A name without a registry or an owner is not suggested to be pulled: on Docker Hub
/// anybody's image may come to have it, and the container gets a key.
fn getting(image: &str) -> String {
    let make = format!("coast image build --mutagen ARCHIVE --tag {image}");
    if image.contains('/') {
        format!("get it with: docker pull {image}, or make it with: {make}")
    } else {
        format!("make it with: {make}")
    }
}

/// The remedy for a step of an image's recipe that failed.
fn mend(answer: &str) -> &'static str {
    if answer.contains("/bin/sh") {
        "the base needs a shell, and either ssh and scp, or apt-get, apk or dnf and a network to install them over (--network)"
    } else if answer.contains("mutagen") {
        "--mutagen takes the archive of a release of mutagen for this engine's processor, such as \
         mutagen_linux_amd64_v0.18.1.tar.gz, which holds mutagen and mutagen-agents.tar.gz"
    } else {
        "the output of the steps says more; --quiet and --json leave it out"
    }
}

fn because(said: &str) -> String {
    match said.trim() {
        "" => String::new(),
        said => format!(": {said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_image_with_a_registry_or_an_owner_is_suggested_to_be_pulled() {
        let said = |image: &str| MutagenError::NoImage { image: image.to_owned() }.to_string();
        assert_eq!(
            said("coast-shell:9"),
            "Docker has no image coast-shell:9, and coast pulls none by itself; make it with: coast image build --mutagen ARCHIVE \
             --tag coast-shell:9"
        );
        for image in ["ghcr.io/me/shell", "me/shell:1"] {
            assert!(
                said(image).contains(&format!("; get it with: docker pull {image}, or make it with: coast"))
            );
        }
    }
}
