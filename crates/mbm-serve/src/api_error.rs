//! What a client is told when something cannot be done.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ApiError {
    pub kind: ApiErrorKind,
    pub message: String,
}

/// The kinds of problems, each with its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ApiErrorKind {
    /// 400: what was sent cannot be used.
    Validation,
    /// 401: no key, or not the right one.
    Unauthorized,
    /// 403: the server was not started for this.
    Forbidden,
    /// 404: no such place.
    NotFound,
    /// 405: not with this method.
    MethodNotAllowed,
    /// 413: more than the server takes.
    TooLarge,
    /// 415: a form of body that is not read.
    UnsupportedMediaType,
    /// 429: the queue is full.
    Overloaded,
    /// 500: the model or the server failed.
    Failed,
    /// 503: not in time, or the server is about to stop.
    Unavailable,
}

/// A problem as it is sent.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProblemBody {
    /// What is wrong, for people.
    pub error: String,
    /// What is wrong, for programs.
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

    /// The problem as JSON.
    pub fn body(&self) -> ProblemBody {
        ProblemBody { error: self.message.clone(), error_type: self.kind }
    }

    /// The status and the headers that go with it, around a body.
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

/// Names in a message, at most: an error of each of a thousand rows would else list ten thousand columns.
const MAX_LISTED: usize = 20;

/// Characters of what a client sent in a message, at most.
const MAX_SHOWN: usize = 100;

/// Names for a message, the first of many.
pub(crate) fn listed(names: &[&str]) -> String {
    let (first, more) = names.split_at(names.len().min(MAX_LISTED));
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    first.join(", ") + &more
}

/// What a client sent, for a message: its beginning where it is long.
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

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.respond(self.body())
    }
}
