//! Request bodies: JSON, or forms with files. They are read completely, within the memory budget, and then parsed on blocking
//! threads.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::{HeaderMap, HeaderValue, header};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::api_error::{ApiError, ApiErrorKind};
use crate::budget::{MemoryShare, PER_BODY};
use crate::cells::{InputValue, RequestRow};
use crate::json_size::parsed_size;

/// A JSON body, deserialized as `T`.
pub(crate) struct Json<T>(pub T);

/// A body with one row, as JSON or a form.
#[derive(Debug, PartialEq)]
pub(crate) struct BodyRow(pub RequestRow);

/// A body with several rows: a list, `{"rows": [..]}`, pandas' `split` format, or a form whose field `dataset` holds one of these
/// and refers to the form's files by name.
#[derive(Debug, PartialEq)]
pub(crate) struct Rows {
    pub rows: Vec<RequestRow>,
    /// The row index, if the rows came in pandas' `split` format.
    pub index: Option<Vec<Value>>,
}

/// A body that is read but not yet parsed.
struct Content {
    bytes: Bytes,
    content_type: HeaderValue,
    held: MemoryShare,
}

/// A field of a form.
#[derive(Debug, PartialEq)]
struct FormField {
    name: String,
    file_name: Option<String>,
    content: Bytes,
}

/// Maximum number of fields in a form: a file for each of ten inputs of the thousand rows that the queue holds by default.
const MAX_FIELDS: usize = 10_000;

/// Maximum number of bytes in the names and values of a part's headers. A field name and a file name need a few hundred; nginx
/// allows 8 KiB for a whole header by default.
const MAX_PART_HEADERS: usize = 8 << 10;

/// Bytes that a field takes in addition to its content and its names.
const PER_FIELD: usize = size_of::<FormField>() + 64;

const JSON: &str = "application/json";
const FORM: &str = "multipart/form-data";
const URL_ENCODED: &str = "application/x-www-form-urlencoded";

impl<S: Send + Sync, T: DeserializeOwned + Send + 'static> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let content = Content::of(request, &[JSON]).await?;
        content.parse(|content| content.json("the body", content.bytes.clone()).map(Self)).await
    }
}

impl<S: Send + Sync> FromRequest<S> for BodyRow {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let content = Content::of(request, &[JSON, FORM, URL_ENCODED]).await?;
        let row = content.parse(|content| match content.kind().as_str() {
            JSON => row(content.json("the body", content.bytes.clone())?),
            _ => Ok(content.fields()?.into_iter().map(FormField::given).collect()),
        });
        row.await.map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for Rows {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let content = Content::of(request, &[JSON, FORM, URL_ENCODED]).await?;
        let rows = content.parse(|content| match content.kind().as_str() {
            JSON => rows(content.json("the body", content.bytes.clone())?),
            _ => rows_of_form(&content),
        });
        rows.await
    }
}

fn unsupported(found: &str, allowed: &[&str]) -> ApiError {
    let message = format!("unsupported content type '{found}'; supported: {}", allowed.join(", "));
    ApiError::new(ApiErrorKind::UnsupportedMediaType, message)
}

