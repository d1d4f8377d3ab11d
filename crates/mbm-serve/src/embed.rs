//! Vectors, in the shapes that clients of text-embeddings-inference and of OpenAI send and read.

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
use crate::cells::{CellReader, Given, kind};
use crate::engine::{Done, Task};
use crate::loaded_model::LoadedModel;
use crate::openapi::{self, OpenAiRefused, Refused};
use crate::reply::{self, NUMBER};

/// What is to become vectors.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmbedBody {
    /// A text, or a list of texts; of an input of images or sounds base64; or rows such as `{"image": "<base64>"}`.
    #[schema(schema_with = openapi::items)]
    inputs: Value,
    /// The input that texts are for; the one of type text where none is named.
    #[serde(default)]
    input: Option<String>,
    /// Whether vectors have unit length; those of aligned inputs always have.
    #[serde(default = "yes")]
    normalize: bool,
    /// Texts are always cut at the model's longest sequence.
    #[serde(default)]
    #[expect(dead_code, reason = "clients of text-embeddings-inference send it")]
    truncate: bool,
}

fn yes() -> bool {
    true
}

/// What OpenAI's clients send.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenAiBody {
    /// A text or a list of texts.
    #[schema(schema_with = openapi::items)]
    input: Value,
    /// The model's name; there is one.
    #[serde(default)]
    model: Option<String>,
    /// How vectors are written.
    #[serde(default)]
    encoding_format: EncodingFormat,
    /// The width, which is the model's.
    #[serde(default)]
    dimensions: Option<usize>,
    /// Whoever asks.
    #[serde(default)]
    #[expect(dead_code, reason = "clients of OpenAI send it")]
    user: Option<String>,
}

/// How vectors are written.
#[derive(Deserialize, ToSchema, Default, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EncodingFormat {
    /// As lists of numbers.
    #[default]
    Float,
    /// As little-endian 32-bit floats in base64.
    Base64,
}

/// What OpenAI's clients read.
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
    /// Numbers, or base64.
    #[schema(schema_with = openapi::vector)]
    embedding: Value,
}

/// Tokens that were read.
#[derive(Serialize, ToSchema)]
pub(crate) struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// A problem in OpenAI's form.
pub(crate) struct OpenAiProblem(ApiError);

/// A problem as OpenAI's clients read it.
#[derive(Serialize, ToSchema)]
pub(crate) struct OpenAiProblemBody {
    error: OpenAiError,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct OpenAiError {
    /// What is wrong, for people.
    message: String,
    /// What is wrong, for programs.
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

/// Turn texts, images or sounds into vectors.
///
/// The shape of text-embeddings-inference: `{"inputs": ["a dog", "a cat"]}` gives a vector each. There is no vector of what cannot be read: that
/// is an error, since the answer has no place to say it.
#[utoipa::path(post, path = "/embed", tag = "Vectors", request_body = EmbedBody,
    responses((status = 200, description = "A vector each", body = Vec<Vec<f32>>), Refused))]
pub(crate) async fn embed(State(app): State<Arc<App>>, body::Json(body): body::Json<EmbedBody>) -> Result<Response, ApiError> {
    let vectors = vectors(&app, body.inputs, body.input.as_deref(), body.normalize).await?;
    let n_bytes = n_numbers(&vectors) * NUMBER;
    reply::json(n_bytes, move || Ok(vectors.into_iter().map(|(vector, _)| vector).collect::<Vec<_>>())).await
}

fn n_numbers(vectors: &[(Vec<f32>, usize)]) -> usize {
    vectors.iter().map(|(vector, _)| vector.len()).sum()
}

/// Turn texts into vectors, in OpenAI's shape.
#[utoipa::path(post, path = "/v1/embeddings", tag = "Vectors", request_body = OpenAiBody,
    responses((status = 200, description = "A vector each", body = OpenAiEmbeddings), OpenAiRefused))]
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
    let make = move || {
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
    };
    Ok(reply::json(n_bytes, make).await?)
}

/// A number in OpenAI's form is a value of JSON before it is written.
const OPENAI_NUMBER: usize = NUMBER + size_of::<Value>();

/// The vectors of items, each with the tokens that were read for it.
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
    let towers = served.predictor.towers();
    let (mut rows, mut places) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
    for item in items {
        let asked = asked(&mut reading, &served, item, input).await?;
        let place = towers.iter().position(|tower| tower.input.as_ref().is_none_or(|of| *of == asked[0].input));
        if place.is_none() || (asked.len() > 1 && towers[0].input.is_some()) {
            let names: Vec<&str> = served.predictor.embedded_inputs().iter().map(|(name, _)| *name).collect();
            return Err(ApiError::validation(format!("a vector is made from one of: {}", listed(&names))));
        }
        places.extend(place);
        rows.push(served.predictor.asked_cells(&asked)?);
    }
    let answers = app.engine.run(&served, Task::Embed, rows).await?;
    let vector = |(answer, place): (crate::engine::Answer, usize)| match answer? {
        Done::Embedded { mut vectors, n_tokens } => {
            let vector = vectors.swap_remove(place).ok_or_else(|| ApiError::validation("empty, so there is no vector"))?;
            Ok((if normalize { unit(vector) } else { vector }, n_tokens))
        }
        Done::Predicted { .. } => Err(ApiError::new(ApiErrorKind::Failed, "another answer than was asked for")),
    };
    answers.into_iter().zip(places).map(vector).collect()
}

fn unit(vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    vector.into_iter().map(|x| x / length).collect()
}

/// What one item asks with: a text for an input, or a row's inputs.
pub(crate) async fn asked(
    reading: &mut CellReader<'_>,
    served: &LoadedModel,
    item: Value,
    input: Option<&str>,
) -> Result<Vec<QueryPart>, ApiError> {
    let pairs: Vec<(String, Value)> = match item {
        Value::Object(row) => row.into_iter().collect(),
        text @ Value::String(_) => {
            let name = input.map_or_else(|| served.predictor.input_of("text"), |input| Ok(input.to_owned()))?;
            vec![(name, text)]
        }
        other => return Err(ApiError::validation(format!("{} is neither a text nor a row", kind(&other)))),
    };
    // Others have a turn between rows.
    tokio::task::yield_now().await;
    let mut asked = Vec::with_capacity(pairs.len());
    for (input, value) in pairs {
        let no_input = || ApiError::validation(format!("'{}' is no input of the model", shortened(&input)));
        let at = served.input(&input).ok_or_else(no_input)?;
        let cell = reading.cell(at, Given::Json(value)).await?;
        let cell = cell.map_err(|fault| ApiError::validation(format!("{input}: {fault}")))?;
        if cell == Cell::Empty {
            return Err(ApiError::validation(format!("{input}: empty")));
        }
        asked.push(QueryPart { input, cell, weight: 1.0 });
    }
    if asked.is_empty() { Err(ApiError::validation("a row without inputs")) } else { Ok(asked) }
}
