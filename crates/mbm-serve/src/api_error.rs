//! Errors as they are sent to clients.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// Why a request, or a row of it, failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ApiError {
    pub kind: ApiErrorKind,
    pub message: String,
}

/// Kinds of errors, each with an HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ApiErrorKind {
    /// 400: the request is invalid.
    Validation,
    /// 401: the API key is missing or wrong.
    Unauthorized,
    /// 403: the server's settings do not allow this.
    Forbidden,
    /// 404: no such endpoint or resource.
    NotFound,
    /// 405: the endpoint does not support the method.
    MethodNotAllowed,
    /// 413: the request exceeds a limit of the server.
    TooLarge,
    /// 415: the content type is not supported.
    UnsupportedMediaType,
    /// 429: the queue or the memory for requests is full.
    Overloaded,
    /// 500: the model or the server failed.
    Failed,
    /// 503: the request timed out, or the server is shutting down.
    Unavailable,
}

/// Body of an error response.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProblemBody {
    /// Human-readable message.
    pub error: String,
    /// Machine-readable kind of error.
    pub error_type: ApiErrorKind,
}

impl ApiErrorKind {
    fn status(self) -> StatusCode {
        match self {
            Self::Validation => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Overloaded => StatusCode::TOO_MANY_REQUESTS,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl ApiError {
    pub fn new(kind: ApiErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub fn validation(message: impl Into<String>) -> Self {
        Self::new(ApiErrorKind::Validation, message)
    }

    /// The body of the error response.
    pub fn body(&self) -> ProblemBody {
        ProblemBody { error: self.message.clone(), error_type: self.kind }
    }

    /// Builds a response with the status, the headers that go with it, and the given body.
    pub fn respond(&self, body: impl Serialize) -> Response {
        let mut response = (self.kind.status(), Json(body)).into_response();
        if self.kind == ApiErrorKind::Overloaded {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.kind == ApiErrorKind::Unauthorized {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Maximum number of names in a message: otherwise each of a thousand rows could have an error that lists ten thousand columns.
const MAX_LISTED: usize = 20;

/// Maximum number of characters of client input quoted in a message.
const MAX_SHOWN: usize = 100;

/// Joins names for a message, leaving out all but the first few.
pub(crate) fn listed(names: &[&str]) -> String {
    let (first, more) = names.split_at(names.len().min(MAX_LISTED));
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    first.join(", ") + &more
}

/// Truncates client input for a message.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

impl From<mbm::Error> for ApiError {
    fn from(error: mbm::Error) -> Self {
        Self::validation(error.to_string())
    }
}

impl From<mbm::error::QueryError> for ApiError {
    fn from(error: mbm::error::QueryError) -> Self {
        Self::validation(error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.respond(self.body())
    }
}
