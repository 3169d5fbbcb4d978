//! One authenticated connection and the thread it lives on: a single-threaded runtime that does the reading, writing
//! and ciphering, and watches whether the peer is still there.

use crate::error::SshError;
use crate::link::{Lost, Meter, block_on};
use crate::login::{Client, Established, Peer, Prompt, PromptCall, Prompts};
use russh::client::{self, Handle};
use std::future::Future;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use tokio::runtime;
use tokio::sync::oneshot;

/// How long a connection that is no longer wanted may take to say good-bye.
const FAREWELL: Duration = Duration::from_secs(1);

/// An authenticated connection. It ends when this is dropped.
pub(crate) struct Connection {
    ends: Ends,
    runtime: runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Connection {
    /// Starts the thread, has it run `establish`, and answers here, with `prompt`, what that asks.
    pub(crate) fn start<F>(
        establish: impl FnOnce(Prompts) -> F + Send + 'static,
        prompt: &dyn Prompt,
    ) -> Result<Connection, SshError>
    where
        F: Future<Output = Result<Established, SshError>>,
    {
        let (calls, incoming) = mpsc::channel();
        let (done, outcome) = oneshot::channel();
        let runtime =
            runtime::Builder::new_current_thread().enable_all().build().map_err(SshError::Runtime)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new()
            .name("coast-ssh".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let established = establish(Prompts::new(calls.clone())).await;
                    // An error means that nobody waits for calls any more.
                    let _ = calls.send(PromptCall::End);
                    let chain = match established.map(Chain::watch) {
                        Ok(chain) => chain,
                        Err(error) => {
                            // As above: nobody waits any more.
                            let _ = done.send(Err(error));
                            return;
                        }
                    };
                    if done.send(Ok(chain.ends())).is_ok() {
                        tokio::select! {
                            // Ends when the connection is dropped.
                            _ = stopped => {}
                            () = chain.last.lost.wait() => {}
                        }
                    }
                    chain.farewell().await;
                });
                // Name look-ups cannot be cancelled; they are left behind rather than waited for.
                runtime.shutdown_background();
            })
            .map_err(SshError::Runtime)?;
        for call in incoming {
            match call {
                PromptCall::End => break,
                call => call.answer(prompt),
            }
        }
        let ended = || SshError::Runtime(io::Error::other("it ended early"));
        let ends = outcome.blocking_recv().map_err(|_| ended())??;
        Ok(Connection { ends, runtime: handle, stop: Some(stop), thread: Some(thread) })
    }

    pub(crate) fn host(&self) -> &str {
        &self.ends.host
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.ends.peer
    }

    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.ends.meter
    }

    pub(crate) fn lost(&self) -> &Lost {
        &self.ends.lost
    }

    pub(crate) fn runtime(&self) -> &runtime::Handle {
        &self.runtime
    }

    /// Opens a channel for a command.
    pub(crate) fn open_session(&self) -> Result<russh::Channel<client::Msg>, SshError> {
        self.run(self.ends.handle.channel_open_session())
    }

    /// Runs a request of the SSH library, which waits for queues only, on this thread.
    pub(crate) fn run<T>(
        &self,
        request: impl Future<Output = Result<T, russh::Error>>,
    ) -> Result<T, SshError> {
        let result = block_on(async {
            tokio::select! {
                result = request => result,
                () = self.ends.lost.wait() => Err(russh::Error::Disconnect),
            }
        });
        result.map_err(|error| match error {
            russh::Error::ChannelOpenFailure(reason) => SshError::ExecRefused {
                host: self.ends.host.clone(),
                reason: format!("it would not open a session: {}", reason.description()),
            },
            _ => {
                // Usually known already; if not, this is the first to notice.
                self.ends.lost.set(&error.to_string());
                self.ends.lost.error()
            }
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the panic hook; there is nothing left to clean up.
            let _ = thread.join();
        }
    }
}

/// What is used of a connection from other threads.
#[derive(Clone)]
struct Ends {
    host: String,
    peer: Arc<Peer>,
    handle: Arc<Handle<Client>>,
    meter: Arc<Meter>,
    lost: Lost,
}

/// The chain of connections on its thread.
struct Chain {
    last: Ends,
    /// Kept, since dropping a handle ends its connection.
    _carriers: Vec<Handle<Client>>,
}

impl Chain {
    /// Watches over the chain: a connection that is lost takes the ones it carries with it.
    fn watch(established: Established) -> Chain {
        let Established { carriers, last } = established;
        for carrier in &carriers {
            let (carrier, carried) = (carrier.lost.clone(), last.lost.clone());
            tokio::spawn(async move {
                carrier.wait().await;
                carried.set(&format!("on the way, {}", carrier.error()));
            });
        }
        let interval = last.settings.alive_interval;
        let count = last.settings.alive_count;
        let last = Ends {
            host: last.host,
            peer: Arc::new(last.peer),
            handle: Arc::new(last.handle),
            meter: last.meter,
            lost: last.lost,
        };
        if let Some(interval) = interval {
            tokio::spawn(keep_alive(last.clone(), interval, count));
        }
        Chain { last, _carriers: carriers.into_iter().map(|hop| hop.handle).collect() }
    }

    fn ends(&self) -> Ends {
        self.last.clone()
    }

    /// Lets what is queued go out, says good-bye and waits for the connection to end, though not for long.
    async fn farewell(&self) {
        let farewell = async {
            if self.last.handle.disconnect(russh::Disconnect::ByApplication, "", "").await.is_ok() {
                self.last.lost.wait().await;
            }
        };
        // Out of time is out of time: the connection ends with its thread.
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}

/// Asks the server for a sign of life whenever it has given none for `interval`, and gives it up after `count` questions
/// in a row without an answer. russh can do this too, but not while it waits to send, and it would take a reader of ours
/// that is slow for a server that is dead.
async fn keep_alive(ends: Ends, interval: Duration, count: u32) {
    let Ends { handle, meter, lost, .. } = ends;
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
        // Where the queue is full there is a send under way, which the pulse will tell about.
        let _ = tokio::time::timeout(interval / 2, handle.send_keepalive(true)).await;
    }
}
