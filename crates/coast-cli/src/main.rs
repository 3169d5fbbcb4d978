//! The `coast` program. `coast run` makes an instance on another machine and makes every edit follow. `coast push` and
//! `coast sync` make a directory on another machine equal to a local directory. `coast demo` shows two pushes. This crate parses
//! the command line and prints; `coast-instance` and `coast-sync` do the work.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod args;
mod daemon;
#[cfg(feature = "demo")]
mod demo;
mod endpoint;
mod exit_code;
mod lifecycle;
mod output;
mod plan;
mod refused;
mod remote_shell;
mod run;
mod signals;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;

use crate::args::{Cli, Command};
use crate::exit_code::{FILE_IO, USAGE};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_else(|| "coast".into());
    let mut arguments = arguments.peekable();
    // This check comes first, because a helper sends frames on standard output and must print nothing else. A local run starts
    // this program as helper with a hidden subcommand. Where this program was uploaded in place of the small helper, it is
    // started with the helper's own arguments.
    let named = arguments.next_if(|first| first == plan::HELPER_SUBCOMMAND).is_some();
    let mut arguments: Vec<_> = arguments.collect();
    if named || coast_helper::is_call(&arguments) {
        return coast_helper::main(arguments.into_iter());
    }
    if Path::new(&program).file_name().is_some_and(|name| name == "coastd") {
        arguments.splice(0..0, ["daemon", "run"].map(OsString::from));
    }
    let cli = match args::parse(std::iter::once(program).chain(arguments)) {
        Ok(cli) => cli,
        Err(message) => {
            // --help and --version end here too. If the output is closed, the error cannot be printed anywhere.
            let _ = message.print();
            return ExitCode::from(if message.use_stderr() { USAGE } else { 0 });
        }
    };
    cli.color.write_global();
    if cli.no_daemon {
        daemon::go_alone();
    }
    let ended = match cli.command {
        Command::Run(args) => lifecycle::run(args),
        Command::Assign(args) => lifecycle::assign(args),
        Command::Unassign(args) => lifecycle::unassign(args),
        Command::Stop(args) => lifecycle::stop(args),
        Command::Start(args) => lifecycle::start(args),
        Command::Rm(args) => lifecycle::rm(args),
        Command::Ls(args) => lifecycle::ls(&args),
        Command::Status(args) => lifecycle::status(&args),
        Command::Flush(args) => lifecycle::flush(args),
        Command::Resolve(args) => lifecycle::resolve(&args),
        Command::Restore(args) => lifecycle::restore(args),
        Command::Init(args) => lifecycle::init(&args),
        Command::Trust(args) => lifecycle::trust(&args),
        Command::Remote(command) => lifecycle::remote(command),
        Command::Image(command) => lifecycle::image(command),
        Command::Daemon(command) => daemon::daemon(command),
        Command::Push(args) => plan::push(args).and_then(run::run),
        Command::Sync(args) => plan::sync(&args).and_then(run::run),
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "coast", &mut script);
            print_whole(&script)
        }
        Command::Man { subcommand } => args::manual_page(&subcommand).and_then(|page| print_whole(&page)),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::complain(output::Weight::Error, &format!("{error:#}"));
            // A rule file that cannot be read is not a mistake in the command line.
            let unreadable = error.chain().any(|cause| cause.is::<std::io::Error>());
            ExitCode::from(if unreadable { FILE_IO } else { USAGE })
        }
    }
}

/// Prints a document. It is not an error if the reader closes the output early.
fn print_whole(document: &[u8]) -> anyhow::Result<u8> {
    match std::io::stdout().write_all(document) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(0),
    }
}
