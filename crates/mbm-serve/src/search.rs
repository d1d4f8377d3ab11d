//! Search for the rows of the index that are nearest to a text, an image, an audio clip, or a combination of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use mbm::{Cancellation, Filter, Hit, IndexValue, QueryPart, Retriever, Search};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::api_error::{ApiError, ApiErrorKind};
use crate::app::App;
use crate::body;
use crate::cells::CellReader;
use crate::embed::query_parts;
use crate::engine::{JobResult, Task};
use crate::loaded_model::LoadedModel;
use crate::openapi::Refused;

/// Maximum size of a filter, in bytes: what web servers usually accept as a request line, where other APIs have such conditions.
const MAX_FILTER: usize = 8 << 10;

/// A search query.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchBody {
    /// A text.
    #[serde(default)]
    text: Option<String>,
    /// An image, in base64.
    #[serde(default)]
    image: Option<String>,
    /// An audio clip, in base64.
    #[serde(default)]
    audio: Option<String>,
    /// Inputs by name.
    #[serde(default)]
    row: Map<String, Value>,
    /// Relative weights of the parts, by `text`, `image`, `audio` or an input's name; 1 by default.
    #[serde(default)]
    weights: BTreeMap<String, f32>,
    /// Number of rows to return.
    #[serde(default = "ten")]
    #[schema(minimum = 1, maximum = 1000, default = 10)]
    k: usize,
    /// Condition that rows must meet, such as `split = 'train' AND year >= 2010`; up to 8 KiB.
    #[serde(default)]
    filter: Option<String>,
    /// Whether to search all rows instead of using the graph.
    #[serde(default)]
    exact: bool,
    /// Number of candidates that the graph search keeps; more give a higher recall.
    #[serde(default = "default_width")]
    #[schema(minimum = 1, maximum = 100000, default = 128)]
    width: usize,
    /// Whether to return thumbnails of the rows' images.
    #[serde(default)]
    thumbnails: bool,
}

fn ten() -> usize {
    10
}

fn default_width() -> usize {
    128
}

/// Search results, nearest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Found {
    hits: Vec<FoundRow>,
    /// Number of rows in the index.
    n_rows: usize,
}

/// A row of the index that was found.
#[derive(Serialize, ToSchema)]
pub(crate) struct FoundRow {
    /// Cosine similarity to the query.
    similarity: f32,
    /// Values of the row's columns in the index.
    row: Map<String, Value>,
    /// Thumbnails of its images as data URIs, if requested.
    #[serde(skip_serializing_if = "Map::is_empty")]
    thumbnails: Map<String, Value>,
}

/// Find the nearest rows of the index.
///
/// All parts of the query must be readable; otherwise an error names the one that is not.
#[utoipa::path(post, path = "/search", tag = "Vectors", request_body = SearchBody,
    responses((status = 200, description = "The nearest rows first", body = Found), Refused))]
pub(crate) async fn search(
    State(app): State<Arc<App>>,
    body::Json(body): body::Json<SearchBody>,
) -> Result<Json<Found>, ApiError> {
    let served = app.served();
    let retriever =
        served.index().ok_or_else(|| ApiError::new(ApiErrorKind::NotFound, "this server has no index; start it with --index"))?;
    if !(1..=1000).contains(&body.k) || !(1..=100_000).contains(&body.width) {
        return Err(ApiError::validation("k must be 1 to 1000, and width 1 to 100000"));
    }
    let filter =
        body.filter.as_deref().map(|text| Filter::parse_within(text, MAX_FILTER)).transpose().map_err(mbm::Error::from)?;
    let width = (!body.exact).then_some(body.width);
    let (k, thumbnails) = (body.k, body.thumbnails);
    let parts = parts(&app, &served, body).await?;
    let answers = app.engine.run(&served, Task::Embed, retriever.cells(&parts)?).await?;
    let vectors = answers.into_iter().map(|answer| match answer? {
        JobResult::Embedded { vectors, .. } => Ok(vectors),
        JobResult::Predicted { .. } => Err(ApiError::new(ApiErrorKind::Failed, "internal error: unexpected type of result")),
    });
    let query = retriever.query(&parts, vectors.collect::<Result<_, ApiError>>()?)?;
    let served = served.clone();
    // This future is dropped when the client disconnects or the request times out; that cancels the search on its thread.
    let cancellation = Cancellation::after(app.settings.timeout);
    let _guard = cancellation.on_drop();
    let found = tokio::task::spawn_blocking(move || {
        let search = Search::nearest(k).width(width).filter(filter.as_ref()).cancellation(&cancellation);
        find(&served, &query, search, thumbnails)
    });
    found.await.map_err(|error| ApiError::new(ApiErrorKind::Failed, error.to_string()))?.map(Json)
}

