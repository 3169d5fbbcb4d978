//! Key pairs, made by `ssh-keygen`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::programs::{require, run};

/// Makes a key pair: the private key at `path`, the public key at `path.pub`. The comment is the file's name. The key is an
/// Ed25519 key without a passphrase, unless `arguments` of `ssh-keygen` (`-t TYPE`, `-N PASSPHRASE`) say otherwise.
///
/// # Panics
/// When `ssh-keygen` is missing or fails.
pub fn make_key(path: impl AsRef<Path>, arguments: &[&str]) {
    let path = path.as_ref();
    let mut keygen = Command::new(require("ssh-keygen", "openssh-client"));
    keygen.arg("-q").arg("-C").arg(path.file_name().unwrap_or_default()).arg("-f").arg(path);
    for default in [["-t", "ed25519"], ["-N", ""]] {
        if !arguments.contains(&default[0]) {
            keygen.args(default);
        }
    }
    run(keygen.args(arguments));
}

/// The public key of the pair at `path`, as a line of `authorized_keys` without the newline.
///
/// # Panics
/// When there is no such key.
#[must_use]
pub fn public_key(path: impl AsRef<Path>) -> String {
    let path = path.as_ref().with_extension("pub");
    let line = fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    line.trim_end().to_owned()
}
