//! The lines of sudoers that let the account of a remote run the helper as root, for workspaces alone.
//!
//! The account owns the helper's file, so a line that names only the path would let it run anything as root. The line therefore
//! has the hash of the file, which sudo checks at each start. The arguments are restricted with a regular expression, which sudo
//! knows from version 1.9.10. An older sudo takes the expression for words that nobody types, and refuses.

use std::path::Path;

use coast_sync::{AccountReport, WORKSPACE_COMMANDS};

use crate::Remote;

/// The names that the directories of projects and instances have, as in [`Name`](crate::Name).
const NAME: &str = "[A-Za-z0-9][A-Za-z0-9._-]*";

/// The file for the lines.
const FILE: &str = "/etc/sudoers.d/coast";

/// A path that cannot be written into sudoers, because characters of it mean something there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot be written into sudoers: it may have letters, digits and `/`, `.`, `_` and `-` only; write the rule by hand"
)]
pub struct UnwritablePath(pub String);

/// The content for a file in `/etc/sudoers.d`, with comments that say what it grants and how to install it.
///
/// # Errors
/// When the service home or the path of the helper has a character that means something in sudoers.
pub fn sudoers(remote: &Remote, account: &AccountReport) -> Result<String, UnwritablePath> {
    if account.uid == 0 {
        return Ok(format!("# {} is root already and needs no rule.\n", account.user));
    }
    let home = plain(&remote.service_home)?;
    let helper = account.helper.to_string_lossy();
    let helper = plain(&helper)?;
    // A word of capital letters would be an alias.
    let is_name = is_plain(&account.user)
        && !account.user.contains('/')
        && account.user.contains(|letter: char| letter.is_ascii_lowercase());
    let user = if is_name { account.user.clone() } else { format!("#{}", account.uid) };
    let pattern = home.replace('.', "[.]");
    let workspaces = format!("{pattern}/workspaces(/{NAME})*");
    let digest = account.helper_sha256.as_ref().map(|digest| format!("sha256:{digest} ")).unwrap_or_default();
    let rule = format!("{user} ALL=(root) NOPASSWD: {digest}{helper}");
    let trusted = match &account.helper_sha256 {
        Some(_) => "# The hash is that of the helper of this version of coast. Print the lines again after an update of coast; until\n\
                    # they are installed, transfers write as the user who logs in.\n"
            .to_owned(),
        None => format!("# {helper} must be writable by root only, and every directory above it too.\n"),
    };
    let commands = WORKSPACE_COMMANDS.join("|");
    Ok(format!(
        "# Lets {user} run coast's helper as root without a password, in {home}/workspaces alone. There the helper receives\n\
         # files, gives them owners and modes, lists them, deletes them and restores them. In {home} it looks at the free space.\n\
         # No other program and no other directory is named. Files with set-id bits and devices can be made there, so give the rule\n\
         # only to a user whom you would give root.\n\
         {trusted}\
         # Install the lines as root with: visudo -f {FILE}\n\
         # They need sudo 1.9.10 or later. For an older sudo use the last line without its # instead; who may write {helper}\n\
         # or use it for other directories can then do everything that root can.\n\
         {rule} ^probe --root {pattern}$\n\
         {rule} ^({commands})( --[a-z-]+(\\=[a-z0-9-]+)?)* --root {workspaces}$\n\
         {rule} ^restore --root {workspaces} -- .*$\n\
         # {user} ALL=(root) NOPASSWD: {helper}\n"
    ))
}

fn plain(path: &str) -> Result<&str, UnwritablePath> {
    if is_plain(path) && Path::new(path).is_absolute() {
        Ok(path)
    } else {
        Err(UnwritablePath(path.to_owned()))
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> AccountReport {
        AccountReport {
            user: "dev".to_owned(),
            uid: 1000,
            home: "/home/dev".into(),
            helper: "/home/dev/.cache/coast/helper-ab".into(),
            helper_sha256: Some("cd".repeat(32)),
            one_command_only: None,
            server: None,
        }
    }

    fn rules(remote: &Remote, account: &AccountReport) -> Vec<String> {
        let text = sudoers(remote, account).unwrap();
        text.lines().filter(|line| !line.starts_with("# ")).map(str::to_owned).collect()
    }

    #[test]
    fn a_rule_names_the_user_the_hash_the_helper_and_the_directories() {
        let remote = Remote::parse("dev@host", None, Some("/srv/co.ast".to_owned())).unwrap();
        let start =
            format!("ALL=(root) NOPASSWD: sha256:{} /home/dev/.cache/coast/helper-ab ^", "cd".repeat(32));
        let [probe, rest, restore] = &rules(&remote, &account())[..] else { panic!("three rules") };
        assert_eq!(*probe, format!("dev {start}probe --root /srv/co[.]ast$"));
        assert!(
            rest.starts_with(&format!("dev {start}(receive|"))
                && rest.contains(" /srv/co[.]ast/workspaces(/"),
            "{rest}"
        );
        assert!(
            restore.starts_with(&format!("dev {start}restore --root /srv/co[.]ast/workspaces(/")),
            "{restore}"
        );
        for user in ["DEV", "CORP\\dev", "dev@corp", ""] {
            let rules = rules(&remote, &AccountReport { user: user.to_owned(), ..account() });
            assert!(rules.iter().all(|rule| rule.starts_with(&format!("#1000 {start}"))), "{rules:?}");
        }
        let installed = AccountReport { helper: "/opt/helper".into(), helper_sha256: None, ..account() };
        assert!(rules(&remote, &installed)[0].starts_with("dev ALL=(root) NOPASSWD: /opt/helper ^probe"));
    }

    #[test]
    fn root_needs_no_rule_and_an_odd_path_gets_none() {
        let remote = Remote::parse("host", None, None).unwrap();
        assert_eq!(rules(&remote, &AccountReport { uid: 0, ..account() }), Vec::<String>::new());
        for helper in ["/home/a b/helper", "/home/a,b/helper", "/home/*/helper", "", "helper"] {
            let odd = AccountReport { helper: helper.into(), ..account() };
            assert_eq!(sudoers(&remote, &odd), Err(UnwritablePath(helper.to_owned())));
        }
        let remote = Remote::parse("host", None, Some("/srv/a=b".to_owned())).unwrap();
        assert_eq!(sudoers(&remote, &account()), Err(UnwritablePath("/srv/a=b".to_owned())));
    }
}
