//! A root file system of Debian for images. `debootstrap` makes it from the mirror that this machine's apt uses, so no registry
//! of images is asked. An archive of it is kept in `target/docker`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::programs::{require, require_root, run, target_directory};

/// The packages besides Debian's essential packages.
const PACKAGES: &str = include_str!("../../../fixtures/images/base/packages");

/// Makes the archive if it is missing, and returns its path. Archives with different content have different names.
///
/// # Panics
/// When the archive cannot be made.
#[must_use]
pub fn debian_archive() -> PathBuf {
    let suite = os_release("VERSION_CODENAME");
    let hash = blake3::hash(format!("{suite}\n{PACKAGES}").as_bytes()).to_hex();
    let directory = target_directory().join("docker");
    fs::create_dir_all(&directory).expect("the target directory can be written");
    let turn = File::create(directory.join("base.lock")).expect("the target directory can be written");
    turn.lock().expect("a file can be locked");
    let archive = directory.join(format!("base-{}.tar", &hash[..12]));
    if !archive.exists() {
        let root = directory.join("base");
        debootstrap(&suite, &root);
        let unfinished = archive.with_extension("unfinished");
        let mut tar = Command::new(require("tar", "tar"));
        tar.arg("--directory").arg(&root).arg("--create").arg("--file").arg(&unfinished);
        tar.args(["--exclude=./var/cache/apt", "--exclude=./var/lib/apt/lists", "--exclude=./dev", "."]);
        run(&mut tar);
        fs::rename(&unfinished, &archive).expect("the target directory can be written");
        let _ = fs::remove_dir_all(&root);
    }
    archive
}

fn debootstrap(suite: &str, root: &Path) {
    require_root();
    // The rest of an interrupted attempt cannot be continued.
    let _ = fs::remove_dir_all(root);
    let mut debootstrap = Command::new(require("debootstrap", "debootstrap"));
    debootstrap.arg("--variant=minbase");
    debootstrap.arg(format!("--include={}", PACKAGES.lines().collect::<Vec<_>>().join(",")));
    debootstrap.arg(suite).arg(root).arg(mirror(suite));
    if let Some(proxy) = proxy() {
        debootstrap.env("http_proxy", proxy);
    }
    run(&mut debootstrap);
}

/// The mirror from which this machine's apt gets the packages of a suite.
///
/// # Panics
/// When the sources of apt name no mirror of the suite.
fn mirror(suite: &str) -> String {
    let listing =
        fs::read_dir("/etc/apt/sources.list.d").map(|files| files.flatten().map(|file| file.path()));
    let files = listing.into_iter().flatten().chain([PathBuf::from("/etc/apt/sources.list")]);
    let texts = files.filter_map(|file| fs::read_to_string(file).ok());
    texts.into_iter().find_map(|text| mirror_in(&text, suite)).unwrap_or_else(|| {
        panic!("no source below /etc/apt has {suite}: debootstrap would not know where to get it from")
    })
}

/// The mirror of a suite in a file of sources, in either format.
fn mirror_in(text: &str, suite: &str) -> Option<String> {
    let one_line = text.lines().find_map(|line| {
        let mut words = line.strip_prefix("deb ")?.trim_start();
        if words.starts_with('[') {
            words = words.split_once(']')?.1;
        }
        let mut words = words.split_whitespace();
        let uri = words.next()?;
        (words.next()? == suite).then(|| uri.to_owned())
    });
    one_line.or_else(|| {
        text.split("\n\n").find_map(|stanza| {
            let field = |name: &str| {
                let line = stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                line.unwrap_or_default().split_whitespace()
            };
            if field("Suites").any(|named| named == suite) {
                field("URIs").next().map(str::to_owned)
            } else {
                None
            }
        })
    })
}

fn proxy() -> Option<String> {
    let mut config = Command::new(require("apt-config", "apt"));
    let output = config.args(["dump", "--format", "%v%n", "Acquire::http::Proxy"]).output();
    let proxy = String::from_utf8(output.expect("apt-config starts").stdout).expect("proxies are text");
    Some(proxy.trim().to_owned()).filter(|proxy| !proxy.is_empty())
}

fn os_release(name: &str) -> String {
    let text = fs::read_to_string("/etc/os-release").expect("the system says what it is");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("/etc/os-release has no {name}")).trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_found_in_either_form() {
        let modern = "Types: deb\nURIs: http://security.example/debian\nSuites: trixie-security\n\n\
                      Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie trixie-updates\n";
        let old = "# deb http://old.example trixie main\n\
                   deb [signed-by=/k arch=amd64] http://mirror.example/debian trixie main\n";
        for text in [modern, old] {
            assert_eq!(mirror_in(text, "trixie").as_deref(), Some("http://mirror.example/debian"));
            assert_eq!(mirror_in(text, "sid"), None);
        }
    }
}
