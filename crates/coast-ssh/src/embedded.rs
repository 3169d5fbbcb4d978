//! An SSH server inside this process, for demonstrations and tests: it listens on 127.0.0.1, has keys made for the
//! moment, lets in whoever holds one of the given keys, and runs what is asked for by a shell as a child process.

use crate::link::{Lost, Meter, PipeReader, PipeWriter, Shared, Stream, Transport, block_on, pump};
use russh::keys::{Algorithm, EcdsaCurve, PrivateKey, PublicKey, ssh_key::LineEnding};
use russh::server::{self, Auth, ChannelOpenHandle, Msg, PublicKeyOffer, VerifiedPublicKey};
use russh::{
    Channel, ChannelId, ChannelOpenFailure, MethodKind, MethodSet, Preferred, Sig, cipher, compression,
};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// What may be under way on a channel towards us, in bytes.
const WINDOW_BYTES: u32 = 8 << 20;
/// The largest piece of data taken in one packet, in bytes.
const PACKET_BYTES: u32 = 65_535;
/// How much of a child's output is sent at once.
const OUTPUT_BYTES: usize = 256 << 10;

/// What the server is to be.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EmbeddedOptions {
    /// The home directory of everyone who logs in: where commands start, and their `HOME`.
    pub home: PathBuf,
    /// Public keys to let in, in OpenSSH's format, besides the one made for the moment.
    pub authorized_keys: Vec<String>,
    /// The kinds of host key to make.
    pub host_keys: Vec<HostKeyKind>,
    /// Whether it connects to other hosts on behalf of a client (`ProxyJump`).
    pub forwarding: bool,
    /// Environment variables for the commands, besides this process's own.
    pub variables: Vec<(String, String)>,
    /// The login shell: a program and the arguments that come before the command line.
    pub shell: Vec<String>,
}

/// A kind of host key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostKeyKind {
    /// Ed25519.
    Ed25519,
    /// ECDSA over NIST P-256.
    EcdsaP256,
}

impl EmbeddedOptions {
    /// One Ed25519 host key, commands in `home`, no forwarding.
    pub fn new(home: impl Into<PathBuf>) -> EmbeddedOptions {
        EmbeddedOptions {
            home: home.into(),
            authorized_keys: Vec::new(),
            host_keys: vec![HostKeyKind::Ed25519],
            forwarding: false,
            variables: Vec::new(),
            shell: vec!["sh".to_owned(), "-c".to_owned()],
        }
    }
}

/// A running server. When this is dropped it takes no more connections and ends those it has; a command that still runs
/// then sees the end of its standard input, as with any SSH server.
#[derive(Debug)]
pub struct EmbeddedServer {
    addr: SocketAddr,
    host_keys: Vec<String>,
    client_key: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl EmbeddedServer {
    /// Makes the keys, writes the client's one to a file below the home directory, and listens.
    ///
    /// # Errors
    /// When the key cannot be written, no port can be had, or no thread can be started.
    pub fn start(options: EmbeddedOptions) -> io::Result<EmbeddedServer> {
        let mut rng = russh::keys::key::safe_rng();
        let mut new_key = |algorithm| PrivateKey::random(&mut rng, algorithm).map_err(io::Error::other);
        let kinds = options.host_keys.iter().map(|kind| kind.algorithm());
        let host_keys = kinds.map(&mut new_key).collect::<io::Result<Vec<_>>>()?;
        let client_key = new_key(Algorithm::Ed25519)?;
        let mut authorized = vec![client_key.public_key().clone()];
        for key in &options.authorized_keys {
            authorized.push(PublicKey::from_openssh(key).map_err(io::Error::other)?);
        }

        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let addr = listener.local_addr()?;
        let client_key = write_key(&options.home, addr.port(), &client_key)?;
        let public = |key: &PrivateKey| key.public_key().to_openssh().map_err(io::Error::other);
        let public_host_keys = host_keys.iter().map(public).collect::<io::Result<Vec<_>>>()?;

        let config = Arc::new(server_config(host_keys));
        let host = Arc::new(Host { authorized, options });
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name("coast-ssh-server".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, config, host) => {}
                    // Ends when the sender is dropped.
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        })?;
        Ok(EmbeddedServer {
            addr,
            host_keys: public_host_keys,
            client_key,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its public host keys in OpenSSH's format, without a comment.
    pub fn host_keys(&self) -> &[String] {
        &self.host_keys
    }

    /// The file with the private key that it lets in.
    pub fn client_key(&self) -> &Path {
        &self.client_key
    }
}

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the panic hook.
            let _ = thread.join();
        }
        // It may have gone with its directory.
        let _ = fs::remove_file(&self.client_key);
    }
}

fn write_key(home: &Path, port: u16, key: &PrivateKey) -> io::Result<PathBuf> {
    let dir = home.join(".ssh");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    let path = dir.join(format!("embedded-{port}"));
    let text = key.to_openssh(LineEnding::LF).map_err(io::Error::other)?;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    file.write_all(text.as_bytes())?;
    Ok(path)
}

