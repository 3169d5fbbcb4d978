//! The passphrases of key files, in memory alone. They are overwritten when the daemon ends.

use std::collections::BTreeMap;
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
    /// Guards nothing else.
    of: Mutex<BTreeMap<PathBuf, Zeroizing<String>>>,
}

impl Passphrases {
    /// Keeps the passphrase of the key file `key`. False if too many are kept already.
    pub(crate) fn keep(&self, key: PathBuf, passphrase: Zeroizing<String>) -> bool {
        let mut of = self.of.enter();
        let has_room = of.len() < MAX_KEYS || of.contains_key(&key);
        if has_room {
            of.insert(key, passphrase);
        }
        has_room
    }
}

impl fmt::Debug for Passphrases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passphrases").finish_non_exhaustive()
    }
}

/// Answers for the daemon, which has no user to ask: with the passphrases that it has, and with no for every host.
pub(crate) struct Answers<'a>(pub(crate) &'a Passphrases);

impl Prompt for Answers<'_> {
    fn passphrase(&self, key: &Path) -> Option<Zeroizing<String>> {
        self.0.of.enter().get(key).cloned()
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
