//! The bulk layer of a stage: real transfers to a local directory in the place of the remote. They can be told to fail.

use std::any::Any;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;

use coast_sync::{
    CachePlace, Cancel, Destination, EngineError, Event, IdentityUsed, Monitor, ProblemKind, Prompt, Ready,
    RestoreReport, RestoreRequest, SyncError, TrashReport, TrashRequest,
};
use coast_tree::LockExt;

use super::{Stage, files};
use crate::Remote;
use crate::bulk::{Bulk, Checked, ContentSources, Helpers, Removed, Transfer, Transferred, request};
use crate::continuous::Access;

/// When a transfer fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransferFails {
    /// The remote does not answer.
    ToConnect,
    /// The connection breaks when the remote has just become ready.
    OnceReady,
}

impl Bulk for Stage {
    fn transfer(
        &self,
        transfer: &Transfer<'_>,
        monitor: &dyn Monitor,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<Transferred, SyncError> {
        let paths = transfer.only.map_or_else(
            || "all".to_owned(),
            |paths| {
                paths
                    .iter()
                    .map(|path| String::from_utf8_lossy(path).into_owned())
                    .collect::<Vec<_>>()
                    .join(" ")
            },
        );
        let together = if transfer.delay_updates { " together" } else { "" };
        let known = match transfer.content_sources {
            ContentSources::CacheAndGit => "",
            ContentSources::Cache => " without git",
            ContentSources::None => " reading all",
        };
        let transfer_fails = *self.transfer_fails.enter();
        if transfer_fails == Some(TransferFails::ToConnect) {
            return Err(EngineError::Disconnected.into());
        }
        let monitor = Staged {
            stage: self,
            inner: monitor,
            transfers: format!("transfer {paths}{together}{known}"),
            awaits_ready: transfer.only.is_none() && !transfer.dry_run,
            cancel,
            panic: Mutex::default(),
            breaks: transfer_fails.is_some(),
        };
        let destination = Destination::local(self.on_remote(transfer.remote_path));
        let ran = request(transfer, destination)?.cache(CachePlace::Nowhere).run(&monitor, prompt, cancel);
        if let Some(panic) = monitor.panic.enter().take() {
            resume_unwind(panic);
        }
        let mut report = match ran {
            Err(_) if monitor.breaks => return Err(EngineError::Disconnected.into()),
            ran => ran?,
        };
        let is_sent = |path: &str| {
            transfer.worktree.join(path).exists()
                && transfer.only.is_none_or(|only| only.iter().any(|only| only == path.as_bytes()))
        };
        for path in self.unwritable.enter().iter().filter(|path| is_sent(path)) {
            fs::remove_file(self.on_remote(transfer.remote_path).join(path)).unwrap();
            report.run.receiver.failed += 1;
            report.failures.count += 1;
            let failure =
                coast_sync::Failure::new(*path, ProblemKind::Destination, "cannot write: read-only");
            report.failures.first.push(failure);
        }
        let access = Access {
            user: "dev".to_owned(),
            host_name: transfer.remote.host.clone(),
            port: 22,
            jumps: Vec::new(),
            host_key: "ssh-ed25519 AAAA".to_owned(),
            identity: IdentityUsed::File { path: "/key".into(), encrypted: false },
        };
        Ok(Transferred { report, access })
    }

    fn check(&self, _: &Remote, path: &str, _: &dyn Prompt, _: &Cancel) -> Result<Checked, SyncError> {
        if *self.remote_is_down.enter() {
            return Err(EngineError::Disconnected.into());
        }
        Ok(Checked { login: "dev@box.example".to_owned(), workspace: self.on_remote(path).exists() })
    }

    fn trash(
        &self,
        _: &Remote,
        path: &str,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<TrashReport, SyncError> {
        TrashRequest::new(Destination::local(self.on_remote(path))).run(prompt, cancel)
    }

    fn restore(
        &self,
        _: &Remote,
        path: &str,
        entries: &[Vec<u8>],
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<RestoreReport, SyncError> {
        RestoreRequest::new(Destination::local(self.on_remote(path)), entries)?.run(prompt, cancel)
    }

    fn remove(
        &self,
        _: &Remote,
        path: &str,
        _: &dyn Prompt,
        progress: &dyn Fn(u64),
        _: &Cancel,
    ) -> Result<Removed, SyncError> {
        self.note("remove workspace");
        progress(7);
        let workspace = self.on_remote(path);
        let existed = workspace.exists();
        if existed {
            fs::remove_dir_all(workspace).unwrap();
        }
        Ok(Removed { existed, ..Removed::default() })
    }

    fn sweep(
        &self,
        _: &Remote,
        traces: &[String],
        helpers: Helpers,
        _: &dyn Prompt,
        _: &Cancel,
    ) -> Result<(), SyncError> {
        self.note(format!("sweep {} {helpers:?}", traces.join(" ")));
        Ok(())
    }
}

/// Passes every call on. A command that is killed while the remote becomes ready is killed after the run has ended, because a panic
/// would leave the threads of the run waiting for each other.
struct Staged<'a> {
    stage: &'a Stage,
    inner: &'a dyn Monitor,
    /// Noted when the remote is ready.
    transfers: String,
    /// Whether nothing is offered before.
    awaits_ready: bool,
    cancel: &'a Cancel,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Whether the connection breaks then.
    breaks: bool,
}

impl Monitor for Staged<'_> {
    fn event(&self, event: &Event<'_>) {
        self.inner.event(event);
    }

    fn ready(&self, ready: &Ready) {
        let workspace = self.stage.workspace();
        let before = files(&workspace);
        let returned = catch_unwind(AssertUnwindSafe(|| self.inner.ready(ready)));
        if self.awaits_ready {
            assert_eq!(files(&workspace), before, "nothing changes before it returns");
        }
        if let Err(panic) = returned {
            *self.panic.enter() = Some(panic);
            self.cancel.cancel();
        } else if !self.cancel.is_cancelled() {
            self.stage.note(self.transfers.clone());
        }
        if self.breaks {
            self.cancel.cancel();
        }
    }
}
