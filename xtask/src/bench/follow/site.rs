//! The two machines of one layer's measurements: a home for the client, and an SSH server with one user. They are this machine.

use super::layer::Layer;
use crate::bench::process::{self, Process};
use crate::program;
use anyhow::{Context, Result};
use coast_benches::{Link, Proxy};
use coast_testkit::{Account, Shell, Sshd, SshdOptions, Sudo, make_key};
use rustix::process::Signal;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const LINK: Link = Link::unlimited(Duration::from_millis(40));

/// A way to the server, as a remote of `coast`.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Direct,
    /// Over a link with a round trip of 40 ms.
    Link,
    /// Through a proxy that can be away.
    Proxy,
}

impl Way {
    const ALL: [Self; 3] = [Self::Direct, Self::Link, Self::Proxy];

    /// The name of the remote.
    pub(super) fn remote(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Link => "link",
            Self::Proxy => "proxy",
        }
    }
}

/// A running server with one user, and a client. Fields end in the order of their declaration.
pub(super) struct Site {
    pub(super) layer: Layer,
    coast: PathBuf,
    link: Proxy,
    pub(super) proxy: Proxy,
    sshd: Sshd,
    account: Account,
    /// The homes of both users, the keys, worktrees and workspaces. Not in memory: mutagen writes a file into a worktree on a
    /// file system that it does not know, and coast lets it only read the worktree.
    directory: TempDir,
}

impl Site {
    /// Makes user, key, server, proxies and remotes.
    pub(super) fn start(coast: &Path, layer: Layer) -> Result<Self> {
        let directory = TempDir::with_prefix("coast-bench-").context("making a directory")?;
        // The user of the server must be able to enter the home and the workspaces within.
        fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755))
            .with_context(|| format!("opening {} to the SSH user", directory.path().display()))?;
        for name in ["home", "service"] {
            let path = directory.path().join(name);
            fs::create_dir(&path).with_context(|| format!("creating {}", path.display()))?;
        }
        make_key(directory.path().join("key"), &[]);
        let account = Account::create(directory.path(), &Shell::Dash, Sudo::WithoutPassword);
        account.authorize(directory.path().join("key.pub"));
        let sshd = SshdOptions::new().line(format!("AllowUsers {}", account.name())).start();
        let link = Proxy::to(sshd.port(), LINK).context("starting the proxy of the link")?;
        let proxy = Proxy::to(sshd.port(), Link::LOOPBACK).context("starting the proxy")?;
        let site = Self { layer, coast: coast.to_owned(), link, proxy, sshd, account, directory };
        for way in Way::ALL {
            let mut add = site.coast(["remote", "add", way.remote(), &site.address(way)]);
            add.arg("--key").arg(site.key()).arg("--service-home").arg(site.path("service"));
            program::output(&mut add)?;
        }
        Ok(site)
    }

    /// `user@host:port` of the server.
    fn address(&self, way: Way) -> String {
        let port = match way {
            Way::Direct => self.sshd.port(),
            Way::Link => self.link.port(),
            Way::Proxy => self.proxy.port(),
        };
        format!("{}@127.0.0.1:{port}", self.account.name())
    }

    /// A push to a directory on the server.
    pub(super) fn push(&self, from: &Path, to: &Path) -> Command {
        let mut push = self.coast(["push", "--quiet", "-p", &self.sshd.port().to_string(), "-i"]);
        push.arg(self.key()).arg(from);
        push.arg(format!("{}@127.0.0.1:{}", self.account.name(), to.display()));
        push
    }

    fn key(&self) -> PathBuf {
        self.path("key")
    }

    /// `coast`, in an environment of its own.
    pub(super) fn coast<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.coast);
        command.args(arguments).env_clear().env("HOME", self.path("home")).env("LC_ALL", "C.UTF-8");
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs(self.layer.variable()).current_dir(self.directory.path());
        command
    }

    /// A path in the directory of the site.
    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    /// How the names of this site's projects begin.
    pub(super) fn prefix(&self) -> String {
        format!("bench{}", std::process::id())
    }

    /// The directory of an instance's workspace.
    pub(super) fn workspace(&self, project: &str, instance: &str) -> PathBuf {
        self.path("service").join("workspaces").join(project).join(instance)
    }

    /// The process that the layer runs on the remote.
    pub(super) fn helper(&self) -> Result<Process> {
        let begin = self.layer.helper();
        let helper = |process: &Process| process.memory().is_some_and(|(name, _)| name.starts_with(begin));
        let found = self.sessions().into_iter().find(helper);
        found.with_context(|| format!("no session of the server runs a program named {begin}…"))
    }

    fn sessions(&self) -> Vec<Process> {
        process::descendants(Process(self.sshd.pid()))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.layer.end(self);
        // The sessions first: once the listener has ended they are no longer its descendants.
        for process in self.sessions() {
            process.signal(Signal::KILL);
        }
    }
}