/// Returns the media type of a content type in lower case, without parameters.
fn kind(content_type: &HeaderValue) -> String {
    let value = content_type.to_str().unwrap_or("");
    value.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

fn too_large(limit: usize) -> ApiError {
    ApiError::new(ApiErrorKind::TooLarge, format!("the body exceeds this server's limit of {limit} bytes"))
}

impl Content {
    /// Reads the body of a request, provided that its content type is allowed and there is memory for it.
    async fn of(request: Request, allowed: &[&str]) -> Result<Self, ApiError> {
        let held = MemoryShare::current();
        let (parts, body) = request.into_parts();
        let content_type = parts.headers.get(header::CONTENT_TYPE).cloned().unwrap_or_else(|| HeaderValue::from_static(""));
        let kind = kind(&content_type);
        if !allowed.contains(&kind.as_str()) {
            return Err(unsupported(&kind, allowed));
        }
        let bytes = read(body, &held).await?;
        held.take(bytes.len())?;
        Ok(Self { bytes, content_type, held })
    }

    /// Parses the body, on a blocking thread if it is large; the body itself is released afterwards.
    async fn parse<T: Send + 'static>(
        self,
        read: impl FnOnce(Self) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (held, n_bytes) = (self.held.clone(), self.bytes.len());
        let parsed = held.work(n_bytes, move || read(self)).await?;
        held.release(n_bytes);
        Ok(parsed)
    }

    fn kind(&self) -> String {
        kind(&self.content_type)
    }

    /// Deserializes JSON, provided that the request may hold its values.
    fn json<T: DeserializeOwned>(&self, what: &str, text: Bytes) -> Result<T, ApiError> {
        self.held.take(
            parsed_size(&text, self.held.max_unfolded())
                .map_err(|api_error| ApiError { message: format!("{what}: {}", api_error.message), ..api_error })?,
        )?;
        serde_json::from_slice(&text).map_err(|error| {
            let is_syntax = error.is_syntax() || error.is_eof();
            ApiError::validation(format!("{what}: {}{error}", if is_syntax { "not valid JSON: " } else { "" }))
        })
    }

    fn fields(&self) -> Result<Vec<FormField>, ApiError> {
        match self.kind().as_str() {
            URL_ENCODED => self.url_encoded(),
            _ => {
                // The form is copied once; its fields share the copy.
                self.held.take(self.bytes.len())?;
                poll_ready(self.multipart())
            }
        }
    }

    fn url_encoded(&self) -> Result<Vec<FormField>, ApiError> {
        if self.bytes.trim_ascii_start().starts_with(b"{") {
            return Err(ApiError::validation("this looks like JSON; send it with the header 'content-type: application/json'"));
        }
        self.held.take(self.bytes.len())?;
        let mut fields = Vec::new();
        for (name, value) in form_urlencoded::parse(&self.bytes) {
            let field = FormField { name: name.into_owned(), file_name: None, content: value.into_owned().into() };
            self.add(&mut fields, field)?;
        }
        Ok(fields)
    }

    async fn multipart(&self) -> Result<Vec<FormField>, ApiError> {
        let mut request = Request::new(Body::from(self.bytes.clone()));
        request.headers_mut().insert(header::CONTENT_TYPE, self.content_type.clone());
        // The size limit was already enforced while reading the body.
        DefaultBodyLimit::disable().apply(&mut request);
        let form = Multipart::from_request(request, &()).await;
        let mut form = form.map_err(|rejection| ApiError::validation(rejection.body_text()))?;
        let mut fields = Vec::new();
        while let Some(field) = form.next_field().await.map_err(invalid_form)? {
            self.add(&mut fields, form_field(field).await?)?;
        }
        Ok(fields)
    }

    fn add(&self, fields: &mut Vec<FormField>, field: FormField) -> Result<(), ApiError> {
        if fields.len() == MAX_FIELDS {
            return Err(ApiError::new(ApiErrorKind::TooLarge, format!("the form has more than {MAX_FIELDS} fields; split it")));
        }
        self.held.take(PER_FIELD + field.name.len() + field.file_name.as_ref().map_or(0, String::len))?;
        fields.push(field);
        Ok(())
    }
}

/// Reads a body. If its length is declared, the memory is reserved before anything is read, otherwise as data arrives.
async fn read(mut body: Body, held: &MemoryShare) -> Result<Bytes, ApiError> {
    let limit = held.max_body();
    let length = usize::try_from(body.size_hint().exact().unwrap_or(0)).unwrap_or(usize::MAX);
    if length > limit {
        return Err(too_large(limit));
    }
    held.reserve(PER_BODY * length).await?;
    let mut content = Vec::with_capacity(length);
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|error| ApiError::validation(format!("the body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit - content.len() {
            return Err(too_large(limit));
        }
        held.reserve(PER_BODY * (content.len() + data.len())).await?;
        content.extend_from_slice(&data);
    }
    Ok(content.into())
}

/// Returns the output of a future that never has to wait, since all its input is in memory.
fn poll_ready<T>(future: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ApiError::validation("the form: unexpected end")),
    }
}

fn invalid_form(error: MultipartError) -> ApiError {
    ApiError::validation(format!("the form: {}", error.body_text()))
}

