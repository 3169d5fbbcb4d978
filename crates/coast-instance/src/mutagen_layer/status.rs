//! The status of an instance of mutagen, from the sessions in its shell container.

use coast_mutagen::{SessionState, Shell, Status};

use crate::continuous::{
    Activity, Conflict, ContinuousStatus, PrivateFile, Problem, RunnerState, Side, Staging,
};

/// The status of the last of these sessions, in a container that runs.
pub(super) fn latest_status(sessions: &[SessionState]) -> ContinuousStatus {
    let none = || ContinuousStatus { runner: RunnerState::Running, ..ContinuousStatus::default() };
    sessions.last().map_or_else(none, status)
}

/// The status of an instance whose container does not run.
pub(super) fn stopped_status(shell: &Shell) -> ContinuousStatus {
    let said = format!(
        "the container {} is not running, and still holds the key of the remote; `coast start` starts it, and `coast stop` removes \
         it with the key",
        shell.name()
    );
    let last_error = shell.is_stopped_with_key().then_some(said);
    ContinuousStatus { runner: RunnerState::Stopped, last_error, ..ContinuousStatus::default() }
}

/// The status of an instance whose container has the name of another owner's container. `said` tells how that was recognized.
pub(super) fn foreign_status(said: String) -> ContinuousStatus {
    ContinuousStatus { last_error: Some(said), ..ContinuousStatus::default() }
}

/// The status of a mutagen session in the terms of the trait.
fn status(session: &SessionState) -> ContinuousStatus {
    let activity = match &session.status {
        _ if session.paused => Activity::Halted,
        status if status.is_halted() => Activity::Halted,
        Status::Watching => Activity::Watching,
        Status::Disconnected | Status::ConnectingAlpha | Status::ConnectingBeta => Activity::Connecting,
        _ => Activity::Carrying,
    };
    let mut problems = Vec::new();
    for (side, endpoint) in [(Side::Local, &session.alpha), (Side::Remote, &session.beta)] {
        problems.extend(endpoint.problems().map(|(path, text)| Problem {
            side,
            path: path.as_bytes().to_vec(),
            text: problem_words(text),
        }));
    }
    ContinuousStatus {
        runner: RunnerState::Running,
        activity,
        word: if session.paused { "paused".to_owned() } else { session.status.as_str().to_owned() },
        files: session.alpha.files,
        directories: session.alpha.directories,
        staging: session.beta.staging_progress.as_ref().map(|staging| Staging {
            arrived_files: staging.received_files,
            files: staging.expected_files,
            arrived_bytes: staging.total_received_size,
            file_bytes_left: staging.expected_size.saturating_sub(staging.received_size),
        }),
        // Every scan counts the root.
        remote_files: (session.beta.directories > 0).then_some(session.beta.files),
        conflicts: session
            .conflicts()
            .map(|conflict| Conflict {
                path: conflict.root.as_bytes().to_vec(),
                made_there: conflict.made_there().map(|path| path.as_bytes().to_vec()).collect(),
                kept_by_ignored: conflict.is_kept_by_ignored(),
            })
            .collect(),
        more_conflicts: session.excluded_conflicts,
        problems,
        more_problems: session.alpha.excluded_problems() + session.beta.excluded_problems(),
        private: session.private().map(|path| PrivateFile { path: path.into_bytes() }).collect(),
        last_error: session.last_error.clone(),
        ..ContinuousStatus::default()
    }
}

/// The text of a problem. Mutagen's own words for a file that changes while it is read name the parts of mutagen that noticed it.
fn problem_words(text: &str) -> String {
    let changed_here = text.starts_with("hashed size mismatch")
        || text.starts_with("unable to set staged file permissions")
            && text.ends_with("no such file or directory")
        || text.contains("unable to locate staged file");
    if changed_here {
        return "it changes while it is copied, as a log does; it follows as soon as it rests, and can be left out with [remote] exclude \
                in the Coastfile"
            .to_owned();
    }
    if text.ends_with("modification detected") {
        return "it was changed there after the last look, and is looked at again".to_owned();
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_while_it_is_copied_is_told_in_words_of_our_own() {
        for text in [
            "hashed size mismatch: 1203 != 1100",
            "unable to set staged file permissions: unable to query file: no such file or directory",
            "unable to locate staged file",
        ] {
            let words = problem_words(text);
            assert!(
                words.starts_with("it changes while it is copied") && words.contains("exclude"),
                "{words}"
            );
        }
        assert!(
            problem_words("unable to validate existing file: modification detected")
                .contains("changed there")
        );
        for text in ["unable to open file: permission denied", "unable to relocate staged file: file exists"]
        {
            assert_eq!(problem_words(text), text);
        }
    }

    /// A recorded list of sessions.
    fn recorded(name: &str) -> ContinuousStatus {
        let path = format!("{}/../../fixtures/mutagen/recordings/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let sessions: Vec<SessionState> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        status(&sessions[0])
    }

    #[test]
    fn a_session_becomes_a_status_with_its_conflicts_and_problems() {
        let watching = recorded("watching");
        assert_eq!(
            (watching.activity, watching.word.as_str(), watching.files),
            (Activity::Watching, "watching", 798)
        );
        assert!(watching.conflicts.is_empty() && watching.problems.is_empty());
        let conflict = recorded("conflict");
        assert_eq!(
            conflict.conflicts,
            [Conflict {
                path: b"conf.txt".to_vec(),
                made_there: vec![b"conf.txt".to_vec()],
                kept_by_ignored: false
            }]
        );
        assert_eq!(
            conflict.problems,
            [Problem {
                side: Side::Remote,
                path: b"perm".to_vec(),
                text: "unable to open directory: permission denied".to_owned()
            }]
        );
        let created = recorded("just-created");
        assert_eq!(created.activity, Activity::Carrying);
        let staging = Staging { arrived_files: 97, files: 798, arrived_bytes: 314_512, file_bytes_left: 0 };
        assert_eq!((created.staging, watching.staging), (Some(staging), None));
        let emptied = recorded("emptied");
        assert_eq!((emptied.activity, emptied.word.as_str()), (Activity::Halted, "halted-on-root-emptied"));
        assert_eq!(recorded("paused").activity, Activity::Halted);
    }
}