async fn parts(app: &App, served: &LoadedModel, body: SearchBody) -> Result<Vec<QueryPart>, ApiError> {
    let mut reading = CellReader::new(&app.media, served);
    let mut parts = Vec::new();
    let mut names = Vec::new();
    for (kind, value) in [("text", body.text), ("image", body.image), ("audio", body.audio)] {
        let Some(value) = value else { continue };
        let input = served.model.input_of_type(kind)?;
        names.push((kind.to_owned(), input.clone()));
        parts.extend(query_parts(&mut reading, served, json!({ input: value }), None).await?);
    }
    if !body.row.is_empty() {
        parts.extend(query_parts(&mut reading, served, Value::Object(body.row), None).await?);
    }
    if parts.is_empty() {
        return Err(ApiError::validation("nothing to search for: give text, image, audio or row"));
    }
    for (name, weight) in body.weights {
        let input = names.iter().find(|(kind, _)| *kind == name).map_or(&name, |(_, input)| input);
        let part = parts.iter_mut().find(|part| part.input == *input);
        part.ok_or_else(|| ApiError::validation(format!("weights: '{name}' is not in the query")))?.weight = weight;
    }
    Ok(parts)
}

fn find(served: &LoadedModel, query: &[f32], search: Search, thumbnails: bool) -> Result<Found, ApiError> {
    let retriever = served.index().ok_or_else(|| ApiError::new(ApiErrorKind::Failed, "the index is no longer served"))?;
    let hits = retriever.nearest(query, search).map_err(failed)?;
    let hits = hits
        .into_iter()
        .map(|hit| -> Result<FoundRow, ApiError> {
            search.cancellation.map_or(Ok(()), Cancellation::check).map_err(|error| failed(error.into()))?;
            let thumbnails = if thumbnails { images(retriever, &hit) } else { Map::new() };
            let names = retriever.index().spec().columns.iter().map(|column| column.name.clone());
            let row = names.zip(hit.values.into_iter().map(value)).collect();
            Ok(FoundRow { similarity: hit.similarity, row, thumbnails })
        })
        .collect::<Result<_, ApiError>>()?;
    Ok(Found { hits, n_rows: served.index_info.as_ref().map_or(0, |info| info.n_rows) })
}

/// Maps an error of a search; one that was cancelled is not the client's fault.
fn failed(error: mbm::Error) -> ApiError {
    if error.is_cancelled() { ApiError::new(ApiErrorKind::Unavailable, error.to_string()) } else { error.into() }
}

fn images(retriever: &Retriever, hit: &Hit) -> Map<String, Value> {
    let thumbnails = retriever.thumbnails(hit);
    thumbnails.into_iter().map(|(column, uri)| (retriever.index().spec().columns[column].name.clone(), uri.into())).collect()
}

fn value(value: IndexValue) -> Value {
    match value {
        IndexValue::Null => Value::Null,
        IndexValue::Number(number) => json!(number),
        IndexValue::Text(text) => text.into(),
    }
}
