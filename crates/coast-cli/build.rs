//! Puts the sample workspace into the program, so that `coast demo` needs no file besides it.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// From this crate's directory.
const SAMPLE: &str = "../../fixtures/workspace";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={SAMPLE}");
    let sample = fs::canonicalize(SAMPLE).unwrap_or_else(|error| panic!("{SAMPLE}: {error}"));
    let mut source = String::from("&[\n");
    describe(&sample, &sample, &mut source);
    source.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("sample.rs");
    fs::write(&out, source).unwrap_or_else(|error| panic!("{}: {error}", out.display()));
}

/// Describes everything in a directory, parents before children.
fn describe(root: &Path, directory: &Path, source: &mut String) {
    println!("cargo::rerun-if-changed={}", directory.display());
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap_or_else(|error| panic!("{}: {error}", directory.display())).path())
        .collect();
    paths.sort();
    for path in paths {
        let name = path.strip_prefix(root).expect("the walk started there");
        let metadata =
            fs::symlink_metadata(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let what = if metadata.is_dir() {
            "Directory".to_owned()
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            format!("Symlink({target:?})")
        } else {
            let executable = metadata.permissions().mode() & 0o100 != 0;
            format!("File {{ content: include_bytes!({path:?}), executable: {executable} }}")
        };
        writeln!(source, "    Entry {{ path: {name:?}, what: What::{what} }},")
            .expect("a string can be written to");
        if metadata.is_dir() {
            describe(root, &path, source);
        }
    }
}
