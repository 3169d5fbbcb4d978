//! Children, names, memory and processor time of processes, from `/proc`.
//! A process may end at any moment, so every question may have no answer.

use rustix::process::{Pid, Signal};
use std::fs;

/// A process by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// The processes that it started and that still run. Needs a kernel with `CONFIG_PROC_CHILDREN`, as distributions have.
    pub(crate) fn children(self) -> Vec<Self> {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.0)) else { return Vec::new() };
        let lists =
            threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
        lists.flat_map(|list| children_in(&list)).collect()
    }

    /// The name, and the most memory that was resident since the last exec, in bytes.
    pub(crate) fn memory(self) -> Option<(String, u64)> {
        memory_in(&fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?)
    }

    /// The memory that is resident now, in bytes.
    pub(crate) fn resident(self) -> Option<u64> {
        bytes_in(&fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?, "VmRSS:")
    }

    /// The processor time of ended descendants that were waited for, in clock ticks of 10 ms.
    pub(crate) fn ended_children_ticks(self) -> Option<u64> {
        ticks_in(&fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?, ENDED_CHILDREN_TICKS)
    }

    /// The processor time of the process so far, in clock ticks of 10 ms.
    pub(crate) fn own_ticks(self) -> Option<u64> {
        ticks_in(&fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?, OWN_TICKS)
    }

    /// Sends a signal, unless the process has ended.
    pub(crate) fn signal(self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.0).ok().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

/// All processes below `root`, parents before children.
pub(crate) fn descendants(root: Process) -> Vec<Process> {
    let mut found = root.children();
    let mut next = 0;
    while let Some(process) = found.get(next) {
        let children = process.children();
        found.extend(children);
        next += 1;
    }
    found
}

fn children_in(list: &str) -> Vec<Process> {
    list.split_ascii_whitespace().filter_map(|id| id.parse().ok()).map(Process).collect()
}

fn memory_in(status: &str) -> Option<(String, u64)> {
    Some((field(status, "Name:")?.to_owned(), bytes_in(status, "VmHWM:")?))
}

fn bytes_in(status: &str, name: &str) -> Option<u64> {
    let kibibytes: u64 = field(status, name)?.strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// Fields of `stat`, counted from 1 as proc(5) does: `utime`, followed by `stime`.
const OWN_TICKS: usize = 14;
/// The same: `cutime`, followed by `cstime`.
const ENDED_CHILDREN_TICKS: usize = 16;

/// The sum of a field of `stat` and the one after it.
fn ticks_in(stat: &str, field: usize) -> Option<u64> {
    // The second field is a name in parentheses that may hold blanks; the third follows the last parenthesis.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(field - 3);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn memory_is_read_with_its_unit() {
        let status = "Name:\trsync\nVmPeak:\t 9 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(memory_in(status), Some(("rsync".to_owned(), 2 << 20)));
        assert_eq!(bytes_in(status, "VmRSS:"), Some(1 << 20));
        assert_eq!(memory_in("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn name_with_blanks_and_parentheses_shifts_no_field() {
        let stat = "12 (a b) c) S 1 2 3 4 5 6 7 8 9 10 100 200 30 4 20 0 1";
        assert_eq!(ticks_in(stat, ENDED_CHILDREN_TICKS), Some(34));
    }

    #[test]
    fn child_is_a_descendant_until_it_ends() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let own = Process(std::process::id());
        assert!(descendants(own).contains(&Process(child.id())));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!descendants(own).contains(&Process(child.id())));
    }
}
