//! The measurements as people read them: medians in tables, with the machine and the versions they belong to.
//! The same as JSON holds every run.

use super::contender::Tool;
use super::inputs::Description;
use super::limits::{Limits, Stages};
use super::link::LinkName;
use super::measure::{Run, Side};
use super::scenario::{Outcome, Scenario};
use super::spread::Spread;
use crate::dist::{self, Symbols};
use crate::{cargo, program};
use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

/// Programs that the bench or SSH starts for all tools.
const SCAFFOLDING: [&str; 3] = ["sudo", "sshd", "ssh"];
/// Shells between them, and the bench itself before it becomes the program that it starts.
const HIDDEN: [&str; 3] = ["sh", "dash", "xtask"];

/// Profiles show no share below this, in percent.
const SMALLEST_SHARE: f64 = 1.0;

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
    /// The given program, or else a release build of this checkout. Figures of a build with symbols are none of this checkout.
    pub(crate) fn find(given: Option<&Path>, symbols: Symbols) -> Result<Self> {
        if let Some(program) = given {
            let program =
                fs::canonicalize(program).with_context(|| format!("finding {}", program.display()))?;
            return Ok(Self { program, revision: None });
        }
        let program = dist::host_coast(symbols)?;
        if symbols == Symbols::Kept {
            return Ok(Self { program, revision: None });
        }
        let mut git = Command::new("git");
        git.args(["describe", "--always", "--dirty"]).current_dir(cargo::workspace());
        Ok(Self { program, revision: Some(program::output(&mut git)?) })
    }
}

/// The machine and the programs that were measured.
#[derive(Serialize)]
pub(crate) struct Machine {
    date: String,
    cores: u32,
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
            cores: u32::try_from(thread::available_parallelism().context("counting cores")?.get())?,
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
            "Written by `cargo xtask bench`: `coast push`, rsync with the documented flags, and in the first push `tar | zstd -1"
        )?;
        writeln!(
            out,
            "| ssh tar`, in turns over one OpenSSH server on the same machine, everything in memory. A proxy makes the links.\n"
        )?;
        write!(out, "{}", self.machine)?;
        for input in &self.inputs.0 {
            writeln!(out, "- {input}")?;
        }
        self.write_times(out)?;
        self.write_links(out)?;
        self.write_limits(out)?;
        self.write_costs(out)?;
        self.write_profiles(out)
    }
}

impl Report {
    fn write_times(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "\n## Time\n")?;
        writeln!(
            out,
            "Medians in seconds, and the least in parentheses. A ratio is coast's time by that of the other program:"
        )?;
        writeln!(out, "the median of those of each round, the least and the most.\n")?;
        writeln!(out, "| scenario | link | rounds | rsync | tar | coast | coast by rsync | coast by tar |")?;
        writeln!(out, "|---|---|--:|--:|--:|--:|--:|--:|")?;
        for outcome in &self.outcomes {
            let [rsync, tar, coast] =
                [Tool::Rsync, Tool::Tar, Tool::Coast].map(|tool| seconds(outcome, tool));
            let [by_rsync, by_tar] = [Tool::Rsync, Tool::Tar].map(|other| ratio(outcome, other));
            writeln!(
                out,
                "| {} | {} | {} | {rsync} | {tar} | {coast} | {by_rsync} | {by_tar} |",
                outcome.scenario.title(),
                outcome.link.name(),
                outcome.rounds.len(),
            )?;
        }
        Ok(())
    }

    /// One row for each scenario and one column for each link.
    fn write_links(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let links: Vec<LinkName> = LinkName::value_variants()
            .iter()
            .copied()
            .filter(|link| self.outcomes.iter().any(|outcome| outcome.link == *link))
            .collect();
        writeln!(out, "\n## Coast by rsync over each link\n")?;
        write!(out, "| scenario |")?;
        links.iter().try_for_each(|link| write!(out, " {} |", link.name()))?;
        writeln!(out, "\n|---|{}", "--:|".repeat(links.len()))?;
        for scenario in Scenario::value_variants() {
            let over = |link: &LinkName| {
                self.outcomes.iter().find(|it| it.scenario == *scenario && it.link == *link)
            };
            let outcomes: Vec<Option<&Outcome>> = links.iter().map(over).collect();
            if outcomes.iter().any(Option::is_some) {
                write!(out, "| {} |", scenario.title())?;
                for outcome in outcomes {
                    let cell = outcome.map(|outcome| format!("{:.2}", ratios(outcome, Tool::Rsync).median));
                    write!(out, " {} |", cell.unwrap_or_default())?;
                }
                writeln!(out)?;
            }
        }
        Ok(())
    }

    fn write_limits(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "\n## Limits of the machine\n")?;
        writeln!(
            out,
            "Seconds that each stage of a push takes alone on one core, the least of three measurements: walking both trees;"
        )?;
        writeln!(
            out,
            "reading the files that are new at the destination or have other content there, hashing and compressing them as"
        )?;
        writeln!(
            out,
            "on a fast link, encrypting and decrypting what that makes of them, and making such files. The link needs a round"
        )?;
        writeln!(
            out,
            "trip and the time of the bytes that coast sent. The limit is the time on the link, or the sum of the stages"
        )?;
        writeln!(
            out,
            "shared among {} cores, if that is more. The ratio is coast's least time by the limit. It can be below 1 where",
            self.machine.cores
        )?;
        writeln!(out, "coast sends less than whole files.\n")?;
        writeln!(
            out,
            "| scenario | link | files | MB | walk | read | hash | compress | cipher | make | link s | limit | coast by limit |"
        )?;
        writeln!(out, "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
        for outcome in &self.outcomes {
            let Limits { files, content_bytes, stages } = &outcome.limits;
            let Stages { walk, read, hash, compress, cipher, make } = stages;
            let link = link_seconds(outcome);
            let limit = link.max(stages.sum() / f64::from(self.machine.cores));
            let least = Spread::of(runs(outcome, Tool::Coast).map(|run| run.wall_seconds)).least;
            writeln!(
                out,
                "| {} | {} | {files} | {:.2} | {walk:.3} | {read:.3} | {hash:.3} | {compress:.3} | {cipher:.3} | {make:.3} \
                 | {link:.3} | {limit:.3} | **{:.1}** |",
                outcome.scenario.title(),
                outcome.link.name(),
                decimal(*content_bytes) / 1e6,
                least / limit,
            )?;
        }
        Ok(())
    }

    fn write_costs(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "\n## Processor, bytes, round trips and memory\n")?;
        writeln!(
            out,
            "Medians: seconds of processor time of both sides with their SSH; MB of the client and of the server, without"
        )?;
        writeln!(
            out,
            "the headers of TCP. A round trip is a burst of the client that came after a burst of the server, and was"
        )?;
        writeln!(
            out,
            "answered; without a link they depend on the machine. Memory is the most of all runs: MiB resident of each"
        )?;
        writeln!(out, "process; of processes with one name the largest.\n")?;
        writeln!(
            out,
            "| scenario | link | program | CPU s | MB up | MB down | round trips | MiB of the client | MiB of the remote |"
        )?;
        writeln!(out, "|---|---|---|--:|--:|--:|--:|---|---|")?;
        for outcome in &self.outcomes {
            for tool in [Tool::Rsync, Tool::Tar, Tool::Coast] {
                if runs(outcome, tool).next().is_none() {
                    continue;
                }
                let median = |figure: fn(&Run) -> f64| Spread::of(runs(outcome, tool).map(figure)).median;
                writeln!(
                    out,
                    "| {} | {} | {} | {:.2} | {:.2} | {:.2} | {:.0} | {} | {} |",
                    outcome.scenario.title(),
                    outcome.link.name(),
                    tool.name(),
                    median(|run| run.client_cpu_seconds + run.remote_cpu_seconds),
                    median(|run| decimal(run.up_bytes) / 1e6),
                    median(|run| decimal(run.down_bytes) / 1e6),
                    median(|run| decimal(run.round_trips)),
                    peaks(outcome, tool, Side::Client),
                    peaks(outcome, tool, Side::Remote),
                )?;
            }
        }
        Ok(())
    }
}

