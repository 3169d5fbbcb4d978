//! Access to the remote from inside the container: the private key, the host key that the bulk layer's connection verified, and an
//! ssh configuration. They lie in a directory below `~/.ssh`, which is removed as a whole. An existing `~/.ssh/config` gets two
//! comments and an `Include` at its beginning.

use crate::container::HOST_GATEWAY;
use crate::error::{MutagenError, Step};
use crate::exec::Exec;
use crate::shell::{Found, Shell, User};
use std::net::IpAddr;
use zeroize::Zeroizing;

/// The name of the directory below `~/.ssh`.
const DIRECTORY: &str = "coast";
/// The host name in mutagen's URL for a host whose own name cannot stand in a URL.
const ALIAS: &str = "coast-remote";
/// The lines that are added to `~/.ssh/config`. `Include` is relative to `~/.ssh`, and ssh ignores a missing file.
const BLOCK: &str = "\
# Added by coast, and removed by it when the instance is stopped.
Include coast/config
# End of what coast added.
";

/// The credentials and the address for logging in at the remote.
#[derive(Clone)]
pub struct RemoteAccess {
    /// The user to log in as.
    pub user: String,
    /// The host's name or address, not an alias of the ssh configuration: the container does not have that configuration.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// The content of the private key file, which must not be encrypted.
    pub private_key: Zeroizing<Vec<u8>>,
    /// The host key in the form of a public key file: `ssh-ed25519 AAAA...`.
    pub host_key: String,
}

impl std::fmt::Debug for RemoteAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let RemoteAccess { user, host, port, .. } = self;
        f.debug_struct("RemoteAccess")
            .field("user", user)
            .field("host", host)
            .field("port", port)
            .finish_non_exhaustive()
    }
}

/// The address of the remote for programs in the container, valid once access is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    user: String,
    /// The host name in URLs and in the ssh configuration.
    host: String,
    /// The address that the ssh configuration maps `host` to.
    address: String,
    port: u16,
}

impl Endpoint {
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Mutagen's URL of a directory on the remote. The port stands in the ssh configuration.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}@{}:{path}", self.user, self.host)
    }
}

impl RemoteAccess {
    /// Whether the remote is this machine by a loopback name or address. A container that does not share the network of this machine
    /// reaches it through the gateway of its own network.
    pub fn is_this_machine(&self) -> bool {
        is_this_machine(&self.host)
    }

    /// The address of the remote inside the container, where `localhost` would mean the container.
    fn endpoint(&self) -> Result<Endpoint, MutagenError> {
        let unusable = |what, value: &str, problem| {
            Err(MutagenError::Unusable { step: Step::Key, what, value: value.to_owned(), problem })
        };
        let plain = |text: &str, also: &[u8]| {
            let mut bytes = text.bytes();
            let fits =
                |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte) || also.contains(&byte);
            bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_:".contains(&byte))
                && bytes.all(fits)
        };
        if !plain(&self.user, b"+") {
            return unusable(
                "the user",
                &self.user,
                "has characters that cannot stand in mutagen's address of the remote",
            );
        }
        if !plain(&self.host, b":%") {
            return unusable("the host", &self.host, "is neither a host name nor an address");
        }
        let address = if is_this_machine(&self.host) { HOST_GATEWAY } else { &self.host };
        Ok(Endpoint {
            user: self.user.clone(),
            host: if plain(address, b"") { address } else { ALIAS }.to_owned(),
            address: address.to_owned(),
            port: self.port,
        })
    }

    /// The line of `known_hosts`, with each name that ssh may look for.
    fn known_hosts(&self, endpoint: &Endpoint) -> Result<String, MutagenError> {
        let mut words = self.host_key.split_ascii_whitespace();
        let (Some(algorithm), Some(key)) = (words.next(), words.next()) else {
            return Err(MutagenError::Unusable {
                step: Step::Key,
                what: "the host key",
                value: self.host_key.clone(),
                problem: "must be an algorithm and a key, such as \"ssh-ed25519 AAAA...\"",
            });
        };
        let named = |host: &str| match self.port {
            22 => host.to_owned(),
            port => format!("[{host}]:{port}"),
        };
        let mut names = vec![named(&endpoint.address)];
        if self.host != endpoint.address {
            names.push(named(&self.host));
        }
        Ok(format!("{} {algorithm} {key}\n", names.join(",")))
    }
}

