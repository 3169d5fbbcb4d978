//! `cargo xtask e2e`: the end-to-end tests, with release builds of the programs. Some tests need root, an SSH server and
//! rsync, and fail with the name of a missing program.

use crate::{cargo, program};
use anyhow::Result;
use clap::Args;
use std::num::NonZeroU32;

/// Build the programs and run the end-to-end tests.
#[derive(Args)]
pub(crate) struct Options {
    /// Random cases to compare with rsync, in each setting.
    #[arg(long, value_name = "N")]
    cases: Option<NonZeroU32>,
    /// Arguments for the test programs, such as a part of a test's name.
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds the programs, then runs the tests.
pub(crate) fn run(options: &Options) -> Result<()> {
    program::run(cargo::cargo().args(["build", "--release", "-p", "coast-cli", "-p", "coast-helper"]))?;
    let mut test = cargo::cargo();
    test.args(["test", "--release", "-p", "coast-tests", "--"]).args(&options.arguments);
    if let Some(cases) = options.cases {
        test.env("COAST_CASES", cases.to_string());
    }
    program::run(&mut test)
}
