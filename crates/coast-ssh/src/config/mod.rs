//! The ssh configuration of one host: the `-o` options, `~/.ssh/config` and `/etc/ssh/ssh_config`, read in that order,
//! where the first value of a keyword stays. The rest of this crate sees only the result, [`HostSettings`].

mod criterion;
mod expansion;
mod line;
mod options;
mod pattern;
mod reader;
mod resolution;
mod settings;
mod values;

pub use self::options::{ConnectOptions, Environment, Target};
pub(crate) use self::pattern::{Case, list_matches};
pub(crate) use self::resolution::DEFAULT_ALIVE_INTERVAL;
pub(crate) use self::settings::{AddressFamily, HostKeyPolicy, HostSettings, Role};

use crate::config::reader::{ConfigReader, Owner};
use crate::config::resolution::Resolution;
use crate::config::values::Values;
use crate::error::SshError;

/// Reads the settings of `target`.
///
/// # Errors
/// When a file that the user named cannot be read, or a line or an option cannot be used.
pub(crate) fn resolve(
    target: &Target,
    options: &ConnectOptions,
    role: Role,
) -> Result<HostSettings, SshError> {
    let (values, notices) = read(target, options, role)?;
    Resolution { values, target, options, role }.into_settings(notices)
}

/// Reads the options and files. Returns the values and the notices for the user.
fn read(target: &Target, options: &ConnectOptions, role: Role) -> Result<(Values, Vec<String>), SshError> {
    let environment = &options.environment;
    let mut values = Values::default();
    if role == Role::Destination {
        for identity in &options.identities {
            values.add_identity_file(identity.clone());
        }
        for (name, value) in &options.overrides {
            values
                .set_option(name, value)
                .map_err(|problem| SshError::Option { name: name.clone(), problem })?;
        }
    }
    let mut reader = ConfigReader::new(target, environment, &mut values);
    match &options.config_file {
        Some(path) if path.as_os_str() == "none" => {}
        Some(path) => reader.read_required(path)?,
        None => {
            if let Some(home) = &environment.home {
                reader.read_if_present(&home.join(".ssh/config"), Owner::User)?;
            }
            if let Some(path) = &environment.system_config {
                reader.read_if_present(path, Owner::System)?;
            }
        }
    }
    let notices = reader.into_notices();
    Ok((values, notices))
}

#[cfg(test)]
mod openssh_tests;
#[cfg(test)]
mod tests;
