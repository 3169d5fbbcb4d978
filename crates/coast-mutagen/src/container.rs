//! The life of the shell container. [`Docker::ensure_shell`] creates it, reuses it while worktree, network and image are the wanted
//! ones, and recreates it otherwise.

use crate::docker::{Docker, is_conflict, is_not_found};
use crate::error::{MutagenError, Step};
use crate::inspection::{WORKSPACE, is_paused, is_running, workspace_mount};
use crate::shell::Shell;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerUpdateBody, HostConfig, Mount, MountType,
    RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long Docker may take to finish a request of a killed command.
const SETTLES_WITHIN: Duration = Duration::from_secs(60);
/// How long to wait for such a request when it is unknown whether there is one.
const MAY_BE_ON_ITS_WAY: Duration = Duration::from_secs(3);
/// The interval between two looks at the container.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long mutagen's daemon may take to end before Docker kills it, in seconds.
const STOP_PATIENCE_SECONDS: i32 = 5;

/// The host name of this machine inside the container.
pub(crate) const HOST_GATEWAY: &str = "host.docker.internal";
/// The container label that holds the name of the project.
const PROJECT_CONTAINER_LABEL: &str = "coast.project";
/// The container label that holds the name of the instance.
const INSTANCE_CONTAINER_LABEL: &str = "coast.instance";
/// The container label that holds [`MAKE`].
const MAKE_LABEL: &str = "coast.make";
/// The version of everything in [`created`] that [`fits`] does not compare. A container of another version is recreated.
const MAKE: &str = "2";

/// The parameters of a shell container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellSpec {
    /// The container's name.
    pub name: String,
    /// The image, as Docker names it.
    pub image: String,
    /// The absolute path of the worktree, which is mounted at `/workspace`.
    pub worktree: PathBuf,
    /// The network: `bridge`, `host`, or the name of a Docker network.
    pub network: String,
    /// The labels. A container of the same name with other labels is never changed.
    pub labels: Vec<(String, String)>,
}

impl ShellSpec {
    /// The parameters of an instance's shell container, with the name [`shell_name`] and the labels [`shell_labels`].
    pub fn new(
        project: &str,
        instance: &str,
        image: impl Into<String>,
        worktree: impl Into<PathBuf>,
        network: impl Into<String>,
    ) -> ShellSpec {
        ShellSpec {
            name: shell_name(project, instance),
            image: image.into(),
            worktree: worktree.into(),
            network: network.into(),
            labels: shell_labels(project, instance),
        }
    }
}

/// The labels of the shell container of an instance.
pub fn shell_labels(project: &str, instance: &str) -> Vec<(String, String)> {
    vec![
        (PROJECT_CONTAINER_LABEL.to_owned(), project.to_owned()),
        (INSTANCE_CONTAINER_LABEL.to_owned(), instance.to_owned()),
    ]
}

/// The name of the shell container of an instance. Docker refuses two dots in a row. New instances cannot have such names; for old
/// ones, which must still be stopped and removed, the dots are separated, and the suffix `-dots` keeps the name unique.
pub fn shell_name(project: &str, instance: &str) -> String {
    let name = format!("{project}-coasts-{instance}-shell");
    if !name.contains("..") {
        return name;
    }
    let mut apart = String::with_capacity(name.len());
    for letter in name.chars() {
        if letter == '.' && apart.ends_with('.') {
            apart.push('_');
        }
        apart.push(letter);
    }
    apart + "-dots"
}

/// The action that [`Docker::ensure_shell`] took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ensured {
    /// The container did not exist and was created.
    Created,
    /// The container existed with the wanted parameters; if it was stopped or paused, it was started.
    Reused,
    /// The container existed with another worktree, network or image, or was made by another version of coast, and was recreated.
    Recreated,
}

