//! Connections that break and followers that die, at random points while edits go on. Everything arrives in the end, no file is
//! ever seen in part, and what was made at the destination stays.
//!
//! `COAST_FAULTS` sets the number of interruptions of each kind, `COAST_FAULTS_SEED` repeats the edits and the points of a run.

use std::thread;
use std::time::{Duration, Instant};

use coast_sync::Cancel;
use coast_testkit::{DestinationWriter, RandomEdits};

use super::cuts::{AtLimit, Direction};
use super::sealed::{SEALED, SealedFiles};
use super::{ALWAYS, Followed, LONG, MAX_ENTRIES, await_change, number};

const INTERRUPTIONS: u64 = 200;

/// A followed worktree in which edits go on.
struct Interrupted {
    followed: Followed,
    edits: RandomEdits,
    writer: DestinationWriter,
    seed: u64,
}

impl Interrupted {
    fn new(seed: u64) -> Self {
        println!("COAST_FAULTS_SEED={seed}");
        let followed = Followed::new();
        let edits = RandomEdits::new(followed.worktree(), seed, MAX_ENTRIES, &[ALWAYS, SEALED]);
        let writer = DestinationWriter::new(followed.copy(), followed.prepared());
        Self { followed, edits, writer, seed }
    }

    /// A few edits of the worktree and of the destination.
    fn edit(&mut self, sealed: &SealedFiles) {
        for _ in 0..self.edits.rng.usize(1..10) {
            sealed.save(&mut self.edits.rng);
            self.edits.edit();
            if self.edits.rng.u8(..6) == 0 {
                let name = self.edits.name();
                let line = self.writer.act(&mut self.edits.rng, name);
                self.edits.note(line);
            }
            if self.edits.rng.u8(..3) == 0
                && let Some(follower) = &self.followed.follower
            {
                let wait = Duration::from_millis(self.edits.rng.u64(..8));
                await_change(&mut follower.subscribe(), Instant::now() + wait);
            }
        }
    }

    /// Lets the connection break after some bytes.
    fn arm(&mut self, then: AtLimit) {
        let rng = &mut self.edits.rng;
        let direction = if rng.bool() { Direction::ToReceiver } else { Direction::ToSender };
        // Few bytes are as likely as many.
        let bits = if direction == Direction::ToReceiver { 23 } else { 12 };
        let bits = rng.u8(1..=bits);
        let bytes = rng.usize(..1 << bits);
        self.edits.note(format!("limit after {bytes} bytes {direction:?}"));
        self.followed.cuts.arm(direction, bytes, then);
    }

    fn check(&mut self) {
        let told = self.followed.flush();
        let unexplained = self.writer.unexplained(&self.followed.worktree(), &told);
        assert!(
            unexplained.is_empty(),
            "COAST_FAULTS_SEED={}: {unexplained:#?}, told: {told:?}, after {:#?}",
            self.seed,
            self.edits.made()
        );
        self.edits.forget();
    }
}

/// Calls `interrupt` with files that are saved, while the copy of them is read.
fn watched(run: &mut Interrupted, interrupt: impl FnOnce(&mut Interrupted, &SealedFiles)) {
    /// Ends the watch also if a check fails.
    struct End<'a>(&'a SealedFiles);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.end();
        }
    }
    let copy = run.followed.copy();
    let sealed = SealedFiles::new(&run.followed.worktree(), &run.followed.prepared());
    let seen = thread::scope(|scope| {
        let watching = scope.spawn(|| sealed.watch(&copy));
        {
            let _end = End(&sealed);
            interrupt(run, &sealed);
        }
        watching.join().unwrap()
    });
    assert!(seen > 0, "no save was seen at the destination");
}

#[test]
fn nothing_is_torn_or_lost_when_the_connection_breaks() {
    let cuts = number("COAST_FAULTS", || INTERRUPTIONS);
    let mut run = Interrupted::new(number("COAST_FAULTS_SEED", || fastrand::u64(..)));
    watched(&mut run, |run, sealed| {
        while run.followed.cuts.reached() < cuts {
            run.arm(AtLimit::Cut);
            // The connection is lost once at most.
            run.followed.follower().retry_now();
            run.edit(sealed);
            run.check();
        }
        run.followed.cuts.disarm();
        run.check();
    });
}

#[test]
fn nothing_is_torn_or_lost_when_the_follower_dies() {
    let deaths = number("COAST_FAULTS", || INTERRUPTIONS);
    let mut run = Interrupted::new(number("COAST_FAULTS_SEED", || fastrand::u64(..)));
    watched(&mut run, |run, sealed| {
        for _ in 0..deaths {
            let before = run.followed.cuts.reached();
            run.arm(AtLimit::Stall);
            run.edit(sealed);
            // It is killed while nothing goes on any more over its connection, or when all has arrived.
            let cancel = Cancel::new();
            thread::scope(|scope| {
                let follower = run.followed.follower();
                let flushing = scope.spawn(|| follower.flush(Some(LONG), &cancel));
                run.followed.cuts.await_limit(before, || flushing.is_finished());
                cancel.cancel();
            });
            run.followed.kill();
            run.followed.cuts.disarm();
            run.edit(sealed);
            run.followed.start();
            run.check();
        }
    });
}
