//! The credentials with which the shell container logs in to the remote.

use std::fs;

use coast_mutagen::{RemoteAccess, Zeroizing};
use coast_sync::IdentityUsed;

use crate::continuous::{Access, Failure};

/// The credentials for the container. An error if the container could not use them.
pub(super) fn remote_access(access: &Access) -> Result<RemoteAccess, Failure> {
    let unable = |said: String| Failure::new("key", "giving the shell container access to the remote", said);
    let path = match &access.identity {
        IdentityUsed::File { path, encrypted: false } => path,
        IdentityUsed::File { path, encrypted: true } => {
            return Err(unable(format!(
                "the key {} has a passphrase, which nobody can type in the container; make a key for sessions alone with: \
                 coast remote key NAME --create",
                path.display()
            )));
        }
        IdentityUsed::Agent { comment } => {
            return Err(unable(format!(
                "the key that was accepted ({comment}) is only in the agent, which the container cannot reach; make a key for \
                 sessions alone with: coast remote key NAME --create"
            )));
        }
        other => {
            return Err(unable(format!(
                "the key that was accepted ({other}) cannot be put into the container; make a key for sessions alone with: \
                 coast remote key NAME --create"
            )));
        }
    };
    if let Some(jump) = access.jumps.first() {
        return Err(unable(format!(
            "the remote is reached through the jump host {jump}, and the container can only connect directly; give the remote's own \
             address: coast remote add --replace NAME USER@HOST"
        )));
    }
    let private_key =
        fs::read(path).map_err(|error| unable(format!("cannot read the key {}: {error}", path.display())))?;
    Ok(RemoteAccess {
        user: access.user.clone(),
        host: access.host_name.clone(),
        port: access.port,
        private_key: Zeroizing::new(private_key),
        host_key: access.host_key.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(identity: IdentityUsed) -> Access {
        Access {
            user: "dev".to_owned(),
            host_name: "remote.example".to_owned(),
            port: 22,
            jumps: Vec::new(),
            host_key: "ssh-ed25519 AAAA".to_owned(),
            identity,
        }
    }

    #[test]
    fn a_key_that_the_container_cannot_use_is_an_error_with_a_remedy() {
        for (identity, said) in [
            (IdentityUsed::File { path: "/k".into(), encrypted: true }, "/k has a passphrase"),
            (IdentityUsed::Agent { comment: "me@laptop".to_owned() }, "(me@laptop) is only in the agent"),
            (
                IdentityUsed::File { path: "/no/such/key".into(), encrypted: false },
                "cannot read the key /no/such/key",
            ),
        ] {
            let failure = remote_access(&access(identity)).unwrap_err();
            assert_eq!(failure.part, "key");
            assert!(failure.said.contains(said), "{failure}");
        }
        let jumping = Access {
            jumps: vec!["jump.example".to_owned()],
            ..access(IdentityUsed::File { path: "/k".into(), encrypted: false })
        };
        assert!(remote_access(&jumping).unwrap_err().said.contains("through the jump host jump.example"));
    }
}
