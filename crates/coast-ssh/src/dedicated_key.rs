//! A key that is made for one purpose: logging in to one account, with nothing but commands allowed. The account's
//! `authorized_keys` gets one line for it, and loses that line again.

use crate::error::SshError;
use crate::helper::script_line;
use crate::login::fingerprint;
use crate::session::Session;
use russh::keys::key::safe_rng;
use russh::keys::ssh_key::{Algorithm, LineEnding};
use russh::keys::{PrivateKey, PublicKey};
use std::path::Path;
use zeroize::Zeroizing;

/// The option of sshd(8) that forbids a terminal, every forwarding and the user's `rc` file. Commands can still be run.
const RESTRICT: &str = "restrict";

/// A key without a passphrase, made for one purpose.
pub struct DedicatedKey {
    private: PrivateKey,
}

impl DedicatedKey {
    /// Makes an ed25519 key. `comment` says in `authorized_keys` what the key is for; letters, digits, spaces and `-_.@`
    /// are kept of it.
    ///
    /// # Errors
    /// When the key cannot be made.
    pub fn generate(comment: &str) -> Result<DedicatedKey, SshError> {
        let unmade =
            |error| SshError::DedicatedKey { name: "a new key".to_owned(), problem: format!("{error}") };
        let mut private = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).map_err(unmade)?;
        let plain = |letter: &char| letter.is_ascii_alphanumeric() || " -_.@".contains(*letter);
        private.set_comment(comment.chars().filter(plain).collect::<String>());
        Ok(DedicatedKey { private })
    }

    /// Reads the key from its private key file.
    ///
    /// # Errors
    /// When the file cannot be read, holds no private key, or holds one with a passphrase.
    pub fn read(path: &Path) -> Result<DedicatedKey, SshError> {
        let failed = |problem: String| SshError::DedicatedKey { name: path.display().to_string(), problem };
        let text =
            std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| failed(error.to_string()))?;
        let private = PrivateKey::from_openssh(text.as_bytes()).map_err(|error| failed(error.to_string()))?;
        if private.is_encrypted() {
            return Err(failed("it has a passphrase".to_owned()));
        }
        Ok(DedicatedKey { private })
    }

    /// The text of the private key file, in OpenSSH's format.
    ///
    /// # Errors
    /// When the key cannot be encoded.
    pub fn private_text(&self) -> Result<Zeroizing<String>, SshError> {
        self.private.to_openssh(LineEnding::LF).map_err(|error| self.unwritten(&error))
    }

    /// The fingerprint as `ssh-keygen -l` shows it: `SHA256:...`.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.public())
    }

    /// The key's line in `authorized_keys`, without its end.
    ///
    /// # Errors
    /// When the key cannot be encoded.
    pub fn authorized_line(&self) -> Result<String, SshError> {
        let public = self.public().to_openssh().map_err(|error| self.unwritten(&error))?;
        Ok(format!("{RESTRICT} {}", public.trim_end()))
    }

    fn public(&self) -> &PublicKey {
        self.private.public_key()
    }

    /// The part of the line that no other key has: the key in base64.
    fn base64(&self) -> Result<String, SshError> {
        let line = self.authorized_line()?;
        Ok(line.split(' ').nth(2).unwrap_or_default().to_owned())
    }

    fn unwritten(&self, error: &dyn std::fmt::Display) -> SshError {
        SshError::DedicatedKey { name: self.fingerprint(), problem: error.to_string() }
    }
}

impl std::fmt::Debug for DedicatedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DedicatedKey").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

/// Stops with a message. Needs to come before the scripts below.
const FAIL: &str = "\
fail() { echo coast-no \"$*\"; exit 1; }; \
cd || fail there is no home directory; umask 077; LC_ALL=C; export LC_ALL; d=.ssh; f=$d/authorized_keys;";

