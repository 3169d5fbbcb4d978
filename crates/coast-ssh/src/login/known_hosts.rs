//! The host keys on record: `known_hosts` files as sshd(8) describes them under "SSH_KNOWN_HOSTS FILE FORMAT".
//!
//! `ssh_key::known_hosts` reads and writes the fields of a line. It neither matches names, nor keeps line numbers, nor
//! writes files; that part is here.

use crate::config::{Case, list_matches};
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::ssh_key::known_hosts::{HostPatterns, Marker};
use russh::keys::{Algorithm, HashAlg, PublicKey, ssh_key};
use sha1::Sha1;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The length of an HMAC-SHA1, and of the salts that OpenSSH makes for it.
const HASH_BYTES: usize = 20;
/// The most bytes of a file that are read.
const MAX_FILE_BYTES: u64 = 32 << 20;

/// The name a host's keys are recorded under: `host`, or `[host]:port` when the port is not 22.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostName(String);

impl HostName {
    pub(crate) fn new(host: &str, port: u16) -> HostName {
        let host = host.to_lowercase();
        HostName(if port == 22 { host } else { format!("[{host}]:{port}") })
    }

    /// The name without the port, or `None` if this name has no port.
    pub(crate) fn without_port(&self) -> Option<HostName> {
        let (host, _) = self.0.strip_prefix('[')?.split_once(']')?;
        Some(HostName(host.to_owned()))
    }

    /// A `HostKeyAlias`, which replaces the host and its port.
    pub(crate) fn alias(alias: &str) -> HostName {
        HostName(alias.to_lowercase())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key on record for the host in question.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: PublicKey,
    pub(crate) revoked: bool,
    pub(crate) file: PathBuf,
    /// The line's number, from 1.
    pub(crate) line: usize,
}

/// The result of comparing a presented key with the keys on record.
#[derive(Debug)]
pub(crate) enum Verdict<'a> {
    Known,
    /// Nothing is on record for the host.
    New,
    /// Other keys are on record, this one is not.
    Changed(&'a Entry),
    Revoked(&'a Entry),
}

/// All keys on record for one host.
#[derive(Debug, Default)]
pub(crate) struct KnownKeys {
    entries: Vec<Entry>,
}

impl KnownKeys {
    /// Collects the keys of `host` from `files`. A file that does not exist counts as empty. Any other failure to read a
    /// file goes to `notice` and is no error, because another file may have the host's key.
    pub(crate) fn load(files: &[PathBuf], host: &HostName, mut notice: impl FnMut(String)) -> KnownKeys {
        let mut keys = KnownKeys::default();
        for file in files {
            match read(file) {
                Ok(text) => keys.add(&text, file, host),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => notice(format!("{}: {error}; its host keys are ignored", file.display())),
            }
        }
        keys
    }

    fn add(&mut self, text: &str, file: &Path, host: &HostName) {
        for (index, line) in text.lines().enumerate() {
            let Some(line) = parse_line(line) else { continue };
            let revoked = match line.marker() {
                None => false,
                Some(Marker::Revoked) => true,
                // Host certificates are not asked for.
                Some(Marker::CertAuthority) => continue,
            };
            if names_match(line.host_patterns(), host) {
                let key = line.public_key().clone();
                self.entries.push(Entry { key, revoked, file: file.to_owned(), line: index + 1 });
            }
        }
    }

    /// Compares `key` with the keys on record. A host that has keys on record and presents another key counts as
    /// changed, even if the algorithm of that key is not on record: the algorithms on record are offered first (see
    /// [`Self::algorithms`]), so a host that still had one of its recorded keys would have presented that key.
    pub(crate) fn check(&self, key: &PublicKey) -> Verdict<'_> {
        let same = |entry: &&Entry| entry.key.key_data() == key.key_data();
        if let Some(entry) = self.entries.iter().filter(|entry| entry.revoked).find(same) {
            return Verdict::Revoked(entry);
        }
        let mut trusted = self.entries.iter().filter(|entry| !entry.revoked);
        if trusted.clone().any(|entry| same(&entry)) {
            return Verdict::Known;
        }
        let same_kind = trusted.clone().find(|entry| entry.key.algorithm() == key.algorithm());
        match same_kind.or_else(|| trusted.next()) {
            Some(entry) => Verdict::Changed(entry),
            None => Verdict::New,
        }
    }

    /// The algorithms of the keys on record. Offering these first keeps a host with several keys from looking changed.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        let trusted = self.entries.iter().filter(|entry| !entry.revoked);
        trusted.map(|entry| entry.key.algorithm()).collect()
    }
}

