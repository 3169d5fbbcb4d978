//! Starting the helper: the remote program that does the work at the other end. In the ordinary case this is one exec
//! on one channel; the helper is uploaded only when the host says that it is not there.

use crate::channel::{Channel, ChannelReader, ChannelStatus, ChannelWriter};
use crate::deploy::{DIRECTORIES, upload};
use crate::error::{SshError, SudoRefusal};
use crate::greeting::{Greeting, Preamble};
use crate::pipe::ExitStatus;
use crate::quote::quote;
use crate::session::Session;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coast_wire::PROTOCOL_VERSION;

/// How long the helper may take to greet. `sudo` may have to ask a slow directory service.
const GREETING_PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait for what sudo said on standard error, which was sent before but may arrive after standard output.
const REASON_PATIENCE: Duration = Duration::from_secs(1);

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

/// Runs `$h` with the arguments, as root if `$m` says so and it can be. The helper never exits with 1, so a 1 is sudo's
/// own. Ends only by exit, or returns 126 if the program cannot be started.
const RUN: &str = "\
run() { \
if [ \"$m\" = never ] || [ \"$(id -u)\" = 0 ]; then :; else \
if command -v sudo >/dev/null 2>&1; then LC_ALL=C sudo -n -- \"$h\" \"$@\"; r=$?; [ $r = 1 ] || exit $r; \
echo coast-sudo refused; else echo coast-sudo missing; fi; \
[ \"$m\" = always ] && exit 1; \
fi; \
\"$h\" \"$@\"; };";

/// Looks for the helper in the directories `$3` and starts the first one that can be started. `$1` is the use of sudo,
/// `$2` names the helpers as `PLATFORM=NAME,...`, the rest are the helper's arguments. See `UPLOAD` in `deploy` for what
/// makes a directory safe. An empty file, as a crash may leave one, is no helper: a shell would run it as a script.
const START: &str = "\
m=$1; v=,$2; l=$3; shift 3; u=$(uname -sm); n=; \
case $v in *\",$u=\"*) n=${v#*\",$u=\"};; *,any=*) n=${v#*,any=};; esac; n=${n%%,*}; \
[ -n \"$n\" ] || { echo coast-platform $u; exit 127; }; \
for d in $l; do \
case $d in *-) d=$d$(id -u);; esac; \
[ -L \"$d\" ] && continue; \
[ -O \"$d\" ] && [ -s \"$d/helper-$n\" ] && [ -x \"$d/helper-$n\" ] || continue; \
case $d in /*) h=$d/helper-$n;; *) h=$PWD/$d/helper-$n;; esac; \
run \"$@\"; r=$?; [ $r = 126 ] || exit $r; echo coast-again; \
done; echo coast-missing $n; exit 127";

/// Starts the helper `$2`, wherever it is. `$1` is the use of sudo, the rest are the helper's arguments.
const START_PATH: &str = "m=$1; h=$2; shift 2; run \"$@\"";

/// The command line that has `sh` run `script` with `args`, in whatever login shell it is read.
pub(crate) fn script_line(script: &str, args: &[&[u8]]) -> Vec<u8> {
    let mut line = b"sh -c ".to_vec();
    line.extend(quote(script.as_bytes()));
    line.extend_from_slice(b" coast");
    for arg in args {
        line.push(b' ');
        line.extend(quote(arg));
    }
    line
}

/// The helper, started and greeted.
#[derive(Debug)]
pub struct HelperProcess {
    channel: Channel,
    deployed: bool,
    as_root: RunsAs,
}

/// Whom the helper runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunsAs {
    /// As root by `sudo`, or as the user if that is root already.
    Root,
    /// As the user, because sudo was not asked for.
    User,
    /// As the user, because sudo refused.
    UserAfter(SudoRefusal),
}

impl HelperProcess {
    pub(crate) fn start(session: &Session, spec: &HelperSpec) -> Result<HelperProcess, SshError> {
        let starting = Starting { session, spec };
        match starting.attempt()? {
            Attempt::Started(channel, as_root) => Ok(HelperProcess { channel, deployed: false, as_root }),
            Attempt::Missing(program) => {
                upload(session, program, &spec.directories)?;
                match starting.attempt()? {
                    Attempt::Started(channel, as_root) => {
                        Ok(HelperProcess { channel, deployed: true, as_root })
                    }
                    Attempt::Missing(_) => Err(SshError::HelperFailed {
                        host: session.host().to_owned(),
                        status: "it is not found where it has just been put".to_owned(),
                        stderr: String::new(),
                    }),
                }
            }
        }
    }

    /// Whether it had to be uploaded.
    pub fn deployed(&self) -> bool {
        self.deployed
    }

    /// Whom it runs as.
    pub fn runs_as(&self) -> &RunsAs {
        &self.as_root
    }

    /// Takes its output, its input and its end apart. Reading starts right behind the greeting.
    pub fn split(self) -> (ChannelReader, ChannelWriter, ChannelStatus) {
        self.channel.split()
    }
}