impl Report {
    fn write_profiles(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if self.outcomes.iter().all(|outcome| outcome.profile.is_none()) {
            return Ok(());
        }
        writeln!(out, "\n## Where the processor time of coast goes\n")?;
        writeln!(
            out,
            "Shares of the samples of all processes of one more run, and what of it was in the kernel, in percent. Shares"
        )?;
        writeln!(out, "below {SMALLEST_SHARE} % are left out.\n")?;
        writeln!(out, "| scenario | link | side | program | stage | share | kernel |")?;
        writeln!(out, "|---|---|---|---|---|--:|--:|")?;
        for outcome in &self.outcomes {
            let shares = outcome.profile.iter().flat_map(|profile| &profile.shares);
            for share in shares.filter(|share| share.percent >= SMALLEST_SHARE) {
                writeln!(
                    out,
                    "| {} | {} | {} | {} | {} | {:.1} | {:.1} |",
                    outcome.scenario.title(),
                    outcome.link.name(),
                    share.side.name(),
                    share.program,
                    share.stage,
                    share.percent,
                    share.kernel_percent,
                )?;
            }
        }
        Ok(())
    }
}

fn runs(outcome: &Outcome, tool: Tool) -> impl Iterator<Item = &Run> {
    outcome.rounds.iter().filter_map(move |round| round.of(tool))
}

/// The median time of a program, and the least. Empty if it did not take part.
fn seconds(outcome: &Outcome, tool: Tool) -> String {
    if runs(outcome, tool).next().is_none() {
        return String::new();
    }
    let spread = Spread::of(runs(outcome, tool).map(|run| run.wall_seconds));
    format!("{:.2} ({:.2})", spread.median, spread.least)
}

fn ratios(outcome: &Outcome, other: Tool) -> Spread {
    Spread::of(outcome.rounds.iter().filter_map(|round| round.ratio_to(other)))
}

/// The time that the link needs for the bytes of coast, in the direction that has more of them, and one round trip.
fn link_seconds(outcome: &Outcome) -> f64 {
    let link = outcome.link.link();
    let bytes =
        Spread::of(runs(outcome, Tool::Coast).map(|run| decimal(run.up_bytes.max(run.down_bytes)))).least;
    let seconds = link.bytes_per_second.map_or(0.0, |rate| bytes / decimal(rate.get()));
    link.round_trip.as_secs_f64() + seconds
}

/// The ratio to a program. Empty if it did not take part.
fn ratio(outcome: &Outcome, other: Tool) -> String {
    if runs(outcome, other).next().is_none() {
        return String::new();
    }
    let Spread { median, least, most, .. } = ratios(outcome, other);
    format!("**{median:.2}** ({least:.2}–{most:.2})")
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
