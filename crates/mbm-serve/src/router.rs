//! Routes and middleware of the server.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::CorsLayer;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api_error::{ApiError, ApiErrorKind, ProblemBody};
use crate::app::App;
use crate::embed::OpenAiProblemBody;
use crate::{admin, auth, embed, info, openapi, page, predict, search, stream};

#[derive(OpenApi)]
#[openapi(
    info(title = "mbm", description = "Prediction, embeddings and search with a multimodal model."),
    components(schemas(OpenAiProblemBody, ProblemBody))
)]
struct ApiDoc;

/// Builds the router: routes that require the API key (if one is set), and open ones.
pub(crate) fn router(app: Arc<App>) -> Router {
    let open = OpenApiRouter::with_openapi(ApiDoc::openapi()).routes(routes!(info::health)).routes(routes!(info::ready));
    let closed = OpenApiRouter::new()
        .routes(routes!(predict::predict))
        .routes(routes!(stream::stream))
        .routes(routes!(predict::batch_predict))
        .routes(routes!(embed::embed))
        .routes(routes!(embed::v1_embeddings))
        .routes(routes!(search::search))
        .routes(routes!(info::info))
        .routes(routes!(info::metrics))
        .routes(routes!(admin::reload))
        .layer(from_fn_with_state(app.clone(), auth::key));
    let (router, mut described) = open.merge(closed).split_for_parts();
    if app.settings.api_key.is_some() {
        let components = described.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        described.security = Some(vec![utoipa::openapi::SecurityRequirement::new("key", Vec::<String>::new())]);
    }
    let described = Arc::new(described);
    let document = move |State(app): State<Arc<App>>| async move {
        let served = app.served();
        served.clone().cached_json(|served| &served.document, move |served| openapi::document(&described, served)).await
    };
    router
        .route("/openapi.json", get(document))
        .merge(page::router())
        .fallback(async || ApiError::new(ApiErrorKind::NotFound, "no such endpoint; see /docs for the available ones"))
        .method_not_allowed_fallback(async || {
            ApiError::new(ApiErrorKind::MethodNotAllowed, "this endpoint does not support the method; see /docs")
        })
        .layer(from_fn_with_state(app.clone(), auth::memory))
        .layer(CatchPanicLayer::custom(|_| {
            ApiError::new(ApiErrorKind::Failed, "internal server error while handling this request").into_response()
        }))
        .layer(from_fn_with_state(app.clone(), auth::clock))
        .layer(cors(app.sites.origins()))
        .layer(from_fn_with_state(app.clone(), auth::site))
        .layer(map_response(with_security_headers))
        .with_state(app)
}

/// Lets pages of the given origins read responses (CORS). Without origins, no header is sent.
fn cors(origins: &[String]) -> CorsLayer {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    if origins.is_empty() {
        return CorsLayer::new();
    }
    let headers = [header::CONTENT_TYPE, header::AUTHORIZATION, header::HeaderName::from_static("x-api-key")];
    CorsLayer::new().allow_origin(origins).allow_methods([Method::GET, Method::POST]).allow_headers(headers)
}

/// Adds the security headers of every response: run only the page's own scripts, do not sniff content types, and do not embed
/// anything in other pages.
async fn with_security_headers(mut response: Response) -> Response {
    const POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; frame-ancestors 'none'";
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    response
}
