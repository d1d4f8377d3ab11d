//! JSON responses, serialized within the memory budget, and on blocking threads if they are large.

use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api_error::{ApiError, ApiErrorKind};
use crate::budget::MemoryShare;

/// Estimated bytes of a named value in a response: the object entry with its name, and its serialized text.
pub(crate) const NAMED_VALUE: usize = 192;

/// Estimated bytes of a number in a list: four as `f32`, then up to twelve characters, in a buffer that has grown to twice its
/// length.
pub(crate) const NUMBER: usize = 32;

/// Builds a response of about `n_bytes` bytes and serializes it.
///
/// # Errors
/// Returns the error of `make`, or an error if the budget has no memory for the response.
pub(crate) async fn json<T: Serialize>(
    n_bytes: usize,
    make: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    MemoryShare::current().take(n_bytes)?;
    written(n_bytes, make).await.map(IntoResponse::into_response)
}

/// As [`json`], for a value that is cached and sent to later clients, too.
pub(crate) async fn written<T: Serialize>(
    n_bytes: usize,
    make: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<SerializedJson, ApiError> {
    MemoryShare::current()
        .work(n_bytes, move || {
            let text = serde_json::to_vec(&make()?);
            text.map(|text| SerializedJson(text.into())).map_err(|error| ApiError::new(ApiErrorKind::Failed, error.to_string()))
        })
        .await
}

/// Serialized JSON; clones share the buffer.
#[derive(Debug, Clone)]
pub(crate) struct SerializedJson(Bytes);

impl IntoResponse for SerializedJson {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], self.0).into_response()
    }
}
