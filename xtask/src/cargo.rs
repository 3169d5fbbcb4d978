//! The cargo of the workspace: the paths of the checkout and of built programs. The paths come from cargo's messages, so any
//! target directory works.

use crate::program;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the checkout.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace").to_owned()
}

/// The directory that cargo builds into.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let text = program::output(cargo().args(["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&text).context("reading cargo metadata")?;
    let path = metadata["target_directory"].as_str().context("cargo metadata names no target_directory")?;
    Ok(path.into())
}

/// The cargo that runs this program, in the root of the checkout.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    command
}

/// The target triple of this machine.
pub(crate) fn host() -> Result<String> {
    let text = program::output(Command::new("rustc").arg("-vV").current_dir(workspace()))?;
    let host =
        text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    Ok(host.to_owned())
}

/// Runs `build` (a `cargo build` with its options) and returns the path of the program `binary`.
pub(crate) fn build_binary(build: &mut Command, binary: &str) -> Result<PathBuf> {
    build.args(["--bin", binary, "--message-format=json-render-diagnostics"]);
    let output = build
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("starting {}", program::line(build)))?;
    if !output.status.success() {
        bail!("{} ended with {}", program::line(build), output.status);
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .find_map(|message| executable(&message, binary))
        .with_context(|| format!("{} made no program {binary}", program::line(build)))
}

/// The path of `binary` in a `compiler-artifact` message of cargo.
fn executable(message: &Value, binary: &str) -> Option<PathBuf> {
    (message["target"]["name"] == binary).then(|| message["executable"].as_str()).flatten().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_artifact_of_the_asked_binary_has_an_executable() {
        let library = json!({"target": {"name": "coast"}, "executable": null});
        let other = json!({"target": {"name": "other"}, "executable": "/t/other"});
        let program = json!({"target": {"name": "coast"}, "executable": "/t/coast"});
        assert_eq!(executable(&library, "coast"), None);
        assert_eq!(executable(&other, "coast"), None);
        assert_eq!(executable(&program, "coast"), Some("/t/coast".into()));
    }

    #[test]
    fn workspace_root_holds_this_package() {
        assert!(workspace().join("xtask/Cargo.toml").is_file());
    }
}
