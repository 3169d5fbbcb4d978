//! Questions and notices for the user. The connection's thread sends them to the thread that called `Session::connect`,
//! which answers them. So a [`Prompt`] may borrow local values and may block as long as the user takes.

use coast_tree::LockExt;
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

    /// Returns whether to trust `host`, which is not in `known_hosts` and presents the key with `fingerprint` (algorithm
    /// and hash, as `ssh-ed25519 SHA256:...`). Asked only when `StrictHostKeyChecking` is `ask`.
    fn confirm_host(&self, host: &str, fingerprint: &str) -> bool;

    /// Tells the user something in one sentence, such as that a new host key was accepted and where it was recorded.
    fn notice(&self, text: &str);
}

/// A prompt without a user: it gives no passphrase, trusts no unknown host and drops all notices.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPrompt;

impl Prompt for NoPrompt {
    fn passphrase(&self, _key: &Path) -> Option<Zeroizing<String>> {
        None
    }

    fn confirm_host(&self, _host: &str, _fingerprint: &str) -> bool {
        false
    }

    fn notice(&self, _text: &str) {}
}

/// One call of a [`Prompt`] on its way to the waiting thread.
pub(crate) enum PromptCall {
    Passphrase {
        key: PathBuf,
        reply: oneshot::Sender<Option<Zeroizing<String>>>,
    },
    ConfirmHost {
        host: String,
        fingerprint: String,
        reply: oneshot::Sender<bool>,
    },
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
            PromptCall::ConfirmHost { host, fingerprint, reply } => {
                let _ = reply.send(prompt.confirm_host(&host, &fingerprint));
            }
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

    pub(crate) async fn confirm_host(&self, host: &str, fingerprint: &str) -> bool {
        let (host, fingerprint) = (host.to_owned(), fingerprint.to_owned());
        self.ask(|reply| PromptCall::ConfirmHost { host, fingerprint, reply }).await.unwrap_or(false)
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
