//! Carries out a planned run and returns its exit code.

use crate::output::{self, Manner};
use crate::plan::Plan;
use crate::signals::cancelled_by_signals;

/// Carries out the plan, and returns the program's exit code.
pub(crate) fn run(plan: Plan) -> anyhow::Result<u8> {
    let cancel = cancelled_by_signals()?;
    let manner = plan.output.manner;
    let output = output::open(plan.output, &cancel);
    if let Some(notice) = &plan.notice {
        output.notice(notice);
    }
    let ended = plan.request.run(&*output, &*output, &cancel);
    let exit_code = match &ended {
        Ok(report) if manner == Manner::Push => report.workspace_exit_code(),
        Ok(report) => report.exit_code(),
        Err(error) => error.exit_code(),
    };
    output.finish(&ended, exit_code);
    Ok(exit_code)
}
