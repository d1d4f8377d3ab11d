//! Bodies: JSON, or forms with files.

use std::borrow::Cow;

use axum::body::Bytes;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::cells::{Given, GivenRow};
use crate::problem::{Problem, ProblemKind};

/// A body of JSON, read as `T`.
pub(crate) struct Json<T>(pub T);

/// A body of JSON or a form.
#[derive(Debug, PartialEq)]
pub(crate) enum Body {
    /// JSON.
    Json(Value),
    /// The fields of a form, files with their names.
    Form(Vec<FormField>),
}

/// A field of a form.
#[derive(Debug, PartialEq)]
pub(crate) struct FormField {
    pub name: String,
    pub file_name: Option<String>,
    pub content: Bytes,
}

/// Rows of a request, and the form that they came in.
#[derive(Debug, PartialEq)]
pub(crate) struct Rows {
    pub rows: Vec<GivenRow>,
    /// The names of rows in pandas' `split` form, where that was sent.
    pub index: Option<Vec<Value>>,
}

/// Fields of a form, at most.
const MAX_FIELDS: usize = 10_000;

fn kind(request: &Request) -> String {
    let value = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

async fn bytes(request: Request) -> Result<Bytes, Problem> {
    Bytes::from_request(request, &()).await.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(ProblemKind::TooLarge, "the body is larger than this server takes"),
        _ => Problem::validation(rejection.body_text()),
    })
}

async fn json<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    serde_json::from_slice(&bytes(request).await?).map_err(|error| Problem::validation(format!("the body: {error}")))
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        match kind(&request).as_str() {
            "application/json" => json(request).await.map(Self),
            other => Err(unsupported(other, "application/json")),
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        match kind(&request).as_str() {
            "application/json" => json(request).await.map(Self::Json),
            "multipart/form-data" => {
                let form = Multipart::from_request(request, &()).await;
                fields(form.map_err(|rejection| Problem::validation(rejection.body_text()))?).await.map(Self::Form)
            }
            "application/x-www-form-urlencoded" => {
                let content = bytes(request).await?;
                let pairs = form_urlencoded::parse(&content).take(MAX_FIELDS);
                if content.trim_ascii_start().starts_with(b"{") {
                    return Err(Problem::validation(
                        "this looks like JSON: say so with the header 'content-type: application/json'",
                    ));
                }
                let field = |(name, value): (Cow<str>, Cow<str>)| FormField {
                    name: name.into_owned(),
                    file_name: None,
                    content: value.into_owned().into(),
                };
                Ok(Self::Form(pairs.map(field).collect()))
            }
            other => Err(unsupported(other, "application/json, multipart/form-data, application/x-www-form-urlencoded")),
        }
    }
}

fn unsupported(found: &str, allowed: &str) -> Problem {
    Problem::new(ProblemKind::UnsupportedMediaType, format!("content type '{found}'; there are: {allowed}"))
}

async fn fields(mut form: Multipart) -> Result<Vec<FormField>, Problem> {
    let wrong = |error: MultipartError| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(ProblemKind::TooLarge, "the form is larger than this server takes"),
        _ => Problem::validation(format!("the form: {}", error.body_text())),
    };
    let mut fields = Vec::new();
    while let Some(field) = form.next_field().await.map_err(wrong)? {
        if fields.len() == MAX_FIELDS {
            return Err(Problem::new(ProblemKind::TooLarge, format!("a form of more than {MAX_FIELDS} fields")));
        }
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let (name, file_name) = (owned(Field::name(&field)), owned(field.file_name()));
        let name = name.ok_or_else(|| Problem::validation("a field of the form has no name"))?;
        fields.push(FormField { name, file_name, content: field.bytes().await.map_err(wrong)? });
    }
    Ok(fields)
}

/// How many rows a body holds, read as `/batch_predict` reads it: the readers of foreign bytes without a model behind them.
///
/// # Errors
/// What the client would be told.
pub async fn rows_of_body(content_type: &str, content: Vec<u8>) -> Result<usize, String> {
    let request = Request::builder().header(header::CONTENT_TYPE, content_type).body(content.into());
    let request = request.map_err(|error| error.to_string())?;
    let rows = Body::from_request(request, &()).await.and_then(Body::into_rows);
    rows.map(|rows| rows.rows.len()).map_err(|problem| problem.message)
}