fn server_config(keys: Vec<PrivateKey>) -> server::Config {
    server::Config {
        keys,
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        // Nobody guesses at a server that lives for a moment on the loopback interface.
        auth_rejection_time: Duration::ZERO,
        inactivity_timeout: None,
        window_size: WINDOW_BYTES,
        maximum_packet_size: PACKET_BYTES,
        nodelay: true,
        preferred: Preferred {
            cipher: Cow::Borrowed(&[cipher::AES_128_GCM, cipher::AES_256_GCM, cipher::CHACHA20_POLY1305]),
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        ..server::Config::default()
    }
}

impl HostKeyKind {
    fn algorithm(self) -> Algorithm {
        match self {
            HostKeyKind::Ed25519 => Algorithm::Ed25519,
            HostKeyKind::EcdsaP256 => Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        }
    }
}

/// What all connections share.
struct Host {
    authorized: Vec<PublicKey>,
    options: EmbeddedOptions,
}

async fn accept(listener: TcpListener, config: Arc<server::Config>, host: Arc<Host>) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Out of descriptors, say: the client sees a refusal, the next one may fare better.
                Err(_) => continue,
            },
            Some(_) = connections.join_next() => continue,
        };
        // Costs time only if it fails.
        let _ = stream.set_nodelay(true);
        let meter = Arc::new(Meter::default());
        let guest = Guest {
            host: Arc::clone(&host),
            meter: Arc::clone(&meter),
            lost: Lost::new("client"),
            opened: HashMap::new(),
        };
        let config = Arc::clone(&config);
        connections.spawn(async move {
            // How a connection ends is the client's to tell.
            if let Ok(session) = server::run_stream(config, Transport::new(stream, meter), guest).await {
                let _ = session.await;
            }
        });
    }
}

/// One connection.
struct Guest {
    host: Arc<Host>,
    meter: Arc<Meter>,
    lost: Lost,
    /// Channels on which nothing runs yet.
    opened: HashMap<ChannelId, Channel<Msg>>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.lost.set("it was closed");
    }
}

impl Guest {
    fn judge(&self, key: &PublicKey) -> Auth {
        if self.host.authorized.iter().any(|known| known.key_data() == key.key_data()) {
            Auth::Accept
        } else {
            Auth::reject()
        }
    }

    fn run(&self, channel: Channel<Msg>, command: &[u8], handle: server::Handle) -> io::Result<()> {
        let id = channel.id();
        let child = self.spawn(command)?;
        let shared = Shared::new(Arc::clone(&self.meter), self.lost.clone());
        let (read_half, write_half) = channel.split();
        let half = Arc::new(write_half);
        tokio::spawn(pump(read_half, Arc::clone(&shared)));
        let writer = |stream| PipeWriter::new(Arc::clone(&half), stream, Arc::clone(&shared));
        let streams = Streams {
            input: PipeReader::new(Arc::clone(&shared)),
            output: writer(Stream::Main),
            errors: writer(Stream::Error),
        };
        thread::Builder::new().name("coast-ssh-command".to_owned()).spawn(move || {
            let status = streams.attend(child);
            // Fails only when the client is gone.
            let _ = block_on(async {
                if let Some(signal) = status.signal() {
                    let signal = Sig::Custom(signal.to_string());
                    handle.exit_signal_request(id, signal, false, String::new(), String::new()).await?;
                } else {
                    let code = u32::try_from(status.code().unwrap_or(255)).unwrap_or(255);
                    handle.exit_status_request(id, code).await?;
                }
                handle.close(id).await
            });
        })?;
        Ok(())
    }

    fn spawn(&self, command: &[u8]) -> io::Result<Child> {
        let options = &self.host.options;
        let no_shell = || io::Error::new(io::ErrorKind::InvalidInput, "no login shell is set");
        let (shell, before) = options.shell.split_first().ok_or_else(no_shell)?;
        Command::new(shell)
            .args(before)
            .arg(OsStr::from_bytes(command))
            .current_dir(&options.home)
            .env("HOME", &options.home)
            .env("PWD", &options.home)
            .envs(options.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }
}

impl server::Handler for Guest {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(self.judge(offer.public_key))
    }

    async fn auth_publickey(
        &mut self,
        _user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(self.judge(key.public_key))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        self.opened.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        if !self.host.options.forwarding {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        }
        let host = host.to_owned();
        tokio::spawn(async move {
            let port = u16::try_from(port).unwrap_or_default();
            match TcpStream::connect((host, port)).await {
                Ok(mut stream) => {
                    reply.accept().await;
                    // Either end may break off; both then see the end.
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut channel.into_stream()).await;
                }
                Err(_) => reply.reject(ChannelOpenFailure::ConnectFailed).await,
            }
        });
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        let started = match self.opened.remove(&id) {
            Some(channel) => self.run(channel, command, session.handle()).is_ok(),
            None => false,
        };
        if started { session.channel_success(id) } else { session.channel_failure(id) }
    }
}

/// The three streams of a command.
struct Streams {
    input: PipeReader,
    output: PipeWriter<Msg>,
    errors: PipeWriter<Msg>,
}

impl Streams {
    /// Moves bytes between `child` and the channel until its output ends, and waits for its end.
    fn attend(self, mut child: Child) -> ExitStatus {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let Streams { mut input, output, errors } = self;
        // Not waited for: a command may end without reading its input to the end.
        thread::spawn(move || {
            if let Some(mut stdin) = stdin {
                // Fails when the command reads no more, which is the command's to decide.
                let _ = io::copy(&mut BufReader::with_capacity(OUTPUT_BYTES, &mut input), &mut stdin);
            }
        });
        thread::scope(|scope| {
            scope.spawn(|| stderr.map(|stderr| forward(stderr, errors)));
            if let Some(stdout) = stdout {
                forward(stdout, output);
            }
        });
        child.wait().unwrap_or_default()
    }
}

/// Moves a child's output to the channel. When the channel is gone the child's pipe is closed, and the child told so.
fn forward(mut from: impl Read, mut to: PipeWriter<Msg>) {
    let mut buffer = vec![0; OUTPUT_BYTES];
    loop {
        let len = match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        if to.write_all(&buffer[..len]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}
