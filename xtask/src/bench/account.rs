//! The unprivileged user that the bench logs in as, who may become root by sudo without a password.
//! Both the user and the sudo rule exist only while the bench runs.

use crate::program;
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const NAME: &str = "coastbench";

/// The user, its home and its sudo rule.
pub(crate) struct Account {
    rule: PathBuf,
}

impl Account {
    pub(crate) fn create() -> Result<Self> {
        program::output(Command::new("useradd").args([
            "--create-home",
            "--shell=/bin/sh",
            // No password fits, but the account is not locked: sshd turns locked ones away.
            "--password=*",
            NAME,
        ]))
        .with_context(|| {
            format!(
                "making the user {NAME} (if a killed bench left it behind: `userdel --remove {NAME}` \
                 and remove /etc/sudoers.d/{NAME})"
            )
        })?;
        let account = Self { rule: PathBuf::from("/etc/sudoers.d").join(NAME) };
        fs::write(&account.rule, format!("{NAME} ALL=(ALL) NOPASSWD: ALL\n"))
            .and_then(|()| fs::set_permissions(&account.rule, PermissionsExt::from_mode(0o440)))
            .with_context(|| format!("writing {}", account.rule.display()))?;
        Ok(account)
    }

    pub(crate) fn name(&self) -> &'static str {
        NAME
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.rule) {
            eprintln!("removing {}: {error}", self.rule.display());
        }
        let mut remove = Command::new("userdel");
        remove.args(["--remove", "--force", NAME]).stderr(Stdio::null());
        if let Err(error) = program::run(&mut remove) {
            eprintln!("removing the user {NAME}: {error}");
        }
    }
}
