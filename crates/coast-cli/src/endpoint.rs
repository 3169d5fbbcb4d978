//! A source or destination as rsync spells it: a local path, or `[USER@]HOST:PATH`.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::remote_shell::parse_port;

/// A source or destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A path on this machine, as typed.
    Local(PathBuf),
    /// A path on another machine.
    Remote(RemoteEndpoint),
}

/// A path on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemoteEndpoint {
    /// The user to log in as, if given.
    pub(crate) user: Option<String>,
    /// Host name, alias of the ssh configuration, or address (without brackets).
    pub(crate) host: String,
    /// The port. Only the `ssh://` form has one.
    pub(crate) port: Option<u16>,
    /// The path. A relative path starts at the user's home directory; an empty path is the home directory.
    pub(crate) path: PathBuf,
}

/// Why a source or destination was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EndpointError {
    #[error("a source or destination is empty; write . for the current directory")]
    Empty,
    #[error("{0:?} names an rsync daemon, and coast connects over SSH only; write HOST:PATH")]
    Daemon(String),
    #[error("{0:?} names no host; write ./{0} for a local path with a colon")]
    NoHost(String),
    #[error("the host in {0:?} is not valid UTF-8")]
    NotText(String),
    #[error("{address:?}: {port:?} is not a port; give a number from 1 to 65535")]
    Port { address: String, port: String },
    #[error("{0:?}: coast does not look up the home directory of another user; give the whole path")]
    OtherHome(String),
}

impl Endpoint {
    /// Parses a source or destination. A colon before the first slash makes it remote.
    pub(crate) fn parse(typed: &OsStr) -> Result<Self, EndpointError> {
        let bytes = typed.as_bytes();
        let shown = || typed.to_string_lossy().into_owned();
        if bytes.is_empty() {
            return Err(EndpointError::Empty);
        }
        if starts_with_ignoring_case(bytes, b"rsync://") {
            return Err(EndpointError::Daemon(shown()));
        }
        if starts_with_ignoring_case(bytes, b"ssh://") {
            return parse_url(&bytes[b"ssh://".len()..], &shown).map(Self::Remote);
        }
        let Some(colon) = host_end(bytes).filter(|end| bytes.get(*end) == Some(&b':')) else {
            return Ok(Self::Local(PathBuf::from(typed)));
        };
        let path = &bytes[colon + 1..];
        if path.first() == Some(&b':') {
            return Err(EndpointError::Daemon(shown()));
        }
        let (user, host) = user_and_host(&bytes[..colon], &shown)?;
        Ok(Self::Remote(RemoteEndpoint { user, host, port: None, path: home_relative(path, &shown)? }))
    }
}

/// Returns the index of the colon or slash that ends `[USER@]HOST`, or `None` if there is none or if brackets do not match.
fn host_end(bytes: &[u8]) -> Option<usize> {
    let mut host_start = 0;
    let mut index = 0;
    loop {
        match *bytes.get(index)? {
            b':' | b'/' => return Some(index),
            b'@' => host_start = index + 1,
            b'[' => {
                if index != host_start {
                    return None;
                }
                let length = bytes[index..].iter().position(|byte| matches!(byte, b']' | b'/'))?;
                index += length;
                let closed = bytes[index] == b']' && length > 1;
                if !closed || !matches!(bytes.get(index + 1), None | Some(b':' | b'/')) {
                    return None;
                }
            }
            _ => {}
        }
        index += 1;
    }
}

/// Parses `[USER@]HOST[:PORT][/PATH]`, the part after `ssh://`. A path `/~/x` is relative to the home directory.
fn parse_url(bytes: &[u8], shown: &dyn Fn() -> String) -> Result<RemoteEndpoint, EndpointError> {
    let end = host_end(bytes).unwrap_or(bytes.len());
    let (user, host) = user_and_host(&bytes[..end], shown)?;
    let mut rest = &bytes[end..];
    let mut port = None;
    if let Some(after) = rest.strip_prefix(b":") {
        let digits = after.iter().position(|byte| *byte == b'/').unwrap_or(after.len());
        let text = String::from_utf8_lossy(&after[..digits]);
        if !text.is_empty() {
            let bad = |_| EndpointError::Port { address: shown(), port: text.clone().into_owned() };
            port = Some(parse_port(&text).map_err(bad)?);
        }
        rest = &after[digits..];
    }
    let path = if rest.starts_with(b"/~") { &rest[1..] } else { rest };
    Ok(RemoteEndpoint { user, host, port, path: home_relative(path, shown)? })
}

