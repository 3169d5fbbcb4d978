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
/// What no stamp shows is a store through a shared memory mapping into a page that was written before and not yet
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
