//! Random edits of a worktree while another program writes to the destination. After each flush both sides are equal, but for what
//! that program made and changed: that is as it was, and the conflicts with it are told.
//!
//! `COAST_MODEL_ROUNDS` sets the number of rounds. `COAST_MODEL_SEED` repeats the edits of a run; how they fall into batches is
//! left to the scheduler.

use std::time::{Duration, Instant};

use coast_follow::First;
use coast_testkit::{DestinationWriter, RandomEdits};

use super::{ALWAYS, Followed, MAX_ENTRIES, await_change, number};

const ROUNDS: u64 = 200;

#[test]
fn random_edits_arrive_and_what_was_made_at_the_destination_stays() {
    let rounds = number("COAST_MODEL_ROUNDS", || ROUNDS);
    let seed = number("COAST_MODEL_SEED", || fastrand::u64(..));
    println!("COAST_MODEL_SEED={seed}");
    let followed = Followed::new();
    let (worktree, follower) = (followed.worktree(), followed.follower());
    let mut changes = follower.subscribe();
    let mut edits = RandomEdits::new(&worktree, seed, MAX_ENTRIES, &[ALWAYS]);
    let mut writer = DestinationWriter::new(followed.copy(), followed.prepared());

    for round in 0..rounds {
        let check = |writer: &DestinationWriter, edits: &RandomEdits| {
            let told = followed.flush();
            let unexplained = writer.unexplained(&worktree, &told);
            if unexplained.is_empty() {
                return;
            }
            // If this mends it, a change was not sent. Otherwise the receiver takes it for right.
            follower.follow(First::Everything);
            followed.flush();
            let after_everything = writer.unexplained(&worktree, &followed.flush());
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
            followed.flush();
            writer.all_was_looked_at();
            check(&writer, &edits);
        }
    }
}
