//! The account that a session logged in to: its name, its home directory, and the place of the helper there.

use crate::error::SshError;
use crate::helper::script::{FIND, OWN, script_line};
use crate::helper::spec::HelperSpec;
use crate::session::Session;

/// Tells of the account, and looks for the helper in the directories `$2` as [`START`](super::script::START) does. `$1` names
/// the helpers. Needs [`OWN`] and [`FIND`] before it.
const ACCOUNT: &str = "\
v=,$1; l=$2; \
echo coast-user $(id -un); echo coast-uid $(id -u); echo coast-platform $(uname -sm); echo coast-home \"$PWD\"; \
choose || exit 0; for d in $l; do if found \"$d\"; then echo coast-helper \"$h\"; break; fi; done";

/// Prints the settings of the SSH server. Only root may read them.
const SERVER: &str = "\
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin; s=$(command -v sshd) || exit 1; \
if [ $(id -u) = 0 ]; then \"$s\" -T; else LC_ALL=C sudo -n -- \"$s\" -T; fi";

/// An account of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// The login name.
    pub user: String,
    /// The number of the user.
    pub uid: u32,
    /// The output of `uname -sm`, such as `Linux x86_64`.
    pub platform: String,
    /// The directory in which commands start.
    pub home: String,
    /// The absolute path of the helper that would be started. None if the host has none.
    pub helper: Option<String>,
}

/// The limits of an SSH server on connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerLimits {
    /// `MaxSessions`: commands that run at once on a connection.
    pub max_sessions: u32,
    /// The first number of `MaxStartups`: connections that have not logged in yet, from which on some are refused.
    pub max_startups: u32,
}

/// This is not beside the rest of [`Session`], so that `session` does not depend on `helper`.
impl Session {
    /// Asks which account this session logged in to, and where the helper of `spec` is.
    ///
    /// # Errors
    /// When the account's shell does not answer, or the connection is lost.
    pub fn account(&self, spec: &HelperSpec) -> Result<Account, SshError> {
        let (names, directories) = (spec.names(), spec.directories.join(" "));
        let args: [&[u8]; 2] = [names.as_bytes(), directories.as_bytes()];
        let channel = self.exec(&script_line(&[OWN, FIND, ACCOUNT], &args))?;
        let (output, exit) = channel.output()?;
        let mut account = parse_account(&String::from_utf8_lossy(&output)).ok_or_else(|| {
            let reason = format!("the account's shell did not tell of the account; it ended with {exit}");
            SshError::ExecRefused { host: self.host().to_owned(), reason }
        })?;
        if let Some(path) = &spec.path {
            account.helper = Some(String::from_utf8_lossy(path).into_owned());
        }
        Ok(account)
    }

    /// Reads the limits of the SSH server. None if the user may not read them.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn server_limits(&self) -> Result<Option<ServerLimits>, SshError> {
        let (output, _) = self.exec(&script_line(&[SERVER], &[]))?.output()?;
        Ok(parse_limits(&String::from_utf8_lossy(&output)))
    }
}

fn parse_account(text: &str) -> Option<Account> {
    // A login shell may print a greeting of its own before.
    let told = |word: &str| {
        text.lines()
            .filter_map(|line| line.strip_prefix("coast-")?.strip_prefix(word)?.strip_prefix(' '))
            .next_back()
    };
    Some(Account {
        user: told("user")?.to_owned(),
        uid: told("uid")?.parse().ok()?,
        platform: told("platform")?.to_owned(),
        home: told("home")?.to_owned(),
        helper: told("helper").map(str::to_owned),
    })
}

fn parse_limits(text: &str) -> Option<ServerLimits> {
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Some(ServerLimits {
        max_sessions: value("maxsessions")?.parse().ok()?,
        max_startups: value("maxstartups")?.split(':').next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_survive_single_quotes() {
        for script in [ACCOUNT, SERVER] {
            assert!(!script.contains(['\'', '\\', '\n', '!']), "{script}");
        }
    }

    #[test]
    fn an_account_is_read_after_whatever_its_shell_prints() {
        let text =
            "Welcome\ncoast-user dev\ncoast-uid 1000\ncoast-platform Linux x86_64\ncoast-home /home/a b\n";
        let account = parse_account(text).unwrap();
        assert_eq!((account.user.as_str(), account.uid, account.home.as_str()), ("dev", 1000, "/home/a b"));
        assert_eq!((account.platform.as_str(), account.helper), ("Linux x86_64", None));
        let with = format!("{text}coast-helper /home/a b/.cache/coast/helper-1\n");
        assert_eq!(parse_account(&with).unwrap().helper.unwrap(), "/home/a b/.cache/coast/helper-1");
        assert_eq!(parse_account("This account is not available.\n"), None);
    }

    #[test]
    fn limits_are_read_from_the_settings_of_a_server() {
        let text = "port 22\nmaxauthtries 6\nmaxsessions 10\nmaxstartups 10:30:100\n";
        assert_eq!(parse_limits(text), Some(ServerLimits { max_sessions: 10, max_startups: 10 }));
        assert_eq!(parse_limits("sudo: a password is required\n"), None);
    }
}
