//! Random edits of a worktree while another program writes to the destination. After each flush both sides are equal, but for what that
//! program made and changed: that is as it was, and the conflicts with it are told.
//!
//! `COAST_MODEL_ROUNDS` sets the number of rounds. `COAST_MODEL_SEED` repeats the edits of a run; how they fall into batches is left to
//! the scheduler.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use coast_follow::{First, FlushOutcome, Follower, FollowerSettings, Subscription, Update};
use coast_sync::{
    CachePlace, Cancel, Delete, Destination, FollowRequest, NoPrompt, Options, RuleList, profile,
};
use coast_testkit::{DestinationWriter, RandomEdits, Told};

const ROUNDS: u64 = 200;
/// So few entries that no batch is refused because it deletes too many.
const MAX_ENTRIES: usize = 80;
/// A worktree that becomes empty halts the follower, so this file stays.
const ALWAYS: &str = "always";

fn number(variable: &str, otherwise: impl FnOnce() -> u64) -> u64 {
    match std::env::var(variable) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{variable}={value} is not a number")),
        Err(_) => otherwise(),
    }
}

fn follow(scratch: &Path, worktree: &Path, copy: &Path) -> Follower {
    let mut rules = RuleList::new();
    profile::add_default_rules(&mut rules).unwrap();
    let delete = Delete { only_placed: true, no_mass_deletion: true, ..Delete::default() };
    let request = FollowRequest::push(worktree, Destination::local(copy))
        .unwrap()
        .options(Options { delete: Some(delete), ..profile::options() })
        .rules(rules.clone())
        .cache(CachePlace::File(scratch.join("cache")));
    let follower =
        Follower::start(FollowerSettings::new(worktree, request, rules, Arc::new(NoPrompt))).unwrap();
    follower.follow(First::Everything);
    follower
}

/// Waits until the follower has done something, but not long: some edits fall into a batch under way, some come after it.
fn await_change(changes: &mut Subscription, until: Instant) {
    assert!(!matches!(changes.next(Some(until)), Update::Ended));
}

/// Flushes, and returns what was left as it is.
fn flush(follower: &Follower) -> Told {
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    match follower.flush(Some(Duration::from_secs(60)), &Cancel::new()).unwrap() {
        FlushOutcome::Arrived => Told::default(),
        FlushOutcome::Left { problems, more_problems: 0, conflicts, more_conflicts: 0 } => Told {
            conflicts: conflicts.iter().map(|conflict| path(&conflict.path)).collect(),
            problems: problems.iter().map(|problem| path(problem.path.as_bytes())).collect(),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn random_edits_arrive_and_what_was_made_at_the_destination_stays() {
    let rounds = number("COAST_MODEL_ROUNDS", || ROUNDS);
    let seed = number("COAST_MODEL_SEED", || fastrand::u64(..));
    println!("COAST_MODEL_SEED={seed}");
    let scratch = tempfile::tempdir().unwrap();
    let [worktree, copy, prepared] = ["worktree", "copy", "prepared"].map(|name| scratch.path().join(name));
    for dir in [&worktree, &copy, &prepared] {
        fs::create_dir(dir).unwrap();
    }
    fs::write(worktree.join(ALWAYS), "").unwrap();
    let follower = follow(scratch.path(), &worktree, &copy);
    let mut changes = follower.subscribe();
    let mut edits = RandomEdits::new(&worktree, seed, MAX_ENTRIES, &[ALWAYS]);
    let mut writer = DestinationWriter::new(&copy, prepared);

    for round in 0..rounds {
        let check = |writer: &DestinationWriter, edits: &RandomEdits| {
            let told = flush(&follower);
            let unexplained = writer.unexplained(&worktree, &told);
            if unexplained.is_empty() {
                return;
            }
            // If this mends it, a change was not sent. Otherwise the receiver takes it for right.
            follower.follow(First::Everything);
            flush(&follower);
            let after_everything = writer.unexplained(&worktree, &flush(&follower));
            panic!(
                "round {round} of COAST_MODEL_SEED={seed}: {unexplained:#?}, and when everything was compared: \
                 {after_everything:#?}; told: {told:?}, after {:#?}",
                edits.made()
            );
        };
        edits.forget();
        if round % 4 == 1 {
            let line = writer.act_on_placed(&mut edits.rng);
            edits.note(line);
        }
        let count = edits.rng.usize(1..30);
        let overflow = (round % 3 == 2).then(|| edits.rng.usize(..count));
        for edit in 0..count {
            edits.edit();
            if edits.rng.u8(..6) == 0 {
                let name = edits.name();
                let line = writer.act(&mut edits.rng, name);
                edits.note(line);
            }
            if overflow == Some(edit) {
                edits.note("overflow");
                follower.overflow();
            }
            if edits.rng.u8(..4) == 0 {
                let wait = Duration::from_millis(edits.rng.u64(..8));
                await_change(&mut changes, Instant::now() + wait);
            }
        }
        check(&writer, &edits);

        // A conflict ends when both sides become equal.
        if round % 4 == 3
            && let Some(path) = writer.give(&mut edits.rng, &worktree)
        {
            edits.note(format!("make equal {path:?}"));
            check(&writer, &edits);
        }
        if round % 20 == 19 {
            edits.note("compare everything");
            follower.follow(First::Everything);
            flush(&follower);
            writer.all_was_looked_at();
            check(&writer, &edits);
        }
    }
}