async fn form_field(mut field: Field<'_>) -> Result<FormField, ApiError> {
    let n_bytes = header_bytes(field.headers());
    if n_bytes > MAX_PART_HEADERS {
        let message = format!("the headers of a field have {n_bytes} bytes; the limit is {MAX_PART_HEADERS}");
        return Err(ApiError::new(ApiErrorKind::TooLarge, message));
    }
    let (name, file_name) = (field.name().map(str::to_owned), field.file_name().map(str::to_owned));
    let name = name.ok_or_else(|| ApiError::validation("the form has a field without a name"))?;
    // The whole form is in memory, so a field usually is a single chunk.
    let mut content = field.chunk().await.map_err(invalid_form)?.unwrap_or_default();
    while let Some(more) = field.chunk().await.map_err(invalid_form)? {
        content = [content, more].concat().into();
    }
    Ok(FormField { name, file_name, content })
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// Parses a body as `/batch_predict` does and returns the number of rows. Exposes the parsers of untrusted input without a model,
/// for fuzzing.
///
/// # Errors
/// Returns the message that the client would receive.
pub async fn rows_of_body(content_type: &str, content: Vec<u8>) -> Result<usize, String> {
    let request = Request::builder().header(header::CONTENT_TYPE, content_type).body(content.into());
    let request = request.map_err(|error| error.to_string())?;
    let rows = Rows::from_request(request, &()).await;
    rows.map(|rows| rows.rows.len()).map_err(|api_error| api_error.message)
}

impl FormField {
    fn given(self) -> (Arc<str>, InputValue) {
        let given = match self.file_name {
            Some(_) => InputValue::File(self.content),
            // A value that is not UTF-8 becomes an unreadable cell, as in a table.
            None => String::from_utf8(self.content.into())
                .map_or_else(|error| InputValue::File(error.into_bytes().into()), |text| InputValue::Json(Value::String(text))),
        };
        (self.name.into(), given)
    }
}

/// Returns the rows of a form's field `dataset`, with file names replaced by the form's files.
fn rows_of_form(content: &Content) -> Result<Rows, ApiError> {
    let (dataset, files): (Vec<_>, Vec<_>) = content.fields()?.into_iter().partition(|field| field.file_name.is_none());
    let [dataset] = <[FormField; 1]>::try_from(dataset)
        .map_err(|_| ApiError::validation("the form needs exactly one field 'dataset' apart from its files"))?;
    if dataset.name != "dataset" {
        return Err(ApiError::validation(format!("the form has a field '{}' but no 'dataset'", dataset.name)));
    }
    let mut rows = rows(content.json("dataset", dataset.content)?)?;
    let mut by_name: HashMap<String, Bytes> = HashMap::with_capacity(files.len());
    for FormField { file_name, content, .. } in files {
        // If several files have the same name, the first one wins.
        if let Some(name) = file_name {
            by_name.entry(name).or_insert(content);
        }
    }
    rows.rows.iter_mut().flatten().for_each(|(_, given)| put_file(given, &by_name));
    Ok(rows)
}

/// Replaces the name of a file by its content.
fn put_file(given: &mut InputValue, files: &HashMap<String, Bytes>) {
    let InputValue::Json(Value::String(name)) = given else { return };
    if let Some(content) = files.get(name) {
        *given = InputValue::File(content.clone());
    }
}

/// Converts a JSON object to a row.
pub(crate) fn row(value: Value) -> Result<RequestRow, ApiError> {
    match value {
        Value::Object(row) => Ok(row.into_iter().map(|(name, value)| (name.into(), InputValue::Json(value))).collect()),
        _ => Err(ApiError::validation("expected a row as a JSON object such as {\"image\": \"<base64>\", \"note\": \"..\"}")),
    }
}

fn rows(value: Value) -> Result<Rows, ApiError> {
    match value {
        Value::Array(rows) => Ok(Rows { rows: rows.into_iter().map(row).collect::<Result<_, _>>()?, index: None }),
        Value::Object(mut object) => match (object.remove("rows"), object.remove("columns"), object.remove("data")) {
            (Some(list @ Value::Array(_)), None, None) => rows(list),
            (None, Some(Value::Array(columns)), Some(Value::Array(data))) => split(&columns, data, &mut object),
            _ => Err(no_rows()),
        },
        _ => Err(no_rows()),
    }
}

fn no_rows() -> ApiError {
    ApiError::validation("expected a list of rows, {\"rows\": [..]} or {\"columns\": [..], \"data\": [[..]]}")
}

fn split(columns: &[Value], data: Vec<Value>, rest: &mut Map<String, Value>) -> Result<Rows, ApiError> {
    // Rows share the column names, so that a long name with many rows is stored only once.
    let names = columns.iter().map(|column| column.as_str().map(Arc::from)).collect::<Option<Vec<Arc<str>>>>();
    let names = names.ok_or_else(|| ApiError::validation("'columns' must contain only strings"))?;
    let index = match rest.remove("index") {
        None => (0..data.len()).map(Value::from).collect(),
        Some(Value::Array(index)) if index.len() == data.len() => index,
        Some(_) => return Err(ApiError::validation("'index' must have one entry for each row of 'data'")),
    };
    let rows = data.into_iter().enumerate().map(|(at, row)| match row {
        Value::Array(values) if values.len() == names.len() => {
            Ok(names.iter().cloned().zip(values.into_iter().map(InputValue::Json)).collect())
        }
        _ => Err(ApiError::validation(format!("row {at} of 'data' is not a list of {} values", names.len()))),
    });
    Ok(Rows { rows: rows.collect::<Result<_, _>>()?, index: Some(index) })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::budget::Budget;

    const MULTIPART: &str = "multipart/form-data; boundary=edge";

    fn part(name: &str, file_name: &str, content: &str) -> String {
        let file_name = if file_name.is_empty() { String::new() } else { format!("; filename=\"{file_name}\"") };
        format!("--edge\r\ncontent-disposition: form-data; name=\"{name}\"{file_name}\r\n\r\n{content}\r\n")
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    fn request(content_type: &str, content: String) -> Request {
        Request::builder().header(header::CONTENT_TYPE, content_type).body(content.into()).unwrap()
    }

    #[test]
    fn form_parsing_takes_linear_time() {
        let files: String = (0..9_990).map(|file| part("f", &format!("{file}.png"), "x")).collect();
        // None of them is the name of a file, so a linear search would compare each with all files.
        let texts = vec!["\"none.png\""; 400_000].join(",");
        let dataset = format!("{{\"columns\": [\"photo\"], \"data\": [[{}]]}}", texts.replace(',', "],["));
        let content = format!("{}{files}--edge--\r\n", part("dataset", "", &dataset));
        let started = Instant::now();
        assert_eq!(block_on(rows_of_body(MULTIPART, content.into_bytes())), Ok(400_000));
        // Takes about 0.4 s; 4e9 comparisons of names would take more than ten times the limit.
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }

    #[test]
    fn large_body_is_parsed_without_blocking_other_requests() {
        let budget = Arc::new(Budget::new(64 << 20, 16 << 20));
        let ask = |content: String| {
            let held = MemoryShare::of(&budget);
            let read = async move {
                let mut n_turns = 0;
                let others = async {
                    loop {
                        n_turns += 1;
                        tokio::task::yield_now().await;
                    }
                };
                // The body is polled first, and `others` only while it is pending.
                tokio::select! { biased; rows = Rows::from_request(request(JSON, content), &()) => assert!(rows.is_ok()), () = others => () }
                axum::response::Response::new(n_turns.to_string().into())
            };
            let response = block_on(held.during(read));
            let body = block_on(axum::body::to_bytes(response.into_body(), 100)).unwrap();
            String::from_utf8(body.into()).unwrap().parse::<usize>().unwrap()
        };
        assert_eq!(ask("[{\"size\": 1}]".to_owned()), 0);
        assert!(ask(format!("[{}]", vec!["{\"size\": 1}"; 10_000].join(","))) > 0);
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn split_rows_share_column_names() {
        let long = "n".repeat(1000);
        let content = format!("{{\"columns\": [\"{long}\"], \"data\": [[1], [2]]}}");
        let rows = block_on(Rows::from_request(request(JSON, content), &())).unwrap().rows;
        assert!(Arc::ptr_eq(&rows[0][0].0, &rows[1][0].0));
    }

    #[test]
    fn file_names_are_replaced_by_the_first_file_of_that_name() {
        let dataset = part("dataset", "", "[{\"a\": \"x\"}, {\"a\": \"y\"}]");
        let content = format!("{dataset}{}{}--edge--\r\n", part("f", "x", "first"), part("f", "x", "second"));
        let rows = block_on(Rows::from_request(request(MULTIPART, content), &())).unwrap().rows;
        assert_eq!(rows[0], [("a".into(), InputValue::File(Bytes::from_static(b"first")))]);
        assert_eq!(rows[1], [("a".into(), InputValue::Json("y".into()))]);
    }

    #[test]
    fn truncated_form_is_an_error() {
        for content in ["", "--edge", "--edge\r\n", "--edge\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\nabc"] {
            let api_error = block_on(BodyRow::from_request(request(MULTIPART, content.to_owned()), &())).unwrap_err();
            assert!(api_error.message.starts_with("the form: "), "{}", api_error.message);
        }
    }
}
