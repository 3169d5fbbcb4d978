//! The `coast` program: `coast push` and `coast sync` make a directory on another machine equal to a local one,
//! `coast demo` shows it. All the work is in `coast-sync`; this crate reads the command line and prints.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod args;
mod endpoint;
mod output;
mod refused;
mod remote_shell;

fn main() {
}
