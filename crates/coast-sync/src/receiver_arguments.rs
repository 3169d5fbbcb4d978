//! The command line of a receiver. It has only the values that the receiver needs to confine itself before the first message.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use coast_engine::{Claim, DestinationIs, ReceiverConfig};

/// The values that a receiver needs before the first message.
#[derive(Debug, Clone)]
pub(crate) struct ReceiverArguments {
    pub(crate) root: PathBuf,
    pub(crate) make_parents: bool,
    pub(crate) dry_run: bool,
    pub(crate) some_paths: bool,
    pub(crate) destination_is: DestinationIs,
    pub(crate) claim: Claim,
    /// How long the receiver waits for a silent peer. `None` means the receiver's own limit.
    pub(crate) timeout: Option<Duration>,
    /// The name under which other streams can join the run. `None` means that none will.
    pub(crate) run: Option<String>,
}

impl ReceiverArguments {
    /// Returns the words of a helper's command line, for a receiver that stays. It always receives into a directory, and learns
    /// with each run what that is about.
    pub(crate) fn follow_words(&self) -> Vec<OsString> {
        let mut words = vec![OsString::from("follow")];
        words.extend(self.claim_word());
        words.extend(root_words(&self.root));
        words
    }

    fn claim_word(&self) -> Option<OsString> {
        match self.claim {
            Claim::Workspace => Some("--claim=workspace".into()),
            Claim::NewWorkspace => Some("--claim=new-workspace".into()),
            Claim::ExistingWorkspace => Some("--claim=existing-workspace".into()),
            _ => None,
        }
    }

    /// Returns the words of a helper's command line.
    pub(crate) fn to_words(&self) -> Vec<OsString> {
        let shape = match self.destination_is {
            DestinationIs::Directory => "directory",
            DestinationIs::FileOrDirectory => "file-or-directory",
            DestinationIs::DirectoryOrNewName => "directory-or-new-name",
        };
        let mut words = vec![OsString::from("receive")];
        if self.make_parents {
            words.push("--make-parents".into());
        }
        if self.dry_run {
            words.push("--dry-run".into());
        }
        if self.some_paths {
            words.push("--some-paths".into());
        }
        words.extend(self.claim_word());
        if let Some(timeout) = self.timeout {
            words.push(format!("--timeout={}", timeout.as_secs().max(1)).into());
        }
        words.extend(self.run.as_ref().map(|run| format!("--streams={run}").into()));
        words.push(format!("--destination-is={shape}").into());
        words.extend(root_words(&self.root));
        words
    }

    /// Returns the configuration of a receiver in this process.
    pub(crate) fn to_config(&self) -> ReceiverConfig {
        let mut config = ReceiverConfig::new(self.root.clone());
        config.make_parents = self.make_parents;
        config.dry_run = self.dry_run;
        config.some_paths = self.some_paths;
        config.destination_is = self.destination_is;
        config.claim = self.claim;
        config
    }
}

/// Returns the words that name the directory in which a helper works.
fn root_words(root: &Path) -> [OsString; 2] {
    // An empty path means the working directory: the user's home directory on a remote.
    let root = if root.as_os_str().is_empty() { OsStr::new(".") } else { root.as_os_str() };
    ["--root".into(), root.into()]
}

/// Returns the words that ask a helper the question `command` about the directory `root`.
pub(crate) fn question_words(command: &str, root: &Path) -> Vec<OsString> {
    std::iter::once(OsString::from(command)).chain(root_words(root)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_say_what_the_destination_is() {
        let arguments = ReceiverArguments {
            root: "/data/x y".into(),
            make_parents: true,
            dry_run: true,
            some_paths: true,
            destination_is: DestinationIs::Directory,
            claim: Claim::NewWorkspace,
            timeout: Some(Duration::from_secs(7)),
            run: Some("0f".repeat(16)),
        };
        let expected = [
            "receive",
            "--make-parents",
            "--dry-run",
            "--some-paths",
            "--claim=new-workspace",
            "--timeout=7",
            "--streams=0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
            "--destination-is=directory",
            "--root",
            "/data/x y",
        ];
        assert_eq!(arguments.to_words(), expected.map(OsString::from));

        let home = ReceiverArguments {
            root: PathBuf::new(),
            make_parents: false,
            dry_run: false,
            some_paths: false,
            destination_is: DestinationIs::FileOrDirectory,
            claim: Claim::Anything,
            timeout: None,
            run: None,
        };
        let expected = ["receive", "--destination-is=file-or-directory", "--root", "."];
        assert_eq!(home.to_words(), expected.map(OsString::from));
    }
}
