//! The helper to start, its arguments and user, and the directories of the host that may hold it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The directories that may hold the helper, the preferred one first. The script appends the user's numeric id to a name
/// that ends in `-`. Relative names are relative to the user's home directory, where commands start.
const DIRECTORIES: [&str; 4] = [".cache/coast", "/var/tmp/coast-", "/tmp/coast-", "/dev/shm/coast-"];

/// The helper to start, and how to start it.
#[derive(Debug, Clone)]
pub struct HelperSpec {
    /// One helper for each platform. The answer of the host's `uname` selects one.
    pub programs: Vec<HelperProgram>,
    /// The helper's arguments, which may contain any byte but NUL.
    pub args: Vec<Vec<u8>>,
    /// Whether to start the helper as root.
    pub sudo: Sudo,
    /// The path of a helper that is on the host already. Nothing is uploaded then.
    pub path: Option<Vec<u8>>,
    /// The directories of the host that may hold the helper, the preferred one first: absolute, or relative to the home
    /// directory. Names must have neither spaces nor quotes. The user's numeric id is appended to a name that ends in `-`.
    pub directories: Vec<String>,
}

impl HelperSpec {
    /// A spec for `programs`, without arguments, in the usual directories, as root where sudo allows it.
    pub fn new(programs: Vec<HelperProgram>) -> HelperSpec {
        HelperSpec {
            programs,
            args: Vec::new(),
            sudo: Sudo::Auto,
            path: None,
            directories: DIRECTORIES.map(str::to_owned).to_vec(),
        }
    }

    /// The names of all programs in the form that the scripts read: `PLATFORM=NAME,...`.
    pub(crate) fn names(&self) -> String {
        let name = |program: &HelperProgram| {
            format!("{}={}", program.platform.as_deref().unwrap_or("any"), program.name)
        };
        self.programs.iter().map(name).collect::<Vec<_>>().join(",")
    }
}

/// Whether the helper runs as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sudo {
    /// As root with `sudo -n`. Where sudo refuses, as the user who logged in (see [`RunsAs`](crate::RunsAs)).
    #[default]
    Auto,
    /// As root with `sudo -n`. Where sudo refuses, starting the helper fails.
    Always,
    /// As the user who logged in, without sudo.
    Never,
}

/// A helper for one platform.
#[derive(Debug, Clone)]
pub struct HelperProgram {
    /// The platform as `uname -sm` prints it (`Linux x86_64`), or `None` for any platform.
    pub platform: Option<String>,
    /// The name of the helper on the host: the hash of its content, in letters and digits.
    pub name: String,
    /// The bytes to upload.
    pub source: HelperSource,
}

/// The bytes of a helper. They are read only when an upload is needed.
#[derive(Clone)]
pub enum HelperSource {
    /// The content of a local file.
    Path(PathBuf),
    /// Bytes that are in memory already.
    Bytes(Arc<[u8]>),
    /// The result of a function.
    Provider(Arc<dyn Fn() -> io::Result<Arc<[u8]>> + Send + Sync>),
}

impl HelperSource {
    /// Reads the bytes.
    ///
    /// # Errors
    /// When the file cannot be read, or the function fails.
    pub fn read(&self) -> io::Result<Arc<[u8]>> {
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
