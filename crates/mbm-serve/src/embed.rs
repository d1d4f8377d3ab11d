//! Embeddings, compatible with the APIs of text-embeddings-inference and OpenAI.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mbm::{Cell, QueryPart};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::api_error::{ApiError, ApiErrorKind, listed, shortened};
use crate::app::App;
use crate::body;
use crate::cells::{CellReader, InputValue, kind};
use crate::engine::{JobResult, Task};
use crate::loaded_model::LoadedModel;
use crate::openapi::{self, OpenAiRefused, Refused};
use crate::reply::{self, NUMBER};

/// Items to embed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmbedBody {
    /// A string or a list of strings (for image and audio inputs, base64), or rows such as `{"image": "<base64>"}`.
    #[schema(schema_with = openapi::items)]
    inputs: Value,
    /// The input that strings are for; by default, the one of type text.
    #[serde(default)]
    input: Option<String>,
    /// Whether to scale vectors to unit length; those of aligned inputs always have unit length.
    #[serde(default = "yes")]
    normalize: bool,
    /// Accepted for compatibility; texts are always truncated to the model's maximum sequence length.
    #[serde(default)]
    #[expect(dead_code, reason = "clients of text-embeddings-inference send it")]
    truncate: bool,
}

fn yes() -> bool {
    true
}

/// Embedding request in OpenAI's format.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenAiBody {
    /// A string or a list of strings.
    #[schema(schema_with = openapi::items)]
    input: Value,
    /// The model's name, which is only repeated in the response: the server has a single model.
    #[serde(default)]
    model: Option<String>,
    /// Encoding of the vectors.
    #[serde(default)]
    encoding_format: EncodingFormat,
    /// Number of dimensions; if given, it must be the model's.
    #[serde(default)]
    dimensions: Option<usize>,
    /// The end user; accepted for compatibility.
    #[serde(default)]
    #[expect(dead_code, reason = "clients of OpenAI send it")]
    user: Option<String>,
}

/// Encoding of vectors.
#[derive(Deserialize, ToSchema, Default, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EncodingFormat {
    /// Lists of numbers.
    #[default]
    Float,
    /// Little-endian 32-bit floats in base64.
    Base64,
}

/// Embedding response in OpenAI's format.
#[derive(Serialize, ToSchema)]
pub(crate) struct OpenAiEmbeddings {
    object: &'static str,
    data: Vec<OpenAiEmbedding>,
    model: String,
    usage: Usage,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct OpenAiEmbedding {
    object: &'static str,
    index: usize,
    /// A list of numbers, or base64.
    #[schema(schema_with = openapi::vector)]
    embedding: Value,
}

/// Number of tokens that were read.
#[derive(Serialize, ToSchema)]
pub(crate) struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// An error that is sent in OpenAI's format.
pub(crate) struct OpenAiProblem(ApiError);

/// Error response in OpenAI's format.
#[derive(Serialize, ToSchema)]
pub(crate) struct OpenAiProblemBody {
    error: OpenAiError,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct OpenAiError {
    /// Human-readable message.
    message: String,
    /// Machine-readable kind of error.
    r#type: ApiErrorKind,
    code: Option<String>,
    param: Option<String>,
}

impl From<ApiError> for OpenAiProblem {
    fn from(api_error: ApiError) -> Self {
        Self(api_error)
    }
}

impl IntoResponse for OpenAiProblem {
    fn into_response(self) -> Response {
        let Self(api_error) = self;
        let error = OpenAiError { message: api_error.message.clone(), r#type: api_error.kind, code: None, param: None };
        api_error.respond(OpenAiProblemBody { error })
    }
}

/// Embed texts, images or audio clips.
///
/// Compatible with text-embeddings-inference: `{"inputs": ["a dog", "a cat"]}` returns one vector per item. An item that cannot
/// be read makes the whole request fail, since the response format has no place for errors of single items.
#[utoipa::path(post, path = "/embed", tag = "Vectors", request_body = EmbedBody,
    responses((status = 200, description = "One vector per item", body = Vec<Vec<f32>>), Refused))]
pub(crate) async fn embed(State(app): State<Arc<App>>, body::Json(body): body::Json<EmbedBody>) -> Result<Response, ApiError> {
    let vectors = vectors(&app, body.inputs, body.input.as_deref(), body.normalize).await?;
    let n_bytes = n_numbers(&vectors) * NUMBER;
    reply::json(n_bytes, move || Ok(vectors.into_iter().map(|(vector, _)| vector).collect::<Vec<_>>())).await
}

fn n_numbers(vectors: &[(Vec<f32>, usize)]) -> usize {
    vectors.iter().map(|(vector, _)| vector.len()).sum()
}

/// Embed texts, in OpenAI's format.
#[utoipa::path(post, path = "/v1/embeddings", tag = "Vectors", request_body = OpenAiBody,
    responses((status = 200, description = "One vector per item", body = OpenAiEmbeddings), OpenAiRefused))]
