//! The connection to the Docker engine. Blocking calls run bollard's asynchronous API.

use crate::address::{Address, DockerEnvironment};
use crate::error::{MutagenError, Step};
use crate::interrupt::Interrupt;
use bollard::errors::Error as ApiError;
use std::error::Error;
use std::future::Future;
use std::panic;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::runtime::{self, Runtime};

/// How long Docker may take to begin its answer to a request.
const PATIENCE_SECONDS: u64 = 120;
/// How long Docker may take to answer the first request.
const GREETING_PATIENCE: Duration = Duration::from_secs(10);

/// A connection to a Docker engine. Cheap to clone.
#[derive(Clone)]
pub struct Docker {
    engine: Arc<Engine>,
    interrupt: Interrupt,
}

struct Engine {
    api: bollard::Docker,
    address: String,
    /// `None` only while this is dropped.
    runtime: Option<Runtime>,
}

impl Docker {
    /// Connects to the engine that `environment` names and agrees on a version of the API.
    ///
    /// # Errors
    /// [`MutagenError::DockerAddress`] if the environment names no usable address, [`MutagenError::NoDocker`] if no engine answers
    /// there.
    pub fn connect(environment: &DockerEnvironment) -> Result<Docker, MutagenError> {
        Self::connect_until(environment, &Interrupt::new())
    }

    /// Like [`Docker::connect`]; `interrupt` ends the attempt, and later calls of the result.
    ///
    /// # Errors
    /// As [`Docker::connect`], and [`MutagenError::Interrupted`].
    pub fn connect_until(
        environment: &DockerEnvironment,
        interrupt: &Interrupt,
    ) -> Result<Docker, MutagenError> {
        let address = environment.address()?;
        let text = address.to_string();
        let no_docker = |answer: String| MutagenError::NoDocker { address: text.clone(), answer };
        let version = bollard::API_DEFAULT_VERSION;
        let api = match &address {
            Address::Socket(path) => {
                let path = path.to_str().ok_or_else(|| MutagenError::DockerAddress {
                    place: text.clone(),
                    problem: "the path of the socket is not UTF-8".to_owned(),
                })?;
                bollard::Docker::connect_with_unix(path, PATIENCE_SECONDS, version)
            }
            Address::Tcp(host) => {
                bollard::Docker::connect_with_http(&format!("tcp://{host}"), PATIENCE_SECONDS, version)
            }
        };
        let api = api.map_err(|error| no_docker(described(&error)))?;
        let runtime =
            runtime::Builder::new_current_thread().enable_all().build().map_err(MutagenError::Runtime)?;
        let negotiation = api.negotiate_version();
        let negotiated = block_on(&runtime, async {
            tokio::select! {
                biased;
                () = interrupt.wait() => Err(MutagenError::Interrupted { step: Step::Docker }),
                negotiated = tokio::time::timeout(GREETING_PATIENCE, negotiation) => match negotiated {
                    Ok(api) => api.map_err(|error| no_docker(described(&error))),
                    Err(_) => Err(no_docker(format!("no answer within {} s", GREETING_PATIENCE.as_secs()))),
                },
            }
        });
        let api = match negotiated {
            Ok(api) => api,
            Err(error) => {
                // A lookup of the engine's name may still wait in a thread of the runtime.
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let engine = Engine { api, address: text, runtime: Some(runtime) };
        Ok(Docker { engine: Arc::new(engine), interrupt: interrupt.clone() })
    }

    /// The same engine; `interrupt` ends calls of the result.
    pub fn interrupted_by(&self, interrupt: &Interrupt) -> Docker {
        Docker { engine: Arc::clone(&self.engine), interrupt: interrupt.clone() }
    }

    pub(crate) fn api(&self) -> &bollard::Docker {
        &self.engine.api
    }

    /// Runs a request until it ends or is interrupted.
    pub(crate) fn call<T: Send>(
        &self,
        step: Step,
        future: impl Future<Output = Result<T, MutagenError>> + Send,
    ) -> Result<T, MutagenError> {
        let runtime = self.engine.runtime.as_ref().expect("the runtime is there until the engine is dropped");
        block_on(runtime, async {
            tokio::select! {
                biased;
                () = self.interrupt.wait() => Err(MutagenError::Interrupted { step }),
                result = future => result,
            }
        })
    }

    /// Sleeps until the time is over or the call is interrupted.
    pub(crate) fn pause(&self, step: Step, time: Duration) -> Result<(), MutagenError> {
        self.call(step, async {
            tokio::time::sleep(time).await;
            Ok(())
        })
    }

    /// Turns an error of the API into one of this crate. `doing` follows "Docker could not" in the message.
    pub(crate) fn refused(&self, step: Step, doing: impl Into<String>, error: &ApiError) -> MutagenError {
        match error {
            ApiError::HyperLegacyError { err } if err.is_connect() => {
                MutagenError::NoDocker { address: self.engine.address.clone(), answer: described(error) }
            }
            _ => MutagenError::Refused { step, doing: doing.into(), answer: described(error) },
        }
    }
}

impl std::fmt::Debug for Docker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Docker").field("address", &self.engine.address).finish_non_exhaustive()
    }
}

impl Drop for Engine {
    /// Shuts the runtime down without waiting for its threads: a caller inside another runtime must not block.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs `future` on a new thread: the caller's thread may belong to another runtime, in which a second one cannot be entered.
/// The thread costs about 20 µs, a request to Docker more than a millisecond.
fn block_on<T: Send>(runtime: &Runtime, future: impl Future<Output = T> + Send) -> T {
    thread::scope(|scope| {
        let worker = scope.spawn(|| runtime.block_on(future));
        worker.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
    })
}

/// Whether the engine answered that the named object does not exist.
pub(crate) fn is_not_found(error: &ApiError) -> bool {
    matches!(error, ApiError::DockerResponseServerError { status_code: 404, .. })
}

/// Whether the engine answered with a conflict: the name is taken, or a removal is under way.
pub(crate) fn is_conflict(error: &ApiError) -> bool {
    matches!(error, ApiError::DockerResponseServerError { status_code: 409, .. })
}

/// The message of the engine, or the innermost cause of a failed request.
pub(crate) fn described(error: &ApiError) -> String {
    match error {
        ApiError::DockerResponseServerError { message, status_code } if message.trim().is_empty() => {
            format!("HTTP status {status_code}")
        }
        ApiError::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        ApiError::DockerStreamError { error } => error.trim().to_owned(),
        ApiError::SocketNotFoundError(_) => "there is no such socket".to_owned(),
        ApiError::RequestTimeoutError => format!("it did not answer within {PATIENCE_SECONDS} s"),
        error => {
            let mut innermost: &dyn Error = error;
            while let Some(source) = innermost.source() {
                innermost = source;
            }
            innermost.to_string()
        }
    }
}
