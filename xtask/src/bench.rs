//! `cargo xtask bench`: `coast push` and rsync with the documented flags, side by side over one SSH server and one link; in the
//! first push tar with zstd, too. The programs take turns on fresh destinations in memory, and every result is compared with the
//! others'. The scenario `follow` measures how fast edits follow with `coast run`.

mod change;
mod compare;
mod contender;
pub(crate) mod counts;
mod follow;
mod inputs;
mod interrupt;
mod kept;
mod limits;
mod link;
mod machine;
mod measure;
mod pipeline;
mod process;
mod profile;
mod report;
mod scenario;
mod server;
mod spread;

use crate::dist::Symbols;
use crate::{cargo, program};
use anyhow::{Context, Result, ensure};
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use contender::{Contender, Remote, Tool};
use follow::{FollowOptions, Measured};
use inputs::{Extent, Inputs};
use interrupt::Interrupt;
use link::LinkName;
use machine::{Coast, Machine};
use report::Report;
use scenario::{Bench, Scenario};
use serde::Serialize;
use server::Server;
use std::fmt::Display;
use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The default directory of inputs and destinations: a file system in memory on every Linux.
const MEMORY: &str = "/dev/shm";
/// Room for six trees of inputs, a destination, and the memory that is taken before a run.
const ROOM_BYTES: u64 = 8 * contender::TAKEN_BYTES;

/// Compare `coast push` with rsync and tar over SSH, or measure how fast edits follow, on this machine (as root).
#[derive(Args)]
pub(crate) struct Options {
    /// Measure only these [default: all that push, but those of the million files].
    #[arg(long = "scenario", value_name = "NAME", value_enum, num_args = 1..)]
    scenarios: Vec<Choice>,
    /// Push over these links [default: loopback]. Over office and far a part of the source tree is pushed.
    #[arg(long = "link", value_name = "NAME", value_enum, num_args = 1.., default_value = "loopback")]
    links: Vec<LinkName>,
    /// Push the part of the source tree over every link. The report is not kept.
    #[arg(long)]
    part: bool,
    /// Rounds of each scenario that pushes, over each link. In a round each program runs once.
    #[arg(long, value_name = "N", default_value = "5")]
    runs: NonZeroUsize,
    /// Print the report as JSON on standard output, every run included.
    #[arg(long)]
    json: bool,
    /// Work in DIR, which should be in memory, and leave the inputs there for the next time.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Have perf watch one more run of coast in each scenario, report the shares of its stages, and leave the samples in the
    /// directory of --keep. coast is built with symbols and frame pointers. The report is not kept.
    #[arg(long, requires = "keep")]
    profile: bool,
    /// Measure this program, whose helper is inside of it or beside it [default: a release build of this checkout].
    #[arg(long, value_name = "PROGRAM")]
    coast: Option<PathBuf>,
    #[command(flatten)]
    follow: FollowOptions,
}

/// A scenario of either kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    Push(Scenario),
    Follow,
}

impl Choice {
    fn push(self) -> Option<Scenario> {
        match self {
            Self::Push(scenario) => Some(scenario),
            Self::Follow => None,
        }
    }
}

impl ValueEnum for Choice {
    fn value_variants<'a>() -> &'a [Self] {
        const {
            &[
                Self::Push(Scenario::First),
                Self::Push(Scenario::Second),
                Self::Push(Scenario::Warm),
                Self::Push(Scenario::Switch),
                Self::Push(Scenario::Worktree),
                Self::Push(Scenario::SwitchBack),
                Self::Push(Scenario::Edit),
                Self::Push(Scenario::Moved),
                Self::Push(Scenario::Big),
                Self::Push(Scenario::Unrelated),
                Self::Push(Scenario::Million),
                Self::Push(Scenario::MillionSecond),
                Self::Follow,
            ]
        }
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Push(scenario) => scenario.to_possible_value(),
            Self::Follow => Some(PossibleValue::new("follow").help("Edit the worktree of an instance")),
        }
    }
}

