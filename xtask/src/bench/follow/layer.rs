//! The two layers that make edits follow, and what differs between them for the bench.

use super::site::Site;
use crate::bench::process::{self, Process};
use crate::program;
use anyhow::{Context, Result};
use clap::ValueEnum;
use coast_testkit::{DockerEngine, debian_archive};
use rustix::process::Signal;
use serde::Serialize;
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A layer by its name in the Coastfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LayerName {
    Mutagen,
    Native,
}

impl LayerName {
    pub(super) const ALL: [Self; 2] = [Self::Mutagen, Self::Native];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mutagen => "mutagen",
            Self::Native => "native",
        }
    }
}

/// A layer that can be used.
pub(super) enum Layer {
    /// coastd follows.
    Native,
    /// mutagen follows, in a container.
    Mutagen(Shell),
}

/// The image of shell containers. It is removed when dropped.
pub(super) struct Shell {
    engine: &'static DockerEngine,
    image: String,
    /// What the program says about its version.
    pub(super) version: String,
}

impl Shell {
    /// Builds the image from the archive of a release of mutagen.
    pub(super) fn build(coast: &Path, release: &Path) -> Result<Self> {
        let engine = DockerEngine::shared();
        let image = format!("coast-bench-shell:{}", std::process::id());
        let mut build = Command::new(coast);
        build.args(["image", "build", "--quiet", "--tag", &image, "--mutagen"]).arg(release);
        build.arg("--rootfs").arg(debian_archive()).env("DOCKER_HOST", engine.host());
        program::output(&mut build)?;
        let version =
            engine.run(["run", "--rm", "--network=host", "--entrypoint=mutagen", &image, "version"]);
        Ok(Self { engine, image, version })
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // A failure leaves an image, which is named after this process.
        let _ = self.engine.command(["rmi", "--force", &self.image]).output();
    }
}

impl Layer {
    pub(super) fn name(&self) -> LayerName {
        match self {
            Self::Native => LayerName::Native,
            Self::Mutagen(_) => LayerName::Mutagen,
        }
    }

    /// The lines of a Coastfile's section `[remote]`.
    pub(super) fn settings(&self) -> String {
        let layer = format!("workspace_sync = \"{}\"\n", self.name().name());
        match self {
            Self::Native => layer,
            Self::Mutagen(Shell { image, .. }) => {
                format!("{layer}shell_image = \"{image}\"\nshell_network = \"host\"\n")
            }
        }
    }

    /// An environment variable that `coast` needs.
    pub(super) fn variable(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Native => None,
            Self::Mutagen(shell) => Some(("DOCKER_HOST", shell.engine.host())),
        }
    }

    /// The time between two looks at files that the layer does not watch.
    pub(super) fn scans_every(&self) -> Duration {
        match self {
            Self::Native => Duration::ZERO,
            Self::Mutagen(_) => Duration::from_secs(10),
        }
    }

    /// The process on this machine that makes an instance's edits follow.
    pub(super) fn daemon(&self, site: &Site, project: &str, instance: &str) -> Result<Process> {
        match self {
            Self::Native => coastd(site),
            Self::Mutagen(shell) => {
                let container = format!("{project}-coasts-{instance}-shell");
                let pid = shell.engine.run(["inspect", "--format", "{{.State.Pid}}", &container]);
                let first = Process(pid.parse().context("the process of a container has a number")?);
                let mutagen = |process: &Process| process.memory().is_some_and(|(name, _)| name == "mutagen");
                let below = process::descendants(first).into_iter().chain([first]).find(mutagen);
                below.with_context(|| format!("no mutagen runs in the container {container}"))
            }
        }
    }

    /// How the names of the layer's processes on the remote begin.
    pub(super) fn helper(&self) -> &'static str {
        match self {
            Self::Native => "helper-",
            Self::Mutagen(_) => "mutagen-agent",
        }
    }

    /// Starts a daemon that was killed. Docker starts mutagen's again by itself.
    pub(super) fn start_again(&self, site: &Site) -> Result<Option<Child>> {
        match self {
            Self::Native => {
                let mut start = site.coast(["daemon", "start"]);
                start.stdin(Stdio::null()).stdout(Stdio::null());
                start.spawn().map(Some).with_context(|| format!("starting {}", program::line(&start)))
            }
            Self::Mutagen(_) => Ok(None),
        }
    }

    /// Ends what runs in the background for a site.
    pub(super) fn end(&self, site: &Site) {
        match self {
            Self::Native => {
                let running = coastd(site);
                // A daemon that does not obey is killed.
                let _ = site.coast(["daemon", "stop"]).output();
                if let Ok(process) = running {
                    process.signal(Signal::KILL);
                }
            }
            Self::Mutagen(shell) => {
                // Fails when a signal has ended the engine, too. The next engine removes its containers.
                let list = ["ps", "--all", "--filter", "label=coast.project", "--format", "{{.Names}}"];
                let listed = shell.engine.command(list).output().map(|output| output.stdout);
                let names = String::from_utf8(listed.unwrap_or_default()).unwrap_or_default();
                for container in names.lines().filter(|name| name.starts_with(&site.prefix())) {
                    let _ = shell.engine.command(["rm", "--force", container]).output();
                }
            }
        }
    }
}

/// The daemon of a site.
fn coastd(site: &Site) -> Result<Process> {
    let mut ask = site.coast(["daemon", "status", "--json"]);
    let status: Value = serde_json::from_str(&program::output(&mut ask)?).context("reading its status")?;
    let pid = status["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    pid.map(Process).with_context(|| format!("{} names no pid: {status}", program::line(&ask)))
}
