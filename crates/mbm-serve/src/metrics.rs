//! Metrics of the server, in the Prometheus text format.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Labels of request counters.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    /// The route; `other` for unknown paths.
    pub path: String,
    /// Status of the response.
    pub status: u16,
}

/// Labels of thread metrics.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct ThreadLabels {
    /// Kind of work: `reader`, `model` or `writer`.
    pub work: &'static str,
}

/// Metrics of one server.
pub(crate) struct Metrics {
    registry: Registry,
    pub requests: Family<RequestLabels, Counter>,
    pub request_seconds: Histogram,
    pub batch_rows: Histogram,
    pub batch_seconds: Histogram,
    pub read_seconds: Histogram,
    pub panics: Counter,
    given_up: Family<ThreadLabels, Counter>,
    hung: Family<ThreadLabels, Gauge>,
    waiting: Gauge,
    held: Gauge,
    memory: Gauge,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("mbm");
        let requests = Family::default();
        registry.register("requests", "Requests answered", requests.clone());
        // 0.1 ms to 13 s.
        let seconds = || Histogram::new(exponential_buckets(0.0001, 2.0, 18));
        let (request_seconds, batch_seconds, read_seconds) = (seconds(), seconds(), seconds());
        registry.register_with_unit("request", "Time from a request to its response", Unit::Seconds, request_seconds.clone());
        registry.register_with_unit("batch", "Time to run the model on a batch", Unit::Seconds, batch_seconds.clone());
        registry.register_with_unit("read", "Time to read the cells of a row", Unit::Seconds, read_seconds.clone());
        let batch_rows = Histogram::new(exponential_buckets(1.0, 2.0, 10));
        registry.register("batch_rows", "Rows per batch", batch_rows.clone());
        let panics = Counter::default();
        registry.register("panics", "Batches in which the model panicked, and rows in which a reader did", panics.clone());
        let (given_up, hung) = (Family::default(), Family::default());
        registry.register("given_up_threads", "Threads that hung and were replaced", given_up.clone());
        registry.register("hung_threads", "Abandoned threads that have not returned", hung.clone());
        let (waiting, held, memory) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register("waiting_rows", "Rows that are accepted but not yet answered", waiting.clone());
        let help = "Memory reserved for requests, out of --max-memory-for-requests";
        registry.register_with_unit("request_memory", help, Unit::Bytes, held.clone());
        registry.register_with_unit("resident_memory", "Resident memory of the process", Unit::Bytes, memory.clone());
        Self {
            registry,
            requests,
            request_seconds,
            batch_rows,
            batch_seconds,
            read_seconds,
            panics,
            given_up,
            hung,
            waiting,
            held,
            memory,
        }
    }

    /// Returns the counter of abandoned threads.
    pub fn given_up(&self, work: &'static str) -> Counter {
        self.given_up.get_or_create(&ThreadLabels { work }).clone()
    }

    /// Encodes all metrics as text.
    pub fn text(&self, n_waiting: usize, n_hung: [(&'static str, usize); 3], n_held: usize) -> String {
        self.waiting.set(n_waiting as i64);
        self.held.set(n_held as i64);
        for (work, n_hung) in n_hung {
            self.hung.get_or_create(&ThreadLabels { work }).set(n_hung as i64);
        }
        self.memory.set(resident_memory().unwrap_or(0));
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }
}

/// Returns the resident memory of the process in bytes, if the system reports it.
fn resident_memory() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<i64>().ok()? << 10)
}
