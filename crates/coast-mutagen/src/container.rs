//! The shell container: made from its image when it is missing, used again while it is right, and made anew when it is
//! not.

use crate::docker::{Docker, is_conflict, is_not_found};
use crate::error::{MutagenError, Step};
use crate::inspection::{WORKSPACE, is_paused, is_running, workspace_mount};
use crate::shell::Shell;
use bollard::models::{ContainerCreateBody, ContainerInspectResponse, HostConfig, Mount, MountType};
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long Docker may take to carry out what it was asked for by somebody who does not wait for it any more.
const SETTLES_WITHIN: Duration = Duration::from_secs(60);
/// How long such a request is waited for where it cannot be told whether there is one.
const MAY_BE_ON_ITS_WAY: Duration = Duration::from_secs(3);
/// How often is looked meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The name under which the container knows the machine it runs on.
pub const HOST_GATEWAY: &str = "host.docker.internal";
/// The label of a container that holds the project's name.
pub const PROJECT_CONTAINER_LABEL: &str = "coast.project";
/// The label of a container that holds the instance's name.
pub const INSTANCE_CONTAINER_LABEL: &str = "coast.instance";

/// What the shell container is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellSpec {
    /// Its name.
    pub name: String,
    /// The image, as Docker names it.
    pub image: String,
    /// The absolute path of the worktree, which is mounted at [`WORKSPACE`].
    pub worktree: PathBuf,
    /// Its network: `bridge`, `host`, or the name of one.
    pub network: String,
    /// Its labels. A container of the same name with others is not touched.
    pub labels: Vec<(String, String)>,
}

impl ShellSpec {
    /// The shell container of an instance, by its usual name and with its usual labels.
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

/// The name of the shell container of an instance. Docker takes none with two dots in a row, and instances whose names have them
/// are not made any more; but one that was made before must go on to be stopped and removed. Its name ends as no other's does.
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

/// What [`Docker::ensure_shell`] had to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ensured {
    /// There was none; it was made.
    Created,
    /// It was there and right, and is as it was, or was only started.
    Reused,
    /// It was there with another worktree, network or image, and was made anew.
    Recreated,
}

impl Docker {
    /// Has the shell container run as `spec` says. An image that is not here is pulled.
    ///
    /// # Errors
    /// Among others [`MutagenError::NoImage`], and [`MutagenError::ForeignContainer`] where the name is taken.
    pub fn ensure_shell(&self, spec: &ShellSpec) -> Result<(Shell, Ensured), MutagenError> {
        check_name(&spec.name)?;
        let worktree = worktree_path(&spec.worktree)?;
        let mut found = self.inspect(&spec.name)?;
        if found.is_none() {
            match self.create(spec, worktree) {
                // It was on its way: somebody asked for it and was killed before it was there.
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
                // Docker mounts anew at each start, so that what is mounted is what is there now.
                if self.start(&spec.name).is_ok() {
                    return Ok((Shell::new(self, found), Ensured::Reused));
                }
            } else if !is_paused(&found) || self.unpause(&spec.name).is_ok() {
                let shell = Shell::new(self, found);
                if shell.mounts_what_is_there(&spec.worktree)? {
                    return Ok((shell, Ensured::Reused));
                }
            }
        }
        // What the new one needs is there before the old one goes.
        self.image(&spec.image)?;
        self.remove_shell(&spec.name, &spec.labels)?;
        Ok((self.create(spec, worktree)?, Ensured::Recreated))
    }

    /// The container of that name and with these labels, if there is one, running or not.
    ///
    /// # Errors
    /// [`MutagenError::ForeignContainer`] where the name is that of a container without these labels; and when Docker cannot be asked.
    pub fn find_shell(&self, name: &str, labels: &[(String, String)]) -> Result<Option<Shell>, MutagenError> {
        check_name(name)?;
        self.owned(name, labels, self.inspect(name)?)
    }

    /// What was found under a name, if it is ours. A [`Shell`] is only ever made of such a container, so whatever is done with one is
    /// done to nobody else's.
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

