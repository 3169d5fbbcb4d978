//! `cargo xtask dist`: the programs as they are shipped, for every target whose standard library is installed.
//! The helper is static and small. Each `coast` holds the helpers of all platforms, and leaves out `coast demo`.

use crate::elf::{self, Linkage};
use crate::{cargo, program};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The largest size of a helper, in bytes. It is uploaded to every remote.
const HELPER_LIMIT_BYTES: u64 = 3 << 20;

/// Build `coast` and `coast-helper` for release into `dist/TARGET/`.
#[derive(Args)]
pub(crate) struct Options {
    /// Build for these targets only [default: all whose standard library is installed].
    #[arg(long = "target", value_name = "TRIPLE")]
    targets: Vec<String>,
}

/// The package of `coast` without its default features, and so without `coast demo` and its SSH server.
const COAST: [&str; 3] = ["-p", "coast-cli", "--no-default-features"];

/// A platform that the programs are built for.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Platform {
    triple: &'static str,
    /// `{os}-{arch}`, as in the name of an embedded helper. `None` where the platform cannot be a remote.
    helper: Option<&'static str>,
}

/// In order of preference: of two helpers for one system the first is embedded. The helper with musl is smaller.
const PLATFORMS: [Platform; 6] = [
    Platform { triple: "x86_64-unknown-linux-musl", helper: Some("linux-x86_64") },
    Platform { triple: "x86_64-unknown-linux-gnu", helper: Some("linux-x86_64") },
    Platform { triple: "aarch64-unknown-linux-musl", helper: Some("linux-aarch64") },
    Platform { triple: "aarch64-unknown-linux-gnu", helper: Some("linux-aarch64") },
    Platform { triple: "x86_64-apple-darwin", helper: None },
    Platform { triple: "aarch64-apple-darwin", helper: None },
];

/// Builds and checks the programs, copies them to `dist/TARGET/` and prints their sizes.
pub(crate) fn run(options: &Options) -> Result<()> {
    let platforms = platforms(&options.targets)?;
    let host = cargo::host()?;
    let dist = cargo::workspace().join("dist");
    let helpers = Helpers::build(&platforms, Symbols::Stripped)?;
    for platform in platforms {
        let folder = dist.join(platform.triple);
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        if let Some(helper) = helpers.of(platform) {
            place(helper, &folder.join("coast-helper"))?;
        }
        place(&build_coast(platform.triple, &host, &helpers)?, &folder.join("coast"))?;
    }
    Ok(())
}

/// Builds the `coast` of this machine as `dist` does, with its helper inside.
pub(crate) fn host_coast(symbols: Symbols) -> Result<PathBuf> {
    let host = cargo::host()?;
    let helpers = Helpers::build(&platforms(std::slice::from_ref(&host))?, symbols)?;
    build_coast(&host, &host, &helpers)
}

/// Whether the programs have what perf needs to name their functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Symbols {
    /// As they are shipped.
    Stripped,
    /// The names of functions, and frame pointers.
    Kept,
}

/// Has a build keep symbols. It gets a target directory of its own, where it undoes no other build.
fn keep_symbols(build: &mut Command, flags: &str) -> Result<()> {
    build.env("RUSTFLAGS", rustflags_with(&format!("{flags} -C force-frame-pointers=yes")));
    build.env("CARGO_PROFILE_RELEASE_STRIP", "none");
    build.env("CARGO_TARGET_DIR", cargo::target_directory()?.join("symbols"));
    Ok(())
}

/// The static helpers, and the directory from which they are embedded.
struct Helpers {
    built: Vec<(Platform, PathBuf)>,
    embed: PathBuf,
    symbols: Symbols,
}

impl Helpers {
    /// Builds and checks the helper of every platform that can be a remote.
    fn build(platforms: &[Platform], symbols: Symbols) -> Result<Self> {
        let embed = cargo::target_directory()?.join("helpers");
        if embed.exists() {
            // A helper of an earlier build would be embedded as if it were new.
            fs::remove_dir_all(&embed).with_context(|| format!("emptying {}", embed.display()))?;
        }
        fs::create_dir_all(&embed).with_context(|| format!("creating {}", embed.display()))?;
        let mut built = Vec::new();
        for platform in platforms {
            let Some(name) = platform.helper else { continue };
            let path = build_helper(platform.triple, symbols)?;
            let embedded = embed.join(format!("coast-helper-{name}"));
            if !embedded.exists() {
                fs::copy(&path, &embedded)
                    .with_context(|| format!("copying the helper to {}", embedded.display()))?;
            }
            built.push((*platform, path));
        }
        Ok(Self { built, embed, symbols })
    }

    fn of(&self, platform: Platform) -> Option<&Path> {
        self.built.iter().find(|(other, _)| *other == platform).map(|(_, path)| path.as_path())
    }
}