impl Docker {
    /// Makes the shell container run with the parameters of `spec`, and waits until mutagen's daemon answers in it. No image is
    /// ever pulled.
    ///
    /// # Errors
    /// [`MutagenError::NoImage`] if Docker does not have the image, [`MutagenError::ForeignContainer`] if another owner's container
    /// has the name, [`MutagenError::NoProgram`] if the image has no mutagen, and Docker's own errors.
    pub fn ensure_shell(&self, spec: &ShellSpec) -> Result<(Shell, Ensured), MutagenError> {
        check_name(&spec.name)?;
        let worktree = worktree_path(&spec.worktree)?;
        let mut found = self.inspect(&spec.name)?;
        if found.is_none() {
            match self.create(spec, worktree) {
                // A killed command had asked for the container, and Docker is still creating it.
                Err(MutagenError::TakenName { .. }) => found = self.wait_for(&spec.name, SETTLES_WITHIN)?,
                created => return Ok((created?, Ensured::Created)),
            }
        }
        let Some(found) = found else {
            return Ok((self.create(spec, worktree)?, Ensured::Created));
        };
        check_labels(&spec.name, &found, &spec.labels)?;
        if fits(&found, spec, worktree) && self.has_image_of(&found, &spec.image)? {
            if !is_running(&found) {
                // Docker mounts the worktree again at each start, so that the mount is the current directory.
                let restarts = self.set_restart_policy(&spec.name, RestartPolicyNameEnum::ALWAYS);
                if restarts.and_then(|()| self.start(&spec.name)).is_ok() {
                    let shell = Shell::new(self, found);
                    if shell.has_daemon()? {
                        return Ok((shell, Ensured::Reused));
                    }
                }
            } else if !is_paused(&found) || self.unpause(&spec.name).is_ok() {
                let shell = Shell::new(self, found);
                if shell.has_daemon()? && shell.mounts_current(&spec.worktree)? {
                    return Ok((shell, Ensured::Reused));
                }
            }
        }
        // The image is looked for first: if there is none, the old container stays.
        self.image(&spec.image)?;
        self.remove_shell(&spec.name, &spec.labels)?;
        Ok((self.create(spec, worktree)?, Ensured::Recreated))
    }

    /// The container with this name and these labels, running or not; `None` if no container has the name.
    ///
    /// # Errors
    /// [`MutagenError::ForeignContainer`] if the container of that name lacks a label, and Docker's own errors.
    pub fn find_shell(&self, name: &str, labels: &[(String, String)]) -> Result<Option<Shell>, MutagenError> {
        check_name(name)?;
        self.owned(name, labels, self.inspect(name)?)
    }

    /// Makes a [`Shell`] of a container that has the labels. No other function makes one, so that no method of [`Shell`] changes a
    /// container of another owner.
    fn owned(
        &self,
        name: &str,
        labels: &[(String, String)],
        found: Option<ContainerInspectResponse>,
    ) -> Result<Option<Shell>, MutagenError> {
        let Some(found) = found else { return Ok(None) };
        check_labels(name, &found, labels)?;
        Ok(Some(Shell::new(self, found)))
    }

    /// The container as [`Docker::find_shell`] finds it, once no request of a killed command can make it appear later. Docker goes
    /// on with a request after the client was killed, and shows the container only when it is complete.
    ///
    /// # Errors
    /// As [`Docker::find_shell`].
    pub fn settled_shell(
        &self,
        name: &str,
        labels: &[(String, String)],
    ) -> Result<Option<Shell>, MutagenError> {
        check_name(name)?;
        let mut found = self.inspect(name)?;
        if found.is_none() {
            // Docker reserves the name when such a request begins. Getting the name proves that there is no such request.
            match self.create_container(name, name_only(labels)) {
                Ok(()) => drop(self.remove_shell(name, labels)?),
                Err(MutagenError::TakenName { .. }) => found = self.wait_for(name, SETTLES_WITHIN)?,
                Err(MutagenError::Refused { .. }) => found = self.wait_for(name, MAY_BE_ON_ITS_WAY)?,
                Err(error) => return Err(error),
            }
        }
        self.owned(name, labels, found)
    }

    /// Looks for a container until it appears or the time is over.
    fn wait_for(
        &self,
        name: &str,
        limit: Duration,
    ) -> Result<Option<ContainerInspectResponse>, MutagenError> {
        let until = Instant::now() + limit;
        loop {
            let found = self.inspect(name)?;
            if found.is_some() || Instant::now() >= until {
                return Ok(found);
            }
            self.pause(Step::Container, LOOK_AGAIN)?;
        }
    }

