//! What Docker tells of a container that is there.

use bollard::models::{ContainerInspectResponse, MountPoint};

/// Where the worktree is inside the container.
pub const WORKSPACE: &str = "/workspace";

pub(crate) fn workspace_mount(found: &ContainerInspectResponse) -> Option<&MountPoint> {
    found.mounts.iter().flatten().find(|mount| mount.destination.as_deref() == Some(WORKSPACE))
}

/// A container that is paused runs, too; but programs cannot be run in it.
pub(crate) fn is_paused(found: &ContainerInspectResponse) -> bool {
    found.state.as_ref().and_then(|state| state.paused) == Some(true)
}

pub(crate) fn is_running(found: &ContainerInspectResponse) -> bool {
    found.state.as_ref().and_then(|state| state.running) == Some(true)
}
