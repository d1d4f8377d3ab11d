//! What a server is told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use mbm::Store;

/// How a model is served.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The run folder, or the model folder in it; the model of the index where none is named.
    pub model_path: Option<PathBuf>,
    /// An index to search.
    pub index: Option<Store>,
    /// Where to listen; port 0 is any free one.
    pub address: SocketAddr,
    /// Rows that the model is given at once, at most.
    pub max_batch_size: usize,
    /// How long a batch that is not full waits for more rows.
    pub max_batch_delay: Duration,
    /// Rows that may be accepted and not yet answered.
    pub queue_size: usize,
    /// Bytes of a request, at most.
    pub max_body_size: usize,
    /// Bytes that all requests may hold together, from the arrival of a body to the end of its answer; bodies wait briefly for their share.
    pub max_memory_for_requests: usize,
    /// Connections at a time; more wait.
    pub max_connections: usize,
    /// How long a request may take, its body's arrival included; and how long a connection may stand still, between requests or because
    /// its client does not read.
    pub timeout: Duration,
    /// Names that the server is asked by beside those of the machine itself; `*` is any. A server that others reach needs one, or a key.
    pub allowed_hosts: Vec<String>,
    /// What clients have to send as a bearer token or in `X-API-Key`.
    pub api_key: Option<String>,
    /// The folder that paths in requests may lead into; none may where there is none.
    pub media_root: Option<PathBuf>,
    /// Hosts that images and sounds may be fetched from.
    pub url_hosts: Vec<String>,
    /// Origins whose pages may ask and read answers.
    pub cors_origins: Vec<String>,
    /// How long the cells of a row may be read; a reader that takes longer is given up.
    pub read_timeout: Duration,
    /// How long the model may be silent over a batch, or over a step of a text, before it is started again.
    pub model_timeout: Option<Duration>,
    /// Texts that are heard of as they grow, at a time; more wait.
    pub max_streams: usize,
}

/// The least that the model is given where nothing is said: a first batch may wait for the disk.
const LEAST_MODEL_TIMEOUT: Duration = Duration::from_secs(10);

impl Settings {
    /// For one row: no longer than the request itself.
    pub(crate) fn read_limit(&self) -> Duration {
        self.read_timeout.min(self.timeout)
    }

    /// For one batch. Where nothing is said it is `timeout`: a row has been accepted before its batch began, so nobody waits for any row of
    /// it after that, and a search for texts has ended at its next step.
    pub(crate) fn model_limit(&self) -> Duration {
        self.model_timeout.unwrap_or(self.timeout.max(LEAST_MODEL_TIMEOUT))
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
            // Sixteen of the largest bodies at once; a quarter of a machine with 4 GiB.
            max_memory_for_requests: 1 << 30,
            max_connections: 1024,
            timeout: Duration::from_secs(30),
            allowed_hosts: Vec::new(),
            api_key: None,
            media_root: None,
            url_hosts: Vec::new(),
            cors_origins: Vec::new(),
            // The largest image that is decoded by default (100 million pixels) takes a second or two of a core.
            read_timeout: Duration::from_secs(10),
            model_timeout: None,
            // As Ollama writes texts side by side (OLLAMA_NUM_PARALLEL).
            max_streams: 4,
        }
    }
}