    /// Kills and removes the container with this name and these labels. Returns whether it existed.
    ///
    /// # Errors
    /// [`MutagenError::ForeignContainer`] if the container of that name lacks a label; it stays. Docker's own errors, too.
    pub fn remove_shell(&self, name: &str, labels: &[(String, String)]) -> Result<bool, MutagenError> {
        check_name(name)?;
        let Some(found) = self.inspect(name)? else { return Ok(false) };
        check_labels(name, &found, labels)?;
        // The id, because another container may have the name by the time Docker acts.
        let id = found.id.as_deref().unwrap_or(name);
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let until = Instant::now() + SETTLES_WITHIN;
        let mut there = false;
        loop {
            let gone = self.call(Step::Container, async {
                match self.api().remove_container(id, Some(options.clone())).await {
                    Ok(()) => Ok(Some(true)),
                    Err(error) if is_not_found(&error) => Ok(Some(there)),
                    // Docker is removing it already, for another command or one that was killed.
                    Err(error) if is_conflict(&error) && Instant::now() < until => Ok(None),
                    Err(error) => {
                        Err(self.refused(Step::Container, format!("remove the container {name}"), &error))
                    }
                }
            })?;
            if let Some(there) = gone {
                return Ok(there);
            }
            there = true;
            self.pause(Step::Container, LOOK_AGAIN)?;
        }
    }

    /// Stops the container with this name and these labels, and leaves it so when Docker or this machine starts again. A missing
    /// container is no error.
    ///
    /// # Errors
    /// [`MutagenError::ForeignContainer`] if the container of that name lacks a label; it is left alone. Docker's own errors, too.
    pub fn stop_shell(&self, name: &str, labels: &[(String, String)]) -> Result<(), MutagenError> {
        check_name(name)?;
        let Some(found) = self.inspect(name)? else { return Ok(()) };
        check_labels(name, &found, labels)?;
        let id = found.id.as_deref().unwrap_or(name);
        self.set_restart_policy(id, RestartPolicyNameEnum::NO)?;
        let options = StopContainerOptionsBuilder::new().t(STOP_PATIENCE_SECONDS).build();
        self.call(Step::Container, async {
            match self.api().stop_container(id, Some(options)).await {
                Err(error) if !is_not_found(&error) => {
                    Err(self.refused(Step::Container, format!("stop the container {name}"), &error))
                }
                _ => Ok(()),
            }
        })
    }

    /// Sets whether Docker starts the container again after it ended.
    fn set_restart_policy(&self, name: &str, policy: RestartPolicyNameEnum) -> Result<(), MutagenError> {
        let restart_policy = Some(RestartPolicy { name: Some(policy), maximum_retry_count: None });
        let update = ContainerUpdateBody { restart_policy, ..ContainerUpdateBody::default() };
        self.call(Step::Container, async {
            let updated = self.api().update_container(name, update).await;
            updated.map_err(|error| {
                self.refused(Step::Container, format!("set when the container {name} restarts"), &error)
            })
        })
    }

    pub(crate) fn inspect(&self, name: &str) -> Result<Option<ContainerInspectResponse>, MutagenError> {
        self.call(Step::Container, async {
            match self.api().inspect_container(name, None).await {
                Ok(found) => Ok(Some(found)),
                Err(error) if is_not_found(&error) => Ok(None),
                Err(error) => {
                    Err(self.refused(Step::Container, format!("look at the container {name}"), &error))
                }
            }
        })
    }

    fn create(&self, spec: &ShellSpec, worktree: &str) -> Result<Shell, MutagenError> {
        self.image(&spec.image)?;
        self.create_container(&spec.name, created(spec, worktree))?;
        let started = self.start(&spec.name).and_then(|()| self.inspect(&spec.name)).and_then(|found| {
            let found = found.ok_or_else(|| MutagenError::NotRunning { name: spec.name.clone() })?;
            let shell = Shell::new(self, found);
            shell.await_daemon()?;
            Ok(shell)
        });
        if started.is_err() {
            // A container that cannot start is of no use, and Docker would start it again and again. The error of the start is
            // the one to report.
            drop(self.remove_shell(&spec.name, &spec.labels));
        }
        started
    }

