//! The files that have the system start the daemon at each login: a unit for systemd, a property list for launchd.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The variables that decide which files the daemon uses and which Docker engine. A service manager starts it without them.
const KEPT_VARIABLES: [&str; 7] = [
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
];

/// Launchd's name of the service.
const LABEL: &str = "dev.coast.coastd";

/// The service manager that starts the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Systemd,
    Launchd,
}

/// The daemon as a service of the user.
#[derive(Debug, Clone)]
pub struct Service {
    manager: Manager,
    file: PathBuf,
    variables: Vec<(String, String)>,
}

/// A service file that cannot be written or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {error}", path.display())]
pub struct ServiceError {
    doing: &'static str,
    path: PathBuf,
    error: io::Error,
}

impl Service {
    /// The service of this user on this system. `config` is the directory of configuration, `$XDG_CONFIG_HOME`.
    pub fn from_process(config: &Path) -> Self {
        let variables =
            KEPT_VARIABLES.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        let variables = variables.filter(|(_, value)| !value.is_empty()).collect();
        match std::env::home_dir().filter(|_| cfg!(target_os = "macos")) {
            Some(home) => Self {
                manager: Manager::Launchd,
                file: home.join(format!("Library/LaunchAgents/{LABEL}.plist")),
                variables,
            },
            None => Self {
                manager: Manager::Systemd,
                file: config.join("systemd/user/coastd.service"),
                variables,
            },
        }
    }

    /// The file that the service manager reads.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Writes the file. `program` is this program.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn install(&self, program: &Path) -> Result<(), ServiceError> {
        let failed = |error| ServiceError { doing: "write", path: self.file.clone(), error };
        let text = self.text(program).map_err(failed)?;
        self.replace(text.as_bytes()).map_err(failed)
    }

    /// Removes the file. Returns false if there was none.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn uninstall(&self) -> Result<bool, ServiceError> {
        match fs::remove_file(&self.file) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(ServiceError { doing: "remove", path: self.file.clone(), error }),
        }
    }

    /// The command that starts the service now and at each login.
    pub fn enable_command(&self) -> String {
        match self.manager {
            Manager::Systemd => {
                "systemctl --user daemon-reload && systemctl --user enable --now coastd".to_owned()
            }
            Manager::Launchd => {
                format!("launchctl bootstrap gui/$(id -u) {}", coast_instance::shell_word(&self.file))
            }
        }
    }

    /// The command that ends the service, now and for the logins to come.
    pub fn disable_command(&self) -> String {
        match self.manager {
            Manager::Systemd => "systemctl --user disable --now coastd".to_owned(),
            Manager::Launchd => format!("launchctl bootout gui/$(id -u)/{LABEL}"),
        }
    }

    fn text(&self, program: &Path) -> io::Result<String> {
        let program = program.to_str().filter(|path| !path.contains(char::is_control));
        let program = program.ok_or_else(|| {
            let text =
                "the path of this program is not text, and the file cannot name it; install coast elsewhere";
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        let variables = self.variables.iter().filter(|(_, value)| !value.contains(char::is_control));
        Ok(match self.manager {
            Manager::Systemd => {
                let lines: String = variables
                    .map(|(name, value)| {
                        format!("Environment={}\n", systemd_word(&format!("{name}={value}")))
                    })
                    .collect();
                format!(
                    "[Unit]\nDescription=Edits that follow to other machines (coast)\n\n\
                     [Service]\nExecStart={} daemon run\n{lines}Restart=on-failure\n\
                     # Another daemon of this user runs already.\nRestartPreventExitStatus=3\n\n\
                     [Install]\nWantedBy=default.target\n",
                    systemd_word(program)
                )
            }
            Manager::Launchd => {
                let entries: String = variables
                    .map(|(name, value)| {
                        format!("    <key>{name}</key>\n    <string>{}</string>\n", xml(value))
                    })
                    .collect();
                format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                     <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
                     \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
                     <plist version=\"1.0\">\n<dict>\n  <key>Label</key>\n  <string>{LABEL}</string>\n  \
                     <key>ProgramArguments</key>\n  <array>\n    <string>{}</string>\n    <string>daemon</string>\n    \
                     <string>run</string>\n  </array>\n  <key>EnvironmentVariables</key>\n  <dict>\n{entries}  </dict>\n  \
                     <key>RunAtLoad</key>\n  <true/>\n  <key>KeepAlive</key>\n  <dict>\n    <key>SuccessfulExit</key>\n    \
                     <false/>\n  </dict>\n</dict>\n</plist>\n",
                    xml(program)
                )
            }
        })
    }

    fn replace(&self, text: &[u8]) -> io::Result<()> {
        let directory = self.file.parent().ok_or(io::ErrorKind::InvalidInput)?;
        fs::create_dir_all(directory)?;
        let mut name = self.file.as_os_str().to_owned();
        name.push(".new");
        let new = PathBuf::from(name);
        let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o644).open(&new)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&new, &self.file)
    }
}

/// A word of a line of a unit: in quotes, with systemd's own signs escaped.
fn systemd_word(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    format!("\"{escaped}\"")
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(manager: Manager, directory: &Path) -> Service {
        let file = directory.join("made/file");
        Service { manager, file, variables: vec![("DOCKER_HOST".into(), "unix:///a&b %h".into())] }
    }

    #[test]
    fn a_unit_names_the_program_and_keeps_the_variables() {
        let scratch = tempfile::tempdir().unwrap();
        let service = service(Manager::Systemd, scratch.path());
        assert!(!service.uninstall().unwrap());
        service.install(Path::new("/home/a \"b\"/100%/coast")).unwrap();
        let text = fs::read_to_string(service.file()).unwrap();
        assert!(text.contains("ExecStart=\"/home/a \\\"b\\\"/100%%/coast\" daemon run\n"), "{text}");
        assert!(text.contains("Environment=\"DOCKER_HOST=unix:///a&b %%h\"\n"), "{text}");
        assert_eq!(fs::read_dir(scratch.path().join("made")).unwrap().count(), 1);
        assert!(service.uninstall().unwrap() && !service.file().exists());
    }

    #[test]
    fn a_property_list_is_xml() {
        let scratch = tempfile::tempdir().unwrap();
        let service = service(Manager::Launchd, scratch.path());
        let text = service.text(Path::new("/a<b>/coast")).unwrap();
        assert!(text.contains("<string>/a&lt;b&gt;/coast</string>"), "{text}");
        assert!(text.contains("<key>DOCKER_HOST</key>\n    <string>unix:///a&amp;b %h</string>"), "{text}");
        assert!(service.enable_command().contains("launchctl bootstrap gui/$(id -u)"));
    }

    #[test]
    fn a_program_whose_path_is_no_text_is_refused() {
        use std::os::unix::ffi::OsStrExt;
        let scratch = tempfile::tempdir().unwrap();
        let service = service(Manager::Systemd, scratch.path());
        for path in [b"/a\xff".as_slice(), b"/a\nExecStartPost=x"] {
            assert!(service.install(Path::new(std::ffi::OsStr::from_bytes(path))).is_err());
        }
        assert!(!service.file().exists());
    }
}
