//! `measured LIMIT REPORT COMMAND...`: runs a command with a limit on its memory, and reports the memory that it took. The
//! limit is in bytes, for the data of each process (heap, stacks and private mappings). The report is a file. It gets a line
//! `started`, and at the end a line with the largest resident set, in bytes, of the command and of every process that it
//! waited for.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};

use nix::sys::resource::{Resource, UsageWho, getrusage, setrlimit};

fn main() -> ExitCode {
    let mut words = env::args_os().skip(1);
    let (Some(limit), Some(report), Some(program)) = (words.next(), words.next(), words.next()) else {
        eprintln!("usage: measured LIMIT REPORT COMMAND [ARGUMENT]...");
        return ExitCode::from(2);
    };
    let limit = limit.to_str().and_then(|text| text.parse().ok()).expect("the limit is a number of bytes");
    setrlimit(Resource::RLIMIT_DATA, limit, limit).expect("a limit can be lowered");
    let mut report =
        OpenOptions::new().create(true).append(true).open(report).expect("the report can be written");
    writeln!(report, "started").expect("the report can be written");
    let status =
        Command::new(&program).args(words).status().unwrap_or_else(|error| panic!("{program:?}: {error}"));
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the kernel counts").max_rss() * 1024;
    writeln!(report, "{peak}").expect("the report can be written");
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
