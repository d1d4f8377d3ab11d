//! State shared by all handlers.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};

use crate::budget::Budget;
use crate::cells::Media;
use crate::engine::Engine;
use crate::loaded_model::LoadedModel;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::site::SitePolicy;

/// State of a server.
pub(crate) struct App {
    pub settings: Settings,
    pub engine: Engine,
    pub metrics: Arc<Metrics>,
    pub media: Media,
    /// Memory budget of all requests.
    pub budget: Arc<Budget>,
    /// Host names and origins that requests are accepted from.
    pub sites: SitePolicy,
    /// Whether the server is shutting down.
    pub is_stopping: AtomicBool,
    served: RwLock<Arc<LoadedModel>>,
}

impl App {
    pub fn new(
        settings: Settings,
        sites: SitePolicy,
        engine: Engine,
        metrics: Arc<Metrics>,
        media: Media,
        served: LoadedModel,
    ) -> Self {
        let served = RwLock::new(Arc::new(served));
        let budget = Arc::new(Budget::new(settings.max_memory_for_requests, settings.max_body_size));
        Self { settings, engine, metrics, media, budget, sites, is_stopping: AtomicBool::new(false), served }
    }

    /// The model that is currently served. A request keeps the one it started with.
    pub fn served(&self) -> Arc<LoadedModel> {
        self.served.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the model that is served.
    pub fn serve(&self, served: LoadedModel) {
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(served);
    }
}
