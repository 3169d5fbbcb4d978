//! Reading Docker's description of an existing container.

use bollard::models::{ContainerInspectResponse, MountPoint};

/// The mount point of the worktree in the container.
pub(crate) const WORKSPACE: &str = "/workspace";

pub(crate) fn workspace_mount(found: &ContainerInspectResponse) -> Option<&MountPoint> {
    found.mounts.iter().flatten().find(|mount| mount.destination.as_deref() == Some(WORKSPACE))
}

/// Whether the container is paused. A paused container counts as running, but no program can be started in it.
pub(crate) fn is_paused(found: &ContainerInspectResponse) -> bool {
    found.state.as_ref().and_then(|state| state.paused) == Some(true)
}

pub(crate) fn is_running(found: &ContainerInspectResponse) -> bool {
    found.state.as_ref().and_then(|state| state.running) == Some(true)
}
