//! The automation of this workspace: `cargo xtask bench|counts|dist|e2e|fuzz`. Programs are started with lists of arguments, never
//! by a shell.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bench;
mod cargo;
mod dist;
mod e2e;
mod elf;
mod fuzz;
mod program;

use clap::{Parser, Subcommand};

/// Project automation.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Bench(bench::Options),
    Counts(bench::counts::Options),
    Dist(dist::Options),
    E2e(e2e::Options),
    Fuzz(fuzz::Options),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Bench(options) => bench::run(&options),
        Task::Counts(options) => bench::counts::run(&options),
        Task::Dist(options) => dist::run(&options),
        Task::E2e(options) => e2e::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn arguments_of_all_tasks_fit_together() {
        Cli::command().debug_assert();
    }
}
