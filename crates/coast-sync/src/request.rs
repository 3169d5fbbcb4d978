//! The description of a run: source, destination, options, rules, and how the run is carried out.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use coast_engine::{
    Cancel, Claim, DestinationIs, EngineError, Monitor, NothingSent, RunReport, SenderConfig,
};
use coast_filter::{RuleError, RuleList};
use coast_ssh::Prompt;
use coast_wire::{Event, Options};

use crate::destination::{Destination, LocalReceiver};
use crate::failures::{Gathered, Gathering};
use crate::only::Only;
use crate::receiver_arguments::ReceiverArguments;
use crate::streams::StreamCount;
use crate::watchdog::Watched;
use crate::{CachePlace, SyncError, SyncReport, local, profile, remote, source};

/// One run: make a destination equal to a source. See the [crate](crate) for an example.
#[derive(Debug, Clone)]
pub struct SyncRequest {
    source: PathBuf,
    destination: Destination,
    options: Options,
    rules: RuleList,
    only: Option<Only>,
    claim: Claim,
    make_parents: bool,
    compress: bool,
    bytes_per_second: Option<NonZeroU64>,
    streams: StreamCount,
    timeout: Option<Duration>,
    threads: Option<NonZeroUsize>,
    cache: CachePlace,
    git: bool,
    await_ready: bool,
}

impl SyncRequest {
    /// Transfers `source` to `destination` with no option set. Without [`Options::recursive`] only a single file is transferred.
    /// A source path that ends in a slash means the content of the directory, as in rsync.
    pub fn new(source: impl Into<PathBuf>, destination: impl Into<Destination>) -> Self {
        Self {
            source: source.into(),
            destination: destination.into(),
            options: Options::default(),
            rules: RuleList::new(),
            only: None,
            claim: Claim::Anything,
            make_parents: false,
            compress: false,
            bytes_per_second: None,
            streams: StreamCount::Auto,
            timeout: None,
            threads: None,
            cache: CachePlace::Default,
            git: true,
            await_ready: false,
        }
    }

    /// Transfers the content of the directory `workspace` to `destination` with the options and rules of [`profile`]. To give
    /// rules that win over the default rules, build a list that ends with [`profile::add_default_rules`], and set it with
    /// [`SyncRequest::rules`].
    ///
    /// # Errors
    /// None in practice: the default rules fit into an empty list.
    pub fn push(
        workspace: impl Into<PathBuf>,
        destination: impl Into<Destination>,
    ) -> Result<Self, RuleError> {
        // Joining an empty component adds a trailing slash.
        let mut rules = RuleList::new();
        profile::add_default_rules(&mut rules)?;
        let contents = workspace.into().join("");
        Ok(Self::new(contents, destination)
            .options(profile::options())
            .rules(rules)
            .claim(Claim::Workspace)
            .make_parents(true)
            .compress(true))
    }

    /// Sets the options. The field [`Options::rules`] is ignored; see [`SyncRequest::rules`].
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Sets the filter rules, in place of those set so far.
    #[must_use]
    pub fn rules(mut self, rules: RuleList) -> Self {
        self.rules = rules;
        self
    }

