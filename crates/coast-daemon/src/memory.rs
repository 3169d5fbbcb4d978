//! The memory that this process uses.

use nix::sys::resource::{UsageWho, getrusage};

/// The bytes in memory now (the resident set). `None` where the system has no `/proc`.
pub(crate) fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// The most bytes that were in memory at any time.
pub(crate) fn peak_bytes() -> Option<u64> {
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    u64::try_from(getrusage(UsageWho::RUSAGE_SELF).ok()?.max_rss()).ok().map(|peak| peak * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_memory_of_this_process_is_known() {
        let (now, peak) = (resident_bytes().unwrap(), peak_bytes().unwrap());
        assert!((1 << 18..1 << 34).contains(&now) && (1 << 18..1 << 34).contains(&peak), "{now} {peak}");
    }
}
