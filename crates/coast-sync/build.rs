//! Embeds the helpers of other platforms: every `coast-helper-OS-ARCH` in the directory `COAST_EMBED_HELPERS` names,
//! each with the hash of its content, so that no run has to compute it. Without the variable there are none.

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
        let hash = blake3::hash(&content).to_hex();
        writeln!(
            source,
            "    Embedded {{ platform: {platform:?}, name: {:?}, content: include_bytes!({path:?}) }},",
            hash.as_str()
        )
        .expect("writing to a string cannot fail");
    }
    source.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("embedded_helpers.rs");
    fs::write(&out, source).unwrap_or_else(|error| panic!("{}: {error}", out.display()));
}

/// The helpers in a directory as `OS-ARCH` and path, in the order of their names.
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
