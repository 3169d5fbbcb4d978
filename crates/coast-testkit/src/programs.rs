//! Programs of the system that the kit starts.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The path of a system program.
///
/// # Panics
/// When it is missing. The message names the Debian package to install.
pub fn require(program: &str, package: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    // Users' PATH often lacks the directories of programs for root.
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let found =
        env::split_paths(&path).chain(system).map(|dir| dir.join(program)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{program} is missing: apt-get install {package}"))
}

/// The directory that cargo built this program into, such as `target`.
///
/// # Panics
/// When the program does not lie as cargo puts it.
#[must_use]
pub fn target_directory() -> PathBuf {
    let program = env::current_exe().expect("a running program has a path");
    let directory = program.parent().expect("a program lies in a directory");
    // Programs lie in the directory of a profile, tests and examples in a directory of that.
    let inner = directory.ends_with("deps") || directory.ends_with("examples");
    let profile = if inner { directory.parent() } else { Some(directory) };
    profile.and_then(Path::parent).expect("a profile lies in a target directory").to_path_buf()
}

/// Fails unless the process runs as root, which owners, devices, users and mounts need.
///
/// # Panics
/// When it does not.
pub fn require_root() {
    assert!(rustix::process::geteuid().is_root(), "this makes users, devices or mounts: run it as root");
}

/// Runs a program to its end.
///
/// # Panics
/// When it fails. The message holds its output.
#[track_caller]
pub(crate) fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
}