pub(crate) async fn v1_embeddings(
    State(app): State<Arc<App>>,
    body: Result<body::Json<OpenAiBody>, ApiError>,
) -> Result<Response, OpenAiProblem> {
    let body::Json(body) = body?;
    let vectors = vectors(&app, body.input, None, true).await?;
    let width = vectors.first().map(|(vector, _)| vector.len());
    if body.dimensions.is_some() && body.dimensions != width {
        return Err(ApiError::validation(format!("dimensions: the model's vectors have {} values", width.unwrap_or(0))).into());
    }
    let n_tokens = vectors.iter().map(|(_, n_tokens)| n_tokens).sum();
    let n_bytes = n_numbers(&vectors) * OPENAI_NUMBER;
    let model = body.model.unwrap_or_else(|| app.served().name.clone());
    let format = body.encoding_format;
    let response = reply::json(n_bytes, move || {
        let data = vectors.into_iter().enumerate().map(|(index, (vector, _))| OpenAiEmbedding {
            object: "embedding",
            index,
            embedding: match format {
                EncodingFormat::Float => json!(vector),
                EncodingFormat::Base64 => {
                    STANDARD.encode(vector.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()).into()
                }
            },
        });
        let usage = Usage { prompt_tokens: n_tokens, total_tokens: n_tokens };
        Ok(OpenAiEmbeddings { object: "list", data: data.collect(), model, usage })
    });
    Ok(response.await?)
}

/// Estimated bytes of a number in OpenAI's format, which is a JSON value before it is serialized.
const OPENAI_NUMBER: usize = NUMBER + size_of::<Value>();

/// Computes the vectors of items, each with the number of tokens that were read for it.
async fn vectors(app: &App, inputs: Value, input: Option<&str>, normalize: bool) -> Result<Vec<(Vec<f32>, usize)>, ApiError> {
    let served = app.served();
    let items = match inputs {
        Value::Array(items) => items,
        one => vec![one],
    };
    if items.is_empty() {
        return Err(ApiError::validation("no inputs"));
    }
    app.engine.check(items.len())?;
    let mut reading = CellReader::new(&app.media, &served);
    let towers = served.model.towers();
    let (mut rows, mut places) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
    for item in items {
        let parts = query_parts(&mut reading, &served, item, input).await?;
        let place = towers.iter().position(|tower| tower.input.as_ref().is_none_or(|of| *of == parts[0].input));
        if place.is_none() || (parts.len() > 1 && towers[0].input.is_some()) {
            let names: Vec<&str> = served.model.embedded_inputs().iter().map(|(name, _)| *name).collect();
            return Err(ApiError::validation(format!("an embedding takes exactly one of: {}", listed(&names))));
        }
        places.extend(place);
        rows.push(served.model.query_cells(&parts)?);
    }
    let answers = app.engine.run(&served, Task::Embed, rows).await?;
    let vectors = answers.into_iter().zip(places).map(|(answer, place)| match answer? {
        JobResult::Embedded { mut vectors, n_tokens } => {
            let vector = vectors.swap_remove(place).ok_or_else(|| ApiError::validation("the item is empty and has no vector"))?;
            Ok((if normalize { unit(vector) } else { vector }, n_tokens))
        }
        JobResult::Predicted { .. } => Err(ApiError::new(ApiErrorKind::Failed, "internal error: unexpected type of result")),
    });
    vectors.collect()
}

fn unit(vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    vector.into_iter().map(|x| x / length).collect()
}

/// Converts an item to the parts of a query: a string for one input, or the inputs of a row.
pub(crate) async fn query_parts(
    reading: &mut CellReader<'_>,
    served: &LoadedModel,
    item: Value,
    input: Option<&str>,
) -> Result<Vec<QueryPart>, ApiError> {
    let pairs: Vec<(String, Value)> = match item {
        Value::Object(row) => row.into_iter().collect(),
        text @ Value::String(_) => {
            let name = input.map_or_else(|| served.model.input_of_type("text"), |input| Ok(input.to_owned()))?;
            vec![(name, text)]
        }
        other => return Err(ApiError::validation(format!("{} is neither a string nor a row", kind(&other)))),
    };
    // Let other tasks run between rows.
    tokio::task::yield_now().await;
    let mut parts = Vec::with_capacity(pairs.len());
    for (input, value) in pairs {
        let at = served
            .input(&input)
            .ok_or_else(|| ApiError::validation(format!("'{}' is not an input of the model", shortened(&input))))?;
        let cell = reading.cell(at, InputValue::Json(value)).await?;
        let cell = cell.map_err(|fault| ApiError::validation(format!("{input}: {fault}")))?;
        if cell == Cell::Empty {
            return Err(ApiError::validation(format!("{input}: empty")));
        }
        parts.push(QueryPart::from((input, cell)));
    }
    if parts.is_empty() { Err(ApiError::validation("the row has no inputs")) } else { Ok(parts) }
}
