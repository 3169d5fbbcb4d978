//! Carries out a planned run and turns its end into an exit code.

use coast_sync::Cancel;

use crate::output::{self, Manner};
use crate::plan::Plan;
use crate::signals::cancel_on_signals;

/// rsync's codes for runs that came to their end but missed something, which a push only warns about.
const PARTIAL: [u8; 2] = [23, 24];

/// Runs it; the result is the program's exit code.
pub(crate) fn run(plan: Plan) -> anyhow::Result<u8> {
    let cancel = Cancel::new();
    cancel_on_signals(&cancel)?;
    let manner = plan.output.manner;
    let output = output::open(plan.output);
    let ended = plan.request.run(&*output, &*output, &cancel);
    let exit_code = match &ended {
        Ok(report) => match report.exit_code() {
            code if manner == Manner::Push && PARTIAL.contains(&code) => 0,
            code => code,
        },
        Err(error) => error.exit_code(),
    };
    output.finish(&ended, exit_code);
    Ok(exit_code)
}
