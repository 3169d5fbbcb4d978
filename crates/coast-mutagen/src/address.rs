//! The address of the Docker engine: `DOCKER_HOST`, else the context that `DOCKER_CONTEXT` or Docker's configuration names, else
//! `/var/run/docker.sock`. The files are those of Docker's own command line (`config.json`, `contexts/meta/*/meta.json`).

use crate::error::{MutagenError, Step};
use serde::Deserialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The socket of an engine with the default configuration.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// The context name that means the default socket.
const DEFAULT_CONTEXT: &str = "default";

/// The environment variables and the directory that tell the address of the Docker engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DockerEnvironment {
    /// The value of `DOCKER_HOST`.
    pub host: Option<String>,
    /// The value of `DOCKER_CONTEXT`.
    pub context: Option<String>,
    /// The directory of Docker's configuration: `DOCKER_CONFIG`, or `~/.docker`.
    pub config_dir: Option<PathBuf>,
    /// Whether `DOCKER_TLS_VERIFY` asks for TLS.
    pub tls: bool,
}

impl DockerEnvironment {
    /// Reads the environment of this process.
    pub fn from_process() -> DockerEnvironment {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        DockerEnvironment {
            host: text("DOCKER_HOST"),
            context: text("DOCKER_CONTEXT"),
            config_dir: text("DOCKER_CONFIG")
                .map(PathBuf::from)
                .or_else(|| std::env::home_dir().map(|home| home.join(".docker"))),
            tls: text("DOCKER_TLS_VERIFY").is_some(),
        }
    }

    /// An environment in which `DOCKER_HOST` is this address and nothing else is set.
    pub fn isolated(host: impl Into<String>) -> DockerEnvironment {
        DockerEnvironment { host: Some(host.into()), ..DockerEnvironment::default() }
    }

    /// Determines the address.
    pub(crate) fn address(&self) -> Result<Address, MutagenError> {
        if let Some(host) = &self.host {
            if self.tls && !host.starts_with("unix:") {
                return Err(unusable("DOCKER_TLS_VERIFY", NO_TLS));
            }
            return Address::parse(host).map_err(|problem| unusable("DOCKER_HOST", &problem));
        }
        let (context, said_by) = match &self.context {
            Some(context) => (Some(context.clone()), "DOCKER_CONTEXT".to_owned()),
            None => self.configured_context()?,
        };
        match context {
            Some(context) if context != DEFAULT_CONTEXT => self.context_address(&context, &said_by),
            _ => Ok(Address::Socket(PathBuf::from(DEFAULT_SOCKET))),
        }
    }

    fn configured_context(&self) -> Result<(Option<String>, String), MutagenError> {
        let Some(dir) = &self.config_dir else { return Ok((None, String::new())) };
        let path = dir.join("config.json");
        let place = path.display().to_string();
        let config: Option<Config> = read_json(&path)?;
        Ok((config.and_then(|config| config.current_context).filter(|name| !name.is_empty()), place))
    }

    /// Looks for a context in all of Docker's context files. Each file holds the context's name.
    fn context_address(&self, context: &str, said_by: &str) -> Result<Address, MutagenError> {
        let meta = self.config_dir.as_deref().unwrap_or(Path::new(".docker")).join("contexts/meta");
        let entries = match fs::read_dir(&meta) {
            Ok(entries) => {
                entries.collect::<Result<Vec<_>, _>>().map_err(|error| unreadable(&meta, error))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(unreadable(&meta, error)),
        };
        for entry in entries {
            let path = entry.path().join("meta.json");
            let Some(found) = read_json::<Context>(&path)?.filter(|found| found.name == context) else {
                continue;
            };
            let place = path.display().to_string();
            let endpoint =
                found.endpoints.docker.ok_or_else(|| unusable(&place, "it names no Docker engine"))?;
            let address = match endpoint.host.as_str() {
                "" => Ok(Address::Socket(PathBuf::from(DEFAULT_SOCKET))),
                host => Address::parse(host),
            };
            return address.map_err(|problem| unusable(&place, &problem));
        }
        let problem = format!("there is no Docker context {context:?} (looked in {})", meta.display());
        Err(unusable(said_by, &problem))
    }
}

const NO_TLS: &str = "Docker over TLS is not supported: the shell container mounts a worktree of this machine, so it \
                      takes an engine of this machine, by its socket";

/// An address to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Socket(PathBuf),
    /// `host:port`.
    Tcp(String),
}

