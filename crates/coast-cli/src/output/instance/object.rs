//! The state of an instance, or of all, as an object for programs.

use coast_instance::{ContinuousStatus, Edits, Holder, InstanceStatus, Listed, Record, Retry, WorktreeState};
use serde::Serialize;

/// An instance as an object.
#[derive(Serialize)]
pub(crate) struct InstanceObject<'a> {
    #[serde(flatten)]
    record: &'a Record,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<HolderObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    continuous: Option<SessionObject<'a>>,
    /// The state of the worktree's directory, in one word.
    worktree_is: &'static str,
    /// The reason why the worktree's directory could not be examined.
    #[serde(skip_serializing_if = "Option::is_none")]
    worktree_error: Option<&'a str>,
    /// The reason why the session could not be paused although the worktree is lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_paused: Option<&'a str>,
    /// The answer of the remote.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<CheckObject<'a>>,
    /// Whether an edit would arrive, in one word.
    edits: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    begins_to_follow: bool,
    /// The next attempt of coastd to mend the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    mending: Option<&'a Retry>,
}

/// The answer of a remote, or the reason why there is none.
#[derive(Serialize)]
#[serde(untagged)]
enum CheckObject<'a> {
    Answer { login: &'a str, workspace: bool },
    Error { error: &'a str },
}

/// The status of the session, or the reason why it cannot be told.
#[derive(Serialize)]
#[serde(untagged)]
enum SessionObject<'a> {
    Status(&'a ContinuousStatus),
    Error { error: &'a str },
}

/// The command that works on an instance.
#[derive(Serialize)]
struct HolderObject<'a> {
    pid: u32,
    command: &'a str,
}

impl<'a> HolderObject<'a> {
    fn of(holder: &'a Holder) -> Self {
        Self { pid: holder.pid, command: &holder.command }
    }
}

impl<'a> InstanceObject<'a> {
    /// The object of an instance.
    pub(crate) fn of(status: &'a InstanceStatus) -> Self {
        Self {
            record: &status.record,
            holder: status.holder.as_ref().map(HolderObject::of),
            continuous: status.continuous.as_ref().map(|continuous| match continuous {
                Ok(status) => SessionObject::Status(status),
                Err(error) => SessionObject::Error { error },
            }),
            worktree_is: match &status.worktree {
                WorktreeState::There => "there",
                WorktreeState::Gone => "gone",
                WorktreeState::Another => "another",
                WorktreeState::Unknown(_) => "unknown",
            },
            worktree_error: match &status.worktree {
                WorktreeState::Unknown(error) => Some(error),
                _ => None,
            },
            not_paused: status.not_held.as_deref(),
            check: status.remote.as_ref().map(|remote| match remote {
                Ok(checked) => CheckObject::Answer { login: &checked.login, workspace: checked.workspace },
                Err(error) => CheckObject::Error { error },
            }),
            edits: match status.edits() {
                Edits::Follow => "follow",
                Edits::NeedNotFollow => "need_not_follow",
                Edits::DoNotFollow => "do_not_follow",
            },
            begins_to_follow: status.begins_to_follow,
            mending: status.mending.as_ref(),
        }
    }
}

/// An instance in a list, as an object.
#[derive(Serialize)]
struct ListedObject<'a> {
    #[serde(flatten)]
    instance: Option<InstanceObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<UnreadableObject<'a>>,
}

/// An instance whose record cannot be read.
#[derive(Serialize)]
struct UnreadableObject<'a> {
    project: &'a str,
    instance: &'a str,
    error: String,
}

/// All instances as one object.
pub(crate) fn listed_objects(listed: &[Listed]) -> impl Serialize + '_ {
    #[derive(Serialize)]
    struct Objects<'a> {
        instances: Vec<ListedObject<'a>>,
    }
    let instances = listed.iter().map(|listed| ListedObject {
        instance: listed.status.as_ref().ok().map(InstanceObject::of),
        unreadable: listed.status.as_ref().err().map(|error| UnreadableObject {
            project: listed.project.as_str(),
            instance: listed.instance.as_str(),
            error: error.to_string(),
        }),
    });
    Objects { instances: instances.collect() }
}
