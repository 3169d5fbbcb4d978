//! The remote program; see the library of the same name.

fn main() -> std::process::ExitCode {
    coast_helper::main(std::env::args_os().skip(1))
}
