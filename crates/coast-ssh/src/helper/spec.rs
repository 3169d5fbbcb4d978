//! Which helper to start and how, and where it may live on the host.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Where the helper may live, in the order of preference. A name that ends in `-` gets the user's numeric id appended.
/// Relative names are relative to the user's home, where commands start.
const DIRECTORIES: [&str; 4] = [".cache/coast", "/var/tmp/coast-", "/tmp/coast-", "/dev/shm/coast-"];

/// Which helper to start, and how.
#[derive(Debug, Clone)]
pub struct HelperSpec {
    /// The helpers there are, one for each platform. The remote's `uname` chooses.
    pub programs: Vec<HelperProgram>,
    /// The helper's arguments. Any bytes but NUL.
    pub args: Vec<Vec<u8>>,
    /// Whether to start it as root.
    pub sudo: Sudo,
    /// A helper that is on the host already, by its path; nothing is uploaded then.
    pub path: Option<Vec<u8>>,
    /// Where the helper may live on the host, in the order of preference: absolute, or relative to the home directory.
    /// Names must have neither spaces nor quotes; one that ends in `-` gets the user's numeric id appended.
    pub directories: Vec<String>,
}

impl HelperSpec {
    /// The given programs without arguments, in the usual directories, as root where that is allowed.
    pub fn new(programs: Vec<HelperProgram>) -> HelperSpec {
        HelperSpec {
            programs,
            args: Vec::new(),
            sudo: Sudo::Auto,
            path: None,
            directories: DIRECTORIES.map(str::to_owned).to_vec(),
        }
    }
}

/// Whether the helper is to run as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sudo {
    /// With `sudo -n` if that works, else as the user, with a note.
    #[default]
    Auto,
    /// With `sudo -n`, or not at all.
    Always,
    /// As the user.
    Never,
}

/// A helper for one platform.
#[derive(Debug, Clone)]
pub struct HelperProgram {
    /// The platform as `uname -sm` says it (`Linux x86_64`), or `None` for any.
    pub platform: Option<String>,
    /// The hash of its content, in letters and digits: its name on the host.
    pub name: String,
    /// Where to read it, if it must be uploaded.
    pub source: HelperSource,
}

/// Where the bytes of a helper come from. They are read only when an upload is needed.
#[derive(Clone)]
pub enum HelperSource {
    /// A file.
    Path(PathBuf),
    /// Bytes in memory.
    Bytes(Arc<[u8]>),
    /// A function that has them.
    Provider(Arc<dyn Fn() -> io::Result<Arc<[u8]>> + Send + Sync>),
}

impl HelperSource {
    pub(crate) fn read(&self) -> io::Result<Arc<[u8]>> {
        match self {
            HelperSource::Path(path) => std::fs::read(path).map(Arc::from),
            HelperSource::Bytes(bytes) => Ok(Arc::clone(bytes)),
            HelperSource::Provider(provider) => provider(),
        }
    }
}

impl fmt::Display for HelperSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HelperSource::Path(path) => write!(f, "{}", path.display()),
            HelperSource::Bytes(_) | HelperSource::Provider(_) => f.write_str("built into this program"),
        }
    }
}

impl fmt::Debug for HelperSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HelperSource({self})")
    }
}
