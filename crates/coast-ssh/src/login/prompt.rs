//! The questions a connection may have for the person in front of it, and the way they get from the connection's thread
//! to the thread that is waiting for it, so that a prompt may borrow whatever it likes and block as long as it likes.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// Answers what only a person can, and hears what a person should know. All calls come on the thread that called
/// [`Session::connect`](crate::Session::connect); the time they take does not count towards the connection's timeout.
pub trait Prompt: Send + Sync {
    /// The passphrase of the private key at `key`, or `None` to do without this key. Asked again, up to three times in
    /// all, when it was wrong.
    fn passphrase(&self, key: &Path) -> Option<Zeroizing<String>>;

    /// Whether to trust `host`, which is unknown and presents the key with `fingerprint` (algorithm and hash, as
    /// `ssh-ed25519 SHA256:...`). Asked only when `StrictHostKeyChecking` is `ask`.
    fn confirm_host(&self, host: &str, fingerprint: &str) -> bool;

    /// Something worth telling, in one sentence: a new host key accepted and where it was recorded, say.
    fn notice(&self, text: &str);
}

/// Answers nothing: no passphrase, no trust in unknown hosts, notices dropped.
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
    /// There will be no more calls.
    End,
}

impl PromptCall {
    /// Puts the question to `prompt`. An asker that has gone away meanwhile is no error.
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

/// The connection's end of the prompts.
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
        // A failed send means that nobody waits for the connection any more, so nobody is there to be told.
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

/// Measures how long a connection takes, without the time a person takes to answer.
#[derive(Clone, Default)]
pub(crate) struct Clock(Arc<Mutex<Pauses>>);

#[derive(Default)]
struct Pauses {
    total: Duration,
    since: Option<Instant>,
}

impl Clock {
    pub(crate) fn pause(&self) -> Paused<'_> {
        self.lock().since = Some(Instant::now());
        Paused(self)
    }

    /// The time spent in prompts up to now, the running one included.
    pub(crate) fn paused(&self) -> Duration {
        let pauses = self.lock();
        pauses.total + pauses.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pauses> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
