//! Administration endpoints, which require an API key.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api_error::{ApiError, ApiErrorKind};
use crate::app::App;
use crate::loaded_model::LoadedModel;
use crate::openapi::Refused;

/// Result of a reload.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reloaded {
    /// SHA-256 of the model's files.
    model_hash: String,
    /// Whether the model differs from the one before.
    changed: bool,
}

/// Reload the model and the index.
///
/// Requests that are in progress continue with the previous model. If the new files cannot be served, the previous model stays in
/// use.
#[utoipa::path(post, path = "/admin/reload", tag = "Server",
    responses((status = 200, description = "The model that is now served", body = Reloaded), Refused))]
pub(crate) async fn reload(State(app): State<Arc<App>>) -> Result<Json<Reloaded>, ApiError> {
    if app.settings.api_key.is_none() {
        return Err(ApiError::new(ApiErrorKind::Forbidden, "reloading requires a server that was started with an API key"));
    }
    let (model_path, index) = (app.settings.model_path.clone(), app.settings.index.clone());
    let opening = tokio::task::spawn_blocking(move || LoadedModel::open(model_path.as_deref(), index.as_ref()));
    let served = opening.await.map_err(|error| ApiError::new(ApiErrorKind::Failed, error.to_string()))?;
    let served = served.map_err(|error| ApiError::new(ApiErrorKind::Failed, format!("the previous model stays: {error}")))?;
    let model_hash = served.model_hash.clone();
    let changed = app.served().model_hash != model_hash;
    app.serve(served);
    Ok(Json(Reloaded { model_hash, changed }))
}
