//! How finely a file system stamps changes, and from when on a stamp can be relied on to tell two states apart.

use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::FileIdentity;
use crate::{DirHandle, Name, Timestamp, file_stat};

/// How many pairs of changes are looked at. All of them together take some 50 microseconds, far less than a tick, so
/// that on a coarse clock some pair gets equal stamps.
const TRIALS: u64 = 16;

/// Assumed where stamps follow a timer: its longest period in use is 10 ms (`CONFIG_HZ=100`).
const TICK: Duration = Duration::from_millis(10);

/// Assumed where stamps have no nanoseconds: FAT's mtime counts in steps of two seconds.
const WHOLE_SECONDS: Duration = Duration::from_secs(2);

/// The step of a file system's clock: within one, a file may change twice and look the same.
///
/// # The rule
///
/// A file's hash may be remembered under its [`FileIdentity`] when, for all later times, "the identity is the same"
/// implies "the content is the same". The caller notes the time, stats the file, reads it, and remembers the hash
/// under that identity if [`settled`](Self::settled) says so for the noted time. Then:
///
/// - Every change of the content after the noted time stamps the ctime with a time that is, at most, one step before
///   the change: the stamp comes from a clock that advances once per step. So the new stamp is not older than the noted
///   time less one step.
/// - A settled identity's ctime *is* older than that. So no such change leaves the ctime as it was, be it while the
///   file was read (then the hash is of no state of the file, but nothing will ever match its identity) or after.
/// - Nobody can set a ctime, except by setting the system's clock back.
///
/// Where the kernel stamps finely once a stamp has been looked at (Linux since 6.13 on most file systems), a change
/// after the stat always gets another stamp than the one the stat returned. There the step is zero, and only stamps
/// from the future, which someone's wrong clock left, are not settled.
///
/// The mtime is held to the same rule, for file systems whose ctime means something else (FAT keeps the time of
/// creation there).
///
/// No stamp shows a store through a shared memory mapping into a page that was written before and not yet
/// flushed. That limit is shared with everything that relies on stamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStep(Duration);