/// Appends the line `$1` to `authorized_keys`, unless a line there has the key `$2` already. The line is appended in one
/// write, so that it does not mix with the line of another program that appends. A last line without its end gets one.
const AUTHORIZE: &str = "\
l=$1; k=$2; \
[ -d $d ] || e=$(mkdir -m 700 $d 2>&1) || [ -d $d ] || fail \"$e\"; \
if [ -f $f ] && grep -F -e \"$k\" $f | grep -v \"^[[:space:]]*#\" | grep -q .; then echo coast-had; exit 0; fi; \
if [ -s $f ] && [ -n \"$(tail -c 1 $f)\" ]; then n=$(echo; echo x); l=${n%x}$l; fi; \
e=$( { echo \"$l\" >> $f; } 2>&1 ) || fail \"$e\"; \
grep -qF -e \"$k\" $f || fail the line did not arrive in $f; \
if command -v restorecon >/dev/null 2>&1; then restorecon -F $d $f >/dev/null 2>&1; fi; \
echo coast-changed";

/// Removes every line with the key `$1` from `authorized_keys`. The new content is written beside the file that is behind
/// all symlinks, and renamed, so that sshd reads the old content or the new content. `cp` keeps owner and mode.
const REVOKE: &str = "\
k=$1; \
[ -f $f ] && grep -qF -e \"$k\" $f || { echo coast-had; exit 0; }; \
f=$(readlink -f $f); t=$f.coast-$$; \
e=$( { cp -p \"$f\" \"$t\" && { grep -vF -e \"$k\" \"$f\" > \"$t\"; [ $? -le 1 ]; } && mv -f \"$t\" \"$f\"; } 2>&1 ) \
|| { rm -f \"$t\"; fail \"$e\"; }; \
echo coast-changed";

/// The effect of a change to `authorized_keys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorizedKeys {
    /// The file was changed.
    Changed,
    /// The file was as wanted before.
    AsWanted,
}

/// This is not beside the rest of [`Session`], so that `session` does not depend on this module.
impl Session {
    /// Lets `key` log in to the account of this session, restricted to running commands.
    ///
    /// # Errors
    /// When `~/.ssh/authorized_keys` cannot be written, or the connection is lost.
    pub fn authorize(&self, key: &DedicatedKey) -> Result<AuthorizedKeys, SshError> {
        let (line, base64) = (key.authorized_line()?, key.base64()?);
        self.change_authorized_keys(AUTHORIZE, &[line.as_bytes(), base64.as_bytes()])
    }

    /// Takes the right of `key` to log in to the account of this session away.
    ///
    /// # Errors
    /// When `~/.ssh/authorized_keys` cannot be written, or the connection is lost.
    pub fn revoke(&self, key: &DedicatedKey) -> Result<AuthorizedKeys, SshError> {
        self.change_authorized_keys(REVOKE, &[key.base64()?.as_bytes()])
    }

    fn change_authorized_keys(&self, script: &str, args: &[&[u8]]) -> Result<AuthorizedKeys, SshError> {
        let channel = self.exec(&script_line(&[FAIL, script], args))?;
        let (output, exit) = channel.output()?;
        let output = String::from_utf8_lossy(&output);
        for line in output.lines() {
            match line {
                "coast-changed" if exit.success() => return Ok(AuthorizedKeys::Changed),
                "coast-had" if exit.success() => return Ok(AuthorizedKeys::AsWanted),
                _ => {}
            }
        }
        let said = output.lines().find_map(|line| line.strip_prefix("coast-no "));
        Err(SshError::AuthorizedKeys {
            host: self.host().to_owned(),
            problem: said.map_or_else(|| format!("the command ended with {exit}"), str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_survive_single_quotes() {
        for script in [FAIL, AUTHORIZE, REVOKE] {
            assert!(!script.contains(['\'', '\\', '\n', '!']), "{script}");
        }
    }

    #[test]
    fn a_key_is_read_again_and_its_line_is_restricted_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let key = DedicatedKey::generate("coast remote key \"box\"\n\\").unwrap();
        std::fs::write(&file, key.private_text().unwrap().as_bytes()).unwrap();
        let again = DedicatedKey::read(&file).unwrap();
        assert_eq!(again.fingerprint(), key.fingerprint());
        let line = again.authorized_line().unwrap();
        assert_eq!(line, key.authorized_line().unwrap());
        assert!(
            line.starts_with("restrict ssh-ed25519 AAAA") && line.ends_with(" coast remote key box"),
            "{line}"
        );
        std::fs::write(&file, "no key").unwrap();
        let error = DedicatedKey::read(&file).unwrap_err().to_string();
        assert!(error.contains(&*file.to_string_lossy()), "{error}");
    }
}
