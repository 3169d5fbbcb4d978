//! `cargo xtask counts`: what a push costs in counts instead of seconds, each against a committed ceiling. Counts do not depend on
//! how busy the machine is, nor on how the programs were optimised.

mod ceilings;
mod system_calls;

use super::contender::{Contender, Remote, Way};
use super::interrupt::Interrupt;
use super::kept::KeptConnection;
use super::link::LinkName;
use super::measure::{self, Run, Side};
use super::server::Server;
use crate::cargo;
use anyhow::{Context, Result, ensure};
use ceilings::Ceilings;
use clap::Args;
use coast_testkit::{Noise, Tree};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use system_calls::SystemCalls;
use tempfile::TempDir;

const DIRECTORIES: usize = 40;
const FILES_EACH: usize = 50;
pub(super) const FILES: usize = DIRECTORIES * FILES_EACH;
/// One file in so many has other content in the second version of the tree.
const CHANGED_EVERY: usize = 10;
const LINES_EACH: usize = 60;
/// So many pushes come before the push of an unchanged tree, so that both caches know all its files.
const SETTLING_PUSHES: usize = 3;

/// Count what a push costs, and fail above the ceilings in benches/ceilings.toml (as root).
#[derive(Args)]
pub(crate) struct Options {
    /// Count this program, whose helper is inside of it or beside it [default: a debug build of this checkout].
    #[arg(long, value_name = "PROGRAM")]
    coast: Option<PathBuf>,
}

/// Counts by name, in the order in which they are told.
pub(super) type Counts = Vec<(String, f64)>;

/// Counts, prints each count beside its ceiling, and fails when one is above it.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "counting needs root: it makes a user with sudo rights and an SSH server, and removes them again"
    );
    let interrupt = Interrupt::on_signals()?;
    let ceilings = Ceilings::read(&cargo::workspace().join("benches").join("ceilings.toml"))?;
    let coast = match &options.coast {
        Some(program) => {
            fs::canonicalize(program).with_context(|| format!("finding {}", program.display()))?
        }
        None => debug_build()?,
    };
    let directory = TempDir::with_prefix("coast-counts-").context("making a directory")?;
    // The SSH user must reach the destinations below it.
    fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755))
        .with_context(|| format!("opening {} to the SSH user", directory.path().display()))?;
    let trees = Trees::build(directory.path())?;
    let mut counts = Counts::new();
    SystemCalls::of(&coast, directory.path(), &trees.old, &mut counts)?;
    count_traffic(&coast, directory.path(), &trees, &mut counts, &interrupt)?;
    ceilings.hold(&counts)
}

/// The features are those of the whole workspace, which the tests were built with.
fn debug_build() -> Result<PathBuf> {
    let mut build = cargo::cargo();
    build.args(["build", "--workspace", "--bin", "coast-helper"]);
    cargo::build_binary(&mut build, "coast")
}

/// Two versions of a tree of 2,000 source files, and the first version with a directory of another name.
struct Trees {
    old: PathBuf,
    new: PathBuf,
    moved: PathBuf,
}

impl Trees {
    fn build(directory: &Path) -> Result<Self> {
        let [old, new, moved] = ["old", "new", "moved"].map(|name| directory.join(name));
        for (path, changed_every, prefix) in
            [(&old, usize::MAX, "module"), (&new, CHANGED_EVERY, "module"), (&moved, usize::MAX, "package")]
        {
            fs::create_dir(path).with_context(|| format!("creating {}", path.display()))?;
            tree(changed_every, prefix).build(path);
        }
        Ok(Self { old, new, moved })
    }
}

fn tree(changed_every: usize, prefix: &str) -> Tree {
    let mut tree = Tree::new();
    for directory in 0..DIRECTORIES {
        let name = format!("{prefix}-{directory}");
        tree = tree.dir(&name);
        for file in 0..FILES_EACH {
            let number = directory * FILES_EACH + file;
            let changed = number % changed_every == changed_every - 1;
            tree = tree.file(format!("{name}/file-{file}.rs"), source(number, changed));
        }
    }
    tree
}

/// Text that shrinks about as much as source code does. A changed one has another line in its middle.
fn source(number: usize, changed: bool) -> String {
    let mut noise = Noise::new(number as u64);
    let mut text = String::new();
    for line in 0..LINES_EACH {
        let value = if changed && line == LINES_EACH / 2 { 0 } else { noise.draw() % 100_000 };
        // A string can be written to.
        let _ = writeln!(text, "    let value_{line} = self.measure({value}, &options)?;");
    }
    text
}

/// Counts bytes, round trips and memory of pushes over the far link, where a round trip is long against all work between two
/// messages.
fn count_traffic(
    coast: &Path,
    directory: &Path,
    trees: &Trees,
    counts: &mut Counts,
    interrupt: &Interrupt,
) -> Result<()> {
    let server = Server::start()?;
    let remote = Remote::new(&server, LinkName::Far, directory)?;
    let contender = Contender::coast(coast)?;
    let push = |way, source: &Path| measure::run(contender.push(&remote, way, source), &remote, interrupt);
    contender.start_fresh(&remote)?;
    // It uploads the helper.
    push(Way::Direct, &trees.old)?;

    contender.start_fresh(&remote)?;
    let first = push(Way::Link, &trees.old)?;
    tell_traffic(counts, "first push", &first);
    for (side, name) in [(Side::Client, "client"), (Side::Remote, "helper")] {
        counts.push((format!("first push, MiB of the {name}"), peak_mebibytes(&first, side)));
    }
    // A hash is remembered once its file is old enough.
    let settle = || (0..SETTLING_PUSHES).try_for_each(|_| push(Way::Direct, &trees.old).map(drop));
    settle()?;
    tell_traffic(counts, "second push", &push(Way::Link, &trees.old)?);
    tell_traffic(counts, "switch", &push(Way::Link, &trees.new)?);
    settle()?;
    tell_traffic(counts, "moved directories", &push(Way::Link, &trees.moved)?);

    contender.start_fresh(&remote)?;
    settle()?;
    let kept = KeptConnection::open(&contender, &remote, &trees.old)?;
    let keeper = kept.keeper()?;
    let warm = contender.push(&remote, Way::Kept, &trees.old);
    tell_traffic(counts, "second push, warm", &measure::run_with(warm, Some(keeper), &remote, interrupt)?);
    Ok(())
}

fn tell_traffic(counts: &mut Counts, scenario: &str, run: &Run) {
    let told = [
        ("kB up", kilobytes(run.up_bytes)),
        ("kB down", kilobytes(run.down_bytes)),
        ("round trips", kilobytes(run.round_trips * 1000)),
    ];
    counts.extend(told.map(|(name, count)| (format!("{scenario}, {name}"), count)));
}

/// The most memory that coast, or its helper, had on one side.
fn peak_mebibytes(run: &Run, side: Side) -> f64 {
    let ours = |name: &str| name.starts_with("coast") || name.starts_with("helper");
    let peaks = run.processes.iter().filter(|peak| peak.side == side && ours(&peak.name));
    let bytes = peaks.map(|peak| peak.peak_bytes).max().unwrap_or_default();
    kilobytes((bytes * 1000) >> 20)
}

/// Exact: the counts are far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "the counts are far below 2^52")]
fn kilobytes(bytes: u64) -> f64 {
    bytes as f64 / 1000.0
}