impl Shell {
    /// Puts the key, the host key and the configuration for a remote into the container. Those of an earlier remote are removed.
    ///
    /// # Errors
    /// [`MutagenError::NoProgram`] if the image has no ssh, [`MutagenError::User`] if the image's user has no home directory, and
    /// Docker's own errors.
    pub fn install_access(&self, access: &RemoteAccess) -> Result<Endpoint, MutagenError> {
        let endpoint = access.endpoint()?;
        let known_hosts = access.known_hosts(&endpoint)?;
        self.must(&self.command(Step::Ssh, &["ssh", "-V"]))?;
        let user = self.user()?;
        self.remove_directory(&user)?;
        let ssh = format!("{}/.ssh", user.home);
        let config_path = format!("{ssh}/config");
        let mut archive = Archive::new(&user);
        if !self.run(&self.command(Step::Key, &["ls", "-d", "--", &ssh]))?.success() {
            archive.directory(".ssh")?;
        }
        archive.directory(&format!(".ssh/{DIRECTORY}"))?;
        archive.file(&format!(".ssh/{DIRECTORY}/key"), 0o600, &ending_in_newline(&access.private_key))?;
        archive.file(&format!(".ssh/{DIRECTORY}/known_hosts"), 0o600, known_hosts.as_bytes())?;
        archive.file(&format!(".ssh/{DIRECTORY}/config"), 0o600, configuration(&endpoint).as_bytes())?;
        match self.read(Step::Key, &config_path)? {
            Found::Absent => archive.file(".ssh/config", 0o600, BLOCK.as_bytes())?,
            Found::File { content, uid, gid, mode } => {
                if without_block(&content).is_none() {
                    let with_block = [BLOCK.as_bytes(), &content].concat();
                    archive.owned_file(".ssh/config", (uid, gid), mode, &with_block)?;
                }
            }
            Found::Other => return Err(self.unreadable(&config_path, NOT_PLAIN.to_owned())),
        }
        self.upload(Step::Key, &user.home, archive.finish()?)?;
        Ok(endpoint)
    }

    /// Removes the key, the host key and the configuration from the container, if they are there.
    ///
    /// # Errors
    /// [`MutagenError::NotRunning`] if the container does not run, and Docker's own errors. Removing the container removes the key
    /// even then.
    pub fn remove_access(&self) -> Result<(), MutagenError> {
        let user = self.user()?;
        // The key goes first: a later step may fail.
        self.remove_directory(&user)?;
        let path = format!("{}/.ssh/config", user.home);
        let Found::File { content, uid, gid, mode } = self.read(Step::Key, &path)? else { return Ok(()) };
        match without_block(&content) {
            None => Ok(()),
            Some(rest) if rest.is_empty() => {
                self.must(&self.command(Step::Key, &["rm", "-f", "--", &path])).map(drop)
            }
            Some(rest) => {
                let mut archive = Archive::new(&user);
                archive.owned_file(".ssh/config", (uid, gid), mode, &rest)?;
                self.upload(Step::Key, &user.home, archive.finish()?)
            }
        }
    }

    /// Runs `true` on the remote with the container's ssh. Its exit code tells whether the login works.
    pub(crate) fn try_ssh(&self, endpoint: &Endpoint) -> Result<Exec, MutagenError> {
        let destination = format!("{}@{}", endpoint.user, endpoint.host);
        let arguments = ["ssh", "-o", "ConnectTimeout=10", "--", &destination, "true"];
        self.run(&self.command(Step::Ssh, &arguments))
    }

    fn remove_directory(&self, user: &User) -> Result<(), MutagenError> {
        let directory = format!("{}/.ssh/{DIRECTORY}", user.home);
        self.must(&self.command(Step::Key, &["rm", "-rf", "--", &directory])).map(drop)
    }
}

