//! Every place of the server.

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
use crate::loaded_model::LoadedModel;
use crate::{admin, auth, embed, info, openapi, page, predict, search, stream};

#[derive(OpenApi)]
#[openapi(
    info(title = "mbm", description = "A multimodal model, and the index of its vectors."),
    components(schemas(OpenAiProblemBody, ProblemBody))
)]
struct Described;

/// The places that need the key, where there is one, and those that do not.
pub(crate) fn router(app: Arc<App>) -> Router {
    let open = OpenApiRouter::with_openapi(Described::openapi()).routes(routes!(info::health)).routes(routes!(info::ready));
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
        let make = move |served: &LoadedModel| openapi::document(&described, served);
        served.clone().kept(|served| &served.document, make).await
    };
    router
        .route("/openapi.json", get(document))
        .merge(page::router())
        .fallback(async || ApiError::new(ApiErrorKind::NotFound, "no such place; /docs lists them"))
        .method_not_allowed_fallback(async || {
            ApiError::new(ApiErrorKind::MethodNotAllowed, "not with this method; /docs says which")
        })
        .layer(from_fn_with_state(app.clone(), auth::memory))
        .layer(CatchPanicLayer::custom(|_| {
            ApiError::new(ApiErrorKind::Failed, "the server failed on this request").into_response()
        }))
        .layer(from_fn_with_state(app.clone(), auth::clock))
        .layer(cors(app.sites.origins()))
        .layer(from_fn_with_state(app.clone(), auth::site))
        .layer(map_response(headed))
        .with_state(app)
}

/// Lets pages of the origins that are named read answers; without any, no header is sent.
fn cors(origins: &[String]) -> CorsLayer {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    if origins.is_empty() {
        return CorsLayer::new();
    }
    let headers = [header::CONTENT_TYPE, header::AUTHORIZATION, header::HeaderName::from_static("x-api-key")];
    CorsLayer::new().allow_origin(origins).allow_methods([Method::GET, Method::POST]).allow_headers(headers)
}

/// What browsers are told with every answer: run nothing but the page's own scripts, guess no types, and show no part of it in other pages.
async fn headed(mut response: Response) -> Response {
    const POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; frame-ancestors 'none'";
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    response
}
