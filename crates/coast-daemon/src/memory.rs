//! The memory that this process uses.

use nix::sys::resource::{UsageWho, getrusage};

/// Bytes in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Now (the resident set). `None` where the system has no `/proc`.
    pub(crate) resident: Option<u64>,
    /// The most at any time, and never less than `resident`.
    pub(crate) peak: Option<u64>,
}

impl Memory {
    /// The memory of this process.
    pub(crate) fn of_this_process() -> Self {
        Self::of(resident_bytes(), peak_bytes())
    }

    /// The system counts the two on its own, and brings the peak up to date later.
    fn of(resident: Option<u64>, peak: Option<u64>) -> Self {
        Self { resident, peak: peak.map(|peak| peak.max(resident.unwrap_or_default())) }
    }
}

fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn peak_bytes() -> Option<u64> {
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    u64::try_from(getrusage(UsageWho::RUSAGE_SELF).ok()?.max_rss()).ok().map(|peak| peak * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_memory_of_this_process_is_known() {
        let memory = Memory::of_this_process();
        let (now, peak) = (memory.resident.unwrap(), memory.peak.unwrap());
        assert!((1 << 18..1 << 34).contains(&now) && (now..1 << 34).contains(&peak), "{memory:?}");
    }

    #[test]
    fn the_peak_is_never_below_what_is_in_use() {
        let memory = Memory::of(Some(192), Some(190));
        assert_eq!((memory.resident, memory.peak), (Some(192), Some(192)));
        assert_eq!(Memory::of(None, Some(190)).peak, Some(190));
        assert_eq!(Memory::of(Some(192), None).peak, None);
    }
}
