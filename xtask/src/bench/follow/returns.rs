//! How long it takes until edits follow: after `run`, after the daemon was killed, and after the server was away.

use super::figure::milliseconds;
use super::project::{Instance, Project, holds};
use super::site::Way;
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const ROUNDS: usize = 3;
/// The time that the server is away.
const AWAY: Duration = Duration::from_secs(60);
/// The file that shows whether edits follow.
const PROBE: &str = "probe";

/// Runs instances whose workspaces are right already, and keeps the last one. The times are those from the begin of
/// `coast run` until an edit that was made after its end has arrived, in milliseconds.
pub(super) fn runs<'a>(project: &'a Project<'a>) -> Result<(Instance<'a>, Vec<f64>)> {
    let mut samples = Vec::new();
    loop {
        let name = format!("right-{}", samples.len());
        project.push(&name)?;
        let started = Instant::now();
        let instance = project.run(&name, Way::Direct)?;
        arrives(&instance, started, &name)?;
        samples.push(milliseconds(started.elapsed()));
        if samples.len() == ROUNDS {
            return Ok((instance, samples));
        }
        instance.remove()?;
    }
}

/// Kills the daemon. The times are those from its new start until an edit that was made without it has arrived, in
/// milliseconds. Docker starts mutagen's daemon as soon as it is killed.
pub(super) fn kills(instance: &Instance<'_>) -> Result<Vec<f64>> {
    let round = |round: usize| {
        // mutagen takes a file for another program's if it has not noted the file's arrival.
        instance.flush()?;
        instance.daemon()?.signal(Signal::KILL);
        let started = Instant::now();
        let starting = instance.project.site.layer.start_again(instance.project.site)?;
        arrives(instance, started, &format!("killed {round}"))?;
        let took = started.elapsed();
        if let Some(mut starting) = starting {
            let status = starting.wait().context("waiting for the start of the daemon")?;
            ensure!(status.success(), "the daemon did not start: {status}");
        }
        Ok(milliseconds(took))
    };
    (0..ROUNDS).map(round).collect()
}

/// Has the server go away. The times are those from its return until an edit that was made without it has arrived, in
/// milliseconds.
pub(super) fn absences(instance: &Instance<'_>) -> Result<Vec<f64>> {
    let proxy = &instance.project.site.proxy;
    let round = |round: usize| {
        instance.flush()?;
        proxy.leave();
        write(&instance.project.root, &format!("away {round}"))?;
        thread::sleep(AWAY);
        proxy.come_back().context("listening on the port of the proxy again")?;
        let started = Instant::now();
        instance.wait(started, |workspace| shows(workspace, &format!("away {round}")))?;
        Ok(milliseconds(started.elapsed()))
    };
    (0..ROUNDS).map(round).collect()
}

/// Makes an edit and waits until it has arrived.
fn arrives(instance: &Instance<'_>, started: Instant, text: &str) -> Result<()> {
    write(&instance.project.root, text)?;
    instance.wait(started, |workspace| shows(workspace, text))
}

fn write(root: &Path, text: &str) -> Result<()> {
    let path = root.join(PROBE);
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}

fn shows(workspace: &Path, text: &str) -> bool {
    holds(workspace, Path::new(PROBE), text.as_bytes())
}
