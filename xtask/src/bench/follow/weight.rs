//! The memory and the processor time of a layer's two processes.

use super::project::Instance;
use crate::bench::interrupt::Interrupt;
use crate::bench::process::Process;
use anyhow::{Context, Result};
use std::thread;
use std::time::Duration;

/// The time after which a layer counts as idle.
const SETTLING: Duration = Duration::from_secs(15);
const IDLE: Duration = Duration::from_secs(60);
const TICK_SECONDS: f64 = 0.01;

/// A figure of either process.
pub(super) struct Weight {
    pub(super) daemon: f64,
    pub(super) helper: f64,
}

/// The memory that is resident, in megabytes.
pub(super) fn memory(instance: &Instance<'_>) -> Result<Weight> {
    let of = |process: Process| process.resident().map(|bytes| decimal(bytes) / 1e6);
    weigh(instance, of)
}

/// The processor time over an idle minute, in percent of one core.
pub(super) fn idle_processor(instance: &Instance<'_>, interrupt: &Interrupt) -> Result<Weight> {
    thread::sleep(SETTLING);
    interrupt.check()?;
    let before = weigh(instance, |process| process.own_ticks().map(decimal))?;
    thread::sleep(IDLE);
    let after = weigh(instance, |process| process.own_ticks().map(decimal))?;
    let percent = |ticks: f64| 100.0 * ticks * TICK_SECONDS / IDLE.as_secs_f64();
    Ok(Weight {
        daemon: percent(after.daemon - before.daemon),
        helper: percent(after.helper - before.helper),
    })
}

fn weigh(instance: &Instance<'_>, of: impl Fn(Process) -> Option<f64>) -> Result<Weight> {
    let figure = |process: Process| of(process).with_context(|| format!("process {} has ended", process.0));
    Ok(Weight { daemon: figure(instance.daemon()?)?, helper: figure(instance.project.site.helper()?)? })
}

#[expect(clippy::cast_precision_loss, reason = "few digits are shown")]
fn decimal(count: u64) -> f64 {
    count as f64
}