struct Starting<'a> {
    session: &'a Session,
    spec: &'a HelperSpec,
}

enum Attempt<'a> {
    Started(Channel, RunsAs),
    /// The one that fits the remote's platform is not there.
    Missing(&'a HelperProgram),
}

impl<'a> Starting<'a> {
    fn attempt(&self) -> Result<Attempt<'a>, SshError> {
        let mut channel = self.session.exec(&self.command())?;
        let mut preamble = Preamble::default();
        let deadline = Instant::now() + GREETING_PATIENCE;
        let greeted = preamble.read_greeting(&mut channel.reader, deadline);
        match greeted {
            Ok(Greeting::Fits) => {
                let as_root = self.runs_as(&channel, &preamble);
                Ok(Attempt::Started(channel, as_root))
            }
            Ok(Greeting::OtherVersion(found)) => {
                Err(SshError::HelperVersion { host: self.host(), found, expected: PROTOCOL_VERSION })
            }
            Ok(Greeting::Garbage) => {
                Err(SshError::HelperGarbage { host: self.host(), start: preamble.start })
            }
            Ok(Greeting::Silent) => {
                Err(SshError::HelperSilent { host: self.host(), after: GREETING_PATIENCE })
            }
            Ok(Greeting::Ended) => self.ended(channel, preamble),
            Err(_) => Err(channel.status.lost()),
        }
    }

    fn command(&self) -> Vec<u8> {
        let mode: &[u8] = match self.spec.sudo {
            Sudo::Auto => b"auto",
            Sudo::Always => b"always",
            Sudo::Never => b"never",
        };
        let names: Vec<String> = self
            .spec
            .programs
            .iter()
            .map(|program| format!("{}={}", program.platform.as_deref().unwrap_or("any"), program.name))
            .collect();
        let names = names.join(",");
        let directories = self.spec.directories.join(" ");
        let mut args: Vec<&[u8]> = vec![mode];
        let script = match &self.spec.path {
            Some(path) => {
                args.push(path);
                START_PATH
            }
            None => {
                args.push(names.as_bytes());
                args.push(directories.as_bytes());
                START
            }
        };
        args.extend(self.spec.args.iter().map(Vec::as_slice));
        script_line(&format!("{RUN} {script}"), &args)
    }

    /// The script ended, and there was no greeting: what it said before tells why.
    fn ended(&self, channel: Channel, preamble: Preamble) -> Result<Attempt<'a>, SshError> {
        let (reader, writer, status) = channel.split();
        drop((reader, writer));
        let exit = status.wait()?;
        let stderr = String::from_utf8_lossy(&status.stderr()).into_owned();
        if exit == ExitStatus::Code(127) {
            let missing = preamble.said("missing");
            let program = self.spec.programs.iter().find(|program| Some(program.name.as_str()) == missing);
            if let Some(program) = program {
                return Ok(Attempt::Missing(program));
            }
            if let Some(platform) = preamble.said("platform") {
                let available =
                    self.spec.programs.iter().filter_map(|program| program.platform.clone()).collect();
                return Err(SshError::NoHelperFor { platform: platform.to_owned(), available });
            }
        }
        if exit == ExitStatus::Code(1)
            && self.spec.sudo == Sudo::Always
            && let Some(refusal) = preamble.sudo_refusal(&stderr)
        {
            return Err(SshError::Sudo { host: self.host(), refusal });
        }
        if let Some(path) = &self.spec.path {
            let problem = match (&exit, stderr.trim()) {
                (ExitStatus::Code(126 | 127), said) if !said.is_empty() => said.to_owned(),
                (exit, "") => format!("it ended without a greeting, so it is no coast-helper ({exit})"),
                (exit, said) => format!("it ended without a greeting ({exit}): {said}"),
            };
            let path = String::from_utf8_lossy(path).into_owned();
            return Err(SshError::HelperPath { host: self.host(), path, problem });
        }
        if !preamble.start.is_empty() && stderr.trim().is_empty() {
            return Err(SshError::HelperGarbage { host: self.host(), start: preamble.start });
        }
        Err(SshError::HelperFailed { host: self.host(), status: exit.to_string(), stderr })
    }

    fn host(&self) -> String {
        self.session.host().to_owned()
    }

    fn runs_as(&self, channel: &Channel, preamble: &Preamble) -> RunsAs {
        if preamble.said("sudo").is_none() {
            return if self.spec.sudo == Sudo::Never { RunsAs::User } else { RunsAs::Root };
        }
        if preamble.said("sudo") == Some("refused") {
            channel.status.shared().wait_for_stderr(REASON_PATIENCE);
        }
        let stderr = String::from_utf8_lossy(&channel.status.stderr()).into_owned();
        preamble.sudo_refusal(&stderr).map_or(RunsAs::User, RunsAs::UserAfter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_survive_single_quotes() {
        for script in [RUN, START, START_PATH] {
            assert!(!script.contains(['\'', '\\', '\n', '!']), "{script}");
        }
    }
}
