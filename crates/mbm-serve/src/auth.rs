//! Middleware of all handlers: host and origin checks, API key, timeout, request metrics and memory share.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::api_error::{ApiError, ApiErrorKind};
use crate::app::App;
use crate::budget::MemoryShare;
use crate::metrics::RequestLabels;

/// Checks the API key, if one is set.
pub(crate) async fn key(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Some(key) = &app.settings.api_key else { return next.run(request).await };
    if sent_key(request.headers()).is_some_and(|sent_key| is_same(sent_key, key)) {
        return next.run(request).await;
    }
    let message = "this server requires an API key: send 'Authorization: Bearer <key>' or 'X-API-Key: <key>'";
    ApiError::new(ApiErrorKind::Unauthorized, message).into_response()
}

fn sent_key(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    bearer.or_else(|| headers.get("x-api-key")?.to_str().ok())
}

/// Compares keys in constant time; hashes are compared because they have the same length.
fn is_same(a: &str, b: &str) -> bool {
    Sha256::digest(a).as_slice().ct_eq(Sha256::digest(b).as_slice()).into()
}

/// Enforces the time limit, including the arrival of the body, and records metrics.
pub(crate) async fn clock(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let path = route(&request);
    let limit = app.settings.timeout;
    let response = tokio::time::timeout(limit, next.run(request)).await.unwrap_or_else(|_| {
        ApiError::new(ApiErrorKind::Unavailable, format!("the request timed out after {} s", limit.as_secs_f64())).into_response()
    });
    count(&app, path, &response);
    app.metrics.request_seconds.observe(started.elapsed().as_secs_f64());
    response
}

/// Checks the host and the origin of a request, see [`SitePolicy`](crate::site::SitePolicy).
pub(crate) async fn site(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let checked = app.sites.check(&parts);
    let request = Request::from_parts(parts, body);
    let Err(api_error) = checked else { return next.run(request).await };
    let response = api_error.into_response();
    count(&app, route(&request), &response);
    response
}

/// Holds the request's share of the memory budget until the response has been written.
pub(crate) async fn memory(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    MemoryShare::of(&app.budget).during(next.run(request)).await
}

fn route(request: &Request) -> String {
    request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned()
}

fn count(app: &App, path: String, response: &Response) {
    app.metrics.requests.get_or_create(&RequestLabels { path, status: response.status().as_u16() }).inc();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_read_from_bearer_token_or_x_api_key() {
        let headers =
            |name: &'static str, value: &'static str| HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
        assert_eq!(sent_key(&headers("authorization", "Bearer abc")), Some("abc"));
        assert_eq!(sent_key(&headers("authorization", "bearer  abc ")), Some("abc"));
        assert_eq!(sent_key(&headers("authorization", "Basic abc")), None);
        assert_eq!(sent_key(&headers("x-api-key", "abc")), Some("abc"));
        assert!(is_same("abc", "abc") && !is_same("abc", "abd") && !is_same("abc", ""));
    }
}
