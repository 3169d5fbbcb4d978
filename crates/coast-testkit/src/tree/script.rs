//! A tree as a script for bash, so that a failed comparison can be repeated by hand.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Entry, Node, Tree};

impl Tree {
    /// Shell commands (bash) that build this tree at `at`.
    #[must_use]
    pub fn script(&self, at: &str) -> String {
        let mut script = format!("mkdir -p {at}\n");
        for entry in &self.entries {
            let path = quote(Path::new(at).join(&entry.path).as_os_str().as_bytes());
            if let Some(parent) =
                entry.path.parent().filter(|parent| !self.holds(parent) && *parent != Path::new(""))
            {
                let parent = quote(Path::new(at).join(parent).as_os_str().as_bytes());
                script.push_str(&format!("mkdir -p -- {parent}; "));
            }
            script.push_str(&format!("{}{}\n", entry.node.command(&path), entry.attributes(&path)));
        }
        // Directories get their times last, when nothing below them changes any more, and the innermost first.
        let directories =
            self.entries.iter().rev().filter(|entry| entry.node == Node::Dir && entry.mtime.is_some());
        for entry in directories {
            let path = quote(Path::new(at).join(&entry.path).as_os_str().as_bytes());
            script.push_str(&format!("{}\n", entry.touch(&path)));
        }
        script
    }
}

impl Entry {
    /// Commands that set the attributes which the command that makes the entry did not set.
    fn attributes(&self, path: &str) -> String {
        let usual = if self.node == Node::Dir { 0o755 } else { 0o644 };
        let mut commands = String::new();
        if let Some((uid, gid)) = self.owner.filter(|owner| *owner != (0, 0)) {
            commands.push_str(&format!("; chown -h {uid}:{gid} -- {path}"));
        }
        if let Some(mode) = self.mode.filter(|mode| *mode != usual && !matches!(self.node, Node::Symlink(_)))
        {
            commands.push_str(&format!("; chmod {mode:o} -- {path}"));
        }
        if self.mtime.is_some() && self.node != Node::Dir {
            commands.push_str(&format!("; {}", self.touch(path)));
        }
        commands
    }

    fn touch(&self, path: &str) -> String {
        let (seconds, nanoseconds) = self.mtime.unwrap_or_default();
        let fraction = if nanoseconds == 0 { String::new() } else { format!(".{nanoseconds:09}") };
        format!("touch -h -d @{seconds}{fraction} -- {path}")
    }
}

impl Node {
    fn command(&self, path: &str) -> String {
        match self {
            Self::File(content) if content.len() <= 400 => format!("printf %s {} > {path}", quote(content)),
            Self::File(content) => format!(
                "head -c {} /dev/zero | tr '\\0' {} > {path}   # content differs in the test",
                content.len(),
                quote(&content[..1])
            ),
            Self::Sparse { size, pieces } => {
                let mut command = format!("truncate -s {size} {path}");
                for (offset, bytes) in pieces {
                    let _ = write!(
                        command,
                        "; head -c {} /dev/urandom | dd of={path} bs=64K oflag=seek_bytes seek={offset} conv=notrunc status=none",
                        bytes.len()
                    );
                }
                command
            }
            Self::Dir => format!("mkdir -p -- {path}"),
            Self::Symlink(target) => format!("ln -s -- {} {path}", quote(target.as_bytes())),
            Self::Fifo => format!("mkfifo -- {path}"),
            Self::Socket => {
                format!("python3 -c 'import sys,os,stat; os.mknod(sys.argv[1], stat.S_IFSOCK|0o644)' {path}")
            }
            Self::CharDevice(major, minor) => format!("mknod -- {path} c {major} {minor}"),
            Self::BlockDevice(major, minor) => format!("mknod -- {path} b {major} {minor}"),
        }
    }
}

/// `bytes` as one word of a bash command line.
#[must_use]
pub fn quote(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+=,:@".contains(byte);
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    if bytes.iter().all(|byte| (0x20..0x7f).contains(byte) && *byte != b'\'') {
        return format!("'{}'", String::from_utf8_lossy(bytes));
    }
    format!("$'{}'", bytes.escape_ascii().to_string().replace("\\\"", "\""))
}