/// Appends `key` for `host` to `file`. Creates the file (0600) and its directory (0700) when they are missing. The line
/// is appended in one write, so that two programs that record at the same time do not mix their lines.
pub(crate) fn record(file: &Path, host: &HostName, key: &PublicKey, hashed: bool) -> io::Result<()> {
    if let Some(dir) = file.parent()
        && !dir.as_os_str().is_empty()
        && !dir.exists()
    {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let name = if hashed { hashed_name(host)?.to_string() } else { host.as_str().to_owned() };
    let key = PublicKey::new(key.key_data().clone(), "").to_openssh().map_err(io::Error::other)?;
    let mut line = format!("{name} {}\n", key.trim_end());
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file)?;
    if !ends_in_newline(&mut file)? {
        line.insert(0, '\n');
    }
    file.write_all(line.as_bytes())
}

/// The fingerprint as `ssh-keygen -l` shows it, `SHA256:...`.
pub(crate) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

fn ends_in_newline(file: &mut File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last[0] == b'\n')
}

/// Reads one line with `ssh_key`, which wants single spaces between the words and no blank before the first, unlike
/// OpenSSH. Returns `None` for blank lines, comments, unknown markers and keys of a kind that `ssh_key` does not know:
/// such a key cannot be compared with anything.
fn parse_line(line: &str) -> Option<ssh_key::known_hosts::Entry> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let first = words.first().filter(|word| !word.starts_with('#'))?;
    // The marker, the names, the algorithm and the key; a comment may follow.
    let fields = if first.starts_with('@') { 4 } else { 3 };
    words.get(..fields)?.join(" ").parse().ok()
}

/// Whether a line's names include `host`. `ssh_key` reads the names and leaves the matching to its callers.
fn names_match(names: &HostPatterns, host: &HostName) -> bool {
    match names {
        HostPatterns::Patterns(patterns) => {
            list_matches(patterns.iter().map(String::as_str), host.as_str(), Case::Insensitive)
        }
        HostPatterns::HashedName { salt, hash } => {
            name_mac(salt, host).is_some_and(|mac| mac.verify_slice(hash).is_ok())
        }
    }
}

/// The name with a new salt, as `|1|salt|hash`.
fn hashed_name(host: &HostName) -> io::Result<HostPatterns> {
    let mut salt = vec![0; HASH_BYTES];
    getrandom::fill(&mut salt).map_err(io::Error::other)?;
    let mac = name_mac(&salt, host).ok_or_else(|| io::Error::other("cannot hash the host name"))?;
    Ok(HostPatterns::HashedName { salt, hash: mac.finalize().into_bytes().into() })
}

/// The HMAC-SHA1 of the name with the salt as its key.
fn name_mac(salt: &[u8], host: &HostName) -> Option<Hmac<Sha1>> {
    let mut mac = Hmac::<Sha1>::new_from_slice(salt).ok()?;
    mac.update(host.as_str().as_bytes());
    Some(mac)
}

