//! The measurements as people read them: medians in tables, with the machine and the versions they belong to.
//! The same as JSON holds every run.

use super::contender::Tool;
use super::inputs::Description;
use super::link::LinkName;
use super::measure::{Run, Side};
use super::scenario::{Outcome, Scenario};
use super::spread::Spread;
use crate::{cargo, dist, program};
use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

/// Programs that the bench or SSH starts for both tools.
const SCAFFOLDING: [&str; 3] = ["sudo", "sshd", "ssh"];
/// Shells between them, and the bench itself before it becomes the program that it starts.
const HIDDEN: [&str; 3] = ["sh", "dash", "xtask"];

/// The results of the bench.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) inputs: Description,
    pub(crate) outcomes: Vec<Outcome>,
}

/// The `coast` that is measured.
pub(crate) struct Coast {
    pub(crate) program: PathBuf,
    /// The revision of the checkout that it was built from now; `None` if it was there already.
    pub(crate) revision: Option<String>,
}

impl Coast {
    /// The given program, or else a release build of this checkout.
    pub(crate) fn find(given: Option<&Path>) -> Result<Self> {
        if let Some(program) = given {
            let program =
                fs::canonicalize(program).with_context(|| format!("finding {}", program.display()))?;
            return Ok(Self { program, revision: None });
        }
        let mut git = Command::new("git");
        git.args(["describe", "--always", "--dirty"]).current_dir(cargo::workspace());
        Ok(Self { program: dist::host_coast()?, revision: Some(program::output(&mut git)?) })
    }
}

/// The machine and the programs that were measured.
#[derive(Serialize)]
pub(crate) struct Machine {
    date: String,
    cores: usize,
    processor: String,
    kernel: String,
    /// The load average of the minute before. Figures from a busy machine are worth less.
    load: String,
    /// The revision of the checkout, unless `coast` was built elsewhere.
    revision: Option<String>,
    /// What each program says about its version, `coast` first.
    pub(crate) programs: Vec<String>,
}

impl Machine {
    /// Describes the machine now.
    pub(crate) fn describe(coast: &Coast) -> Result<Self> {
        let load = fs::read_to_string("/proc/loadavg").context("reading /proc/loadavg")?;
        let processors = fs::read_to_string("/proc/cpuinfo").context("reading /proc/cpuinfo")?;
        let processor = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.to_owned());
        Ok(Self {
            date: program::output(Command::new("date").args(["--utc", "+%Y-%m-%d"]))?,
            cores: thread::available_parallelism().context("counting cores")?.get(),
            processor,
            kernel: program::output(Command::new("uname").args(["-s", "-r", "-m"]))?,
            load: load.split(' ').next().unwrap_or_default().to_owned(),
            revision: coast.revision.clone(),
            programs: vec![program::output(Command::new(&coast.program).arg("--version"))?, ssh_version()?],
        })
    }
}

/// The version of the SSH client, which comes from the same source package as the server. It answers on standard error.
fn ssh_version() -> Result<String> {
    let output = Command::new("ssh").arg("-V").output().context("starting ssh")?;
    Ok(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

impl Display for Machine {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "- {}, {} cores ({}), {}", self.date, self.cores, self.processor, self.kernel)?;
        writeln!(out, "- load average {} when it began", self.load)?;
        if let Some(revision) = &self.revision {
            writeln!(out, "- coast at revision {revision}")?;
        }
        self.programs.iter().try_for_each(|program| writeln!(out, "- {program}"))
    }
}

impl Report {
    /// Whether all default scenarios were measured without a link.
    pub(crate) fn is_complete(&self) -> bool {
        let measured = |scenario| {
            self.outcomes.iter().any(|it| it.scenario == scenario && it.link == LinkName::Loopback)
        };
        Scenario::DEFAULT.into_iter().all(measured)
    }
}

impl Display for Report {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "# Results\n")?;
        writeln!(
            out,
            "Written by `cargo xtask bench`: `coast push` and rsync with the documented flags, in pairs,"
        )?;
        writeln!(
            out,
            "over one OpenSSH server on the same machine, everything in memory. A proxy makes the links.\n"
        )?;
        write!(out, "{}", self.machine)?;
        for input in &self.inputs.0 {
            writeln!(out, "- {input}")?;
        }
        self.write_times(out)?;
        self.write_traffic(out)?;
        self.write_memory(out)
    }
}

