//! What every handler sees.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};

use crate::budget::Budget;
use crate::cells::Media;
use crate::engine::Engine;
use crate::loaded_model::LoadedModel;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::site::Sites;

/// A server's state.
pub(crate) struct App {
    pub settings: Settings,
    pub engine: Engine,
    pub metrics: Arc<Metrics>,
    pub media: Media,
    /// The memory of all requests.
    pub budget: Arc<Budget>,
    /// Whose pages may ask.
    pub sites: Sites,
    /// Whether the server is about to stop.
    pub is_stopping: AtomicBool,
    served: RwLock<Arc<LoadedModel>>,
}

impl App {
    pub fn new(
        settings: Settings,
        sites: Sites,
        engine: Engine,
        metrics: Arc<Metrics>,
        media: Media,
        served: LoadedModel,
    ) -> Self {
        let served = RwLock::new(Arc::new(served));
        let budget = Arc::new(Budget::new(settings.max_memory_for_requests, settings.max_body_size));
        Self { settings, engine, metrics, media, budget, sites, is_stopping: AtomicBool::new(false), served }
    }

    /// What is served now; a request keeps what it began with.
    pub fn served(&self) -> Arc<LoadedModel> {
        self.served.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another model in place of the one that is served.
    pub fn serve(&self, served: LoadedModel) {
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(served);
    }
}