const NOT_PLAIN: &str = "it is not a regular file; make it one in the image, or remove it from the image";

/// The ssh configuration for the remote. ssh expands `~`, so that the home directory needs no quoting.
fn configuration(endpoint: &Endpoint) -> String {
    let Endpoint { user, host, address, port } = endpoint;
    // In `HostName`, `%` begins a token.
    let address = address.replace('%', "%%");
    format!(
        "Host {host}
  HostName {address}
  Port {port}
  User {user}
  IdentityFile ~/.ssh/{DIRECTORY}/key
  IdentitiesOnly yes
  IdentityAgent none
  PreferredAuthentications publickey
  UserKnownHostsFile ~/.ssh/{DIRECTORY}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  UpdateHostKeys no
  BatchMode yes
  ProxyJump none
  ControlMaster no
  ControlPath none
"
    )
}

/// The configuration without the added block; `None` if the block is not in it.
fn without_block(content: &[u8]) -> Option<Vec<u8>> {
    let block = BLOCK.as_bytes();
    let at = content.windows(block.len()).position(|window| window == block)?;
    Some([&content[..at], &content[at + block.len()..]].concat())
}

/// Adds the final newline that OpenSSH demands of a key file.
fn ending_in_newline(key: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(key.to_vec());
    if key.last() != Some(&b'\n') {
        key.push(b'\n');
    }
    key
}

/// Whether the name or address is a loopback name or address of this machine.
fn is_this_machine(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A tar archive that is unpacked in the user's home directory.
struct Archive<'a> {
    builder: tar::Builder<Vec<u8>>,
    user: &'a User,
}

impl Archive<'_> {
    fn new(user: &User) -> Archive<'_> {
        Archive { builder: tar::Builder::new(Vec::new()), user }
    }

    fn directory(&mut self, path: &str) -> Result<(), MutagenError> {
        self.append(
            &format!("{path}/"),
            tar::EntryType::Directory,
            (self.user.uid, self.user.gid),
            0o700,
            &[],
        )
    }

    fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<(), MutagenError> {
        self.owned_file(path, (self.user.uid, self.user.gid), mode, content)
    }

    fn owned_file(
        &mut self,
        path: &str,
        owner: (u64, u64),
        mode: u32,
        content: &[u8],
    ) -> Result<(), MutagenError> {
        self.append(path, tar::EntryType::Regular, owner, mode, content)
    }

    fn append(
        &mut self,
        path: &str,
        kind: tar::EntryType,
        (uid, gid): (u64, u64),
        mode: u32,
        content: &[u8],
    ) -> Result<(), MutagenError> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_uid(uid);
        header.set_gid(gid);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        self.builder.append_data(&mut header, path, content).map_err(|error| unpackable(path, &error))
    }

    fn finish(self) -> Result<Vec<u8>, MutagenError> {
        self.builder.into_inner().map_err(|error| unpackable("the archive", &error))
    }
}