    /// The container of that name as [`Docker::find_shell`] finds it, once no earlier request can make it appear later: Docker goes
    /// on with what it was asked for when the one who asked is killed, and shows the container only at the end. `labels` are those
    /// that it would have.
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
            // From the beginning of such a request the name is taken, so who gets it knows that there is none.
            match self.create_container(name, name_only(labels)) {
                Ok(()) => drop(self.remove_shell(name, labels)?),
                Err(MutagenError::TakenName { .. }) => found = self.wait_for(name, SETTLES_WITHIN)?,
                Err(MutagenError::Refused { .. }) => found = self.wait_for(name, MAY_BE_ON_ITS_WAY)?,
                Err(error) => return Err(error),
            }
        }
        self.owned(name, labels, found)
    }

    /// Looks for a container until it is there or the time is over.
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

    /// Ends and removes the container of that name and with these labels, with all that was put into it. Whether there was one.
    ///
    /// # Errors
    /// [`MutagenError::ForeignContainer`] where the name is that of a container without these labels, which stays as it is; and when
    /// Docker cannot be asked, or cannot remove it.
    pub fn remove_shell(&self, name: &str, labels: &[(String, String)]) -> Result<bool, MutagenError> {
        check_name(name)?;
        let Some(found) = self.inspect(name)? else { return Ok(false) };
        check_labels(name, &found, labels)?;
        // By its id: the name may be another container's by the time Docker acts.
        let id = found.id.as_deref().unwrap_or(name);
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let until = Instant::now() + SETTLES_WITHIN;
        let mut there = false;
        loop {
            let gone = self.call(Step::Container, async {
                match self.api().remove_container(id, Some(options.clone())).await {
                    Ok(()) => Ok(Some(true)),
                    Err(error) if is_not_found(&error) => Ok(Some(there)),
                    // Somebody else is removing it, or asked for that and was killed.
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
        if let Err(error) = self.start(&spec.name) {
            // It would only be in the way; why it did not start is what matters.
            drop(self.remove_shell(&spec.name, &spec.labels));
            return Err(error);
        }
        let found = self.inspect(&spec.name)?;
        let found = found.ok_or_else(|| MutagenError::NotRunning { name: spec.name.clone() })?;
        Ok(Shell::new(self, found))
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

    /// Whether the container was made from what `image` means now. An image that was removed meanwhile is no reason to
    /// give up a container that works.
    fn has_image_of(&self, found: &ContainerInspectResponse, image: &str) -> Result<bool, MutagenError> {
        let now = self.find_image(image)?;
        Ok(now.is_none_or(|now| found.image.as_deref() == Some(now.as_str())))
    }
}

/// `sleep infinity` under an init, which reaps what mutagen and ssh leave behind. A mount, rather than a bind, so that a
/// worktree that is missing is an error and not an empty directory made by Docker.
fn created(spec: &ShellSpec, worktree: &str) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        entrypoint: Some(vec!["sleep".to_owned()]),
        cmd: Some(vec!["infinity".to_owned()]),
        // Not the worktree: when that is gone, programs could not even be started to say so.
        working_dir: Some("/".to_owned()),
        labels: Some(spec.labels.iter().cloned().collect()),
        host_config: Some(HostConfig {
            init: Some(true),
            mounts: Some(vec![Mount {
                typ: Some(MountType::BIND),
                source: Some(worktree.to_owned()),
                target: Some(WORKSPACE.to_owned()),
                ..Mount::default()
            }]),
            network_mode: Some(spec.network.clone()),
            extra_hosts: Some(vec![format!("{HOST_GATEWAY}:host-gateway")]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// A container of no image that is never started. It has labels so that it is known as ours should it be left.
fn name_only(labels: &[(String, String)]) -> ContainerCreateBody {
    ContainerCreateBody {
        entrypoint: Some(vec!["sleep".to_owned()]),
        labels: Some(labels.iter().cloned().collect()),
        ..ContainerCreateBody::default()
    }
}

/// Whether a container is ours: its name alone says nothing, since anybody can give one, and since the names of two instances may be
/// put together to the same.
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

/// Whether worktree, network and image are those of `spec`, by their names.
fn fits(found: &ContainerInspectResponse, spec: &ShellSpec, worktree: &str) -> bool {
    let network = found.host_config.as_ref().and_then(|config| config.network_mode.as_deref());
    let image = found.config.as_ref().and_then(|config| config.image.as_deref());
    let mount = workspace_mount(found);
    mount.is_some_and(|mount| {
        mount.typ.as_deref() == Some("bind") && mount.source.as_deref() == Some(worktree)
    }) && same_network(network, &spec.network)
        && image == Some(spec.image.as_str())
}

/// Docker calls the network of a container that named none `default`; on Linux that is the bridge.
fn same_network(has: Option<&str>, wanted: &str) -> bool {
    let plain = |name| if name == "default" { "bridge" } else { name };
    has.map(plain) == Some(plain(wanted))
}

/// Docker's own rule for names of containers; it also keeps a name in its place in the path of a request.
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
