//! The connection to the Docker engine, and how its asynchronous API is called from plain threads.

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
/// How long it may take to say that it is there.
const GREETING_PATIENCE: Duration = Duration::from_secs(10);

/// A Docker engine that answers. Cheap to clone.
#[derive(Clone)]
pub struct Docker {
    engine: Arc<Engine>,
    interrupt: Interrupt,
}

struct Engine {
    api: bollard::Docker,
    address: String,
    /// There until this is dropped.
    runtime: Option<Runtime>,
}

impl Docker {
    /// Finds the engine that `environment` names, and has it say its version.
    ///
    /// # Errors
    /// [`MutagenError::DockerAddress`] if what is said about its place cannot be used, [`MutagenError::NoDocker`] if
    /// nobody answers there.
    pub fn connect(environment: &DockerEnvironment) -> Result<Docker, MutagenError> {
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
        let api = block_on(&runtime, async {
            match tokio::time::timeout(GREETING_PATIENCE, negotiation).await {
                Ok(api) => api.map_err(|error| no_docker(described(&error))),
                Err(_) => Err(no_docker(format!("it said nothing for {} s", GREETING_PATIENCE.as_secs()))),
            }
        })?;
        let engine = Engine { api, address: text, runtime: Some(runtime) };
        Ok(Docker { engine: Arc::new(engine), interrupt: Interrupt::new() })
    }

    /// The same engine, with calls that `interrupt` ends.
    pub fn interrupted_by(&self, interrupt: &Interrupt) -> Docker {
        Docker { engine: Arc::clone(&self.engine), interrupt: interrupt.clone() }
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.engine.address
    }

    pub(crate) fn api(&self) -> &bollard::Docker {
        &self.engine.api
    }

    /// Runs a request to its end, or until it is interrupted.
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

    /// An error of the API in the words of this crate.
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
        f.debug_struct("Docker").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl Drop for Engine {
    /// A runtime that is dropped waits for its threads, which a caller inside another runtime must not.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs `future` on a thread of its own, since the caller's may belong to another runtime, inside which none can be
/// entered. The thread costs some 20 µs, any request to Docker more than a millisecond.
fn block_on<T: Send>(runtime: &Runtime, future: impl Future<Output = T> + Send) -> T {
    thread::scope(|scope| {
        let worker = scope.spawn(|| runtime.block_on(future));
        worker.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
    })
}

/// Whether the engine says that what was named does not exist.
pub(crate) fn is_not_found(error: &ApiError) -> bool {
    matches!(error, ApiError::DockerResponseServerError { status_code: 404, .. })
}

/// The API's error in the words of whoever said it: the engine's message, or the innermost cause of a failed request.
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
