//! An SSH server inside this process. It listens on 127.0.0.1, makes its keys at the start, lets the holders of some keys
//! log in, and has a shell run their commands as child processes.

use russh::keys::{Algorithm, EcdsaCurve, PrivateKey, PublicKey, ssh_key::LineEnding};
use russh::server::{self, Auth, ChannelOpenHandle, Msg, PublicKeyOffer, VerifiedPublicKey};
use russh::{
    Channel, ChannelId, ChannelMsg, ChannelOpenFailure, ChannelReadHalf, MethodKind, MethodSet, Preferred,
    Sig, cipher, compression,
};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// The bytes that a client may send ahead on a channel.
const WINDOW_BYTES: u32 = 8 << 20;
/// The largest piece of data in one packet, in bytes.
const PACKET_BYTES: u32 = 65_535;
/// The bytes that may wait between russh and the socket, in each direction. russh does not read while it writes: without
/// room here two peers that both send would wait for each other for ever.
const SOCKET_BUFFER_BYTES: usize = 32 << 20;
/// The bytes of a command's output that are read at once.
const OUTPUT_BYTES: usize = 256 << 10;

/// How to start an [`EmbeddedServer`].
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// The home directory of every user. Commands start there, and it is their `HOME`.
    pub home: PathBuf,
    /// Public keys that may log in besides the client key that the server makes, in OpenSSH's format.
    pub authorized_keys: Vec<String>,
    /// The kinds of host key to make.
    pub host_keys: Vec<HostKeyKind>,
    /// Whether the server connects to other hosts on behalf of a client (`ProxyJump`).
    pub forwarding: bool,
    /// Environment variables for the commands, besides those of this process.
    pub variables: Vec<(String, String)>,
    /// The login shell: a program, and the arguments that come before the command line.
    pub shell: Vec<String>,
}

/// A kind of host key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKeyKind {
    /// Ed25519.
    Ed25519,
    /// ECDSA over NIST P-256.
    EcdsaP256,
}