impl ClockStep {
    /// Finds the step of the file system that holds `dir`, a directory only this user can write, by changing a file
    /// that is made there under the name `scratch` and removed again. A file of that name from an earlier run goes.
    ///
    /// Only what is mounted there is measured; other file systems mounted below the same tree may be coarser.
    pub fn measure(dir: &DirHandle, scratch: &Name) -> io::Result<Self> {
        match dir.unlink(scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = dir.create_file(scratch, 0o600)?;
        let step = measure_with(|trial| {
            // Each change differs from the last, or a file system might not call it one.
            file.write_all_at(&trial.to_le_bytes(), 0)?;
            let stat = file_stat(&file)?;
            Ok(Stamps { mtime: stat.mtime, ctime: stat.ctime })
        });
        dir.unlink(scratch)?;
        step
    }

    /// A step that is known from elsewhere.
    pub const fn from_duration(step: Duration) -> Self {
        Self(step)
    }

    /// The step; zero where stamps always differ.
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// Whether both stamps are older than one step at `observed_at`, the system's time from *before* the file was
    /// looked at: whether the identity tells this state of the file apart from any later one.
    pub fn settled(&self, stat: &FileIdentity, observed_at: Timestamp) -> bool {
        let newest = stat.ctime.max(stat.mtime).total_nanos();
        let limit = observed_at.total_nanos() - i128::try_from(self.0.as_nanos()).unwrap_or(i128::MAX);
        // With a step of zero a stamp of this very moment is fine: the next one differs.
        if self.0.is_zero() { newest <= limit } else { newest < limit }
    }
}

struct Stamps {
    mtime: Timestamp,
    ctime: Timestamp,
}

/// Finds the step from the stamps that `change` returns: it changes a file and looks at it.
fn measure_with(mut change: impl FnMut(u64) -> io::Result<Stamps>) -> io::Result<ClockStep> {
    let mut last: Option<Stamps> = None;
    let (mut always_differ, mut whole_mtimes, mut whole_ctimes) = (true, true, true);
    let mut lag = Duration::ZERO;
    for trial in 0..TRIALS {
        let before = Timestamp::now();
        let stamps = change(trial)?;
        always_differ &= last.is_none_or(|last| last.ctime < stamps.ctime && last.mtime < stamps.mtime);
        whole_mtimes &= stamps.mtime.nanos() == 0;
        whole_ctimes &= stamps.ctime.nanos() == 0;
        lag = lag.max(behind(stamps.ctime, before));
        last = Some(stamps);
    }
    let step = if whole_mtimes || whole_ctimes {
        WHOLE_SECONDS
    } else if always_differ {
        Duration::ZERO
    } else {
        TICK
    };
    // A stamp further behind than its clock's step explains comes from another machine's clock (a network file
    // system), which goes slow by that much. One that goes fast only makes stamps look unsettled for longer.
    let skew = if lag > step.max(TICK) { lag } else { Duration::ZERO };
    Ok(ClockStep(step + skew))
}

/// How long before `now` the stamp is; zero when it is not.
fn behind(stamp: Timestamp, now: Timestamp) -> Duration {
    u64::try_from(now.total_nanos() - stamp.total_nanos()).map_or(Duration::ZERO, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};

    use super::*;
    use crate::ContentHash;
    use crate::scratch::{Scratch, name};

    fn stamped(ctime: Timestamp, mtime: Timestamp) -> FileIdentity {
        FileIdentity { ino: 1, size: 2, mtime, ctime }
    }

    #[test]
    fn settled_is_older_than_one_step() {
        let now = Timestamp::new(1000, 5_000_000);
        let old = Timestamp::new(1, 0);
        let step = ClockStep::from_duration(Duration::from_millis(10));
        for (newest, settled) in [
            (Timestamp::new(999, 994_999_999), true),
            (Timestamp::new(999, 995_000_000), false),
            (now, false),
            (Timestamp::new(2000, 0), false),
            (Timestamp::new(i64::MAX, 0), false),
            (Timestamp::new(i64::MIN, 0), true),
        ] {
            assert_eq!(step.settled(&stamped(newest, old), now), settled, "ctime {newest:?}");
            assert_eq!(step.settled(&stamped(old, newest), now), settled, "mtime {newest:?}");
        }
    }

    #[test]
    fn where_stamps_always_differ_only_the_future_is_not_settled() {
        let step = ClockStep::from_duration(Duration::ZERO);
        let now = Timestamp::new(1000, 5);
        assert!(step.settled(&stamped(now, now), now));
        assert!(!step.settled(&stamped(Timestamp::new(1000, 6), now), now));
    }

    #[test]
    fn clock_before_the_epoch_settles_nothing() {
        let step = ClockStep::from_duration(WHOLE_SECONDS);
        assert!(
            !step.settled(&stamped(Timestamp::new(0, 0), Timestamp::new(0, 0)), Timestamp::new(i64::MIN, 0))
        );
    }

    /// The step that is measured where the n-th change is stamped so many nanoseconds after `now`.
    fn measured(stamp: impl Fn(i64) -> i64) -> Duration {
        let begin = i64::try_from(Timestamp::now().total_nanos()).unwrap();
        let step = measure_with(|trial| {
            let nanos = begin + stamp(i64::try_from(trial).unwrap());
            let time = Timestamp::new(
                nanos.div_euclid(1_000_000_000),
                u32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap(),
            );
            Ok(Stamps { mtime: time, ctime: time })
        });
        step.unwrap().duration()
    }

    #[test]
    fn step_is_told_from_the_stamps_of_quick_changes() {
        assert_eq!(measured(|trial| trial + 1), Duration::ZERO);
        assert_eq!(measured(|_| 1), TICK, "all in one tick");
        assert_eq!(measured(|trial| 1 + trial / 8 * 4_000_000), TICK, "a tick ended in between");
        let begin = Timestamp::now();
        let whole_seconds = measure_with(|trial| {
            let ctime =
                Timestamp::new(begin.secs(), begin.nanos() / 100 * 100 + 1 + u32::try_from(trial).unwrap());
            Ok(Stamps { mtime: Timestamp::new(begin.secs() + 2, 0), ctime })
        });
        assert_eq!(whole_seconds.unwrap().duration(), WHOLE_SECONDS, "FAT: only the ctime has nanoseconds");
    }

    #[test]
    fn clock_of_another_machine_that_is_behind_lengthens_the_step() {
        let hour = 3_600_000_000_000;
        assert!(measured(|trial| trial - hour) >= Duration::from_secs(3600));
        assert_eq!(measured(|trial| trial + hour), Duration::ZERO);
    }

    #[test]
    fn measuring_leaves_nothing_behind_and_minds_no_leftover() {
        let scratch = Scratch::new().file("clock", "left by a run that was killed");
        let dir = scratch.root().handle();
        ClockStep::measure(&dir, &name("clock")).unwrap();
        assert_eq!(dir.list().unwrap(), []);
        fs::create_dir(scratch.path("clock")).unwrap();
        assert!(ClockStep::measure(&dir, &name("clock")).is_err());
    }

    /// The promise itself, on the file system that the tests run on.
    #[test]
    fn settled_identity_never_stays_when_the_content_changes() {
        let scratch = Scratch::new().file("file", [0; 8]);
        let dir = scratch.root().handle();
        let step = ClockStep::measure(&dir, &name("clock")).unwrap();
        let file = OpenOptions::new().write(true).open(scratch.path("file")).unwrap();
        let mut remembered: Vec<(FileIdentity, ContentHash)> = Vec::new();
        for round in 0..2000_u64 {
            file.write_all_at(&round.to_le_bytes(), 0).unwrap();
            let observed_at = Timestamp::now();
            let identity = FileIdentity::from(&dir.stat(&name("file")).unwrap().unwrap());
            let hash = ContentHash::of(&fs::read(scratch.path("file")).unwrap());
            let earlier = remembered.iter().find(|(known, _)| *known == identity);
            assert!(earlier.is_none_or(|(_, known)| *known == hash), "round {round}: {step:?}");
            if step.settled(&identity, observed_at) {
                remembered.push((identity, hash));
            }
        }
    }
}