/// Measures the chosen scenarios and reports the figures.
///
/// Everything that the bench makes outside the work directory (a user, its sudo rule, the server) is removed again, on
/// errors and signals too.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "the bench needs root: it makes a user with sudo rights and an SSH server, and removes them again"
    );
    let interrupt = Interrupt::on_signals()?;
    let pushes: Vec<Scenario> = match &options.scenarios[..] {
        [] => Scenario::DEFAULT.to_vec(),
        chosen => chosen.iter().filter_map(|choice| choice.push()).collect(),
    };
    let symbols = if options.profile { Symbols::Kept } else { Symbols::Stripped };
    let coast = Coast::find(options.coast.as_deref(), symbols)?;
    let work = WorkDirectory::open(options.keep.as_deref())?;
    let mut failed = Vec::new();
    if !pushes.is_empty() {
        let (report, missing) = push(options, &pushes, &coast, &work, &interrupt)?;
        let worth = report.is_complete() && coast.revision.is_some() && !options.part;
        publish(&report, worth, "RESULTS.md", options)?;
        failed.extend(missing);
    }
    if options.scenarios.contains(&Choice::Follow) {
        let Measured { report, failed: missing } =
            follow::measure(&options.follow, &coast, work.path(), &interrupt)?;
        publish(&report, report.is_complete() && coast.revision.is_some(), "FOLLOW.md", options)?;
        failed.extend(missing);
    }
    ensure!(failed.is_empty(), "no figures for: {}", failed.join(", "));
    Ok(())
}

/// Measures pushes. Returns the report, and the scenarios that have no figures.
fn push(
    options: &Options,
    scenarios: &[Scenario],
    coast: &Coast,
    work: &WorkDirectory,
    interrupt: &Interrupt,
) -> Result<(Report, Vec<String>)> {
    let links = &options.links;
    let extent = |link: LinkName| if options.part { Extent::Part } else { link.extent() };
    let wanted = links.iter().flat_map(|link| scenarios.iter().map(|scenario| scenario.input(extent(*link))));
    let inputs = Inputs::prepare(work.path(), wanted, interrupt)?;
    let scratch =
        TempDir::with_prefix_in("run-", work.path()).context("making the destinations' directory")?;
    let server = Server::start()?;
    let contenders = [Contender::rsync()?, Contender::tar()?, Contender::coast(&coast.program)?];
    let bench = Bench {
        contenders: &contenders,
        inputs: &inputs,
        rounds: options.runs,
        profiles: options.profile.then_some(work.path()),
        interrupt,
    };

    let mut machine = Machine::describe(coast)?;
    let others = contenders.iter().filter(|contender| contender.tool != Tool::Coast);
    machine.programs.extend(others.map(|contender| contender.version.clone()));
    let (mut outcomes, mut failed) = (Vec::new(), Vec::new());
    for link in links {
        let remote = Remote::new(&server, *link, scratch.path())?;
        bench.warm_up(&remote)?;
        for scenario in scenarios {
            interrupt.check()?;
            match bench.measure(*scenario, extent(*link), &remote) {
                Ok(outcome) => outcomes.push(outcome),
                // The figures of the other scenarios are still wanted.
                Err(error) => {
                    let title = format!("{} ({})", scenario.title(), link.name());
                    eprintln!("{title}: {error:#}");
                    failed.push(title);
                }
            }
        }
    }
    interrupt.check()?;
    let file_system =
        program::output(Command::new("stat").args(["--file-system", "--format=%T"]).arg(work.path()))?;
    Ok((Report { machine, file_system, inputs: inputs.describe(), outcomes }, failed))
}

/// Prints a report, and keeps it in `benches/` if it is worth it.
fn publish(report: &(impl Display + Serialize), worth: bool, name: &str, options: &Options) -> Result<()> {
    if worth {
        let path = cargo::workspace().join("benches").join(name);
        fs::write(&path, report.to_string()).with_context(|| format!("writing {}", path.display()))?;
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(report).context("writing the report as JSON")?);
    } else {
        print!("{report}");
    }
    Ok(())
}

/// The directory of inputs and destinations. It is temporary unless the user named it.
enum WorkDirectory {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl WorkDirectory {
    fn open(keep: Option<&Path>) -> Result<Self> {
        let directory = match keep {
            None => Self::Temporary(
                TempDir::with_prefix_in("coast-bench-", MEMORY)
                    .with_context(|| format!("making a directory in {MEMORY}"))?,
            ),
            Some(path) => {
                fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))?;
                let path = fs::canonicalize(path).with_context(|| format!("finding {}", path.display()))?;
                Self::Kept(path)
            }
        };
        // The SSH user must reach the destinations below it.
        let path = directory.path();
        fs::set_permissions(path, PermissionsExt::from_mode(0o755))
            .with_context(|| format!("opening {} to the SSH user", path.display()))?;
        let statistics =
            rustix::fs::statvfs(path).with_context(|| format!("looking at {}", path.display()))?;
        let free_bytes = statistics.f_bavail.saturating_mul(statistics.f_frsize);
        ensure!(
            free_bytes >= ROOM_BYTES || keep.is_some(),
            "{MEMORY} has {} MiB free and the bench wants {}; name a roomier directory in memory with --keep",
            free_bytes >> 20,
            ROOM_BYTES >> 20
        );
        Ok(directory)
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(directory) => directory.path(),
            Self::Kept(path) => path,
        }
    }
}
