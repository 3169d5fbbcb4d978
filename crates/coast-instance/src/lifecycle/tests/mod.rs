//! The lifecycle on one machine: a directory in the remote's place, and a continuous layer that can be told to fail.

mod beginning;
mod ending;
mod explaining;
mod gap;
mod killed;
mod made_there;
mod native;
mod ownership;
mod showing;
mod stage;
mod switching;
mod trusting;

use stage::{Stage, dev_1};

use crate::lifecycle::{FollowOptions, Insist, RunOptions};

fn insisting() -> RunOptions {
    RunOptions { follow: Insist::OnContinuous.into(), ..RunOptions::default() }
}

fn forced() -> FollowOptions {
    FollowOptions { force: true, ..FollowOptions::default() }
}

/// An instance that runs.
fn running() -> Stage {
    let stage = Stage::following();
    stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap();
    stage
}

#[track_caller]
fn position(log: &[String], wanted: &str) -> usize {
    let found = log.iter().position(|line| line.starts_with(wanted));
    found.unwrap_or_else(|| panic!("{wanted:?} is not in {log:?}"))
}
