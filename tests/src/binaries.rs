//! The programs of this checkout that tests start. They are built with the profile of the running test.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use coast_testkit::target_directory;

/// The `coast` program. The first call builds it with the cargo and the profile of the running test, so it is never stale.
///
/// # Panics
/// When it does not build.
pub fn coast() -> &'static Path {
    static COAST: OnceLock<PathBuf> = OnceLock::new();
    COAST.get_or_init(|| {
        // The dependencies of the whole workspace have the features that `cargo test --workspace` built them with. With those
        // of two packages alone, twenty crates would be built again.
        build(&["--workspace", "--bin", "coast", "--bin", "coast-helper"], None);
        profile_directory().join("coast")
    })
}

/// The stand-in for mutagen, built as [`coast`] is. It is static because it runs in a container and, as its own agent, on the
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
fn build(targets: &[&str], flags: Option<&str>) {
    let directory = profile_directory();
    let profile = directory.file_name().expect("a profile has a name").to_str().expect("a profile is text");
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet"]).args(targets);
    build.args(["--profile", if profile == "debug" { "dev" } else { profile }]);
    build.arg("--target-dir").arg(target_directory()).current_dir(env!("CARGO_MANIFEST_DIR"));
    build.envs(flags.map(|flags| ("RUSTFLAGS", flags)));
    // Cargo describes the package of the test in these variables, and the build script of ring runs again whenever they
    // change. With them each test, and the next build after the tests, would build everything above ring again.
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

/// The directory of the running test's profile, such as `target/debug`.
fn profile_directory() -> PathBuf {
    let test = env::current_exe().expect("a running program has a path");
    let directory = test.parent().expect("a program lies in a directory");
    // Integration tests lie in `deps/`; documentation tests run from a temporary directory and use no program.
    directory.parent().expect("deps lies in a profile's directory").to_path_buf()
}
