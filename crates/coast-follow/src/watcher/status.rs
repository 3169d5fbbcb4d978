//! How a worktree is watched, for people who wait for their edits.

/// How a worktree is watched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchStatus {
    /// Directories that are watched.
    pub watched_directories: usize,
    /// Directories that are scanned every two seconds, because they cannot be watched or because other machines change them.
    pub scanned_directories: usize,
    /// How many directories all programs of the user may watch together, where the system tells.
    pub limit: Option<u64>,
    /// Whether the system refused to watch more directories.
    pub watches_used_up: bool,
    /// How many paths changed and are not sent. `None` means that everything is compared next.
    pub pending_paths: Option<usize>,
    /// How often events were lost, so that everything was compared.
    pub overflows: u64,
}

impl WatchStatus {
    /// What the user can do so that no directory has to be scanned.
    pub fn advice(&self) -> Option<String> {
        self.watches_used_up.then(|| {
            let limit = self.limit.unwrap_or(8192).max(8192).saturating_mul(4);
            format!(
                "{} directories are scanned every 2 s because all watches of this user are in use; raise the limit with \
                 `sudo sysctl fs.inotify.max_user_watches={limit}`",
                self.scanned_directories
            )
        })
    }
}

/// How many directories all programs of the user may watch together.
pub(super) fn limit() -> Option<u64> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").ok()?.trim().parse().ok()
}