impl Address {
    fn parse(text: &str) -> Result<Address, String> {
        if let Some(path) = text.strip_prefix("unix://") {
            return match path {
                "" => Err(format!("{text:?} names no socket")),
                path => Ok(Address::Socket(PathBuf::from(path))),
            };
        }
        if let Some(rest) = text.strip_prefix("tcp://").or_else(|| text.strip_prefix("http://")) {
            let host = rest.trim_end_matches('/');
            if host.is_empty() || host.contains('/') {
                return Err(format!("{text:?} is not tcp://HOST:PORT"));
            }
            // 2375 is the port registered for Docker without TLS.
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            return Ok(Address::Tcp(if has_port { host.to_owned() } else { format!("{host}:2375") }));
        }
        match text.split_once("://") {
            Some(("https", _)) => Err(NO_TLS.to_owned()),
            Some(("ssh", _)) => Err(format!(
                "{text:?}: Docker over ssh is not supported: the shell container mounts a worktree of this machine"
            )),
            Some((scheme, _)) => Err(format!("{scheme}:// is not supported; unix:// and tcp:// are")),
            None => Err(format!("{text:?} is neither unix://PATH nor tcp://HOST:PORT")),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Socket(path) => write!(f, "unix://{}", path.display()),
            Address::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}

#[derive(Deserialize)]
struct Config {
    #[serde(rename = "currentContext")]
    current_context: Option<String>,
}

#[derive(Deserialize)]
struct Context {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Endpoints", default)]
    endpoints: Endpoints,
}

#[derive(Deserialize, Default)]
struct Endpoints {
    docker: Option<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(rename = "Host", default)]
    host: String,
}

/// Parses a file; `None` if it does not exist.
fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Option<T>, MutagenError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| unusable(&path.display().to_string(), &error.to_string())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(unreadable(path, error)),
    }
}

fn unusable(place: &str, problem: &str) -> MutagenError {
    MutagenError::DockerAddress { place: place.to_owned(), problem: problem.to_owned() }
}

fn unreadable(path: &Path, error: io::Error) -> MutagenError {
    MutagenError::Read { step: Step::Docker, path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_context(name: &str, host: &str) -> (tempfile::TempDir, DockerEnvironment) {
        let dir = tempfile::tempdir().unwrap();
        let meta = dir.path().join("contexts/meta/0123abc");
        fs::create_dir_all(&meta).unwrap();
        fs::write(dir.path().join("config.json"), format!(r#"{{"auths":{{}},"currentContext":"{name}"}}"#))
            .unwrap();
        let text = format!(
            r#"{{"Name":"desk","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{host}","SkipTLSVerify":false}}}}}}"#
        );
        fs::write(meta.join("meta.json"), text).unwrap();
        let environment =
            DockerEnvironment { config_dir: Some(dir.path().to_owned()), ..DockerEnvironment::default() };
        (dir, environment)
    }

    #[test]
    fn with_nothing_said_it_is_the_usual_socket() {
        let usual = Address::Socket("/var/run/docker.sock".into());
        assert_eq!(DockerEnvironment::default().address().unwrap(), usual);
        let (_dir, environment) = with_context("default", "unix:///elsewhere");
        assert_eq!(environment.address().unwrap(), usual);
    }

    #[test]
    fn the_current_context_is_followed_and_docker_host_goes_before_it() {
        let (_dir, mut environment) = with_context("desk", "unix:///run/desk.sock");
        assert_eq!(environment.address().unwrap().to_string(), "unix:///run/desk.sock");
        environment.context = Some("default".to_owned());
        assert_eq!(environment.address().unwrap().to_string(), "unix:///var/run/docker.sock");
        environment.host = Some("tcp://127.0.0.1".to_owned());
        assert_eq!(environment.address().unwrap().to_string(), "tcp://127.0.0.1:2375");
    }

    #[test]
    fn a_context_that_is_missing_is_an_error_that_names_it_and_who_asks_for_it() {
        let (dir, environment) = with_context("office", "unix:///run/desk.sock");
        let error = environment.address().unwrap_err();
        let expected = format!(
            "{0}/config.json: there is no Docker context \"office\" (looked in {0}/contexts/meta)",
            dir.path().display()
        );
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.step(), Step::Docker);
    }

    #[test]
    fn addresses_that_cannot_be_used_say_what_can() {
        for (host, part) in [
            ("ssh://me@host", "over ssh is not supported"),
            ("https://host:2376", "over TLS is not supported"),
            ("npipe:////./pipe/docker_engine", "unix:// and tcp:// are"),
            ("/var/run/docker.sock", "neither unix://PATH nor tcp://HOST:PORT"),
            ("unix://", "names no socket"),
        ] {
            let error = DockerEnvironment::isolated(host).address().unwrap_err().to_string();
            assert!(error.starts_with("DOCKER_HOST: ") && error.contains(part), "{error}");
        }
    }
}