    /// Restricts the run to these paths, each with everything below it. Paths are relative to the transfer root, which with
    /// [`SyncRequest::push`] is the workspace. Nothing else is sent or deleted, with one exception: a directory above a path is
    /// deleted when the source does not have it and it is empty. The rules still apply: entries that they exclude or protect are
    /// left alone even below a path. Without any path the run does nothing.
    ///
    /// ```
    /// # use coast_sync::{Cancel, CachePlace, Destination, NoPrompt, SyncRequest, VoidMonitor};
    /// # let scratch = tempfile::tempdir()?;
    /// # let (workspace, copy) = (scratch.path().join("workspace"), scratch.path().join("copy"));
    /// # std::fs::create_dir(&workspace)?;
    /// std::fs::write(workspace.join("wanted[1]"), "")?;
    /// std::fs::write(workspace.join("wanted1"), "")?;
    /// SyncRequest::push(&workspace, Destination::local(&copy))?
    /// #   .cache(CachePlace::Nowhere)
    ///     .only(["wanted[1]"])?
    ///     .run(&VoidMonitor, &NoPrompt, &Cancel::new())?;
    /// assert!(copy.join("wanted[1]").exists() && !copy.join("wanted1").exists());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When a path is not relative, or has `.`, `..` or an empty name in it. [`SyncRequest::run`] checks that the rules only
    /// exclude and protect.
    pub fn only(mut self, paths: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Self, SyncError> {
        self.only = Some(Only::new(paths)?);
        Ok(self)
    }

    /// Sets how the destination is treated. On this machine, and without deletion, [`Claim::Workspace`] is the same as
    /// [`Claim::Anything`]. With [`Claim::NewWorkspace`] nothing changes at the destination before [`Monitor::ready`] has returned.
    #[must_use]
    pub fn claim(mut self, claim: Claim) -> Self {
        self.claim = claim;
        self
    }

    /// Sets whether missing parents of the destination are created.
    #[must_use]
    pub fn make_parents(mut self, make: bool) -> Self {
        self.make_parents = make;
        self
    }

    /// Sets whether data for another machine is compressed.
    #[must_use]
    pub fn compress(mut self, compress: bool) -> Self {
        self.compress = compress;
        self
    }

    /// Limits the bytes that are sent per second.
    #[must_use]
    pub fn bytes_per_second(mut self, limit: Option<NonZeroU64>) -> Self {
        self.bytes_per_second = limit;
        self
    }

    /// Sets how many SSH channels carry the data to another machine.
    #[must_use]
    pub fn streams(mut self, count: StreamCount) -> Self {
        self.streams = count;
        self
    }

    /// Sets the time without any movement of data after which the run is given up.
    #[must_use]
    pub fn timeout(mut self, limit: Option<Duration>) -> Self {
        self.timeout = limit;
        self
    }

    /// Sets the number of worker threads on this side. The default is the number of processors, but from 2 to 8.
    #[must_use]
    pub fn threads(mut self, threads: Option<NonZeroUsize>) -> Self {
        self.threads = threads;
        self
    }

    /// Sets the place of the content cache of the source, and of what is remembered of the repository's blobs.
    #[must_use]
    pub fn cache(mut self, place: CachePlace) -> Self {
        self.cache = place;
        self
    }

    /// Sets whether a run asks git's index for the contents of files that the cache does not know. It does so by default if the
    /// source is the content of a checkout. Git's files are read; no git program is run.
    #[must_use]
    pub fn git(mut self, ask: bool) -> Self {
        self.git = ask;
        self
    }

    /// Sets whether nothing is sent before [`Monitor::ready`] has returned. Then a monitor can do what must come before the first
    /// change at the destination, and a monitor that cancels the run in this call prevents every change. Costs a round trip.
    #[must_use]
    pub fn await_ready(mut self, wait: bool) -> Self {
        self.await_ready = wait;
        self
    }

    /// Carries it out. Blocks until the destination has everything, the run failed, or `cancel` stopped it; in each case
    /// the receiver has been told, so that it cleans up. What happens to single entries is told to `monitor`;
    /// questions and notices of the connection go to `prompt`.
    ///
    /// # Errors
    /// When the run did not come to its end. Entries that could not be transferred are no error: see
    /// [`SyncReport::exit_code`].
    pub fn run(
        self,
        monitor: &dyn Monitor,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<SyncReport, SyncError> {
        let started = Instant::now();
        // The run has a token of its own, because its watchdog must not cancel other uses of the caller's token.
        let run_cancel = Cancel::new();
        let _hook = cancel.on_cancel({
            let run_cancel = run_cancel.clone();
            move || run_cancel.cancel()
        });
        let timeout = self.timeout;
        let to_trash = self.options.trash;
        let gathering = Gathering::new(monitor);
        let watched = Watched::new(&gathering);
        let ended = thread::scope(|scope| {
            let (running, done) = mpsc::channel();
            if let Some(limit) = timeout {
                let (watched, run_cancel) = (&watched, &run_cancel);
                scope.spawn(move || watched.watch(limit, &done, run_cancel));
            }
            let ended = self.transfer(&watched, prompt, &run_cancel);
            drop(running);
            ended
        });
        let expired = watched.expired();
        match (ended, timeout) {
            (Ok((run, connection)), _) => {
                let Gathered { failures, mut deletions, .. } = gathering.into_gathered();
                deletions.to_trash = to_trash;
                Ok(SyncReport { run, connection, elapsed: started.elapsed(), failures, deletions })
            }
            (Err(_), Some(limit)) if expired => Err(SyncError::Timeout(limit)),
            // Shutting down the streams causes various errors, but the reason is the cancellation.
            (Err(_), _) if run_cancel.is_cancelled() => Err(SyncError::Interrupted),
            (Err(SyncError::Engine(EngineError::Interrupted)), _) => Err(SyncError::Interrupted),
            (Err(error), _) => Err(error),
        }
    }

    fn transfer(
        self,
        monitor: &dyn Monitor,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<(RunReport, Option<remote::ConnectionReport>), SyncError> {
        let source = source::resolve(&self.source)?;
        let mut sender = SenderConfig::new(source.source);
        sender.cache = self.cache.file(&sender.source);
        if self.git {
            sender.known = self.cache.tracked_contents(&sender.source);
        }
        sender.options = self.options;
        sender.rules = self.rules;
        if let Some(only) = &self.only {
            only.restrict(&mut sender.rules)?;
            sender.some_paths = true;
        }
        // Compression would slow down a run on this machine.
        sender.compress = self.compress && self.destination.is_remote();
        sender.bytes_per_second = self.bytes_per_second.map(NonZeroU64::get);
        sender.threads = self.threads;
        sender.await_ready = self.await_ready || self.claim == Claim::NewWorkspace;

        let destination_is = match source.is_directory {
            false => DestinationIs::FileOrDirectory,
            true if sender.sends_one_entry()? => DestinationIs::DirectoryOrNewName,
            true => DestinationIs::Directory,
        };
        let deletes = sender.options.delete.is_some();
        let receiver = ReceiverArguments {
            root: self.destination.path().to_owned(),
            make_parents: self.make_parents,
            dry_run: sender.options.dry_run,
            some_paths: sender.some_paths,
            destination_is,
            claim: match self.claim {
                // Without deletion no data can be lost. On this machine the destination may hold the directory that the
                // program was started in, such as a home directory.
                Claim::Workspace if !deletes || !self.destination.is_remote() => Claim::Anything,
                claim => claim,
            },
            timeout: self.timeout,
            run: if self.destination.is_remote() { self.streams.run_name() } else { None },
        };
        // As in rsync, a run with nothing to send creates the destination only if a slash says that it is a directory.
        let named_directory = self.destination.path().as_os_str().as_encoded_bytes().ends_with(b"/");
        if !named_directory && let Some(why) = sender.sends_nothing()? {
            self.destination.check()?;
            monitor.event(&Event::Notice {
                text: match why {
                    NothingSent::NotRecursive => {
                        "nothing to send: the source is a directory; add -r to send it with everything in it"
                    }
                    NothingSent::Excluded => "nothing to send: the rules exclude the source",
                },
            });
            return Ok((RunReport::nothing(), None));
        }
        match &self.destination {
            Destination::Remote(remote) => {
                let streams = self.streams;
                let (run, connection) =
                    remote::send(sender, remote, &receiver, streams, monitor, prompt, cancel)?;
                Ok((run, Some(connection)))
            }
            Destination::Local(local) => {
                let run = match local.receiver() {
                    LocalReceiver::InProcess => local::in_process(sender, &receiver, monitor, cancel)?,
                    LocalReceiver::Program { program, arguments } => {
                        let helper = local::ChildProgram { program, arguments };
                        local::child(sender, &receiver, helper, monitor, cancel)?
                    }
                };
                Ok((run, None))
            }
        }
    }
}
