//! `cargo xtask fuzz`: every fuzz target for some seconds, on the nightly toolchain. A crash is an error, and
//! `fuzz/artifacts` holds the input that caused it.

use crate::{cargo, program};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::num::NonZeroU32;
use std::process::{Command, Stdio};
use std::thread;

/// The time limit for one input, in seconds. An input that takes longer counts as a hang.
const INPUT_SECONDS: u32 = 10;

/// Run the fuzz targets and fail on a crash.
#[derive(Args)]
pub(crate) struct Options {
    /// Seconds that each target runs.
    #[arg(long, value_name = "N", default_value = "30")]
    seconds: NonZeroU32,
    /// The targets to run [default: all].
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// Builds all targets, then runs as many at a time as there are processors, since each uses one processor.
pub(crate) fn run(options: &Options) -> Result<()> {
    install_if_missing()?;
    let known: Vec<String> = program::output(fuzz().arg("list"))?.lines().map(str::to_owned).collect();
    if known.is_empty() {
        bail!("fuzz/ has no targets");
    }
    if let Some(unknown) = options.targets.iter().find(|target| !known.contains(target)) {
        bail!("no fuzz target is called {unknown}; there are {}", known.join(", "));
    }
    program::run(fuzz().arg("build"))?;
    let chosen = if options.targets.is_empty() { &known } else { &options.targets };
    let at_once = thread::available_parallelism()?.get();
    for targets in chosen.chunks(at_once) {
        thread::scope(|scope| -> Result<()> {
            let running: Vec<_> =
                targets.iter().map(|target| scope.spawn(move || search(target, options.seconds))).collect();
            running.into_iter().try_for_each(|target| target.join().expect("it does not panic"))
        })?;
    }
    Ok(())
}

/// Runs a target that has been built.
fn search(target: &str, seconds: NonZeroU32) -> Result<()> {
    eprintln!("fuzz {target}: {seconds} s");
    program::run(fuzz().args(["run", target, "--"]).args([
        format!("-max_total_time={seconds}"),
        format!("-timeout={INPUT_SECONDS}"),
        "-print_final_stats=1".to_owned(),
        "-verbosity=0".to_owned(),
    ]))
    .with_context(|| format!("fuzz target {target} failed; see fuzz/artifacts/{target}"))
}

/// `cargo fuzz` on the nightly toolchain, which its sanitizers need.
fn fuzz() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "fuzz"]).current_dir(cargo::workspace());
    // The stable cargo that runs this program sets these variables, and they would select the stable toolchain.
    command.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN").env_remove("RUSTC").env_remove("RUSTDOC");
    command
}

fn install_if_missing() -> Result<()> {
    let found = fuzz()
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("starting rustup, which is needed to choose the nightly toolchain")?
        .success();
    if found { Ok(()) } else { program::run(cargo::cargo().args(["install", "cargo-fuzz", "--locked"])) }
}
