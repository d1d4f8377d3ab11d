//! Prediction of one row, or of many rows, each with its own result. The keys of the response are those of Ludwig.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use mbm::Unreadable;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::api_error::{ApiError, ApiErrorKind};
use crate::app::App;
use crate::body::{self, Rows};
use crate::cells::{CellReader, RequestRow};
use crate::engine::{Answer, JobResult, Task};
use crate::loaded_model::LoadedModel;
use crate::openapi::{Refused, RowBody};
use crate::reply::{self, NAMED_VALUE};

/// Query parameters of `/predict`.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct PredictQuery {
    /// Whether to return the contribution of each input to the prediction.
    #[serde(default)]
    explain: bool,
    /// Whether a nonempty cell that cannot be read is an error (400) instead of counting as absent.
    #[serde(default)]
    strict: bool,
}

/// Query parameters of `/batch_predict` and `/predict/stream`.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct StrictQuery {
    /// Whether a nonempty cell that cannot be read is an error of its row instead of counting as absent.
    #[serde(default)]
    strict: bool,
}

/// A parsed query string, or why it is invalid.
pub(crate) type QueryParams<T> = Result<Query<T>, QueryRejection>;

/// Returns the query parameters, or a validation error.
fn query_params<T>(query: QueryParams<T>) -> Result<T, ApiError> {
    query.map(|Query(query)| query).map_err(|rejection| ApiError::validation(rejection.body_text()))
}

impl StrictQuery {
    /// Returns how to treat cells that cannot be read.
    pub fn of(query: QueryParams<Self>) -> Result<Unreadable, ApiError> {
        Ok(unreadable(query_params(query)?.strict))
    }
}

fn unreadable(is_strict: bool) -> Unreadable {
    if is_strict { Unreadable::Error } else { Unreadable::Missing }
}

/// A batch of rows.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `Rows` reads")]
pub(crate) struct BatchBody {
    /// The rows.
    rows: Vec<RowBody>,
}

/// Predictions of a batch, in the order of its rows.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `batch_predict` writes")]
pub(crate) struct BatchPrediction {
    /// For each row, its prediction, or `error` and `error_type`.
    rows: Vec<Map<String, Value>>,
}

/// Prediction of a row.
#[derive(ToSchema)]
pub(crate) struct PredictionBody(#[expect(dead_code, reason = "it describes what `predict` writes")] Map<String, Value>);

/// Predict one row.
///
/// The body is a row as JSON or as a form. Images and audio clips are files of a form, or base64 in JSON. Inputs that are left
/// out or cannot be read count as absent, which the model is trained to handle. The response has Ludwig's keys and a `status`
/// that lists absent and shortened inputs with the reason, such as `absent: photo (unreadable)`. With `strict=true`, unreadable
/// inputs are errors.
#[utoipa::path(post, path = "/predict", tag = "Prediction", params(PredictQuery),
    request_body(content((RowBody = "application/json"), (RowBody = "multipart/form-data"))),
    responses((status = 200, description = "The prediction", body = PredictionBody), Refused))]
pub(crate) async fn predict(
    State(app): State<Arc<App>>,
    query: QueryParams<PredictQuery>,
    body::BodyRow(row): body::BodyRow,
) -> Result<Response, ApiError> {
    let PredictQuery { explain, strict } = query_params(query)?;
    let served = app.served();
    let cells = CellReader::new(&app.media, &served).cells(row).await?;
    let task = if explain { Task::Explain(unreadable(strict)) } else { Task::Predict(unreadable(strict)) };
    let answer = app.engine.run(&served, task, vec![cells]).await?.swap_remove(0);
    let n_bytes = (served.columns.len() + 1) * NAMED_VALUE;
    reply::json(n_bytes, move || prediction(&served, answer)).await
}

/// Predict many rows.
///
/// The body is `{"rows": [..]}`, a list of rows, or pandas' `split` format as Ludwig accepts it (JSON, or the field `dataset` of
/// a form that also holds the files it refers to). An invalid row gets an `error` of its own; the other rows get predictions.
/// Cells that cannot be read count as absent as in `/predict`, or are errors of their rows with `strict=true`.
#[utoipa::path(post, path = "/batch_predict", tag = "Prediction", params(StrictQuery), request_body = BatchBody,
    responses((status = 200, description = "Predictions in the order of the rows", body = BatchPrediction), Refused))]
pub(crate) async fn batch_predict(
    State(app): State<Arc<App>>,
    query: QueryParams<StrictQuery>,
    Rows { rows, index }: Rows,
) -> Result<Response, ApiError> {
    let task = Task::Predict(StrictQuery::of(query)?);
    let served = app.served();
    app.engine.check(rows.len())?;
    let n_bytes = rows.len() * (served.columns.len() + 1) * NAMED_VALUE;
    let (read, answers) = answers(&app, &served, task, rows).await?;
    let response = reply::json(n_bytes, move || {
        let predictions = predictions(&served, read, answers);
        Ok(match index {
            None => json!({ "rows": predictions }),
            Some(index) => split(&served, index, predictions),
        })
    });
    response.await
}

/// For each row, whether it was valid, and why not; and the answers to the valid rows.
type Answers = (Vec<Result<(), ApiError>>, Vec<Answer>);

async fn answers(app: &App, served: &Arc<LoadedModel>, task: Task, rows: Vec<RequestRow>) -> Result<Answers, ApiError> {
    let mut reading = CellReader::new(&app.media, served);
    let mut read = Vec::with_capacity(rows.len());
    for row in rows {
        read.push(reading.cells(row).await);
    }
    let good: Vec<_> = read.iter_mut().filter_map(|row| row.as_mut().ok().map(std::mem::take)).collect();
    let answers = app.engine.run(served, task, good).await?;
    Ok((read.into_iter().map(|row| row.map(|_| ())).collect(), answers))
}

fn predictions(served: &LoadedModel, read: Vec<Result<(), ApiError>>, answers: Vec<Answer>) -> Vec<Map<String, Value>> {
    let mut answers = answers.into_iter();
    let predictions = read.into_iter().map(|row| {
        let answer = row.and_then(|()| answers.next().unwrap_or_else(no_result));
        prediction(served, answer).unwrap_or_else(|api_error| object(json!(api_error.body())))
    });
    predictions.collect()
}

fn no_result() -> Answer {
    Err(ApiError::new(ApiErrorKind::Failed, "the row has no result"))
}

/// Converts predictions to pandas' `split` format: columns, index and data.
fn split(served: &LoadedModel, index: Vec<Value>, predictions: Vec<Map<String, Value>>) -> Value {
    let columns: Vec<&str> = served.columns.iter().map(String::as_str).chain(["status", "error"]).collect();
    let data: Vec<Vec<Value>> = predictions
        .into_iter()
        .map(|mut row| columns.iter().map(|column| row.remove(*column).unwrap_or(Value::Null)).collect())
        .collect();
    json!({ "columns": columns, "index": index, "data": data })
}

pub(crate) fn prediction(served: &LoadedModel, answer: Answer) -> Result<Map<String, Value>, ApiError> {
    let JobResult::Predicted { values, status, contributions } = answer? else {
        return Err(ApiError::new(ApiErrorKind::Failed, "internal error: unexpected type of result"));
    };
    let mut row: Map<String, Value> = served.columns.iter().cloned().zip(values.iter().map(mbm::OutputValue::to_json)).collect();
    row.insert("status".to_owned(), status.to_string().into());
    if !contributions.is_empty() {
        row.insert("contributions".to_owned(), served.model.contributions_to_json(&contributions));
    }
    Ok(row)
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(object) = value { object } else { Map::new() }
}
