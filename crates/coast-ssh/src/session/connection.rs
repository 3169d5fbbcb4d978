//! An authenticated connection and its thread. The thread runs a single-threaded runtime, which reads, writes and
//! encrypts, and which asks the server for signs of life.

use crate::config::HostSettings;
use crate::error::SshError;
use crate::link::{Lost, Meter, block_on};
use crate::login::{Client, Established, HostKey, Peer, Prompt, PromptCall, Prompts, is_on_record};
use russh::client::{self, Handle};
use russh::keys::PublicKey;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime;
use tokio::sync::oneshot;

/// How long closing a connection may take.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// An authenticated connection. Dropping it closes the connection.
pub(crate) struct Connection {
    endpoint: Endpoint,
    runtime: runtime::Handle,
    /// The shortest time in which the server has answered a request, in nanoseconds.
    round_trip: AtomicU64,
    /// Dropping the sender has the thread close the connection.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Connection {
    /// Starts the thread and has it run `establish`. The questions of `establish` are answered on the calling thread, with
    /// `prompt`.
    ///
    /// # Errors
    /// When the thread cannot be started, or `establish` fails.
    pub(crate) fn start<F>(
        establish: impl FnOnce(Prompts) -> F + Send + 'static,
        prompt: &dyn Prompt,
    ) -> Result<Connection, SshError>
    where
        F: Future<Output = Result<Established, SshError>>,
    {
        let (calls, incoming_calls) = mpsc::channel();
        let (result_sender, result) = oneshot::channel();
        let runtime =
            runtime::Builder::new_current_thread().enable_all().build().map_err(SshError::Runtime)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new()
            .name("coast-ssh".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let established = establish(Prompts::new(calls.clone())).await;
                    // The two sends here fail only when the calling thread has ended.
                    let _ = calls.send(PromptCall::End);
                    let chain = match established.map(Chain::watch) {
                        Ok(chain) => chain,
                        Err(error) => {
                            let _ = result_sender.send(Err(error));
                            return;
                        }
                    };
                    if result_sender.send(Ok(chain.destination.clone())).is_ok() {
                        tokio::select! {
                            // Completes when the `Connection` is dropped.
                            _ = stopped => {}
                            () = chain.destination.lost.wait() => {}
                        }
                    }
                    chain.disconnect().await;
                });
                // A name lookup cannot be cancelled, and is not waited for.
                runtime.shutdown_background();
            })
            .map_err(SshError::Runtime)?;
        for call in incoming_calls {
            match call {
                PromptCall::End => break,
                call => call.answer(prompt),
            }
        }
        let ended_early = |_| Err(SshError::Runtime(io::Error::other("it ended early")));
        let endpoint = result.blocking_recv().unwrap_or_else(ended_early)?;
        let round_trip = AtomicU64::new(u64::MAX);
        Ok(Connection { endpoint, runtime: handle, round_trip, stop: Some(stop), thread: Some(thread) })
    }

    pub(crate) fn host(&self) -> &str {
        &self.endpoint.host
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.endpoint.peer
    }

    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.endpoint.meter
    }

    pub(crate) fn lost(&self) -> &Lost {
        &self.endpoint.lost
    }

    pub(crate) fn runtime(&self) -> &runtime::Handle {
        &self.runtime
    }

    /// Whether the files of known hosts still have the keys of all hosts on the way.
    pub(crate) fn is_on_record(&self) -> bool {
        self.endpoint.hosts.iter().all(|(settings, key)| {
            PublicKey::from_openssh(&key.openssh).is_ok_and(|key| is_on_record(settings, &key))
        })
    }

    /// Opens a channel for a command. Gives up when `lost` is set.
    pub(crate) fn open_session(&self, lost: &Lost) -> Result<russh::Channel<client::Msg>, SshError> {
        self.timed(|| self.run(self.endpoint.handle.channel_open_session(), lost))
    }

    /// Asks the server for a sign of life, and answers the shortest time in which it has answered a request so far. One answer may
    /// wait behind other data, and another one for a process that the server starts.
    pub(crate) fn round_trip(&self, lost: &Lost) -> Result<Duration, SshError> {
        self.timed(|| self.run(self.endpoint.handle.send_ping(), lost))?;
        Ok(Duration::from_nanos(self.round_trip.load(Ordering::Relaxed)))
    }

    fn timed<T>(&self, request: impl FnOnce() -> Result<T, SshError>) -> Result<T, SshError> {
        let started = Instant::now();
        let answer = request()?;
        let time = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.round_trip.fetch_min(time, Ordering::Relaxed);
        Ok(answer)
    }

    /// Like [`Connection::open_session`]. A server that has not answered within `limit` counts as a lost connection.
    pub(crate) fn open_session_within(
        &self,
        limit: Duration,
        lost: &Lost,
    ) -> Result<russh::Channel<client::Msg>, SshError> {
        let handle = Arc::clone(&self.endpoint.handle);
        // The timer needs the runtime.
        let opening = self
            .runtime
            .spawn(async move { tokio::time::timeout(limit, handle.channel_open_session()).await });
        let opened = async {
            match opening.await {
                Ok(Ok(opened)) => opened,
                Ok(Err(_)) | Err(_) => {
                    self.endpoint
                        .lost
                        .set(&format!("the server gave no sign of life for {} s", limit.as_secs()));
                    Err(russh::Error::Disconnect)
                }
            }
        };
        self.run(opened, lost)
    }

    /// Runs a request of the SSH library on this thread. The request must wait only for queues (see [`block_on`]). `lost` is that of
    /// the connection, or that of one of those who share it.
    ///
    /// # Errors
    /// When the server opens no channel, or the connection is lost.
    pub(crate) fn run<T>(
        &self,
        request: impl Future<Output = Result<T, russh::Error>>,
        lost: &Lost,
    ) -> Result<T, SshError> {
        let result = block_on(async {
            tokio::select! {
                result = request => result,
                () = lost.wait() => Err(russh::Error::Disconnect),
            }
        });
        result.map_err(|error| match error {
            _ if lost.reason().is_some() => lost.error(),
            russh::Error::ChannelOpenFailure(reason) => SshError::ExecRefused {
                host: self.endpoint.host.clone(),
                reason: format!("it opened no channel: {}", reason.description()),
            },
            _ => {
                // The first reason stays, so this one counts only if the loss was not noticed before.
                self.endpoint.lost.set(&error.to_string());
                self.endpoint.lost.error()
            }
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The panic hook has reported a panic of the thread, and there is nothing to clean up.
            let _ = thread.join();
        }
    }
}