impl FormField {
    fn given(self) -> Result<(String, Given), Problem> {
        match self.file_name {
            Some(_) => Ok((self.name, Given::File(self.content))),
            None => text(&self.name, &self.content).map(|text| (self.name, Given::Json(Value::String(text)))),
        }
    }
}

fn text(name: &str, content: &[u8]) -> Result<String, Problem> {
    String::from_utf8(content.to_vec()).map_err(|_| Problem::validation(format!("'{name}' is not UTF-8")))
}

impl Body {
    /// One row.
    pub fn into_row(self) -> Result<GivenRow, Problem> {
        match self {
            Self::Json(value) => row(value),
            Self::Form(fields) => fields.into_iter().map(FormField::given).collect(),
        }
    }

    /// Several rows: a list, `{"rows": [..]}`, pandas' `split` form, or a form whose field `dataset` holds one of these and whose files
    /// are named in it.
    pub fn into_rows(self) -> Result<Rows, Problem> {
        match self {
            Self::Json(value) => rows(value),
            Self::Form(fields) => {
                let (dataset, files): (Vec<_>, Vec<_>) = fields.into_iter().partition(|field| field.file_name.is_none());
                let [dataset] = <[FormField; 1]>::try_from(dataset)
                    .map_err(|_| Problem::validation("the form needs one field 'dataset' beside its files"))?;
                if dataset.name != "dataset" {
                    return Err(Problem::validation(format!("the form has a field '{}' and no 'dataset'", dataset.name)));
                }
                let value = serde_json::from_slice(&dataset.content);
                let mut rows = rows(value.map_err(|error| Problem::validation(format!("dataset: {error}")))?)?;
                rows.rows.iter_mut().flatten().for_each(|(_, given)| put_file(given, &files));
                Ok(rows)
            }
        }
    }
}

/// Puts a file's content in place of its name.
fn put_file(given: &mut Given, files: &[FormField]) {
    let Given::Json(Value::String(name)) = given else { return };
    if let Some(file) = files.iter().find(|file| file.file_name.as_ref() == Some(name)) {
        *given = Given::File(file.content.clone());
    }
}

/// A JSON object as a row.
pub(crate) fn row(value: Value) -> Result<GivenRow, Problem> {
    match value {
        Value::Object(row) => Ok(row.into_iter().map(|(name, value)| (name, Given::Json(value))).collect()),
        _ => Err(Problem::validation("a row is a JSON object such as {\"image\": \"<base64>\", \"note\": \"..\"}")),
    }
}

fn rows(value: Value) -> Result<Rows, Problem> {
    let expected = || Problem::validation("expected a list of rows, {\"rows\": [..]} or {\"columns\": [..], \"data\": [[..]]}");
    match value {
        Value::Array(rows) => Ok(Rows { rows: rows.into_iter().map(row).collect::<Result<_, _>>()?, index: None }),
        Value::Object(mut object) => match (object.remove("rows"), object.remove("columns"), object.remove("data")) {
            (Some(list @ Value::Array(_)), None, None) => rows(list),
            (None, Some(Value::Array(columns)), Some(Value::Array(data))) => split(&columns, data, &mut object),
            _ => Err(expected()),
        },
        _ => Err(expected()),
    }
}

fn split(columns: &[Value], data: Vec<Value>, rest: &mut Map<String, Value>) -> Result<Rows, Problem> {
    let name = |column: &Value| column.as_str().map(str::to_owned);
    let names = columns.iter().map(name).collect::<Option<Vec<_>>>();
    let names = names.ok_or_else(|| Problem::validation("'columns' holds something that is no text"))?;
    let index = match rest.remove("index") {
        None => (0..data.len()).map(Value::from).collect(),
        Some(Value::Array(index)) if index.len() == data.len() => index,
        Some(_) => return Err(Problem::validation("'index' needs a name for each row of 'data'")),
    };
    let row = |(at, row): (usize, Value)| match row {
        Value::Array(values) if values.len() == names.len() => {
            Ok(names.iter().cloned().zip(values.into_iter().map(Given::Json)).collect())
        }
        _ => Err(Problem::validation(format!("row {at} of 'data' is no list of {} values", names.len()))),
    };
    Ok(Rows { rows: data.into_iter().enumerate().map(row).collect::<Result<_, _>>()?, index: Some(index) })
}
