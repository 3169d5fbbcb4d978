//! The measurements as people read them: medians in tables, and limits and ratios that follow from them.
//! The same as JSON holds every run.

use super::contender::Tool;
use super::inputs::Description;
use super::limits::{Limits, Stages};
use super::link::LinkName;
use super::machine::Machine;
use super::measure::{Run, Side};
use super::scenario::{Outcome, Scenario};
use super::spread::Spread;
use clap::ValueEnum;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

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
    /// The type of the file system that holds sources and destinations.
    pub(crate) file_system: String,
    pub(crate) inputs: Description,
    pub(crate) outcomes: Vec<Outcome>,
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
            "Written by `cargo xtask bench`: `coast push`, rsync with the documented flags, and in the first push"
        )?;
        writeln!(
            out,
            "`tar | zstd -1 | ssh tar`, in turns over one OpenSSH server on the same machine. A proxy makes the links.\n"
        )?;
        writeln!(out, "- sources and destinations in {}", self.file_system)?;
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
        write!(
            out,
            "\n## Time\n\n\
             Medians in seconds, and the least in parentheses. A ratio is coast's time by that of the other program: the\n\
             median of the ratios of each round, the least and the most.\n\n\
             | scenario | link | rounds | rsync | tar | coast | coast by rsync | coast by tar |\n\
             |---|---|--:|--:|--:|--:|--:|--:|\n"
        )?;
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
        writeln!(
            out,
            "Medians of the ratios. Over office and far the scenarios push a part of the source tree.\n"
        )?;
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
        write!(
            out,
            "\n## Limits of the machine\n\n\
             Seconds that each stage of a push takes alone on one core, the least of three measurements: walking both trees;\n\
             reading the files that are new at the destination or have other content there, hashing them and compressing them\n\
             at the cheapest level, encrypting and decrypting what that makes of them, and making such files. The link needs a\n\
             round trip and the time of the bytes that coast sent. The limit is the time on the link, or the sum of the\n\
             stages shared among {} cores, if that is more.\n\n\
             The first ratio is coast's least time by the limit, the second one its processor time, of both sides with their\n\
             SSH, by the sum of the stages: it depends less on how busy the machine is. Both can be below 1 where coast sends\n\
             less than whole files, or sends them uncompressed.\n\n\
             | scenario | link | files | MB | walk | read | hash | compress | cipher | make | link s | limit | by limit | CPU by sum |\n\
             |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
            self.machine.cores
        )?;
        for outcome in &self.outcomes {
            let Limits { files, content_bytes, stages } = &outcome.limits;
            let Stages { walk, read, hash, compress, cipher, make } = stages;
            let link = link_seconds(outcome);
            let limit = link.max(stages.sum() / f64::from(self.machine.cores));
            let least = Spread::of(runs(outcome, Tool::Coast).map(|run| run.wall_seconds)).least;
            let least_cpu = Spread::of(runs(outcome, Tool::Coast).map(cpu_seconds)).least;
            writeln!(
                out,
                "| {} | {} | {files} | {:.2} | {walk:.3} | {read:.3} | {hash:.3} | {compress:.3} | {cipher:.3} | {make:.3} \
                 | {link:.3} | {limit:.3} | **{:.1}** | {:.1} |",
                outcome.scenario.title(),
                outcome.link.name(),
                decimal(*content_bytes) / 1e6,
                least / limit,
                least_cpu / stages.sum(),
            )?;
        }
        Ok(())
    }

    fn write_costs(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "\n## Processor, bytes, round trips and memory\n\n\
             Medians: seconds of processor time of both sides with their SSH; MB of the client and of the server, without the\n\
             headers of TCP. A round trip is a burst of the client that came after a burst of the server, and was answered;\n\
             without a link they depend on the machine. Memory is the most of all runs: MiB resident of each process; of\n\
             processes with one name the largest.\n\n\
             | scenario | link | program | CPU s | MB up | MB down | round trips | MiB of the client | MiB of the remote |\n\
             |---|---|---|--:|--:|--:|--:|---|---|\n"
        )?;
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
                    median(cpu_seconds),
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
        write!(
            out,
            "\n## Where the processor time of coast goes\n\n\
             Shares of the samples of all processes of one more run, and what of it was in the kernel, in percent. Shares\n\
             below {SMALLEST_SHARE} % are left out.\n\n\
             | scenario | link | side | program | stage | share | kernel |\n\
             |---|---|---|---|---|--:|--:|\n"
        )?;
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

fn cpu_seconds(run: &Run) -> f64 {
    run.client_cpu_seconds + run.remote_cpu_seconds
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::scenario::Round;

    /// A run that took so many seconds and sent as many bytes as the far link carries in `seconds_on_link`.
    fn run(wall_seconds: f64, seconds_on_link: u64) -> Run {
        Run {
            wall_seconds,
            client_cpu_seconds: 0.5,
            remote_cpu_seconds: 0.25,
            up_bytes: seconds_on_link * 2_500_000,
            down_bytes: 10,
            round_trips: 3,
            processes: Vec::new(),
        }
    }

    fn outcome(scenario: Scenario, runs: Vec<(Tool, Run)>) -> Outcome {
        let stages = Stages { walk: 1.0, make: 4.0, ..Stages::default() };
        Outcome {
            scenario,
            link: LinkName::Far,
            limits: Limits { files: 7, content_bytes: 1_500_000, stages },
            rounds: vec![Round(runs.into_iter().collect())],
            profile: None,
        }
    }

    fn report(outcomes: Vec<Outcome>) -> String {
        let file_system = "tmpfs".to_owned();
        Report { machine: Machine::of_two_cores(), file_system, inputs: Description(Vec::new()), outcomes }
            .to_string()
    }

    #[test]
    fn program_that_took_no_part_has_an_empty_cell_and_no_costs() {
        let first = [(Tool::Rsync, run(4.0, 1)), (Tool::Tar, run(8.0, 1)), (Tool::Coast, run(2.0, 1))];
        let second = [(Tool::Rsync, run(4.0, 1)), (Tool::Coast, run(1.0, 1))];
        let text =
            report(vec![outcome(Scenario::First, first.into()), outcome(Scenario::Second, second.into())]);
        for line in [
            "| first push | far | 1 | 4.00 (4.00) | 8.00 (8.00) | 2.00 (2.00) | **0.50** (0.50–0.50) | **0.25** (0.25–0.25) |",
            "| second push | far | 1 | 4.00 (4.00) |  | 1.00 (1.00) | **0.25** (0.25–0.25) |  |",
            "| scenario | far |",
            "| second push | 0.25 |",
            "| first push | far | tar | 0.75 | 2.50 | 0.00 | 3 |  |  |",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in {text}");
        }
        assert!(!text.contains("| second push | far | tar"));
    }

    #[test]
    fn limit_is_the_time_on_the_link_or_the_share_of_each_core() {
        let limits = |seconds_on_link| {
            let runs = vec![(Tool::Coast, run(10.0, seconds_on_link))];
            let text = report(vec![outcome(Scenario::First, runs)]);
            let line = text.lines().find(|line| line.contains("| 1.50 |")).unwrap().to_owned();
            line.rsplit(" | ").take(4).map(|cell| cell.trim_end_matches(" |").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(limits(1), ["0.1", "**4.0**", "2.500", "1.120"]);
        assert_eq!(limits(4), ["0.1", "**2.4**", "4.120", "4.120"]);
    }
}
