//! Bodies: JSON, or forms with files. They are read in one piece, within the budget, and then taken apart by threads for such work.

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
use crate::budget::{Held, PER_BODY};
use crate::cells::{Given, GivenRow};
use crate::weight::weight;

/// A body of JSON, read as `T`.
pub(crate) struct Json<T>(pub T);

/// A body that is one row: JSON or a form.
#[derive(Debug, PartialEq)]
pub(crate) struct Row(pub GivenRow);

/// A body that is several rows, and the form that they came in: a list, `{"rows": [..]}`, pandas' `split` form, or a form whose field
/// `dataset` holds one of these and whose files are named in it.
#[derive(Debug, PartialEq)]
pub(crate) struct Rows {
    pub rows: Vec<GivenRow>,
    /// The names of rows in pandas' `split` form, where that was sent.
    pub index: Option<Vec<Value>>,
}

/// A body, read but not taken apart.
struct Content {
    bytes: Bytes,
    content_type: HeaderValue,
    held: Held,
}

/// A field of a form.
#[derive(Debug, PartialEq)]
struct FormField {
    name: String,
    file_name: Option<String>,
    content: Bytes,
}

/// Fields of a form, at most: a file for each of ten inputs of the thousand rows that the queue has room for by default.
const MAX_FIELDS: usize = 10_000;

/// Bytes in the names and values of a part's headers, at most. A name and a file's name need a few hundred; nginx lets a whole header
/// have 8 KiB by default.
const MAX_PART_HEADERS: usize = 8 << 10;

/// What a field takes beside its content and its names.
const PER_FIELD: usize = size_of::<FormField>() + 64;

const JSON: &str = "application/json";
const FORM: &str = "multipart/form-data";
const URL_ENCODED: &str = "application/x-www-form-urlencoded";

impl<S: Send + Sync, T: DeserializeOwned + Send + 'static> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let read = |content: Content| content.json("the body", content.bytes.clone()).map(Self);
        Content::of(request, &[JSON]).await?.taken_apart(read).await
    }
}

impl<S: Send + Sync> FromRequest<S> for Row {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let read = |content: Content| match content.kind().as_str() {
            JSON => row(content.json("the body", content.bytes.clone())?),
            _ => Ok(content.fields()?.into_iter().map(FormField::given).collect()),
        };
        Content::of(request, &[JSON, FORM, URL_ENCODED]).await?.taken_apart(read).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for Rows {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let read = |content: Content| match content.kind().as_str() {
            JSON => rows(content.json("the body", content.bytes.clone())?),
            _ => rows_of_form(&content),
        };
        Content::of(request, &[JSON, FORM, URL_ENCODED]).await?.taken_apart(read).await
    }
}

fn unsupported(found: &str, allowed: &[&str]) -> ApiError {
    let message = format!("content type '{found}'; there are: {}", allowed.join(", "));
    ApiError::new(ApiErrorKind::UnsupportedMediaType, message)
}

