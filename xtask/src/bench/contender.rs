//! The programs that are compared, each with the line a user would type.
//! All see the same server over the same link, the same key and an empty environment.

use super::link::LinkName;
use super::pipeline::Pipeline;
use super::server::Server;
use crate::program;
use anyhow::{Context, Result};
use coast_benches::Proxy;
use coast_testkit::quote;
use serde::Serialize;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The patterns that the documented rsync command line protects at the destination.
const PROTECTED: [&str; 4] =
    ["generated/***", ".react-router/***", "internal/generated/***", "app/generated/***"];
/// The patterns that it excludes: names.
pub(super) const EXCLUDED: [&str; 6] =
    [".git", "node_modules", "target", "__pycache__", ".react-router", ".next"];

/// The memory that is touched before each measured run, in bytes: more than a pushed tree of either kind.
pub(super) const TAKEN_BYTES: u64 = 3 << 29;

/// One of the compared programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tool {
    Rsync,
    /// `tar | zstd -1 | ssh tar`. It compares nothing and deletes nothing, so only a push to an empty place can be measured.
    Tar,
    Coast,
}

/// The way that a push takes to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Past the link: for what comes before the measured push.
    Direct,
    /// Over the link, by a connection of its own.
    Link,
    /// Over the link, by a connection that stays: coastd's, or that of a master process of ssh (`ControlPersist`).
    Kept,
}

impl Tool {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rsync => "rsync",
            Self::Tar => "tar",
            Self::Coast => "coast",
        }
    }
}

/// A program that can push.
pub(crate) struct Contender {
    pub(crate) tool: Tool,
    program: PathBuf,
    /// What the program says about its version.
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

    /// The system's tar, with its zstd and ssh.
    pub(crate) fn tar() -> Result<Self> {
        let tar = program::output(Command::new("tar").arg("--version"))?;
        let zstd = program::output(Command::new("zstd").arg("--version")).context("tar needs zstd")?;
        let version =
            format!("{}; {}", tar.lines().next().unwrap_or_default(), zstd.trim_matches(['*', ' ']));
        Ok(Self { tool: Tool::Tar, program: "tar".into(), version })
    }

    /// The `coast` at `program`.
    pub(crate) fn coast(program: &Path) -> Result<Self> {
        let version = program::output(Command::new(program).arg("--version"))?;
        Ok(Self { tool: Tool::Coast, program: program.to_owned(), version })
    }

    /// A push of the entries of `source` to the contender's destination.
    pub(crate) fn push(&self, remote: &Remote<'_>, way: Way, source: &Path) -> Pipeline {
        let mut command = self.command(remote);
        let destination = self.destination(remote);
        let address = remote.address(&destination);
        match self.tool {
            Tool::Rsync => {
                command.args(["-rlDzP", "--delete-after", "--rsync-path=sudo rsync"]);
                for pattern in PROTECTED {
                    command.arg("--filter").arg(format!("P {pattern}"));
                }
                for pattern in EXCLUDED {
                    command.args(["--exclude", pattern]);
                }
                command.arg("-e").arg(self.ssh(remote, way).join(" "));
                command.arg(with_slash(source.as_os_str().to_owned()));
                command.arg(with_slash(address));
            }
            Tool::Tar => {
                command.arg("--create").arg("--directory").arg(source);
                command.args(EXCLUDED.map(|pattern| format!("--exclude={pattern}"))).arg(".");
                let mut zstd = self.environment("zstd", remote);
                zstd.args(["-1", "--quiet", "--stdout"]);
                let ssh = self.ssh(remote, way);
                let mut far = self.environment(&ssh[0], remote);
                far.args(&ssh[1..]).arg(remote.login());
                // The shell of the server splits this line into words.
                far.arg(format!(
                    "sudo tar --extract --zstd --directory {}",
                    quote(destination.as_os_str().as_encoded_bytes())
                ));
                return Pipeline::from(command).pipe_to(zstd).pipe_to(far);
            }
            Tool::Coast => {
                command.arg("push").arg("-p").arg(remote.port(way).to_string());
                command.arg("-i").arg(remote.server.key()).arg(source).arg(address);
            }
        }
        command.into()
    }

    /// The program in an environment of its own, with a home of its own.
    pub(super) fn command(&self, remote: &Remote<'_>) -> Command {
        self.environment(&self.program, remote)
    }

    /// Any program in the environment of this one.
    fn environment(&self, program: impl AsRef<OsStr>, remote: &Remote<'_>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.home(remote)).env("LC_ALL", "C");
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// The words of an ssh command, without the host.
    pub(super) fn ssh(&self, remote: &Remote<'_>, way: Way) -> Vec<String> {
        let home = self.home(remote);
        let mut words: Vec<String> = ["ssh", "-p"].map(str::to_owned).into();
        words.extend([
            remote.port(way).to_string(),
            "-i".to_owned(),
            remote.server.key().display().to_string(),
        ]);
        let known_hosts = format!("UserKnownHostsFile={}", home.join("known_hosts").display());
        words.extend(["-o".to_owned(), "StrictHostKeyChecking=no".to_owned(), "-o".to_owned(), known_hosts]);
        if way == Way::Kept {
            let path = format!("ControlPath={}", home.join("master").display());
            for option in ["ControlMaster=auto", "ControlPersist=600", &path] {
                words.extend(["-o".to_owned(), option.to_owned()]);
            }
        }
        words
    }

    /// Makes an empty home for the client: no cached hashes, no known hosts. Only tar wants an empty destination; the others
    /// make their own.
    pub(crate) fn start_fresh(&self, remote: &Remote<'_>) -> Result<()> {
        self.clear(remote)?;
        let home = self.home(remote);
        fs::create_dir_all(&home).with_context(|| format!("creating {}", home.display()))?;
        if self.tool == Tool::Tar {
            let destination = self.destination(remote);
            fs::create_dir(&destination).with_context(|| format!("creating {}", destination.display()))?;
        }
        Ok(())
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

/// The remote side: the server, the link to it, and the directory of the destinations.
pub(crate) struct Remote<'a> {
    pub(crate) link: LinkName,
    pub(crate) server: &'a Server,
    /// The way to the server.
    pub(crate) proxy: Proxy,
    /// Holds the destinations. It should be in memory.
    directory: PathBuf,
}

impl<'a> Remote<'a> {
    pub(crate) fn new(server: &'a Server, link: LinkName, directory: &Path) -> Result<Self> {
        let directory = directory.join("pushed");
        fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        let proxy = Proxy::to(server.port(), link.link()).context("starting the proxy")?;
        Ok(Self { link, server, proxy, directory })
    }

    fn port(&self, way: Way) -> u16 {
        match way {
            Way::Direct => self.server.port(),
            Way::Link | Way::Kept => self.proxy.port(),
        }
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

    /// The directory that holds the destinations.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// `user@host`, as ssh takes it.
    pub(super) fn login(&self) -> String {
        format!("{}@127.0.0.1", self.server.user())
    }

    /// `user@host:path`, as rsync and coast take it.
    fn address(&self, path: &Path) -> OsString {
        let mut text = OsString::from(self.login());
        text.push(":");
        text.push(path);
        text
    }
}

/// With a trailing slash rsync sends the entries of a directory, not the directory.
fn with_slash(mut path: OsString) -> OsString {
    path.push("/");
    path
}