    fn create_container(&self, name: &str, body: ContainerCreateBody) -> Result<(), MutagenError> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        self.call(Step::Container, async {
            match self.api().create_container(Some(options), body).await {
                Ok(_) => Ok(()),
                Err(error) if is_conflict(&error) => Err(MutagenError::TakenName { name: name.to_owned() }),
                Err(error) => {
                    Err(self.refused(Step::Container, format!("create the container {name}"), &error))
                }
            }
        })
    }

    fn start(&self, name: &str) -> Result<(), MutagenError> {
        self.call(Step::Container, async {
            let started = self.api().start_container(name, None).await;
            started
                .map_err(|error| self.refused(Step::Container, format!("start the container {name}"), &error))
        })
    }

    pub(crate) fn unpause(&self, name: &str) -> Result<(), MutagenError> {
        self.call(Step::Container, async {
            match self.api().unpause_container(name).await {
                Ok(()) => Ok(()),
                Err(error) => {
                    Err(self.refused(Step::Container, format!("unpause the container {name}"), &error))
                }
            }
        })
    }

    /// Whether the container was made from the image that the name `image` refers to now. If that image was removed meanwhile, the
    /// container stays in use.
    fn has_image_of(&self, found: &ContainerInspectResponse, image: &str) -> Result<bool, MutagenError> {
        let now = self.find_image(image)?;
        Ok(now.is_none_or(|now| found.image.as_deref() == Some(now.as_str())))
    }
}

