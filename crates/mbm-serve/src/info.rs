//! Server information, health checks and metrics.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api_error::{ApiError, ApiErrorKind};
use crate::app::App;
use crate::loaded_model::LoadedModel;
use crate::openapi::Refused;
use crate::reply::SerializedJson;
use crate::settings::Settings;

/// Information on the served model, the index and the limits.
#[derive(Serialize, ToSchema)]
pub(crate) struct Info {
    /// Version of the server.
    version: &'static str,
    /// Name of the model's folder.
    model: String,
    /// SHA-256 of the model's files.
    model_hash: String,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    /// Vectors that the model computes.
    vectors: Vec<VectorInfo>,
    /// The index, if one is served.
    index: Option<IndexInfo>,
    limits: Limits,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Input {
    name: String,
    /// Feature type, such as `image`, `text` or `number`.
    r#type: &'static str,
    /// Classes of a category.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    classes: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Output {
    name: String,
    /// Feature type, such as `category`, `number` or `embedding`.
    r#type: &'static str,
    /// Classes or labels, in the order of their probabilities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    classes: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct VectorInfo {
    /// The input that they are computed from; null if from all inputs together.
    input: Option<String>,
    width: usize,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct IndexInfo {
    n_rows: usize,
    width: usize,
    columns: Vec<String>,
    /// The inputs that queries may contain.
    inputs: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Limits {
    max_batch_size: usize,
    queue_size: usize,
    max_body_size: usize,
    max_memory_for_requests: usize,
    timeout_seconds: f64,
}

/// State of the server.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    status: &'static str,
}

/// Get information on the served model.
#[utoipa::path(get, path = "/info", tag = "Server",
    responses((status = 200, description = "Model, index and limits", body = Info), Refused))]
pub(crate) async fn info(State(app): State<Arc<App>>) -> Result<SerializedJson, ApiError> {
    let settings = app.settings.clone();
    app.served().cached_json(|served| &served.info, move |served| described(served, &settings)).await
}

fn described(served: &LoadedModel, settings: &Settings) -> Info {
    let model = &served.model;
    let inputs = model.inputs().map(|it| Input { name: it.name().to_owned(), r#type: it.type_name(), classes: it.classes() });
    let outputs = model.outputs().map(|it| Output { name: it.name().to_owned(), r#type: it.type_name(), classes: it.classes() });
    let towers = model.towers().into_iter();
    Info {
        version: env!("CARGO_PKG_VERSION"),
        model: served.name.clone(),
        model_hash: served.model_hash.clone(),
        inputs: inputs.collect(),
        outputs: outputs.collect(),
        vectors: towers.map(|tower| VectorInfo { input: tower.input, width: tower.width }).collect(),
        index: served.index().map(|_| index(served)).unwrap_or_default(),
        limits: Limits {
            max_batch_size: settings.max_batch_size,
            queue_size: settings.queue_size,
            max_body_size: settings.max_body_size,
            max_memory_for_requests: settings.max_memory_for_requests,
            timeout_seconds: settings.timeout.as_secs_f64(),
        },
    }
}

fn index(served: &LoadedModel) -> Option<IndexInfo> {
    let retriever = served.index()?;
    Some(IndexInfo {
        n_rows: served.index_info.as_ref()?.n_rows,
        width: retriever.index().spec().width,
        columns: retriever.index().spec().columns.iter().map(|column| column.name.clone()).collect(),
        inputs: served.model.embedded_inputs().into_iter().map(|(name, _)| name.to_owned()).collect(),
    })
}

/// Liveness check.
#[utoipa::path(get, path = "/health", tag = "Server",
    responses((status = 200, description = "The server is running", body = Health)))]
pub(crate) async fn health() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Readiness check.
///
/// Fails while the server is shutting down, or while the model or the readers of cells hang.
#[utoipa::path(get, path = "/ready", tag = "Server",
    responses((status = 200, description = "The server accepts requests", body = Health),
        (status = 503, description = "The server is shutting down, or what hangs", body = crate::api_error::ProblemBody)))]
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Result<Json<Health>, ApiError> {
    match app.is_stopping.load(Ordering::Relaxed) {
        true => Err(ApiError::new(ApiErrorKind::Unavailable, "the server is shutting down")),
        false => app.engine.check_works().map(|()| Json(Health { status: "ready" })),
    }
}

/// Metrics in the Prometheus text format.
#[utoipa::path(get, path = "/metrics", tag = "Server",
    responses((status = 200, description = "Counters and histograms", body = String, content_type = "text/plain"), Refused))]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let text = app.metrics.text(app.engine.n_waiting(), app.engine.n_hung(), app.budget.taken());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}
