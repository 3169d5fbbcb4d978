//! The passphrases of key files, in memory alone. The daemon keeps each as long as it lives; a passphrase that is replaced, or that
//! turns out to be wrong, is overwritten.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use coast_ssh::{AcceptedKey, HostAnswer, PresentedKey, Prompt, Zeroizing};
use coast_tree::LockExt;

/// The most passphrases that are kept.
const MAX_KEYS: usize = 64;

/// The passphrase of each key file that the user has typed.
#[derive(Default)]
pub(crate) struct Passphrases {
    /// By key file. The lock guards nothing else, and no other lock is taken while it is held.
    by_key: Mutex<BTreeMap<PathBuf, Zeroizing<String>>>,
}

impl Passphrases {
    /// Keeps the passphrase of the key file `key`. False if too many are kept already.
    pub(crate) fn keep(&self, key: PathBuf, passphrase: Zeroizing<String>) -> bool {
        let mut by_key = self.by_key.enter();
        let has_room = by_key.len() < MAX_KEYS || by_key.contains_key(&key);
        if has_room {
            leave_no_trace();
            by_key.insert(key, passphrase);
        }
        has_room
    }
}

impl fmt::Debug for Passphrases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passphrases").finish_non_exhaustive()
    }
}

/// Has the system write no image of this process to the disk when it crashes, and has it let no other process of this user read the
/// memory. `ssh-agent` does the same.
fn leave_no_trace() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            tracing::warn!(
                "cannot keep the system from writing this process to the disk if it crashes: {error}"
            );
        }
    }
}

/// Answers for the daemon, which has no user to ask: with the passphrases that it has, and with no for every host. For one
/// connection.
pub(crate) struct Answers<'a> {
    passphrases: &'a Passphrases,
    /// The key files whose passphrase was given already. The lock guards nothing else, and no other lock is taken while it is held.
    given: Mutex<BTreeSet<PathBuf>>,
}

impl<'a> Answers<'a> {
    pub(crate) fn of(passphrases: &'a Passphrases) -> Self {
        Self { passphrases, given: Mutex::default() }
    }
}

impl Prompt for Answers<'_> {
    fn passphrase(&self, key: &Path) -> Option<Zeroizing<String>> {
        if !self.given.enter().insert(key.to_owned()) {
            // It is asked for again because it was wrong.
            self.passphrases.by_key.enter().remove(key);
            return None;
        }
        self.passphrases.by_key.enter().get(key).cloned()
    }

    fn confirm_host(&self, _presented: &PresentedKey) -> HostAnswer {
        HostAnswer::NobodyToAsk
    }

    /// Never called: a shared route accepts no new key.
    fn host_key_accepted(&self, accepted: &AcceptedKey) {
        tracing::warn!("{accepted}");
    }

    fn notice(&self, text: &str) {
        tracing::info!("{text}");
    }
}
