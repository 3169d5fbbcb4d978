//! Parses the value of rsync's `-e`. No program is started. The value must be `ssh` with options that coast's own client has too;
//! everything else is an error that names the word.

use std::path::PathBuf;

/// The connection options in `-e "ssh ..."`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RemoteShell {
    /// `-p`
    pub(crate) port: Option<u16>,
    /// `-l`
    pub(crate) user: Option<String>,
    /// `-i`, in the order given.
    pub(crate) identities: Vec<PathBuf>,
    /// `-o NAME=VALUE`, in the order given; `-J HOST` is `ProxyJump=HOST`.
    pub(crate) options: Vec<SshOption>,
}

/// One `-o NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SshOption {
    /// The option's name as typed. Case does not matter.
    pub(crate) name: String,
    pub(crate) value: String,
}

/// Why a remote-shell command was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RemoteShellError {
    #[error("missing closing {0} in the remote-shell command")]
    OpenQuote(char),
    #[error("the remote-shell command is empty")]
    Empty,
    #[error(
        "cannot use the remote shell {0:?}: coast connects over SSH itself and starts no program; give \"ssh\" and its options"
    )]
    Program(String),
    #[error("the remote-shell option {0:?} is not supported; use -p, -l, -i, -J or -o")]
    Option(String),
    #[error("unexpected {0:?} in the remote-shell command: the host comes from the destination")]
    Word(String),
    #[error("the remote-shell option {0:?} needs a value")]
    NoValue(String),
    #[error("{0:?} is not a port; give a number from 1 to 65535")]
    Port(String),
    #[error("{0:?} is not an ssh option; write NAME=VALUE")]
    NoNameAndValue(String),
}

impl RemoteShell {
    /// Parses the value of `-e`.
    pub(crate) fn parse(command: &str) -> Result<Self, RemoteShellError> {
        let mut words = split_words(command)?.into_iter();
        let program = words.next().ok_or(RemoteShellError::Empty)?;
        if program != "ssh" && !program.ends_with("/ssh") {
            return Err(RemoteShellError::Program(program));
        }

        let mut shell = Self::default();
        while let Some(word) = words.next() {
            let Some(flags) = word.strip_prefix('-') else {
                return Err(RemoteShellError::Word(word));
            };
            let mut letters = flags.chars();
            let letter = letters.next().filter(|letter| "plioJ".contains(*letter));
            let Some(letter) = letter else {
                return Err(RemoteShellError::Option(word));
            };
            let flag = format!("-{letter}");
            let value = match letters.as_str() {
                "" => words.next().ok_or_else(|| RemoteShellError::NoValue(flag.clone()))?,
                attached => attached.to_owned(),
            };
            if value.is_empty() {
                return Err(RemoteShellError::NoValue(flag));
            }
            match letter {
                'p' => shell.port = Some(parse_port(&value)?),
                'l' => shell.user = Some(value),
                'i' => shell.identities.push(PathBuf::from(value)),
                'J' => shell.options.push(SshOption { name: "ProxyJump".to_owned(), value }),
                _ => shell.options.push(SshOption::parse(&value)?),
            }
        }
        Ok(shell)
    }
}

impl SshOption {
    /// Parses `NAME=VALUE` or `NAME VALUE`, as ssh does.
    pub(crate) fn parse(text: &str) -> Result<Self, RemoteShellError> {
        let text = text.trim();
        let end = text.find(|letter: char| letter == '=' || letter.is_whitespace());
        let (name, rest) = text.split_at(end.unwrap_or(text.len()));
        let value = rest.trim_start();
        let value = value.strip_prefix('=').unwrap_or(value).trim();
        if name.is_empty() || value.is_empty() {
            return Err(RemoteShellError::NoNameAndValue(text.to_owned()));
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

/// Parses a port number from 1 to 65535.
pub(crate) fn parse_port(text: &str) -> Result<u16, RemoteShellError> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(RemoteShellError::Port(text.to_owned())),
    }
}

/// Splits a command into words as rsync does: at spaces outside of quotes. Within quotes a doubled quote stands for the quote.
/// A backslash has no special meaning.
fn split_words(command: &str) -> Result<Vec<String>, RemoteShellError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = command.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next() {
                        None => return Err(RemoteShellError::OpenQuote(letter)),
                        Some(closing) if closing == letter => {
                            if letters.next_if_eq(&letter).is_none() {
                                break;
                            }
                            word.push(letter);
                        }
                        Some(inner) => word.push(inner),
                    }
                }
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(name: &str, value: &str) -> SshOption {
        SshOption { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn words_are_split_as_rsync_splits_them() {
        for (command, words) in [
            ("", &[][..]),
            ("  ssh   -p 22  ", &["ssh", "-p", "22"]),
            ("ssh -i '/home/a b/key'", &["ssh", "-i", "/home/a b/key"]),
            ("ssh -o \"User Known\"=x", &["ssh", "-o", "User Known=x"]),
            ("a'b c'd", &["ab cd"]),
            ("'it''s' \"say \"\"hi\"\"\"", &["it's", "say \"hi\""]),
            ("''", &[""]),
            ("a\\ b", &["a\\", "b"]),
        ] {
            assert_eq!(split_words(command).unwrap(), words, "{command:?}");
        }
        assert_eq!(split_words("ssh 'x"), Err(RemoteShellError::OpenQuote('\'')));
    }

    #[test]
    fn options_of_ssh_are_read() {
        let shell = RemoteShell::parse(
            "/usr/bin/ssh -p 2222 -i ~/k1 -ik2 -l dev -oStrictHostKeyChecking=no -o 'UserKnownHostsFile /dev/null' -J jump",
        )
        .unwrap();
        assert_eq!(shell.port, Some(2222));
        assert_eq!(shell.user.as_deref(), Some("dev"));
        assert_eq!(shell.identities, [PathBuf::from("~/k1"), PathBuf::from("k2")]);
        assert_eq!(
            shell.options,
            [
                option("StrictHostKeyChecking", "no"),
                option("UserKnownHostsFile", "/dev/null"),
                option("ProxyJump", "jump"),
            ]
        );
        assert_eq!(RemoteShell::parse("ssh"), Ok(RemoteShell::default()));
    }

    #[test]
    fn what_cannot_be_followed_is_named() {
        for (command, error) in [
            ("", RemoteShellError::Empty),
            ("rsh", RemoteShellError::Program("rsh".to_owned())),
            ("docker exec -i c ssh", RemoteShellError::Program("docker".to_owned())),
            ("notssh", RemoteShellError::Program("notssh".to_owned())),
            ("ssh -A", RemoteShellError::Option("-A".to_owned())),
            ("ssh -Ap 22", RemoteShellError::Option("-Ap".to_owned())),
            ("ssh -", RemoteShellError::Option("-".to_owned())),
            ("ssh host", RemoteShellError::Word("host".to_owned())),
            ("ssh -p", RemoteShellError::NoValue("-p".to_owned())),
            ("ssh -p 0", RemoteShellError::Port("0".to_owned())),
            ("ssh -p 65536", RemoteShellError::Port("65536".to_owned())),
            ("ssh -o Name", RemoteShellError::NoNameAndValue("Name".to_owned())),
            ("ssh -o =x", RemoteShellError::NoNameAndValue("=x".to_owned())),
        ] {
            assert_eq!(RemoteShell::parse(command), Err(error), "{command:?}");
        }
    }
}
