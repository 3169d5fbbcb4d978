//! A real sshd of one test's own, and throw-away users for it. Needs root.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

/// An sshd on 127.0.0.1, stopped by its pid when dropped.
pub(crate) struct Sshd {
    child: Child,
    pub(crate) port: u16,
    dir: TempDir,
}

impl Sshd {
    /// Starts one with an Ed25519 host key, public-key login for `keys`, and `config` before its other lines.
    pub(crate) fn start(keys: &[&str], config: &str) -> Sshd {
        let dir = tempfile::tempdir().unwrap();
        // Users must get through to the file of authorized keys.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all("/run/sshd").expect("sshd needs /run/sshd, and these tests need root");
        let host_key = keygen(dir.path(), "host", &["-t", "ed25519"]);
        let authorized = dir.path().join("authorized");
        fs::write(&authorized, keys.join("\n")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = dir.path().join("sshd_config");
        // Not strict about modes, since the files are below a directory that everyone may write.
        let text = format!(
            "{config}\nListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n",
            host_key.display(),
            authorized.display()
        );
        fs::write(&file, text).unwrap();
        let mut child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("/usr/sbin/sshd must be installed for these tests");
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("Server listening") {
            assert!(log.read_line(&mut said).unwrap() > 0, "sshd did not start: {said}");
        }
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Sshd { child, port, dir }
    }

    /// The file of its public host key.
    pub(crate) fn host_key_file(&self) -> PathBuf {
        self.dir.path().join("host.pub")
    }

    /// Its public host key: algorithm and key, without the comment.
    pub(crate) fn host_key(&self) -> String {
        let line = fs::read_to_string(self.host_key_file()).unwrap();
        line.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A user of the system, removed when dropped.
pub(crate) struct User {
    pub(crate) name: String,
    rule: Option<PathBuf>,
}

/// What the sudoers file says about a user.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sudoer {
    No,
    WithPassword,
    WithoutPassword,
}

impl User {
    pub(crate) fn new(shell: &str, sudoer: Sudoer) -> User {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("coast{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        run("useradd", &["--create-home", "--password", "*", "--shell", shell, &name]);
        let tags = match sudoer {
            Sudoer::No => None,
            Sudoer::WithPassword => Some(""),
            Sudoer::WithoutPassword => Some("NOPASSWD:"),
        };
        let rule = tags.map(|tags| {
            let path = PathBuf::from("/etc/sudoers.d").join(&name);
            let mut file = fs::File::create(&path).expect("sudo must be installed for these tests");
            file.set_permissions(fs::Permissions::from_mode(0o440)).unwrap();
            writeln!(file, "{name} ALL=(ALL) {tags} ALL").unwrap();
            path
        });
        User { name, rule }
    }

    pub(crate) fn home(&self) -> PathBuf {
        Path::new("/home").join(&self.name)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if let Some(rule) = &self.rule {
            fs::remove_file(rule).unwrap();
        }
        // A session's processes may be on their way out still; userdel -f does not mind.
        let _ = Command::new("userdel").args(["--force", "--remove", &self.name]).output();
    }
}

/// Makes a key pair with ssh-keygen, and gives the private key's path.
pub(crate) fn keygen(dir: &Path, name: &str, args: &[&str]) -> PathBuf {
    let path = dir.join(name);
    let mut all = vec!["-q", "-C", name, "-f", path.to_str().unwrap()];
    if !args.contains(&"-N") {
        all.extend(["-N", ""]);
    }
    all.extend(args);
    run("ssh-keygen", &all);
    path
}

pub(crate) fn public(key: &Path) -> String {
    fs::read_to_string(key.with_extension("pub")).unwrap().trim().to_owned()
}

pub(crate) fn run(program: &str, args: &[&str]) -> Output {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} must be installed for these tests: {error}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
