//! Startup, accept loop and graceful shutdown of the server.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::app::App;
use crate::budget::PER_BODY;
use crate::cells::Media;
use crate::connection::Connection;
use crate::engine::{Engine, EngineLimits};
use crate::loaded_model::LoadedModel;
use crate::metrics::Metrics;
use crate::router::router;
use crate::settings::Settings;
use crate::site::SitePolicy;
use crate::stages::Stages;

/// Why a server could not be started or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The model or the index cannot be opened.
    #[error(transparent)]
    Model(#[from] mbm::Error),
    /// Neither a model nor an index is given.
    #[error("nothing to serve: give a model with --model-path, or an index with --index")]
    NothingToServe,
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {source}; try another --port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The media root does not exist or is not accessible.
    #[error("--media-root {}: {source}", path.display())]
    MediaRoot {
        /// The folder.
        path: std::path::PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The address is reachable from other machines without allowed hosts or an API key, or a host name or origin is invalid.
    #[error("{0}")]
    SitePolicy(String),
    /// The memory budget is too small for a body of the maximum size.
    #[error(
        "--max-memory-for-requests {found}: a body of --max-body-size needs {needed} bytes; increase it, or lower --max-body-size"
    )]
    Memory {
        /// The memory budget, in bytes.
        found: usize,
        /// Bytes that the largest body needs.
        needed: usize,
    },
    /// The operating system failed, for example to start a thread.
    #[error(transparent)]
    System(#[from] std::io::Error),
}

/// A server with its model loaded and its address bound. Clients may connect, and are served once it runs.
pub struct Server {
    address: SocketAddr,
    listener: TcpListener,
    runtime: Runtime,
    app: Arc<App>,
    model: JoinHandle<()>,
}

impl Server {
    /// Loads the model and binds the address.
    ///
    /// # Errors
    /// Returns an error if the model cannot be read, the address is in use, or other machines could reach it without an allowed
    /// host or an API key.
    pub fn open(settings: Settings) -> Result<Self, ServeError> {
        Self::bind(settings, |settings| LoadedModel::open(settings.model_path.as_deref(), settings.index.as_ref()))
    }

    /// Serves a model that is open already, instead of that of the settings, and binds the address.
    ///
    /// # Errors
    /// Returns an error as [`Server::open`] does.
    pub fn of_model(model: mbm::Model, settings: Settings) -> Result<Self, ServeError> {
        Self::bind(settings, |settings| {
            let index = settings.index.as_ref().map(mbm::Index::open).transpose()?;
            let retriever = index.map(|index| mbm::Retriever::new(index, model.clone())).transpose()?;
            LoadedModel::new(model.clone(), retriever)
        })
    }

    fn bind(settings: Settings, load: impl FnOnce(&Settings) -> Result<LoadedModel, ServeError>) -> Result<Self, ServeError> {
        let sites = SitePolicy::new(&settings).map_err(|error| ServeError::SitePolicy(error.to_string()))?;
        let (found, needed) = (settings.max_memory_for_requests, settings.max_body_size.saturating_mul(PER_BODY));
        if found < needed {
            return Err(ServeError::Memory { found, needed });
        }
        let served = load(&settings)?;
        let root = settings.media_root.as_deref();
        let media = Media::new(root, &settings.url_hosts, settings.max_body_size, settings.timeout);
        let media =
            media.map_err(|source| ServeError::MediaRoot { path: settings.media_root.clone().unwrap_or_default(), source })?;
        let metrics = Arc::new(Metrics::new());
        let address = settings.address;
        let (engine, model) = Engine::start(EngineLimits::of(&settings), metrics.clone(), Stages::default())?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(address)).map_err(|source| ServeError::Listen { address, source })?;
        let address = listener.local_addr()?;
        let app = Arc::new(App::new(settings, sites, engine, metrics, media, served));
        Ok(Self { address, listener, runtime, app, model })
    }

    /// Returns the address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Describes the served model in one line.
    pub fn summary(&self) -> String {
        let served = self.app.served();
        let inputs: Vec<&str> = served.model.inputs().map(|input| input.name()).collect();
        let outputs: Vec<&str> = served.model.outputs().map(|output| output.name()).collect();
        let index = served.index_info.as_ref().map_or(String::new(), |info| format!(", an index of {} rows", info.n_rows));
        format!("{}: {} -> {}{index}", served.name, inputs.join(", "), outputs.join(", "))
    }

    /// Serves until `stop` completes, then accepts no more connections, answers the accepted requests, and returns.
    ///
    /// # Errors
    /// Returns an error if the engine's thread panicked.
    pub fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Self { listener, runtime, app, model, .. } = self;
        runtime.block_on(async {
            let stop = async {
                stop.await;
                app.is_stopping.store(true, Ordering::Relaxed);
            };
            accept(listener, router(app.clone()), &app.settings, stop).await;
        });
        // Requests that did not finish in time keep the queue alive.
        runtime.shutdown_timeout(Duration::from_secs(1));
        drop(app);
        model.join().map_err(|_| ServeError::System(std::io::Error::other("the engine thread panicked")))
    }
}

/// Bytes that a connection buffers of a request head and of responses to pipelined requests; also the maximum size of a head.
/// Other servers accept heads of 8 to 64 KiB; hyper's default of 400 KiB would add up to 400 MiB for 1024 clients that do not
/// read.
const CONNECTION_BUFFER: usize = 64 << 10;

/// Accepts connections, up to the configured number at the same time, until `stop` completes.
async fn accept(listener: TcpListener, router: Router, settings: &Settings, stop: impl Future<Output = ()>) {
    let mut http = http1::Builder::new();
    // Time out connections that do not send a request, whether new or idle after a response.
    http.timer(TokioTimer::new()).header_read_timeout(settings.timeout).max_buf_size(CONNECTION_BUFFER);
    let slots = Arc::new(Semaphore::new(settings.max_connections));
    let connections = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = async {
            let slot = slots.clone().acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, stream) = tokio::select! {
            (slot, stream) = accepted => (slot, stream),
            () = &mut stop => break,
        };
        let Ok((stream, _)) = stream else {
            // Out of file descriptors; wait until some connections are closed.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let connection =
            connections.watch(http.serve_connection(io(stream, settings.timeout), TowerToHyperService::new(router.clone())));
        tokio::spawn(async move {
            // Errors of one connection do not affect others.
            let _ = connection.await;
            drop(slot);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(settings.timeout, connections.shutdown()).await;
}

fn io(stream: TcpStream, patience: Duration) -> TokioIo<Connection<TcpStream>> {
    // Send responses without delay; if this fails, responses are only slower.
    let _ = stream.set_nodelay(true);
    TokioIo::new(Connection::new(stream, patience))
}