fn user_and_host(
    bytes: &[u8],
    shown: &dyn Fn() -> String,
) -> Result<(Option<String>, String), EndpointError> {
    let text = str::from_utf8(bytes).map_err(|_| EndpointError::NotText(shown()))?;
    let (user, host) = match text.rsplit_once('@') {
        Some((user, host)) => (Some(user.to_owned()).filter(|user| !user.is_empty()), host),
        None => (None, text),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err(EndpointError::NoHost(shown()));
    }
    Ok((user, host.to_owned()))
}

/// Removes a leading `~/`: relative paths start at the home directory anyway.
fn home_relative(path: &[u8], shown: &dyn Fn() -> String) -> Result<PathBuf, EndpointError> {
    let path = match path.strip_prefix(b"~") {
        None => path,
        Some(b"") => b"",
        Some([b'/', rest @ ..]) => {
            let slashes = rest.iter().take_while(|byte| **byte == b'/').count();
            &rest[slashes..]
        }
        Some(_) => return Err(EndpointError::OtherHome(shown())),
    };
    Ok(PathBuf::from(std::ffi::OsString::from_vec(path.to_vec())))
}

fn starts_with_ignoring_case(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(typed: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::parse(OsStr::new(typed))
    }

    fn remote(user: Option<&str>, host: &str, port: Option<u16>, path: &str) -> Endpoint {
        Endpoint::Remote(RemoteEndpoint {
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port,
            path: PathBuf::from(path),
        })
    }

    #[test]
    fn a_path_without_a_colon_before_its_first_slash_is_local() {
        for typed in
            ["dir", "dir/", "/abs", "./a:b", "dir/a:b", ".", "~", "user@host", "[::1]", "[::1]x:p", "a[b]:c"]
        {
            assert_eq!(parse(typed), Ok(Endpoint::Local(PathBuf::from(typed))), "{typed}");
        }
    }

    #[test]
    fn remote_forms_are_read() {
        for (typed, expected) in [
            ("host:/data/x", remote(None, "host", None, "/data/x")),
            ("host:rel/x/", remote(None, "host", None, "rel/x/")),
            ("host:", remote(None, "host", None, "")),
            ("host:~", remote(None, "host", None, "")),
            ("host:~/x", remote(None, "host", None, "x")),
            ("host:~//x", remote(None, "host", None, "x")),
            ("host:a:b", remote(None, "host", None, "a:b")),
            ("dev@host:/x", remote(Some("dev"), "host", None, "/x")),
            ("dev@corp@host:/x", remote(Some("dev@corp"), "host", None, "/x")),
            ("[::1]:path", remote(None, "::1", None, "path")),
            ("dev@[fe80::1%eth0]:/x", remote(Some("dev"), "fe80::1%eth0", None, "/x")),
            ("ssh://host/path", remote(None, "host", None, "/path")),
            ("SSH://dev@host:2222/a/b", remote(Some("dev"), "host", Some(2222), "/a/b")),
            ("ssh://[::1]:22/x", remote(None, "::1", Some(22), "/x")),
            ("ssh://host/~/x", remote(None, "host", None, "x")),
            ("ssh://host", remote(None, "host", None, "")),
            ("ssh://host:22", remote(None, "host", Some(22), "")),
            ("ssh://host:/x", remote(None, "host", None, "/x")),
        ] {
            assert_eq!(parse(typed), Ok(expected), "{typed}");
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        let text = str::to_owned;
        for (typed, error) in [
            ("", EndpointError::Empty),
            ("host::module/x", EndpointError::Daemon(text("host::module/x"))),
            ("rsync://host/module", EndpointError::Daemon(text("rsync://host/module"))),
            (":path", EndpointError::NoHost(text(":path"))),
            ("dev@:path", EndpointError::NoHost(text("dev@:path"))),
            ("ssh:///path", EndpointError::NoHost(text("ssh:///path"))),
            ("ssh://h:x/p", EndpointError::Port { address: text("ssh://h:x/p"), port: text("x") }),
            ("host:~bob/x", EndpointError::OtherHome(text("host:~bob/x"))),
        ] {
            assert_eq!(parse(typed), Err(error), "{typed}");
        }
        let invalid = Endpoint::parse(OsStr::from_bytes(b"h\xff:x"));
        assert!(matches!(invalid, Err(EndpointError::NotText(_))), "{invalid:?}");
    }

    #[test]
    fn a_path_may_hold_any_bytes() {
        let parsed = Endpoint::parse(OsStr::from_bytes(b"host:/x\xff\n")).unwrap();
        let Endpoint::Remote(remote) = parsed else { panic!("{parsed:?}") };
        assert_eq!(remote.path.as_os_str().as_bytes(), b"/x\xff\n");
    }
}
