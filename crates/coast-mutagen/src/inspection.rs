//! Reading Docker's description of an existing container.

use bollard::models::{ContainerInspectResponse, MountPoint, RestartPolicyNameEnum};

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

/// Whether the container's program has ended and Docker is about to start it again. A restarting container counts as running, but
/// no program can be started in it.
pub(crate) fn is_restarting(found: &ContainerInspectResponse) -> bool {
    found.state.as_ref().and_then(|state| state.restarting) == Some(true)
}

/// The exit code of the container's program at its last end.
pub(crate) fn exit_code(found: &ContainerInspectResponse) -> i64 {
    found.state.as_ref().and_then(|state| state.exit_code).unwrap_or_default()
}

/// Whether Docker starts the container again after it ended.
pub(crate) fn restarts(found: &ContainerInspectResponse) -> bool {
    let policy = found.host_config.as_ref().and_then(|config| config.restart_policy.as_ref());
    policy.and_then(|policy| policy.name) == Some(RestartPolicyNameEnum::ALWAYS)
}
