//! The two programs that are compared, each with the line a user would type.
//! Both see the same server, the same key and an empty environment.

use super::server::Server;
use crate::program;
use anyhow::{Context, Result};
use serde::Serialize;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The patterns that the documented rsync command line protects at the destination.
const PROTECTED: [&str; 4] =
    ["generated/***", ".react-router/***", "internal/generated/***", "app/generated/***"];
/// The patterns that it excludes.
const EXCLUDED: [&str; 6] = [".git", "node_modules", "target", "__pycache__", ".react-router", ".next"];

/// The memory that is touched before each measured run, in bytes: more than a pushed tree of either kind.
pub(super) const TAKEN_BYTES: u64 = 3 << 29;

/// One of the two compared programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tool {
    Rsync,
    Coast,
}

impl Tool {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rsync => "rsync",
            Self::Coast => "coast",
        }
    }
}

/// A program that can push.
pub(crate) struct Contender {
    pub(crate) tool: Tool,
    program: PathBuf,
    /// The first line of `--version`.
    pub(crate) version: String,
}

impl Contender {
    /// The system's rsync.
    pub(crate) fn rsync() -> Result<Self> {
        let text = program::output(Command::new("rsync").arg("--version"))?;
        let version =
            text.lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Self { tool: Tool::Rsync, program: "rsync".into(), version })
    }

    /// The `coast` at `program`.
    pub(crate) fn coast(program: &Path) -> Result<Self> {
        let version = program::output(Command::new(program).arg("--version"))?;
        Ok(Self { tool: Tool::Coast, program: program.to_owned(), version })
    }

    /// A push of the entries of `source`. `destination` is a directory on the server.
    pub(crate) fn push(&self, remote: &Remote<'_>, source: &Path, destination: &Path) -> Command {
        let server = remote.server;
        let mut command = server.network.command(&self.program.to_string_lossy());
        command.env_clear().env("HOME", self.home(remote)).env("LC_ALL", "C");
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        match self.tool {
            Tool::Rsync => {
                command.args(["-rlDzP", "--delete-after", "--rsync-path=sudo rsync"]);
                for pattern in PROTECTED {
                    command.arg("--filter").arg(format!("P {pattern}"));
                }
                for pattern in EXCLUDED {
                    command.args(["--exclude", pattern]);
                }
                let known_hosts = self.home(remote).join("known_hosts");
                command.arg("-e").arg(format!(
                    "ssh -p {} -i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile={}",
                    server.port(),
                    server.key().display(),
                    known_hosts.display(),
                ));
                command.arg(with_slash(source.as_os_str().to_owned()));
                command.arg(with_slash(remote.address(destination)));
            }
            Tool::Coast => {
                command.arg("push").arg("-p").arg(server.port().to_string()).arg("-i").arg(server.key());
                command.arg(source).arg(remote.address(destination));
            }
        }
        command
    }

    /// Makes an empty home for the client: no cached hashes, no known hosts, no destination.
    pub(crate) fn start_fresh(&self, remote: &Remote<'_>) -> Result<()> {
        self.clear(remote)?;
        let home = self.home(remote);
        fs::create_dir_all(&home).with_context(|| format!("creating {}", home.display()))
    }

    /// Removes the home and the destination.
    pub(crate) fn clear(&self, remote: &Remote<'_>) -> Result<()> {
        let directory = self.directory(remote);
        if directory.exists() {
            fs::remove_dir_all(&directory).with_context(|| format!("removing {}", directory.display()))?;
        }
        Ok(())
    }

    pub(crate) fn destination(&self, remote: &Remote<'_>) -> PathBuf {
        self.directory(remote).join("destination")
    }

    fn home(&self, remote: &Remote<'_>) -> PathBuf {
        self.directory(remote).join("home")
    }

    fn directory(&self, remote: &Remote<'_>) -> PathBuf {
        remote.directory.join(self.tool.name())
    }
}

/// The remote side: the server, and the directory of the destinations.
pub(crate) struct Remote<'a> {
    pub(crate) server: &'a Server<'a>,
    /// Holds the destinations. It should be in memory.
    directory: PathBuf,
}

impl<'a> Remote<'a> {
    pub(crate) fn new(server: &'a Server<'a>, directory: &Path) -> Result<Self> {
        let directory = directory.join("pushed");
        fs::create_dir(&directory).with_context(|| format!("creating {}", directory.display()))?;
        Ok(Self { server, directory })
    }

    /// Takes as much memory as a run may take, and gives it back.
    ///
    /// A guest of a hypervisor gets memory only when it first touches it, and may lose memory that it frees. The first touch
    /// took up to 2 s for a GiB, in the runs of either program, which is more than a run takes.
    pub(crate) fn take_memory(&self) -> Result<()> {
        let path = self.directory.join("memory");
        let mut file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        let taken = io::copy(&mut io::repeat(0).take(TAKEN_BYTES), &mut file);
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        taken.with_context(|| format!("writing {}", path.display()))?;
        Ok(())
    }

    /// `user@host:path`, as both programs take it.
    fn address(&self, path: &Path) -> OsString {
        let mut text = OsString::from(format!("{}@127.0.0.1:", self.server.user()));
        text.push(path);
        text
    }
}

/// With a trailing slash rsync sends the entries of a directory, not the directory.
fn with_slash(mut path: OsString) -> OsString {
    path.push("/");
    path
}
