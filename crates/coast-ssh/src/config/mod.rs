//! What the ssh configuration says about one host: the files and `-o` options read in OpenSSH's order, the first value
//! of an option winning, its tokens expanded. The result, [`HostSettings`], is all that the rest of this crate sees.

mod blocks;
mod merged;
mod options;
mod settings;
mod tokens;

pub use self::options::{ConnectOptions, Environment, Target};
pub(crate) use self::settings::{AddressFamily, HostKeyPolicy, HostSettings, Role};

use crate::config::blocks::ConfigReader;
use crate::config::merged::Merged;
use crate::error::SshError;
use ssh2_config::{DefaultAlgorithms, HostParams};

/// Reads what the configuration says about `target`.
pub(crate) fn resolve(
    target: &Target,
    options: &ConnectOptions,
    role: Role,
) -> Result<HostSettings, SshError> {
    let environment = &options.environment;
    let mut merged =
        Merged { params: HostParams::new(&DefaultAlgorithms::empty()), home: environment.home.as_deref() };
    if role == Role::Destination {
        for identity in &options.identities {
            merged.params.identity_file.get_or_insert_default().push(identity.clone());
        }
        for (name, value) in &options.overrides {
            merged.apply_override(name, value)?;
        }
    }
    let mut reader = ConfigReader::new(target, environment);
    match &options.config_file {
        Some(path) if path.as_os_str() == "none" => {}
        Some(path) => reader.read_required(path, &mut merged)?,
        None => {
            if let Some(home) = &environment.home {
                reader.read_if_present(&home.join(".ssh/config"), &mut merged)?;
            }
            if let Some(path) = &environment.system_config {
                reader.read_if_present(path, &mut merged)?;
            }
        }
    }
    let notices = reader.into_notices();
    merged.into_settings(target, options, role, notices)
}

#[cfg(test)]
mod tests;