/// The connection to the destination, as other threads use it.
#[derive(Clone)]
struct Endpoint {
    host: String,
    peer: Arc<Peer>,
    /// Every host of the route with the key that it proved to hold.
    hosts: Arc<[(HostSettings, HostKey)]>,
    handle: Arc<Handle<Client>>,
    meter: Arc<Meter>,
    lost: Lost,
}

/// The connections to all hosts of a route.
struct Chain {
    destination: Endpoint,
    /// Dropping a handle would close its connection, and with it the connection to the destination.
    _jumps: Vec<Handle<Client>>,
}

impl Chain {
    /// Starts the tasks that watch the connections. Losing the connection to a jump host loses the destination too.
    fn watch(established: Established) -> Chain {
        let Established { jumps, destination } = established;
        for jump in &jumps {
            let (jump, destination) = (jump.lost.clone(), destination.lost.clone());
            tokio::spawn(async move {
                jump.wait().await;
                destination.set(&format!("at a jump host, {}", jump.error()));
            });
        }
        let hosts = jumps.iter().chain([&destination]);
        let hosts = hosts.map(|hop| (hop.settings.clone(), hop.peer.host_key.clone())).collect();
        let interval = destination.settings.alive_interval;
        let count = destination.settings.alive_count;
        let destination = Endpoint {
            host: destination.host,
            peer: Arc::new(destination.peer),
            hosts,
            handle: Arc::new(destination.handle),
            meter: destination.meter,
            lost: destination.lost,
        };
        if let Some(interval) = interval {
            tokio::spawn(keep_alive(destination.clone(), interval, count));
        }
        Chain { destination, _jumps: jumps.into_iter().map(|hop| hop.handle).collect() }
    }

    /// Sends the queued data and the disconnect message, and waits a moment for the connection to end.
    async fn disconnect(&self) {
        let destination = &self.destination;
        let disconnecting = async {
            if destination.handle.disconnect(russh::Disconnect::ByApplication, "", "").await.is_ok() {
                destination.lost.wait().await;
            }
        };
        // After the timeout the connection ends together with its thread.
        let _ = tokio::time::timeout(DISCONNECT_TIMEOUT, disconnecting).await;
    }
}

/// Asks the server for a sign of life whenever it has given none for `interval`, and declares the connection lost after
/// `count` requests in a row without an answer. russh has keepalives too, but sends none while it waits to send data, and
/// takes a server for dead while a slow reader of ours keeps the gate shut.
async fn keep_alive(endpoint: Endpoint, interval: Duration, count: u32) {
    let Endpoint { handle, meter, lost, .. } = endpoint;
    let mut unanswered = 0;
    let mut pulse = meter.pulse();
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = lost.wait() => return,
        }
        if meter.pulse() != pulse || meter.is_shut() {
            pulse = meter.pulse();
            unanswered = 0;
            continue;
        }
        if unanswered >= count {
            let silence = interval.saturating_mul(count + 1).as_secs();
            lost.set(&format!("the server has given no sign of life for {silence} s"));
            return;
        }
        unanswered += 1;
        // A full queue means that a send is under way, and its progress counts as a sign of life.
        let _ = tokio::time::timeout(interval / 2, handle.send_keepalive(true)).await;
    }
}
