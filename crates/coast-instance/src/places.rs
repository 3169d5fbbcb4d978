//! The directories of configuration and state, by the XDG Base Directory Specification.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::Name;

/// The directories of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    config: PathBuf,
    state: PathBuf,
    data: PathBuf,
}

/// Neither a home directory nor the XDG variables are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no home directory: set HOME, or XDG_CONFIG_HOME, XDG_STATE_HOME and XDG_DATA_HOME, to absolute paths"
)]
pub struct NoHome;

impl Places {
    /// `$XDG_CONFIG_HOME/coast`, `$XDG_STATE_HOME/coast` and `$XDG_DATA_HOME/coast`; by default `~/.config/coast`,
    /// `~/.local/state/coast` and `~/.local/share/coast`.
    ///
    /// # Errors
    /// When neither the variables nor a home directory are set.
    pub fn from_process() -> Result<Self, NoHome> {
        Self::of(
            std::env::var_os("XDG_CONFIG_HOME"),
            std::env::var_os("XDG_STATE_HOME"),
            std::env::var_os("XDG_DATA_HOME"),
            std::env::home_dir(),
        )
    }

    /// All directories below one directory, for tests and embedding programs.
    pub fn below(directory: &Path) -> Self {
        Self {
            config: directory.join("config"),
            state: directory.join("state"),
            data: directory.join("data"),
        }
    }

    fn of(
        config: Option<OsString>,
        state: Option<OsString>,
        data: Option<OsString>,
        home: Option<PathBuf>,
    ) -> Result<Self, NoHome> {
        let home = home.filter(|home| home.is_absolute());
        let place = |variable: Option<OsString>, below_home: &str| {
            // The specification demands that a relative path is ignored.
            let named = variable.map(PathBuf::from).filter(|path| path.is_absolute());
            let named = named.or_else(|| home.as_ref().map(|home| home.join(below_home)));
            named.map(|base| base.join("coast")).ok_or(NoHome)
        };
        Ok(Self {
            config: place(config, ".config")?,
            state: place(state, ".local/state")?,
            data: place(data, ".local/share")?,
        })
    }

    /// The file of remotes.
    pub fn remotes(&self) -> PathBuf {
        self.config.join("remotes.toml")
    }

    /// The private key that is made for the sessions of the instances on a remote.
    pub fn session_key(&self, remote: &Name) -> PathBuf {
        self.data.join("keys").join(remote.as_str())
    }

    /// The directory that holds a directory for each project.
    pub fn projects(&self) -> &Path {
        &self.state
    }

    /// The directory of the settings that the user trusts. No project has a name that begins with a dot.
    pub(crate) fn trust(&self) -> PathBuf {
        self.state.join(".trust")
    }

    /// The directory of the records of a project's instances.
    pub fn instances(&self, project: &Name) -> PathBuf {
        self.state.join(project.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_live_where_xdg_says() {
        let home = || Some(PathBuf::from("/home/dev"));
        let places =
            Places::of(Some("/c".into()), Some("relative".into()), Some("/d".into()), home()).unwrap();
        assert_eq!(places.remotes(), Path::new("/c/coast/remotes.toml"));
        let project = "shop".parse().unwrap();
        assert_eq!(places.instances(&project), Path::new("/home/dev/.local/state/coast/shop"));
        assert_eq!(places.session_key(&"box".parse().unwrap()), Path::new("/d/coast/keys/box"));
        assert_eq!(Places::of(None, Some("/s".into()), Some("/d".into()), None), Err(NoHome));
        assert!(Places::of(Some("/c".into()), Some("/s".into()), Some("/d".into()), None).is_ok());
    }
}
