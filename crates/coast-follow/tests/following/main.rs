//! A followed worktree as a whole: random edits, connections that break, followers that die, and places that go away.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod cuts;
mod interruptions;
mod model;
mod places;
mod sealed;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coast_follow::{
    First, FlushOutcome, Follower, FollowerSettings, FollowerState, FollowerStatus, Halt, Subscription,
    Update,
};
use coast_sync::{
    CachePlace, Cancel, Claim, Delete, FollowRequest, LocalDestination, LocalReceiver, NoPrompt, Options,
    RuleList, profile,
};
use coast_testkit::Told;

use cuts::Cuts;

/// More than any wait takes.
const LONG: Duration = Duration::from_secs(60);
/// So few entries that no batch is refused because it deletes too many.
const MAX_ENTRIES: usize = 80;
/// A worktree that becomes empty halts the follower, so this file stays.
const ALWAYS: &str = "always";

/// A worktree that is followed into a copy.
struct Followed {
    scratch: tempfile::TempDir,
    cuts: Arc<Cuts>,
    claim: Claim,
    follower: Option<Follower>,
}

impl Followed {
    /// A worktree with one file, and a follower of it that sends everything first.
    fn new() -> Self {
        let mut followed = Self::unfollowed();
        followed.start();
        followed
    }

    fn unfollowed() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let followed = Self { scratch, cuts: Arc::default(), claim: Claim::Anything, follower: None };
        for dir in [followed.worktree(), followed.copy(), followed.prepared()] {
            fs::create_dir_all(dir).unwrap();
        }
        fs::write(followed.worktree().join(ALWAYS), "").unwrap();
        followed
    }

    /// Ends the follower if there is one, and starts another one.
    fn start(&mut self) {
        self.follower = None;
        let mut rules = RuleList::new();
        profile::add_default_rules(&mut rules).unwrap();
        // The edits of a test may delete most of its small tree within a second.
        let delete = Delete { only_placed: true, no_mass_deletion: false, ..Delete::default() };
        let copy = LocalDestination::new(self.copy(), LocalReceiver::InProcess);
        let request = FollowRequest::push(self.worktree(), copy.relayed(Cuts::relay(&self.cuts)))
            .unwrap()
            .options(Options { delete: Some(delete), ..profile::options() })
            .rules(rules.clone())
            .claim(self.claim)
            .cache(CachePlace::File(self.scratch.path().join("cache")));
        let settings = FollowerSettings::new(self.worktree(), request, rules, Arc::new(NoPrompt));
        let follower = Follower::start(settings).unwrap();
        follower.follow(First::Everything);
        self.follower = Some(follower);
    }

    /// Ends the follower at once, whatever it is doing.
    fn kill(&mut self) {
        self.follower.take().unwrap().stop();
    }

    fn follower(&self) -> &Follower {
        self.follower.as_ref().unwrap()
    }

    fn worktree(&self) -> PathBuf {
        self.scratch.path().join("worktree")
    }

    fn copy(&self) -> PathBuf {
        self.scratch.path().join("destination/copy")
    }

    /// A directory on the file system of the copy.
    fn prepared(&self) -> PathBuf {
        self.scratch.path().join("destination/prepared")
    }

    /// Flushes, and returns what was left as it is.
    fn flush(&self) -> Told {
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        match self.follower().flush(Some(LONG), &Cancel::new()).unwrap() {
            FlushOutcome::Arrived => Told::default(),
            FlushOutcome::Left { problems, more_problems: 0, conflicts, more_conflicts: 0 } => Told {
                conflicts: conflicts.iter().map(|conflict| path(&conflict.path)).collect(),
                problems: problems.iter().map(|problem| path(problem.path.as_bytes())).collect(),
            },
            other => panic!("{other:?} in state {:?}", self.follower().status()),
        }
    }

    fn arrive(&self) {
        let outcome = self.follower().flush(Some(LONG), &Cancel::new()).unwrap();
        assert_eq!(outcome, FlushOutcome::Arrived, "in state {:?}", self.follower().status());
    }

    /// Flushes, and returns why nothing arrives any more.
    fn halt(&self) -> Halt {
        match self.follower().flush(Some(LONG), &Cancel::new()).unwrap() {
            FlushOutcome::Halted(halt) => {
                let state = self.follower().status().state;
                assert_eq!(state, FollowerState::Halted(halt.clone()));
                halt
            }
            other => panic!("{other:?}"),
        }
    }

    /// Waits for a state.
    fn await_state(&self, is_meant: impl Fn(&FollowerStatus) -> bool) -> FollowerStatus {
        let (mut changes, until) = (self.follower().subscribe(), Instant::now() + LONG);
        loop {
            match changes.next(Some(until)) {
                Update::Status(status) if is_meant(&status) => return *status,
                Update::Status(_) => {}
                other => panic!("{other:?} in state {:?}", self.follower().status()),
            }
        }
    }
}

/// Waits until the follower has done something, but not long: some edits fall into a batch under way, some come after it.
fn await_change(changes: &mut Subscription, until: Instant) {
    assert!(!matches!(changes.next(Some(until)), Update::Ended));
}

/// A number from an environment variable.
fn number(variable: &str, otherwise: impl FnOnce() -> u64) -> u64 {
    match std::env::var(variable) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{variable}={value} is not a number")),
        Err(_) => otherwise(),
    }
}
