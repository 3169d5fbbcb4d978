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

/// What the documented rsync line leaves alone on the destination, and out of the source.
const PROTECTED: [&str; 4] =
    ["generated/***", ".react-router/***", "internal/generated/***", "app/generated/***"];
const EXCLUDED: [&str; 6] = [".git", "node_modules", "target", "__pycache__", ".react-router", ".next"];

/// How much memory is touched before each measured run: a pushed tree of either kind, with room to spare.
pub(super) const TAKEN_BYTES: u64 = 3 << 29;

/// One side of the comparison.
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
    /// What it says about itself.
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

    /// A push of what is in `source`; `destination` is a directory on the server.
    pub(crate) fn push(&self, site: &Site<'_>, source: &Path, destination: &Path) -> Command {
        let server = site.server;
        let mut command = server.network.command(&self.program.to_string_lossy());
        command.env_clear().env("HOME", self.home(site)).env("LC_ALL", "C");
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
                let known_hosts = self.home(site).join("known_hosts");
                command.arg("-e").arg(format!(
                    "ssh -p {} -i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile={}",
                    server.port,
                    server.key.display(),
                    known_hosts.display(),
                ));
                command.arg(with_slash(source.as_os_str().to_owned()));
                command.arg(with_slash(site.remote(destination)));
            }
            Tool::Coast => {
                command.arg("push").arg("-p").arg(server.port.to_string()).arg("-i").arg(&server.key);
                command.arg(source).arg(site.remote(destination));
            }
        }
        command
    }

    /// Makes a place for destinations and a home without memories: no cached hashes, no known hosts.
    pub(crate) fn start_fresh(&self, site: &Site<'_>) -> Result<()> {
        self.clear(site)?;
        let home = self.home(site);
        fs::create_dir_all(&home).with_context(|| format!("creating {}", home.display()))
    }

    /// Removes all that `start_fresh` and pushes since then have made.
    pub(crate) fn clear(&self, site: &Site<'_>) -> Result<()> {
        let place = self.place(site);
        if place.exists() {
            fs::remove_dir_all(&place).with_context(|| format!("removing {}", place.display()))?;
        }
        Ok(())
    }

    pub(crate) fn destination(&self, site: &Site<'_>) -> PathBuf {
        self.place(site).join("destination")
    }

    fn home(&self, site: &Site<'_>) -> PathBuf {
        self.place(site).join("home")
    }

    fn place(&self, site: &Site<'_>) -> PathBuf {
        site.directory.join(self.tool.name())
    }
}

/// Where the comparison takes place.
pub(crate) struct Site<'a> {
    pub(crate) server: &'a Server<'a>,
    /// Holds the destinations; in memory.
    directory: PathBuf,
}

impl<'a> Site<'a> {
    pub(crate) fn new(server: &'a Server<'a>, directory: &Path) -> Result<Self> {
        let directory = directory.join("pushed");
        fs::create_dir(&directory).with_context(|| format!("creating {}", directory.display()))?;
        Ok(Self { server, directory })
    }

    /// Takes as much memory as a run may and gives it back.
    ///
    /// A guest of a hypervisor gets memory only when it first touches it, and may lose what it frees. That first touch
    /// took up to 2 s a GiB here, as often in the runs of the one program as in those of the other, and more than
    /// all that is to be measured.
    pub(crate) fn take_memory(&self) -> Result<()> {
        let path = self.directory.join("memory");
        let mut file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        let taken = io::copy(&mut io::repeat(0).take(TAKEN_BYTES), &mut file);
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        taken.with_context(|| format!("writing {}", path.display()))?;
        Ok(())
    }

    /// `user@host:path` as both programs spell it.
    fn remote(&self, path: &Path) -> OsString {
        let mut text = OsString::from(format!("{}@127.0.0.1:", self.server.user));
        text.push(path);
        text
    }
}

/// With a trailing slash rsync means what is in a directory, not the directory.
fn with_slash(mut path: OsString) -> OsString {
    path.push("/");
    path
}
