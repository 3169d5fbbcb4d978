//! Embeds the helpers of other platforms: every `coast-helper-OS-ARCH` in the directory named by `COAST_EMBED_HELPERS`. The hash of
//! the content is embedded too, so that no run has to compute it. Without the variable no helper is embedded.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

const VARIABLE: &str = "COAST_EMBED_HELPERS";
const PREFIX: &str = "coast-helper-";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let helpers = match env::var_os(VARIABLE) {
        Some(directory) if !directory.is_empty() => helpers_in(Path::new(&directory)),
        _ => Vec::new(),
    };
    let mut source = String::from("&[\n");
    for (platform, path) in helpers {
        println!("cargo::rerun-if-changed={}", path.display());
        let content = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let hash = data_encoding::HEXLOWER.encode(blake3::hash(&content).as_bytes());
        writeln!(
            source,
            "    Embedded {{ platform: {platform:?}, name: {hash:?}, content: include_bytes!({path:?}) }},"
        )
        .expect("writing to a string cannot fail");
    }
    source.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("embedded_helpers.rs");
    fs::write(&out, source).unwrap_or_else(|error| panic!("{}: {error}", out.display()));
}

/// Returns the helpers in a directory as `OS-ARCH` and path, ordered by name.
fn helpers_in(directory: &Path) -> Vec<(String, PathBuf)> {
    println!("cargo::rerun-if-changed={}", directory.display());
    let entries =
        fs::read_dir(directory).unwrap_or_else(|error| panic!("{VARIABLE}={}: {error}", directory.display()));
    let mut helpers: Vec<(String, PathBuf)> = entries
        .map(|entry| entry.unwrap_or_else(|error| panic!("{}: {error}", directory.display())).path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            let platform = name.strip_prefix(PREFIX)?.to_owned();
            Some((platform, fs::canonicalize(&path).ok()?))
        })
        .collect();
    helpers.sort();
    helpers
}
