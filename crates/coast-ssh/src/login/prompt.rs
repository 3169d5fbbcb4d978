//! Questions and notices for the user. The connection's thread sends them to the thread that called `Session::connect`,
//! which answers them. So a [`Prompt`] may borrow local values and may block as long as the user takes.

use coast_tree::LockExt;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// Asks the user, and tells the user. All calls come on the thread that called
/// [`Session::connect`](crate::Session::connect). The time they take does not count towards the connect timeout.
pub trait Prompt: Send + Sync {
    /// Returns the passphrase of the private key at `key`, or `None` to go on without this key. A wrong passphrase is
    /// asked for again, up to three times in all.
    fn passphrase(&self, key: &Path) -> Option<Zeroizing<String>>;

    /// Asks whether to trust a host that is not in `known_hosts`. Called only when `StrictHostKeyChecking` is `ask`.
    fn confirm_host(&self, presented: &PresentedKey) -> HostAnswer;

    /// Tells the user that the key of a host that was not in `known_hosts` was accepted. The key decides whom the user's
    /// files are sent to, so a prompt that has a user should show this even where it shows no other notices.
    fn host_key_accepted(&self, accepted: &AcceptedKey);

    /// Tells the user something in one sentence.
    fn notice(&self, text: &str);
}

/// The key of a host that is not in `known_hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PresentedKey {
    /// The host as `known_hosts` names it: `host`, or `[host]:port` when the port is not 22.
    pub host: String,
    /// The algorithm of the key, such as `ssh-ed25519`.
    pub algorithm: String,
    /// The fingerprint as `ssh-keygen -l` shows it: `SHA256:...`.
    pub fingerprint: String,
}

/// The user's answer about a host that is not in `known_hosts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostAnswer {
    /// The user trusts the key.
    Trust,
    /// The user does not trust the key.
    Refuse,
    /// There is no terminal, or no user, to ask.
    NobodyToAsk,
}

/// A host key that was not in `known_hosts`, and was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptedKey {
    /// The key.
    pub presented: PresentedKey,
    /// The file in which the key was recorded, and the reason if that failed. `None` if the configuration names no file.
    pub recorded: Option<(PathBuf, Result<(), String>)>,
}

impl fmt::Display for AcceptedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PresentedKey { host, algorithm, fingerprint } = &self.presented;
        write!(f, "accepted the new host key of {host}, {algorithm} {fingerprint}")?;
        match &self.recorded {
            None => Ok(()),
            Some((file, Ok(()))) => write!(f, ", and recorded it in {}", file.display()),
            Some((file, Err(reason))) => {
                write!(f, "; it could not be recorded in {}: {reason}", file.display())
            }
        }
    }
}

/// A prompt without a user: it gives no passphrase, trusts no unknown host and drops all notices.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPrompt;

impl Prompt for NoPrompt {
    fn passphrase(&self, _key: &Path) -> Option<Zeroizing<String>> {
        None
    }

    fn confirm_host(&self, _presented: &PresentedKey) -> HostAnswer {
        HostAnswer::NobodyToAsk
    }

    fn host_key_accepted(&self, _accepted: &AcceptedKey) {}

    fn notice(&self, _text: &str) {}
}

/// One call of a [`Prompt`] on its way to the waiting thread.
pub(crate) enum PromptCall {
    Passphrase {
        key: PathBuf,
        reply: oneshot::Sender<Option<Zeroizing<String>>>,
    },
    ConfirmHost {
        presented: PresentedKey,
        reply: oneshot::Sender<HostAnswer>,
    },
    HostKeyAccepted(AcceptedKey),
    Notice(String),
    /// No call follows this one.
    End,
}

impl PromptCall {
    /// Has `prompt` answer the call. It is no error if the connection has ended before the answer.
    pub(crate) fn answer(self, prompt: &dyn Prompt) {
        match self {
            PromptCall::Passphrase { key, reply } => {
                let _ = reply.send(prompt.passphrase(&key));
            }
            PromptCall::ConfirmHost { presented, reply } => {
                let _ = reply.send(prompt.confirm_host(&presented));
            }
            PromptCall::HostKeyAccepted(accepted) => prompt.host_key_accepted(&accepted),
            PromptCall::Notice(text) => prompt.notice(&text),
            PromptCall::End => {}
        }
    }
}

/// Sends questions and notices from the connection's thread to the waiting thread.
#[derive(Clone)]
pub(crate) struct Prompts {
    calls: mpsc::Sender<PromptCall>,
    clock: Clock,
}

impl Prompts {
    pub(crate) fn new(calls: mpsc::Sender<PromptCall>) -> Prompts {
        Prompts { calls, clock: Clock::default() }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn notice(&self, text: impl Into<String>) {
        // The send fails only when the thread that waits for the connection has ended.
        let _ = self.calls.send(PromptCall::Notice(text.into()));
    }

    pub(crate) async fn passphrase(&self, key: &Path) -> Option<Zeroizing<String>> {
        let key = key.to_owned();
        self.ask(|reply| PromptCall::Passphrase { key, reply }).await.flatten()
    }

    pub(crate) async fn confirm_host(&self, presented: &PresentedKey) -> HostAnswer {
        let presented = presented.clone();
        let answer = self.ask(|reply| PromptCall::ConfirmHost { presented, reply }).await;
        answer.unwrap_or(HostAnswer::NobodyToAsk)
    }

    pub(crate) fn host_key_accepted(&self, accepted: AcceptedKey) {
        // As with a notice.
        let _ = self.calls.send(PromptCall::HostKeyAccepted(accepted));
    }

    async fn ask<T>(&self, call: impl FnOnce(oneshot::Sender<T>) -> PromptCall) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let _paused = self.clock.pause();
        self.calls.send(call(reply)).ok()?;
        answer.await.ok()
    }
}

/// Adds up the time that questions to the user take, so that it can be left out of the connect timeout.
#[derive(Clone, Default)]
pub(crate) struct Clock(Arc<Mutex<Pauses>>);

#[derive(Default)]
struct Pauses {
    total: Duration,
    /// When the question under way began.
    since: Option<Instant>,
}

impl Clock {
    /// Stops the clock until the returned guard is dropped.
    pub(crate) fn pause(&self) -> Paused<'_> {
        self.lock().since = Some(Instant::now());
        Paused(self)
    }

    /// The time spent in questions up to now, the one under way included.
    pub(crate) fn paused(&self) -> Duration {
        let pauses = self.lock();
        pauses.total + pauses.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Pauses> {
        self.0.enter()
    }
}

pub(crate) struct Paused<'a>(&'a Clock);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        let mut pauses = self.0.lock();
        if let Some(since) = pauses.since.take() {
            pauses.total += since.elapsed();
        }
    }
}