impl Report {
    fn write_times(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "\n## Time\n")?;
        writeln!(
            out,
            "Medians, and the least in parentheses. The ratio is coast's time by rsync's, of each pair; processor"
        )?;
        writeln!(out, "time is that of both sides with their SSH.\n")?;
        writeln!(
            out,
            "| scenario | link | pairs | rsync s | coast s | ratio (min–max) | rsync CPU s | coast CPU s |"
        )?;
        writeln!(out, "|---|---|--:|--:|--:|--:|--:|--:|")?;
        for outcome in &self.outcomes {
            let ratios = Spread::of(outcome.pairs.iter().map(super::scenario::Pair::ratio));
            let [rsync, coast] = [Tool::Rsync, Tool::Coast].map(|tool| Figures { outcome, tool });
            writeln!(
                out,
                "| {} | {} | {} | {} | {} | **{:.2}** ({:.2}–{:.2}) | {:.2} | {:.2} |",
                outcome.scenario.title(),
                outcome.link.name(),
                outcome.pairs.len(),
                rsync.seconds(),
                coast.seconds(),
                ratios.median,
                ratios.least,
                ratios.most,
                rsync.median(cpu_seconds),
                coast.median(cpu_seconds),
            )?;
        }
        Ok(())
    }

    fn write_traffic(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "\n## Bytes and round trips\n")?;
        writeln!(
            out,
            "Medians. MB of the client and of the server, without the headers of TCP. A round trip is a burst of the"
        )?;
        writeln!(
            out,
            "client that came after a burst of the server, and was answered. Without a link they depend on the machine.\n"
        )?;
        writeln!(
            out,
            "| scenario | link | rsync up | rsync down | coast up | coast down | rsync round trips | coast round trips |"
        )?;
        writeln!(out, "|---|---|--:|--:|--:|--:|--:|--:|")?;
        for outcome in &self.outcomes {
            let [rsync, coast] = [Tool::Rsync, Tool::Coast].map(|tool| Figures { outcome, tool });
            let megabytes = |figures: &Figures<'_>, bytes: fn(&Run) -> u64| {
                format!("{:.2}", figures.median(|run| decimal(bytes(run)) / 1e6))
            };
            writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {:.0} | {:.0} |",
                outcome.scenario.title(),
                outcome.link.name(),
                megabytes(&rsync, |run| run.up_bytes),
                megabytes(&rsync, |run| run.down_bytes),
                megabytes(&coast, |run| run.up_bytes),
                megabytes(&coast, |run| run.down_bytes),
                rsync.median(|run| decimal(run.round_trips)),
                coast.median(|run| decimal(run.round_trips)),
            )?;
        }
        Ok(())
    }

    fn write_memory(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "\n## Peak memory\n")?;
        writeln!(
            out,
            "MiB resident of each process, the most of all runs; of processes with one name the largest.\n"
        )?;
        writeln!(out, "| scenario | link | rsync client | rsync remote | coast client | coast remote |")?;
        writeln!(out, "|---|---|---|---|---|---|")?;
        for outcome in &self.outcomes {
            write!(out, "| {} | {} |", outcome.scenario.title(), outcome.link.name())?;
            for tool in [Tool::Rsync, Tool::Coast] {
                for side in [Side::Client, Side::Remote] {
                    write!(out, " {} |", peaks(outcome, tool, side))?;
                }
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

/// The runs of one tool in one outcome.
struct Figures<'a> {
    outcome: &'a Outcome,
    tool: Tool,
}

impl Figures<'_> {
    fn median(&self, figure: impl Fn(&Run) -> f64) -> f64 {
        Spread::of(runs(self.outcome, self.tool).map(figure)).median
    }

    /// The median time, and the least.
    fn seconds(&self) -> String {
        let spread = Spread::of(runs(self.outcome, self.tool).map(|run| run.wall_seconds));
        format!("{:.2} ({:.2})", spread.median, spread.least)
    }
}

fn runs(outcome: &Outcome, tool: Tool) -> impl Iterator<Item = &Run> {
    outcome.pairs.iter().map(move |pair| pair.of(tool))
}

fn cpu_seconds(run: &Run) -> f64 {
    run.client_cpu_seconds + run.remote_cpu_seconds
}

/// `name 12.3` for each program of a side, the tools themselves first.
fn peaks(outcome: &Outcome, tool: Tool, side: Side) -> String {
    let mut largest: BTreeMap<(bool, &str), u64> = BTreeMap::new();
    for peak in runs(outcome, tool).flat_map(|run| &run.processes).filter(|peak| peak.side == side) {
        let key = (SCAFFOLDING.contains(&peak.name.as_str()), peak.name.as_str());
        let bytes = largest.entry(key).or_default();
        *bytes = peak.peak_bytes.max(*bytes);
    }
    let shown = largest.into_iter().filter(|((_, name), _)| !HIDDEN.contains(name));
    let texts: Vec<String> =
        shown.map(|((_, name), bytes)| format!("{name} {:.1}", decimal(bytes >> 10) / 1024.0)).collect();
    texts.join(", ")
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn decimal(count: u64) -> f64 {
    count as f64
}
