//! The system calls of a push, counted by strace. The push is local: then one strace sees both ends.

use super::{Counts, FILES};
use crate::program;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Not counted: the calls by which threads wait for each other and take memory. Their number depends on the scheduler.
const LEFT_OUT: &str = "!futex,sched_yield,ppoll,poll,recvfrom,sendto,mmap,munmap,mprotect,madvise,brk";

/// So many pushes of unchanged files are made. The one with the fewest calls counts.
const SETTLING_PUSHES: usize = 5;

/// Where the pushes are made.
pub(super) struct SystemCalls<'a> {
    coast: &'a Path,
    home: PathBuf,
    source: &'a Path,
    destination: PathBuf,
    summary: PathBuf,
}

impl<'a> SystemCalls<'a> {
    /// Counts the calls for each file of a first push, and of a push of the same files.
    pub(super) fn of(coast: &'a Path, directory: &Path, source: &'a Path, counts: &mut Counts) -> Result<()> {
        let own = directory.join("local");
        let home = own.join("home");
        fs::create_dir_all(&home).with_context(|| format!("creating {}", home.display()))?;
        let pushes =
            Self { coast, home, source, destination: own.join("destination"), summary: own.join("summary") };
        counts.push(("system calls per new file".to_owned(), pushes.per_file()?));
        // A hash is remembered once its file is old enough, so the pushes right after the first one read files again.
        let settled = (0..SETTLING_PUSHES).map(|_| pushes.per_file()).collect::<Result<Vec<_>>>()?;
        let least = settled.into_iter().fold(f64::INFINITY, f64::min);
        counts.push(("system calls per unchanged file".to_owned(), least));
        Ok(())
    }

    fn per_file(&self) -> Result<f64> {
        let mut strace = Command::new("strace");
        strace.args(["--follow-forks", "--summary-only", "--output"]).arg(&self.summary);
        strace.arg(format!("--trace={LEFT_OUT}")).arg(self.coast).args(["push", "--quiet"]);
        strace.arg(self.source).arg(&self.destination).env("HOME", &self.home).env("COAST_NO_DAEMON", "1");
        program::output(&mut strace).context("counting system calls (of the package strace)")?;
        let summary = fs::read_to_string(&self.summary).context("reading the summary of strace")?;
        let calls = calls_in(&summary).with_context(|| format!("strace told no total: {summary}"))?;
        Ok(f64::from(calls) / f64::from(u32::try_from(FILES).expect("it is small")))
    }
}

/// The calls in the line of the total, whose columns are: percent, seconds, microseconds per call, calls, errors, `total`.
fn calls_in(summary: &str) -> Option<u32> {
    let total = summary.lines().find(|line| line.ends_with(" total"))?;
    total.split_ascii_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_is_read_with_and_without_errors() {
        let rows = " 60.00    0.000060          12         5           read\n";
        let with = format!("{rows}100.00    0.000100           9        11         2 total\n");
        assert_eq!(calls_in(&with), Some(11));
        let without = format!("{rows}100.00    0.000100           9        11           total\n");
        assert_eq!(calls_in(&without), Some(11));
        assert_eq!(calls_in(rows), None);
    }
}
