//! A server from its first connection to its last.

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
use crate::engine::{Batching, Engine};
use crate::loaded_model::LoadedModel;
use crate::metrics::Metrics;
use crate::router::router;
use crate::settings::Settings;
use crate::site::Sites;
use crate::stages::Stages;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model or the index.
    #[error(transparent)]
    Model(#[from] mbm::Error),
    /// The address.
    #[error("cannot listen on {address}: {source}; another --port may be free")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder that paths may lead into.
    #[error("--media-root {}: {source}", path.display())]
    MediaRoot {
        /// The folder.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// An address that others reach without a name or a key, and names that are none.
    #[error("{0}")]
    Sites(String),
    /// Less memory than one request needs.
    #[error(
        "--max-memory-for-requests {found}: a body of --max-body-size needs {needed} bytes; allow that much, or smaller bodies"
    )]
    Memory {
        /// Bytes that all requests may hold.
        found: usize,
        /// Bytes that the largest needs.
        needed: usize,
    },
    /// Threads and the like.
    #[error(transparent)]
    System(#[from] std::io::Error),
}

/// A model that is loaded and an address that is taken; clients may connect, and are served once it runs.
pub struct Server {
    address: SocketAddr,
    listener: TcpListener,
    runtime: Runtime,
    app: Arc<App>,
    model: JoinHandle<()>,
}

impl Server {
    /// Loads and binds.
    ///
    /// # Errors
    /// A model that cannot be read, an address that is taken, or that others reach without a name or a key.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        let sites = Sites::new(&settings).map_err(|error| Error::Sites(error.to_string()))?;
        let (found, needed) = (settings.max_memory_for_requests, settings.max_body_size.saturating_mul(PER_BODY));
        if found < needed {
            return Err(Error::Memory { found, needed });
        }
        let served = LoadedModel::open(settings.model_path.as_deref(), settings.index.as_ref())?;
        let root = settings.media_root.as_deref();
        let media = Media::new(root, &settings.url_hosts, settings.max_body_size, settings.timeout);
        let at_root = |source| Error::MediaRoot { path: settings.media_root.clone().unwrap_or_default(), source };
        let media = media.map_err(at_root)?;
        let metrics = Arc::new(Metrics::new());
        let address = settings.address;
        let (engine, model) = Engine::start(Batching::of(&settings), metrics.clone(), Stages::default())?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(address)).map_err(|source| Error::Listen { address, source })?;
        let address = listener.local_addr()?;
        let app = Arc::new(App::new(settings, sites, engine, metrics, media, served));
        Ok(Self { address, listener, runtime, app, model })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it serves, in a line.
    pub fn summary(&self) -> String {
        let served = self.app.served();
        let names = |fields: &[mbm::Field]| fields.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ");
        let index = served.index_info.as_ref().map_or(String::new(), |info| format!(", an index of {} rows", info.n_rows));
        format!("{}: {} -> {}{index}", served.name, names(&served.predictor.inputs), names(&served.predictor.outputs))
    }

    /// Serves until `stop` is there; then takes no more connections, answers what it has accepted, and ends.
    ///
    /// # Errors
    /// A thread of the model that failed.
    pub fn run(self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let Self { listener, runtime, app, model, .. } = self;
        runtime.block_on(async {
            let stop = async {
                stop.await;
                app.is_stopping.store(true, Ordering::Relaxed);
            };
            accept(listener, router(app.clone()), &app.settings, stop).await;
        });
        // Requests that did not end in time hold the queue.
        runtime.shutdown_timeout(Duration::from_secs(1));
        drop(app);
        model.join().map_err(|_| Error::System(std::io::Error::other("the thread of the model failed")))
    }
}

/// What a connection buffers of a head, and of answers to requests that were sent ahead; a head is no longer than that. Usual servers take
/// heads of 8 to 64 KiB; hyper's own 400 KiB would be 400 MiB for 1024 clients that do not read.
const CONNECTION_BUFFER: usize = 64 << 10;

/// Takes connections, so many at a time, until `stop`.
async fn accept(listener: TcpListener, router: Router, settings: &Settings, stop: impl Future<Output = ()>) {
    let mut http = http1::Builder::new();
    // Whoever opens a connection and sends nothing does not hold it for ever, nor does one who has an answer and asks nothing more.
    http.timer(TokioTimer::new()).header_read_timeout(settings.timeout).max_buf_size(CONNECTION_BUFFER);
    let places = Arc::new(Semaphore::new(settings.max_connections));
    let connections = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, stream) = tokio::select! {
            (place, stream) = accepted => (place, stream),
            () = &mut stop => break,
        };
        let Ok((stream, _)) = stream else {
            // The system has no more files for connections; some will be closed.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let connection =
            connections.watch(http.serve_connection(io(stream, settings.timeout), TowerToHyperService::new(router.clone())));
        tokio::spawn(async move {
            // A client that breaks off is no concern of the others.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(settings.timeout, connections.shutdown()).await;
}

fn io(stream: TcpStream, patience: Duration) -> TokioIo<Connection<TcpStream>> {
    // Answers are written at once; a system that cannot is only slower.
    let _ = stream.set_nodelay(true);
    TokioIo::new(Connection::new(stream, patience))
}
