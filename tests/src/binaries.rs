//! The programs that tests start: `coast`, built from this checkout with the profile of the running test, and the
//! system's own, named with the package that brings them when they are missing.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `coast` program, built on the first call by the same cargo and profile as the running test, so never stale.
///
/// # Panics
/// When it does not build.
pub fn coast() -> &'static Path {
    static COAST: OnceLock<PathBuf> = OnceLock::new();
    COAST.get_or_init(|| {
        build(&["--package", "coast-cli", "--package", "coast-helper"], None);
        profile_directory().join("coast")
    })
}

/// The stand-in for mutagen, built as [`coast`] is, and static: it runs in a container, and is its own agent on the
/// remote.
///
/// # Panics
/// When it does not build.
pub(crate) fn mutagen_stand_in() -> PathBuf {
    let rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV").output();
    let version = String::from_utf8(rustc.expect("rustc starts").stdout).expect("rustc prints text");
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    let mut flags = env::var("RUSTFLAGS").unwrap_or_default();
    flags.push_str(" -C target-feature=+crt-static");
    // With --target the flags stay away from build scripts and procedural macros, which cannot be static.
    build(&["--package", "mutagen-standin", "--target", host], Some(&flags));
    let profile = profile_directory();
    target_directory().join(host).join(profile.file_name().expect("a profile has a name")).join("mutagen")
}

/// Builds with the cargo and the profile of the running test.
fn build(what: &[&str], flags: Option<&str>) {
    let directory = profile_directory();
    let profile = directory.file_name().expect("a profile has a name").to_str().expect("a profile is text");
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet"]).args(what);
    build.args(["--profile", if profile == "debug" { "dev" } else { profile }]);
    build.arg("--target-dir").arg(target_directory()).current_dir(env!("CARGO_MANIFEST_DIR"));
    build.envs(flags.map(|flags| ("RUSTFLAGS", flags)));
    // Cargo describes the test's own package there, and the build script of a dependency (ring) runs again whenever that
    // changes: each test would build anew what depends on it, and so would the next build after the tests.
    let describes = |name: &OsString| {
        let name = name.as_encoded_bytes();
        name.starts_with(b"CARGO_PKG_") || name.starts_with(b"CARGO_MANIFEST_")
    };
    env::vars_os().map(|(name, _)| name).filter(describes).for_each(|name| {
        build.env_remove(name);
    });
    let status = build.status().expect("cargo starts");
    assert!(status.success(), "{build:?} failed: the tests have no program to run");
}

/// `target`: where cargo puts everything.
pub(crate) fn target_directory() -> PathBuf {
    profile_directory().parent().expect("a profile has a target directory").to_path_buf()
}

/// `target/debug`, `target/release`: where the running test's profile puts its programs.
fn profile_directory() -> PathBuf {
    let test = env::current_exe().expect("a running program has a path");
    let directory = test.parent().expect("a program lies in a directory");
    // Integration tests lie in `deps/`; documentation tests run from a temporary directory and use no program.
    directory.parent().expect("deps lies in a profile's directory").to_path_buf()
}

/// The path of a system program.
///
/// # Panics
/// When it is missing, naming the Debian package to install.
pub fn require(program: &str, package: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let found =
        env::split_paths(&path).chain(system).map(|dir| dir.join(program)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{program} is missing: apt-get install {package}"))
}

/// Fails unless the test runs as root, which owners, devices, users and mounts need.
///
/// # Panics
/// When it does not.
pub fn require_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test makes users, devices and mounts: run it as root"
    );
}