impl EmbeddedOptions {
    /// One Ed25519 host key, commands in `home` by `sh -c`, no forwarding.
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

/// A running server. Dropping it ends its connections. A command that still runs then sees the end of its standard input,
/// as with any SSH server.
#[derive(Debug)]
pub struct EmbeddedServer {
    addr: SocketAddr,
    host_keys: Vec<String>,
    client_key: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl EmbeddedServer {
    /// Makes the keys, writes the client's key to a file below the home directory, and listens.
    ///
    /// # Errors
    /// When the key cannot be written, no port is free, or no thread can be started.
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
        let thread = thread::Builder::new().name("embedded-sshd".to_owned()).spawn(move || {
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

    /// The address that the server listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The public host keys in OpenSSH's format, without a comment.
    pub fn host_keys(&self) -> &[String] {
        &self.host_keys
    }

    /// The file of the private key that may log in.
    pub fn client_key(&self) -> &Path {
        &self.client_key
    }
}

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The panic hook has reported a panic of the thread.
            let _ = thread.join();
        }
        // The file may have been removed with its directory.
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
        // A delay protects from guessing, and nobody guesses at a server on the loopback interface.
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

/// The state that all connections share.
struct Host {
    authorized: Vec<PublicKey>,
    options: EmbeddedOptions,
}

impl Host {
    fn answer(&self, key: &PublicKey) -> Auth {
        if self.authorized.iter().any(|known| known.key_data() == key.key_data()) {
            Auth::Accept
        } else {
            Auth::reject()
        }
    }

    fn spawn(&self, command: &[u8]) -> io::Result<Child> {
        let options = &self.options;
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

async fn accept(listener: TcpListener, config: Arc<server::Config>, host: Arc<Host>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // An error, such as no free descriptor, is the client's to notice. The next connection may fare better.
            accepted = listener.accept() => if let Ok((socket, _)) = accepted {
                connections.spawn(serve(socket, Arc::clone(&config), Arc::clone(&host)));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection to its end. The client notices every error that ends it.
async fn serve(mut socket: TcpStream, config: Arc<server::Config>, host: Arc<Host>) {
    // A failure costs time only.
    let _ = socket.set_nodelay(true);
    let (stream, mut relayed) = tokio::io::duplex(SOCKET_BUFFER_BYTES);
    let relay = async { tokio::io::copy_bidirectional(&mut socket, &mut relayed).await };
    let session = async {
        if let Ok(session) = server::run_stream(config, stream, Guest { host, opened: HashMap::new() }).await
        {
            let _ = session.await;
        }
    };
    // The relay still sends the last packets of a session that has ended.
    let _ = tokio::join!(relay, session);
}

/// One connection.
struct Guest {
    host: Arc<Host>,
    /// Channels without a command.
    opened: HashMap<ChannelId, Channel<Msg>>,
}

impl server::Handler for Guest {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(self.host.answer(offer.public_key))
    }

    async fn auth_publickey(
        &mut self,
        _user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(self.host.answer(key.public_key))
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
                    // When either end breaks off, both see the end.
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
        let Some(channel) = self.opened.remove(&id) else { return session.channel_failure(id) };
        match self.host.spawn(command) {
            Ok(child) => {
                tokio::spawn(attend(channel, session.handle(), child));
                session.channel_success(id)
            }
            Err(_) => session.channel_failure(id),
        }
    }
}

/// Moves bytes between a channel and a command until the command ends or the client closes the channel. A command whose
/// channel is closed finds its pipes closed.
async fn attend(channel: Channel<Msg>, handle: server::Handle, mut child: Child) {
    let (received, sent) = channel.split();
    let (queue, queued) = mpsc::unbounded_channel();
    if let Some(stdin) = child.stdin.take() {
        // Nobody waits for this task: a command may end without reading its input.
        tokio::spawn(feed(queued, stdin));
    }
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let status = async {
        tokio::join!(forward(stdout, sent.make_writer()), forward(stderr, sent.make_writer_ext(Some(1))));
        // Fails only when the client is gone, as does every message below.
        let _ = sent.eof().await;
        child.wait().await.unwrap_or_default()
    };
    tokio::select! {
        status = status => {
            let _ = report(status, sent.id(), &handle).await;
        }
        () = take_input(received, queue) => {}
    }
}

async fn report(status: ExitStatus, id: ChannelId, handle: &server::Handle) -> Result<(), ()> {
    match status.signal() {
        Some(signal) => {
            let signal = Sig::Custom(signal.to_string());
            handle.exit_signal_request(id, signal, false, String::new(), String::new()).await?;
        }
        None => {
            let code = u32::try_from(status.code().unwrap_or(255)).unwrap_or(255);
            handle.exit_status_request(id, code).await?;
        }
    }
    handle.close(id).await
}

/// Puts everything that the client sends into `queue`, and ends when the channel is closed. The queue has no limit: russh
/// holds a whole connection while a channel takes no data, so a command that writes before it reads would wait for itself.
async fn take_input(mut received: ChannelReadHalf, queue: mpsc::UnboundedSender<Vec<u8>>) {
    let mut queue = Some(queue);
    loop {
        match received.wait().await {
            // A command that has ended reads no more.
            Some(ChannelMsg::Data { data }) => drop(queue.as_ref().map(|queue| queue.send(data.to_vec()))),
            Some(ChannelMsg::Eof) => queue = None,
            Some(ChannelMsg::Close) | None => return,
            Some(_) => {}
        }
    }
}

/// Writes the queue to a command's standard input, and closes that at the queue's end.
async fn feed(mut queued: mpsc::UnboundedReceiver<Vec<u8>>, mut stdin: impl AsyncWrite + Unpin) {
    while let Some(data) = queued.recv().await {
        // A command may close its input before the end.
        if stdin.write_all(&data).await.is_err() {
            return;
        }
    }
}

/// Moves a command's output to the channel. When the channel is gone the pipe is closed, which the command notices.
async fn forward(from: Option<impl AsyncRead + Unpin>, mut to: impl AsyncWrite + Unpin) {
    if let Some(from) = from {
        let _ = tokio::io::copy_buf(&mut BufReader::with_capacity(OUTPUT_BYTES, from), &mut to).await;
    }
}