fn read(file: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER_ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).unwrap()
    }

    fn keys(text: &str, host: &HostName) -> KnownKeys {
        let mut keys = KnownKeys::default();
        keys.add(text, Path::new("known"), host);
        keys
    }

    fn is_known(text: &str, host: &HostName) -> bool {
        matches!(keys(text, host).check(&key(ED25519)), Verdict::Known)
    }

    #[test]
    fn names_match_plain_with_port_with_wildcards_and_not_when_negated() {
        let host = |name: &str| HostName::new(name, 22);
        assert!(is_known(&format!("a.example,b.example {ED25519} comment"), &host("B.example")));
        assert!(is_known(&format!("[a.example]:2222 {ED25519}"), &HostName::new("a.example", 2222)));
        assert!(!is_known(&format!("a.example {ED25519}"), &HostName::new("a.example", 2222)));
        assert!(is_known(&format!("*.example,!secret.example {ED25519}"), &host("x.example")));
        assert!(!is_known(&format!("*.example,!secret.example {ED25519}"), &host("secret.example")));
        assert!(is_known(&format!("[*]:2222 {ED25519}"), &HostName::new("::1", 2222)));
        assert!(!is_known(&format!("# a.example {ED25519}"), &host("a.example")));
        assert!(!is_known(&format!("#* {ED25519}"), &host("#a")));
    }

    #[test]
    fn any_white_space_stands_between_the_words_of_a_line() {
        let line = ED25519.replace(' ', " \t ");
        let host = HostName::new("a", 22);
        assert!(is_known(&format!("  a\t{line}   two  words"), &host));
        let revoked = format!("@revoked\ta  {line}\r\n");
        assert!(matches!(keys(&revoked, &host).check(&key(ED25519)), Verdict::Revoked(_)));
    }

    #[test]
    fn a_name_with_a_port_has_one_without() {
        let name = |host: &str, port| HostName::new(host, port).without_port().map(|name| name.0);
        assert_eq!(name("::1", 2222).as_deref(), Some("::1"));
        assert_eq!(name("host", 22), None);
    }

    #[test]
    fn hashed_names_match() {
        // Made by `ssh-keygen -H` for example.com.
        let line = "|1|O33ESRMWPVkMYIwJ1Uw+n877jTo=|nuuC5vEqXlEZ/8BXQR7m619W6Ak= ssh-ed25519 \
                    AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF";
        let host = HostName::new("example.com", 22);
        assert_eq!(keys(line, &host).entries.len(), 1);
        assert_eq!(keys(line, &HostName::new("example.org", 22)).entries.len(), 0);
    }

    #[test]
    fn a_changed_key_is_found_with_its_line() {
        let host = HostName::new("a", 22);
        let text = format!("\n# comment\nb {ED25519}\na {OTHER_ED25519}\n");
        let known = keys(&text, &host);
        match known.check(&key(ED25519)) {
            Verdict::Changed(entry) => {
                assert_eq!((entry.line, entry.file.as_path()), (4, Path::new("known")))
            }
            verdict => panic!("{verdict:?}"),
        }
        assert!(matches!(keys(&text, &HostName::new("c", 22)).check(&key(ED25519)), Verdict::New));
    }

    #[test]
    fn a_host_with_several_keys_is_known_by_each() {
        let host = HostName::new("a", 22);
        let known = keys(&format!("a {OTHER_ED25519}\na {ED25519}\n"), &host);
        assert!(matches!(known.check(&key(ED25519)), Verdict::Known));
        assert!(matches!(known.check(&key(OTHER_ED25519)), Verdict::Known));
    }

    #[test]
    fn a_revoked_key_is_refused_even_where_it_is_also_trusted() {
        let host = HostName::new("a", 22);
        let known = keys(&format!("a {ED25519}\n@revoked * {ED25519}\n"), &host);
        assert!(matches!(known.check(&key(ED25519)), Verdict::Revoked(entry) if entry.line == 2));
        assert!(matches!(
            keys(&format!("@revoked * {OTHER_ED25519}"), &host).check(&key(ED25519)),
            Verdict::New
        ));
    }

    #[test]
    fn certificate_authorities_and_malformed_keys_are_skipped() {
        let host = HostName::new("a", 22);
        let text =
            format!("@cert-authority * {ED25519}\na ssh-dss AAAA\na\na ssh-ed25519\n@odd a {ED25519}\n");
        assert!(matches!(keys(&text, &host).check(&key(ED25519)), Verdict::New));
    }

    #[test]
    fn the_algorithms_on_record_are_known() {
        let host = HostName::new("a", 22);
        let known = keys(&format!("b {ED25519}\na {ED25519}\n@revoked a {OTHER_ED25519}\n"), &host);
        assert_eq!(known.algorithms(), [Algorithm::Ed25519]);
        assert_eq!(keys("", &host).algorithms(), []);
    }

    #[test]
    fn a_recorded_key_is_found_again_plain_and_hashed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".ssh/known_hosts");
        let plain = HostName::new("Plain.example", 2222);
        let hashed = HostName::new("hidden.example", 22);
        record(&file, &plain, &key(ED25519), false).unwrap();
        record(&file, &hashed, &key(OTHER_ED25519), true).unwrap();

        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().next(), Some(format!("[plain.example]:2222 {ED25519}").as_str()));
        assert!(!text.contains("hidden"));
        let load =
            |host: &HostName| KnownKeys::load(std::slice::from_ref(&file), host, |notice| panic!("{notice}"));
        assert!(matches!(load(&plain).check(&key(ED25519)), Verdict::Known));
        assert!(matches!(load(&hashed).check(&key(OTHER_ED25519)), Verdict::Known));

        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn recording_after_a_line_without_its_newline_starts_a_new_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        fs::write(&file, format!("a {ED25519}")).unwrap();
        record(&file, &HostName::new("b", 22), &key(ED25519), false).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("a {ED25519}\nb {ED25519}\n"));
    }

    #[test]
    fn recording_into_the_null_device_works() {
        record(Path::new("/dev/null"), &HostName::new("b", 22), &key(ED25519), false).unwrap();
    }
}
