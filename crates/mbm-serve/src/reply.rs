//! Answers as JSON, written within the budget and, where they are large, by threads for such work.

use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api_error::{ApiError, ApiErrorKind};
use crate::budget::Held;

/// A named value of an answer: an entry of an object with its name, and its text.
pub(crate) const NAMED_VALUE: usize = 192;

/// A number of a list that is written as text: four bytes, then up to twelve characters, in a text that has grown to twice its length.
pub(crate) const NUMBER: usize = 32;

/// Makes an answer of about so many bytes and writes it.
///
/// # Errors
/// Those of the making; no memory for the answer.
pub(crate) async fn json<T: Serialize>(
    n_bytes: usize,
    make: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    Held::current().take(n_bytes)?;
    written(n_bytes, make).await.map(IntoResponse::into_response)
}

/// As [`json`], of what is kept for the next who asks.
pub(crate) async fn written<T: Serialize>(
    n_bytes: usize,
    make: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<SerializedJson, ApiError> {
    let write = move || {
        let text = serde_json::to_vec(&make()?);
        text.map(|text| SerializedJson(text.into())).map_err(|error| ApiError::new(ApiErrorKind::Failed, error.to_string()))
    };
    Held::current().work(n_bytes, write).await
}

/// JSON as text; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct SerializedJson(Bytes);

impl IntoResponse for SerializedJson {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], self.0).into_response()
    }
}
