//! Support for the tests of this crate: a prompt with scripted answers, and shell scripts in place of the helper.
#![allow(dead_code, clippy::unwrap_used)]

use coast_ssh::{
    AcceptedKey, ConnectOptions, Environment, HelperProgram, HelperSource, HelperSpec, HostAnswer,
    PresentedKey, Prompt, Target, Zeroizing,
};
use coast_wire::GREETING;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A prompt that gives scripted answers and records the questions.
pub(crate) struct Script {
    pub(crate) passphrases: Mutex<Vec<&'static str>>,
    pub(crate) answer: HostAnswer,
    pub(crate) accepted: Mutex<Vec<AcceptedKey>>,
    pub(crate) notices: Mutex<Vec<String>>,
    pub(crate) asked_for: Mutex<Vec<PathBuf>>,
    pub(crate) asked_about: Mutex<Vec<PresentedKey>>,
}

impl Default for Script {
    fn default() -> Script {
        Script {
            passphrases: Mutex::default(),
            answer: HostAnswer::NobodyToAsk,
            accepted: Mutex::default(),
            notices: Mutex::default(),
            asked_for: Mutex::default(),
            asked_about: Mutex::default(),
        }
    }
}

impl Script {
    /// A prompt that gives these passphrases one after the other, and then none.
    pub(crate) fn with_passphrases(passphrases: &[&'static str]) -> Script {
        let mut passphrases = passphrases.to_vec();
        passphrases.reverse();
        Script { passphrases: Mutex::new(passphrases), ..Script::default() }
    }

    pub(crate) fn notices(&self) -> Vec<String> {
        self.notices.lock().unwrap().clone()
    }
}

impl Prompt for Script {
    fn passphrase(&self, key: &Path) -> Option<Zeroizing<String>> {
        self.asked_for.lock().unwrap().push(key.to_owned());
        self.passphrases.lock().unwrap().pop().map(|passphrase| Zeroizing::new(passphrase.to_owned()))
    }

    fn confirm_host(&self, presented: &PresentedKey) -> HostAnswer {
        self.asked_about.lock().unwrap().push(presented.clone());
        self.answer
    }

    fn host_key_accepted(&self, accepted: &AcceptedKey) {
        self.accepted.lock().unwrap().push(accepted.clone());
    }

    fn notice(&self, text: &str) {
        self.notices.lock().unwrap().push(text.to_owned());
    }
}

pub(crate) fn target(port: u16) -> Target {
    Target { user: None, host: "127.0.0.1".to_owned(), port: Some(port) }
}

/// Options with a home directory, a key and `-o` options, and nothing else.
pub(crate) fn options(home: &Path, key: &Path, overrides: &[(&str, &str)]) -> ConnectOptions {
    ConnectOptions {
        identities: vec![key.to_owned()],
        overrides: overrides.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        environment: Environment::isolated(home, "me"),
        ..ConnectOptions::default()
    }
}

/// A helper for any platform that is this shell script. It is uploaded below the home directory only, because all tests of a
/// user share the fallback directories.
pub(crate) fn helper_script(name: &str, script: &str) -> HelperSpec {
    let bytes: Arc<[u8]> = format!("#!/bin/sh\n{script}\n").into_bytes().into();
    let source = HelperSource::Bytes(bytes);
    let mut spec = HelperSpec::new(vec![HelperProgram { platform: None, name: name.to_owned(), source }]);
    spec.directories.truncate(1);
    spec
}

/// A helper that greets, prints its arguments and then copies its input to its output.
pub(crate) fn echo_helper(name: &str) -> HelperSpec {
    helper_script(name, &greeting_then(r#"for arg; do printf '%s\0' "$arg"; done; exec cat"#))
}

/// Shell commands that greet as a helper of this version does, and then run `commands`.
pub(crate) fn greeting_then(commands: &str) -> String {
    format!("printf '{}\\n'; {commands}", GREETING.trim_end())
}