/// What comes before parameters in a content type, in small letters.
fn kind(content_type: &HeaderValue) -> String {
    let value = content_type.to_str().unwrap_or("");
    value.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

fn too_large(limit: usize) -> ApiError {
    ApiError::new(ApiErrorKind::TooLarge, format!("the body is larger than the {limit} bytes that this server takes"))
}

impl Content {
    /// Reads the body of a request, if its kind is allowed and when there is memory for it.
    async fn of(request: Request, allowed: &[&str]) -> Result<Self, ApiError> {
        let held = Held::current();
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

    /// Runs what takes the body apart; the body itself is gone when it is done.
    async fn taken_apart<T: Send + 'static>(
        self,
        read: impl FnOnce(Self) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (held, n_bytes) = (self.held.clone(), self.bytes.len());
        let taken_apart = held.work(n_bytes, move || read(self)).await?;
        held.release(n_bytes);
        Ok(taken_apart)
    }

    fn kind(&self) -> String {
        kind(&self.content_type)
    }

    /// A text as JSON, if the request may hold its values.
    fn json<T: DeserializeOwned>(&self, what: &str, text: Bytes) -> Result<T, ApiError> {
        let placed = |api_error: ApiError| ApiError { message: format!("{what}: {}", api_error.message), ..api_error };
        self.held.take(weight(&text, self.held.max_unfolded()).map_err(placed)?)?;
        serde_json::from_slice(&text).map_err(|error| {
            let is_syntax = error.is_syntax() || error.is_eof();
            ApiError::validation(format!("{what}: {}{error}", if is_syntax { "not valid JSON: " } else { "" }))
        })
    }

    fn fields(&self) -> Result<Vec<FormField>, ApiError> {
        match self.kind().as_str() {
            URL_ENCODED => self.url_encoded(),
            _ => {
                // The form is copied once; fields share the copy.
                self.held.take(self.bytes.len())?;
                at_once(self.multipart())
            }
        }
    }

    fn url_encoded(&self) -> Result<Vec<FormField>, ApiError> {
        if self.bytes.trim_ascii_start().starts_with(b"{") {
            return Err(ApiError::validation("this looks like JSON: say so with the header 'content-type: application/json'"));
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
        // The body is read already, within its limit.
        DefaultBodyLimit::disable().apply(&mut request);
        let form = Multipart::from_request(request, &()).await;
        let mut form = form.map_err(|rejection| ApiError::validation(rejection.body_text()))?;
        let mut fields = Vec::new();
        while let Some(field) = form.next_field().await.map_err(wrong)? {
            self.add(&mut fields, form_field(field).await?)?;
        }
        Ok(fields)
    }

    fn add(&self, fields: &mut Vec<FormField>, field: FormField) -> Result<(), ApiError> {
        if fields.len() == MAX_FIELDS {
            return Err(ApiError::new(ApiErrorKind::TooLarge, format!("a form of more than {MAX_FIELDS} fields; send several")));
        }
        self.held.take(PER_FIELD + field.name.len() + field.file_name.as_ref().map_or(0, String::len))?;
        fields.push(field);
        Ok(())
    }
}

/// The bytes of a body. What it says of its length is reserved before anything is read, else what has come so far.
async fn read(mut body: Body, held: &Held) -> Result<Bytes, ApiError> {
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

/// What a future gives that has everything it needs.
fn at_once<T>(future: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ApiError::validation("the form: it ends too early")),
    }
}

fn wrong(error: MultipartError) -> ApiError {
    ApiError::validation(format!("the form: {}", error.body_text()))
}

async fn form_field(mut field: Field<'_>) -> Result<FormField, ApiError> {
    let n_bytes = header_bytes(field.headers());
    if n_bytes > MAX_PART_HEADERS {
        let message = format!("the headers of a field have {n_bytes} bytes, the limit is {MAX_PART_HEADERS}");
        return Err(ApiError::new(ApiErrorKind::TooLarge, message));
    }
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let (name, file_name) = (owned(field.name()), owned(field.file_name()));
    let name = name.ok_or_else(|| ApiError::validation("a field of the form has no name"))?;
    // The whole form is there, so a field is one piece of it.
    let mut content = field.chunk().await.map_err(wrong)?.unwrap_or_default();
    while let Some(more) = field.chunk().await.map_err(wrong)? {
        content = [content, more].concat().into();
    }
    Ok(FormField { name, file_name, content })
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// How many rows a body holds, read as `/batch_predict` reads it: the readers of foreign bytes without a model behind them.
///
/// # Errors
/// What the client would be told.
pub async fn rows_of_body(content_type: &str, content: Vec<u8>) -> Result<usize, String> {
    let request = Request::builder().header(header::CONTENT_TYPE, content_type).body(content.into());
    let request = request.map_err(|error| error.to_string())?;
    let rows = Rows::from_request(request, &()).await;
    rows.map(|rows| rows.rows.len()).map_err(|api_error| api_error.message)
}

impl FormField {
    fn given(self) -> (Arc<str>, Given) {
        let given = match self.file_name {
            Some(_) => Given::File(self.content),
            // What is no text is a cell that cannot be read, as in a table.
            None => String::from_utf8(self.content.into())
                .map_or_else(|error| Given::File(error.into_bytes().into()), |text| Given::Json(Value::String(text))),
        };
        (self.name.into(), given)
    }
}

/// The rows of a form's field `dataset`, with the form's files in place of their names.
fn rows_of_form(content: &Content) -> Result<Rows, ApiError> {
    let (dataset, files): (Vec<_>, Vec<_>) = content.fields()?.into_iter().partition(|field| field.file_name.is_none());
    let [dataset] = <[FormField; 1]>::try_from(dataset)
        .map_err(|_| ApiError::validation("the form needs one field 'dataset' beside its files"))?;
    if dataset.name != "dataset" {
        return Err(ApiError::validation(format!("the form has a field '{}' and no 'dataset'", dataset.name)));
    }
    let mut rows = rows(content.json("dataset", dataset.content)?)?;
    let mut by_name: HashMap<String, Bytes> = HashMap::with_capacity(files.len());
    for FormField { file_name, content, .. } in files {
        // The first of a name counts.
        if let Some(name) = file_name {
            by_name.entry(name).or_insert(content);
        }
    }
    rows.rows.iter_mut().flatten().for_each(|(_, given)| put_file(given, &by_name));
    Ok(rows)
}

/// Puts a file's content in place of its name.
fn put_file(given: &mut Given, files: &HashMap<String, Bytes>) {
    let Given::Json(Value::String(name)) = given else { return };
    if let Some(content) = files.get(name) {
        *given = Given::File(content.clone());
    }
}

/// A JSON object as a row.
pub(crate) fn row(value: Value) -> Result<GivenRow, ApiError> {
    match value {
        Value::Object(row) => Ok(row.into_iter().map(|(name, value)| (name.into(), Given::Json(value))).collect()),
        _ => Err(ApiError::validation("a row is a JSON object such as {\"image\": \"<base64>\", \"note\": \"..\"}")),
    }
}

fn rows(value: Value) -> Result<Rows, ApiError> {
    let expected = || ApiError::validation("expected a list of rows, {\"rows\": [..]} or {\"columns\": [..], \"data\": [[..]]}");
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

fn split(columns: &[Value], data: Vec<Value>, rest: &mut Map<String, Value>) -> Result<Rows, ApiError> {
    // Rows share the names: a long one beside many rows is still there once.
    let names = columns.iter().map(|column| column.as_str().map(Arc::from)).collect::<Option<Vec<Arc<str>>>>();
    let names = names.ok_or_else(|| ApiError::validation("'columns' holds something that is no text"))?;
    let index = match rest.remove("index") {
        None => (0..data.len()).map(Value::from).collect(),
        Some(Value::Array(index)) if index.len() == data.len() => index,
        Some(_) => return Err(ApiError::validation("'index' needs a name for each row of 'data'")),
    };
    let row = |(at, row): (usize, Value)| match row {
        Value::Array(values) if values.len() == names.len() => {
            Ok(names.iter().cloned().zip(values.into_iter().map(Given::Json)).collect())
        }
        _ => Err(ApiError::validation(format!("row {at} of 'data' is no list of {} values", names.len()))),
    };
    Ok(Rows { rows: data.into_iter().enumerate().map(row).collect::<Result<_, _>>()?, index: Some(index) })
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
    fn a_form_is_read_in_a_time_that_grows_with_its_length() {
        let files: String = (0..9_990).map(|file| part("f", &format!("{file}.png"), "x")).collect();
        // None of them is a file's name, so each would be compared with all.
        let texts = vec!["\"none.png\""; 400_000].join(",");
        let dataset = format!("{{\"columns\": [\"photo\"], \"data\": [[{}]]}}", texts.replace(',', "],["));
        let content = format!("{}{files}--edge--\r\n", part("dataset", "", &dataset));
        let started = Instant::now();
        assert_eq!(block_on(rows_of_body(MULTIPART, content.into_bytes())), Ok(400_000));
        // About 0.4 s; 4e9 comparisons of names take more than ten times the limit.
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }

    #[test]
    fn a_large_body_is_taken_apart_beside_other_requests() {
        let budget = Arc::new(Budget::new(64 << 20, 16 << 20));
        let ask = |content: String| {
            let held = Held::of(&budget);
            let read = async move {
                let mut n_turns = 0;
                let others = async {
                    loop {
                        n_turns += 1;
                        tokio::task::yield_now().await;
                    }
                };
                // The body is asked first, and others only while it is not there.
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
    fn rows_share_the_names_of_their_columns() {
        let long = "n".repeat(1000);
        let content = format!("{{\"columns\": [\"{long}\"], \"data\": [[1], [2]]}}");
        let rows = block_on(Rows::from_request(request(JSON, content), &())).unwrap().rows;
        assert!(Arc::ptr_eq(&rows[0][0].0, &rows[1][0].0));
    }

    #[test]
    fn files_take_the_place_of_their_names_and_the_first_of_a_name_counts() {
        let dataset = part("dataset", "", "[{\"a\": \"x\"}, {\"a\": \"y\"}]");
        let content = format!("{dataset}{}{}--edge--\r\n", part("f", "x", "first"), part("f", "x", "second"));
        let rows = block_on(Rows::from_request(request(MULTIPART, content), &())).unwrap().rows;
        assert_eq!(rows[0], [("a".into(), Given::File(Bytes::from_static(b"first")))]);
        assert_eq!(rows[1], [("a".into(), Given::Json("y".into()))]);
    }

    #[test]
    fn a_form_that_ends_too_early_is_told() {
        for content in ["", "--edge", "--edge\r\n", "--edge\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\nabc"] {
            let api_error = block_on(Row::from_request(request(MULTIPART, content.to_owned()), &())).unwrap_err();
            assert!(api_error.message.starts_with("the form: "), "{}", api_error.message);
        }
    }
}
