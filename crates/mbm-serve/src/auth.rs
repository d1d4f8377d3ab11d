//! What stands before every handler: the names, the key, the clock, the count, and the share of the memory.

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
use crate::budget::Held;
use crate::metrics::Of;

/// Lets through who has the key, where there is one.
pub(crate) async fn key(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Some(key) = &app.settings.api_key else { return next.run(request).await };
    if given(request.headers()).is_some_and(|given| is_same(given, key)) {
        return next.run(request).await;
    }
    let message = "this server needs a key, as 'Authorization: Bearer <key>' or 'X-API-Key: <key>'";
    ApiError::new(ApiErrorKind::Unauthorized, message).into_response()
}

fn given(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    bearer.or_else(|| headers.get("x-api-key")?.to_str().ok())
}

/// Compares in a time that depends on neither key: their hashes are of one length.
fn is_same(a: &str, b: &str) -> bool {
    Sha256::digest(a).as_slice().ct_eq(Sha256::digest(b).as_slice()).into()
}

/// Ends what takes too long, its body's arrival included, and counts.
pub(crate) async fn clock(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let path = place(&request);
    let limit = app.settings.timeout;
    let response = tokio::time::timeout(limit, next.run(request)).await.unwrap_or_else(|_| {
        ApiError::new(ApiErrorKind::Unavailable, format!("not done in {} s", limit.as_secs_f64())).into_response()
    });
    count(&app, path, &response);
    app.metrics.request_seconds.observe(started.elapsed().as_secs_f64());
    response
}

/// Answers whom the server is for: see [`Sites`](crate::site::Sites).
pub(crate) async fn site(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let checked = app.sites.check(&parts);
    let request = Request::from_parts(parts, body);
    let Err(api_error) = checked else { return next.run(request).await };
    let response = api_error.into_response();
    count(&app, place(&request), &response);
    response
}

/// Keeps the request's share of the memory from here until its answer is written.
pub(crate) async fn memory(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    Held::of(&app.budget).during(next.run(request)).await
}

fn place(request: &Request) -> String {
    request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned()
}

fn count(app: &App, path: String, response: &Response) {
    app.metrics.requests.get_or_create(&Of { path, status: response.status().as_u16() }).inc();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_given_as_a_bearer_token_or_in_a_header_of_its_own() {
        let headers =
            |name: &'static str, value: &'static str| HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
        assert_eq!(given(&headers("authorization", "Bearer abc")), Some("abc"));
        assert_eq!(given(&headers("authorization", "bearer  abc ")), Some("abc"));
        assert_eq!(given(&headers("authorization", "Basic abc")), None);
        assert_eq!(given(&headers("x-api-key", "abc")), Some("abc"));
        assert!(is_same("abc", "abc") && !is_same("abc", "abd") && !is_same("abc", ""));
    }
}