/// The container's program is mutagen's daemon, under an init that reaps orphaned processes of mutagen and ssh. When the daemon
/// ends, and when Docker or this machine starts again, Docker starts the container again and the daemon goes on with its sessions.
/// The restart policy is not `unless-stopped`: a container that ran when the engine was killed counts as stopped by the user, and
/// would not be started.
///
/// Mutagen only reads the worktree, so the mount is read-only. The only capability lets root read the files of the worktree's
/// owner; `CAP_DAC_READ_SEARCH` would be less on the mount, but lets a process open any file of this machine by its handle. The
/// worktree is a mount and not a bind: for a bind, Docker would create a missing worktree as an empty directory.
fn created(spec: &ShellSpec, worktree: &str) -> ContainerCreateBody {
    let make = (MAKE_LABEL.to_owned(), MAKE.to_owned());
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        entrypoint: Some(vec!["mutagen".to_owned()]),
        cmd: Some(vec!["daemon".to_owned(), "run".to_owned()]),
        // Programs could not be started in the worktree after it was removed.
        working_dir: Some("/".to_owned()),
        // The image may name another signal for its own program.
        stop_signal: Some("SIGTERM".to_owned()),
        labels: Some(spec.labels.iter().cloned().chain([make]).collect()),
        host_config: Some(HostConfig {
            init: Some(true),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::ALWAYS),
                maximum_retry_count: None,
            }),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: Some(vec!["DAC_OVERRIDE".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            mounts: Some(vec![Mount {
                typ: Some(MountType::BIND),
                source: Some(worktree.to_owned()),
                target: Some(WORKSPACE.to_owned()),
                read_only: Some(true),
                ..Mount::default()
            }]),
            network_mode: Some(spec.network.clone()),
            extra_hosts: Some(vec![format!("{HOST_GATEWAY}:host-gateway")]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// A container without an image that is never started. The labels let a later command remove it, should it be left.
fn name_only(labels: &[(String, String)]) -> ContainerCreateBody {
    ContainerCreateBody {
        entrypoint: Some(vec!["mutagen".to_owned()]),
        labels: Some(labels.iter().cloned().collect()),
        ..ContainerCreateBody::default()
    }
}

/// Checks that a container has the labels. Its name proves nothing: anybody can use it, and the names of two instances may result in
/// the same container name.
fn check_labels(
    name: &str,
    found: &ContainerInspectResponse,
    labels: &[(String, String)],
) -> Result<(), MutagenError> {
    let has = found.config.as_ref().and_then(|config| config.labels.as_ref());
    let label = |key: &str| has.and_then(|has| has.get(key));
    if labels.iter().all(|(key, value)| label(key) == Some(value)) {
        return Ok(());
    }
    let owner = label(PROJECT_CONTAINER_LABEL).cloned().zip(label(INSTANCE_CONTAINER_LABEL).cloned());
    Err(MutagenError::ForeignContainer { name: name.to_owned(), owner })
}

/// Whether this version of coast made the container. The container of an earlier version has another program.
pub(crate) fn is_current_make(found: &ContainerInspectResponse) -> bool {
    let labels = found.config.as_ref().and_then(|config| config.labels.as_ref());
    labels.and_then(|labels| labels.get(MAKE_LABEL)).is_some_and(|make| make == MAKE)
}

/// Whether this version of coast made the container, with the worktree, the network and the image name of `spec`.
fn fits(found: &ContainerInspectResponse, spec: &ShellSpec, worktree: &str) -> bool {
    let network = found.host_config.as_ref().and_then(|config| config.network_mode.as_deref());
    let image = found.config.as_ref().and_then(|config| config.image.as_deref());
    let mount = workspace_mount(found);
    mount.is_some_and(|mount| {
        mount.typ.as_deref() == Some("bind") && mount.source.as_deref() == Some(worktree)
    }) && same_network(network, &spec.network)
        && image == Some(spec.image.as_str())
        && is_current_make(found)
}

/// Compares two networks. Docker reports `default` for a container that named none, which is `bridge` on Linux.
fn same_network(has: Option<&str>, wanted: &str) -> bool {
    let plain = |name| if name == "default" { "bridge" } else { name };
    has.map(plain) == Some(plain(wanted))
}

/// Checks Docker's rule for container names, which also keeps a name inside its part of a request's path.
fn check_name(name: &str) -> Result<(), MutagenError> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first
        && !name.contains("..")
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    {
        return Ok(());
    }
    let problem = "may only have letters, digits, `-`, `_` and `.`, the first a letter or digit";
    let what = "the name of the container";
    Err(MutagenError::Unusable { step: Step::Container, what, value: name.to_owned(), problem })
}

fn worktree_path(worktree: &Path) -> Result<&str, MutagenError> {
    let problem = match worktree.to_str() {
        Some(_) if !worktree.is_absolute() => "is not absolute",
        Some(_) if !worktree.is_dir() => "is not a directory that exists",
        Some(path) => return Ok(path),
        None => "is not UTF-8, and Docker mounts no such path",
    };
    let value = worktree.display().to_string();
    Err(MutagenError::Unusable { step: Step::Container, what: "the worktree", value, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instance_has_a_container_name_that_docker_takes() {
        for (project, instance, name) in [
            ("shop", "dev-1.2", "shop-coasts-dev-1.2-shell"),
            ("shop", "a..b", "shop-coasts-a._.b-shell-dots"),
            ("s...p", "a", "s._._.p-coasts-a-shell-dots"),
        ] {
            assert_eq!(shell_name(project, instance), name);
            assert!(check_name(name).is_ok());
        }
    }

    #[test]
    fn a_name_that_would_leave_its_place_in_a_request_is_refused() {
        for name in ["", "-a", "a/b", "a b", "a?force=1", "a..b", "ü"] {
            assert_eq!(check_name(name).unwrap_err().step(), Step::Container, "{name}");
        }
        assert!(check_name("p-coasts-dev-1-shell").is_ok());
    }

    #[test]
    fn a_worktree_is_mounted_by_its_absolute_path_only() {
        let error = worktree_path(Path::new("here")).unwrap_err().to_string();
        assert_eq!(error, "the worktree \"here\" is not absolute");
        let error = worktree_path(Path::new("/nowhere/here")).unwrap_err().to_string();
        assert_eq!(error, "the worktree \"/nowhere/here\" is not a directory that exists");
    }
}
