//! Whether a run relies on what earlier runs and git know of the source.

use clap::Args;
use coast_instance::ContentSources;
use coast_sync::{CachePlace, SyncRequest};

#[derive(Debug, Clone, Args)]
pub(crate) struct CacheArgs {
    /// Use and keep no content cache on this side: read every file that is compared (implies --no-git)
    #[arg(long)]
    pub(crate) no_cache: bool,

    /// Do not ask git's index for the contents of files that the content cache does not know
    #[arg(long)]
    pub(crate) no_git: bool,
}

impl CacheArgs {
    pub(crate) fn apply(&self, request: SyncRequest) -> SyncRequest {
        let place = if self.no_cache { CachePlace::Nowhere } else { CachePlace::Default };
        request.cache(place).git(!self.no_git)
    }

    /// What the transfer of an instance's worktree may rely on.
    pub(crate) fn content_sources(&self) -> ContentSources {
        match (self.no_cache, self.no_git) {
            (true, _) => ContentSources::None,
            (false, true) => ContentSources::Cache,
            (false, false) => ContentSources::CacheAndGit,
        }
    }
}