fn build_helper(triple: &str, symbols: Symbols) -> Result<PathBuf> {
    let mut build = cargo::cargo();
    // With --target the flags do not reach build scripts and procedural macros, which cannot be static.
    build.args(["build", "--profile", "helper", "-p", "coast-helper", "--target", triple]);
    build.env("RUSTFLAGS", rustflags_with(helper_flags(triple)));
    if symbols == Symbols::Kept {
        keep_symbols(&mut build, helper_flags(triple))?;
    }
    let path = cargo::build_binary(&mut build, "coast-helper")?;
    let limit_bytes = if symbols == Symbols::Kept { u64::MAX } else { HELPER_LIMIT_BYTES };
    check_helper(&path, limit_bytes)
        .with_context(|| format!("the helper for {triple}, {}", path.display()))?;
    Ok(path)
}

/// The flags of a helper. Less is inlined than by default (225): 106 kB less. On one platform Rust links with lld, which folds
/// functions of the same code into one: 50 kB less. Rust promises nobody that two functions have different addresses.
fn helper_flags(triple: &str) -> &'static str {
    match triple {
        "x86_64-unknown-linux-gnu" => {
            "-C target-feature=+crt-static -C llvm-args=-inline-threshold=120 -C link-arg=-Wl,--icf=all"
        }
        _ => "-C target-feature=+crt-static -C llvm-args=-inline-threshold=120",
    }
}

/// The user's RUSTFLAGS, and `flag`.
fn rustflags_with(flag: &str) -> OsString {
    let mut flags = std::env::var_os("RUSTFLAGS").unwrap_or_default();
    flags.push(" ");
    flags.push(flag);
    flags
}

fn build_coast(triple: &str, host: &str, helpers: &Helpers) -> Result<PathBuf> {
    let mut build = cargo::cargo();
    build.args(["build", "--release"]).args(COAST);
    build.env("COAST_EMBED_HELPERS", &helpers.embed);
    if helpers.symbols == Symbols::Kept {
        keep_symbols(&mut build, "")?;
    }
    // Without --target the programs of the host share their dependencies with a plain `cargo build --release`.
    if triple != host {
        build.args(["--target", triple]);
    }
    cargo::build_binary(&mut build, "coast")
}

/// A helper must be static, because it runs where no other file is installed, and small.
fn check_helper(path: &Path, limit_bytes: u64) -> Result<()> {
    let content = fs::read(path).context("reading it back")?;
    let size = content.len() as u64;
    ensure!(elf::linkage(&content)? == Linkage::Static, "is not static: it asks for a dynamic loader");
    ensure!(size <= limit_bytes, "has {size} bytes, more than {limit_bytes}");
    Ok(())
}

fn place(from: &Path, to: &Path) -> Result<()> {
    let size =
        fs::copy(from, to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    println!("{:>12} bytes  {}", size, to.display());
    Ok(())
}

/// The named platforms, or all whose standard library is installed.
fn platforms(triples: &[String]) -> Result<Vec<Platform>> {
    if let Some(unknown) = triples.iter().find(|name| !PLATFORMS.iter().any(|known| known.triple == **name)) {
        bail!(
            "{unknown} is not a target of this project; those are {}",
            PLATFORMS.map(|p| p.triple).join(", ")
        );
    }
    let mut chosen = Vec::new();
    for platform in PLATFORMS {
        let named = triples.iter().any(|triple| triple == platform.triple);
        if named || (triples.is_empty() && has_standard_library(platform.triple)?) {
            chosen.push(platform);
        }
    }
    Ok(chosen)
}

fn has_standard_library(triple: &str) -> Result<bool> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", triple]).current_dir(cargo::workspace());
    Ok(Path::new(&program::output(&mut rustc)?).is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_target_is_refused_by_name() {
        let error = platforms(&["sparc64-unknown-none".to_owned()]).unwrap_err().to_string();
        assert!(error.starts_with("sparc64-unknown-none is not a target"), "{error}");
    }

    #[test]
    fn host_is_among_the_default_targets() {
        let host = cargo::host().unwrap();
        assert!(platforms(&[]).unwrap().iter().any(|platform| platform.triple == host));
    }

    #[test]
    fn shipped_programs_do_not_depend_on_the_test_kit() {
        for package in [&COAST[..], &["-p", "coast-helper"]] {
            let mut tree = cargo::cargo();
            tree.args(["tree", "--edges=normal", "--prefix=none", "--format={p}"]).args(package);
            let dependencies = program::output(&mut tree).unwrap();
            assert!(dependencies.contains("coast-wire"), "{dependencies}");
            assert!(!dependencies.contains("coast-testkit"), "{dependencies}");
        }
    }

    #[test]
    fn dynamic_program_is_no_helper() {
        let own = std::env::current_exe().unwrap();
        assert!(check_helper(&own, u64::MAX).is_err());
    }
}