fn unpackable(path: &str, error: &std::io::Error) -> MutagenError {
    MutagenError::Output {
        step: Step::Key,
        command: format!("packing {path} for the shell container"),
        problem: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(user: &str, host: &str, port: u16) -> RemoteAccess {
        RemoteAccess {
            user: user.to_owned(),
            host: host.to_owned(),
            port,
            private_key: Zeroizing::new(b"key".to_vec()),
            host_key: "ssh-ed25519 AAAAkey a remark".to_owned(),
        }
    }

    #[test]
    fn the_configuration_trusts_one_key_and_offers_one() {
        let access = access("dev", "remote.example", 2222);
        let endpoint = access.endpoint().unwrap();
        assert_eq!(endpoint.url("/data/w/"), "dev@remote.example:/data/w/");
        assert_eq!(access.known_hosts(&endpoint).unwrap(), "[remote.example]:2222 ssh-ed25519 AAAAkey\n");
        let expected = "Host remote.example
  HostName remote.example
  Port 2222
  User dev
  IdentityFile ~/.ssh/coast/key
  IdentitiesOnly yes
  IdentityAgent none
  PreferredAuthentications publickey
  UserKnownHostsFile ~/.ssh/coast/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  UpdateHostKeys no
  BatchMode yes
  ProxyJump none
  ControlMaster no
  ControlPath none
";
        assert_eq!(configuration(&endpoint), expected);
    }

    #[test]
    fn a_remote_on_this_machine_is_reached_through_the_gateway_and_known_by_both_names() {
        for host in ["localhost", "LOCALHOST.", "127.0.0.1", "127.1.2.3", "::1", "box.localhost"] {
            let access = access("dev", host, 22);
            let endpoint = access.endpoint().unwrap();
            assert_eq!(endpoint.url("/w/"), "dev@host.docker.internal:/w/", "{host}");
            let known = access.known_hosts(&endpoint).unwrap();
            assert_eq!(known, format!("host.docker.internal,{host} ssh-ed25519 AAAAkey\n"));
        }
        assert_eq!(access("dev", "localhost.example", 22).endpoint().unwrap().host(), "localhost.example");
    }

    #[test]
    fn an_address_with_colons_gets_a_name_that_fits_into_mutagens_url() {
        let access = access("dev", "fe80::1%eth0", 2222);
        let endpoint = access.endpoint().unwrap();
        assert_eq!(endpoint.url("/w/"), "dev@coast-remote:/w/");
        assert_eq!(access.known_hosts(&endpoint).unwrap(), "[fe80::1%eth0]:2222 ssh-ed25519 AAAAkey\n");
        assert!(
            configuration(&endpoint)
                .starts_with("Host coast-remote\n  HostName fe80::1%%eth0\n  Port 2222\n")
        );
    }

    #[test]
    fn what_would_mean_something_else_to_ssh_or_mutagen_is_refused() {
        for (user, host) in [
            ("-oProxyCommand=x", "host"),
            ("a b", "host"),
            ("a:b", "host"),
            ("a@b", "host"),
            ("", "host"),
            ("dev", "-host"),
            ("dev", "host\nProxyCommand x"),
            ("dev", "*"),
            ("dev", ""),
        ] {
            let error = access(user, host, 22).endpoint().unwrap_err();
            assert_eq!(error.step(), Step::Key, "{error}");
        }
        let mut access = access("dev", "host", 22);
        access.host_key = "AAAA".to_owned();
        let error = access.known_hosts(&access.endpoint().unwrap()).unwrap_err().to_string();
        assert_eq!(
            error,
            "the host key \"AAAA\" must be an algorithm and a key, such as \"ssh-ed25519 AAAA...\""
        );
    }

    #[test]
    fn a_configuration_that_was_there_is_there_again_afterwards() {
        let before = b"Host other\n  Port 7\n# no end";
        let with_block = [BLOCK.as_bytes(), before].concat();
        assert_eq!(without_block(&with_block).as_deref(), Some(before.as_slice()));
        assert_eq!(without_block(before), None);
        assert_eq!(without_block(BLOCK.as_bytes()).as_deref(), Some(b"".as_slice()));
    }

    #[test]
    fn the_archive_gives_the_key_to_the_user_alone() {
        let user = User { uid: 1000, gid: 1001, home: "/home/dev".to_owned() };
        let mut archive = Archive::new(&user);
        archive.directory(".ssh/coast").unwrap();
        archive.file(".ssh/coast/key", 0o600, &ending_in_newline(b"key")).unwrap();
        let bytes = archive.finish().unwrap();
        let mut entries = Vec::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            let path = entry.path().unwrap().display().to_string();
            entries.push((
                path,
                header.uid().unwrap(),
                header.gid().unwrap(),
                header.mode().unwrap(),
                header.size().unwrap(),
            ));
        }
        let expected = [
            (".ssh/coast/".to_owned(), 1000, 1001, 0o700, 0),
            (".ssh/coast/key".to_owned(), 1000, 1001, 0o600, 4),
        ];
        assert_eq!(entries, expected);
    }
}
