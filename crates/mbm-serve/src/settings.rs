//! Server settings.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use mbm::Store;

/// Settings of a server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The run folder, or the model folder in it. If `None`, the model that the index was built with.
    pub model_path: Option<PathBuf>,
    /// The index to search, if any.
    pub index: Option<Store>,
    /// Address to listen on; port 0 picks any free port.
    pub address: SocketAddr,
    /// Maximum number of rows in a batch.
    pub max_batch_size: usize,
    /// How long a batch that is not full waits for more rows.
    pub max_batch_delay: Duration,
    /// Maximum number of rows that are accepted but not yet answered.
    pub queue_size: usize,
    /// Maximum size of a request body, in bytes.
    pub max_body_size: usize,
    /// Maximum number of bytes that all requests together may hold, from the arrival of a body to the end of its response. Bodies
    /// wait briefly for their share.
    pub max_memory_for_requests: usize,
    /// Maximum number of concurrent connections; further ones wait.
    pub max_connections: usize,
    /// Time limit of a request, including the arrival of its body. Also how long a connection may be idle, either between
    /// requests or because its client does not read.
    pub timeout: Duration,
    /// Host names that the server answers to, in addition to those of the loopback interface; `*` allows any. A server that is
    /// reachable from other machines needs at least one, or an API key.
    pub allowed_hosts: Vec<String>,
    /// API key that clients must send, as a bearer token or in `X-API-Key`.
    pub api_key: Option<String>,
    /// Folder that file paths in requests may refer to. If `None`, no paths are read.
    pub media_root: Option<PathBuf>,
    /// Hosts that images and audio clips may be fetched from.
    pub url_hosts: Vec<String>,
    /// Origins whose pages may send requests and read responses (CORS).
    pub cors_origins: Vec<String>,
    /// Time limit for reading the cells of one row; a reader thread that takes longer is abandoned.
    pub read_timeout: Duration,
    /// How long the model may work on a batch, or on one step of text generation, without reporting progress before it is
    /// restarted.
    pub model_timeout: Option<Duration>,
    /// Maximum number of texts that are streamed at the same time; further ones wait.
    pub max_streams: usize,
}

/// Lower bound of the default model timeout: the first batch may have to wait for the disk.
const MIN_MODEL_TIMEOUT: Duration = Duration::from_secs(10);

impl Settings {
    /// Serves the model of a folder, otherwise with the default settings.
    pub fn of_model(path: impl Into<PathBuf>) -> Self {
        Self { model_path: Some(path.into()), ..Self::default() }
    }

    /// Time limit for reading one row; never longer than that of the request.
    pub(crate) fn read_limit(&self) -> Duration {
        self.read_timeout.min(self.timeout)
    }

    /// Time limit for one batch. Defaults to `timeout`: every row was accepted before its batch started, so after that time no
    /// client is waiting for any of them, and text generation has stopped at its next step.
    pub(crate) fn model_limit(&self) -> Duration {
        self.model_timeout.unwrap_or(self.timeout.max(MIN_MODEL_TIMEOUT))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model_path: None,
            index: None,
            address: SocketAddr::from(([127, 0, 0, 1], 8000)),
            max_batch_size: 64,
            max_batch_delay: Duration::ZERO,
            queue_size: 1024,
            max_body_size: 32 << 20,
            // Room for sixteen bodies of the maximum size at the same time; a quarter of a machine with 4 GiB.
            max_memory_for_requests: 1 << 30,
            max_connections: 1024,
            timeout: Duration::from_secs(30),
            allowed_hosts: Vec::new(),
            api_key: None,
            media_root: None,
            url_hosts: Vec::new(),
            cors_origins: Vec::new(),
            // The largest image that is decoded by default (100 million pixels) takes a second or two on one core.
            read_timeout: Duration::from_secs(10),
            model_timeout: None,
            // As many as Ollama generates in parallel (OLLAMA_NUM_PARALLEL).
            max_streams: 4,
        }
    }
}
