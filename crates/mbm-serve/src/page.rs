//! Web pages, compiled into the binary.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::app::App;

/// Path, content type and content of each file.
const FILES: [(&str, &str, &str); 6] = [
    ("/", "text/html", include_str!("page/index.html")),
    ("/page.js", "text/javascript", include_str!("page/page.js")),
    ("/page.css", "text/css", include_str!("page/page.css")),
    ("/docs", "text/html", include_str!("page/docs.html")),
    ("/docs.js", "text/javascript", include_str!("page/docs.js")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

/// Routes of the pages; they do not require an API key.
pub(crate) fn router() -> Router<Arc<App>> {
    FILES.into_iter().fold(Router::new(), |router, (path, kind, content)| {
        let kind = format!("{kind}; charset=utf-8");
        router.route(path, get(move || async move { ([(header::CONTENT_TYPE, kind)], content).into_response() }))
    })
}
