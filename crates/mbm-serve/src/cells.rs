//! Converts the values of a request's rows to cells. Server files and other hosts are read only if the settings allow it.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::Uri;
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use mbm::{Cause, Cell, Fault};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::api_error::{ApiError, ApiErrorKind, listed, shortened};
use crate::budget::{MAX_BODIES, MemoryShare};
use crate::loaded_model::{FieldRef, LoadedModel};

/// A value that a client sent for an input.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum InputValue {
    /// A JSON value; for images and audio clips, base64, a data URI, or (if allowed) a path or URL.
    Json(Value),
    /// Content of a file; rows may share it.
    File(Bytes),
}

/// Cells of a row, one per input, and the faults of those that could not be read (index of the input, fault).
#[derive(Debug, Default)]
pub(crate) struct Cells {
    pub cells: Vec<Cell>,
    pub unread: Vec<(usize, Fault)>,
}

impl From<Vec<Cell>> for Cells {
    fn from(cells: Vec<Cell>) -> Self {
        Self { cells, unread: Vec::new() }
    }
}

/// Why the bytes of a value could not be obtained.
#[derive(Debug)]
pub(crate) enum MediaError {
    /// The server refuses the request, or failed on it.
    Refused(ApiError),
    /// The cell cannot be read, as can happen in any table.
    Unreadable(Fault),
}

/// A row as a client sent it: names and values.
pub(crate) type RequestRow = Vec<(Arc<str>, InputValue)>;

/// Sources that images and audio clips may be loaded from.
#[derive(Debug, Clone)]
pub(crate) struct Media {
    /// Canonical path of the folder that paths may refer to.
    root: Option<PathBuf>,
    hosts: Vec<String>,
    max_bytes: usize,
    timeout: Duration,
    /// Limits the number of files and URLs that are read at the same time.
    turns: Arc<Semaphore>,
}

/// Maximum number of files and URLs that are read at the same time: a hanging disk or host must not occupy all of the runtime's
/// blocking threads (512), since searches need them, too.
const MAX_READS: usize = 64;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Media {
    /// Creates a loader with the given restrictions.
    ///
    /// # Errors
    /// Returns an error if the root does not exist.
    pub fn new(root: Option<&Path>, hosts: &[String], max_bytes: usize, timeout: Duration) -> std::io::Result<Self> {
        let root = root.map(Path::canonicalize).transpose()?;
        Ok(Self { root, hosts: hosts.to_vec(), max_bytes, timeout, turns: Arc::new(Semaphore::new(MAX_READS)) })
    }

    /// Loads the bytes that a string refers to: a `data:` URI with base64, an `http:` or `https:` URL, or `file:` and a path.
    /// Without such a prefix, it is the path of an existing file, otherwise base64. Base64 has no colon, so a prefix is never
    /// ambiguous.
    pub async fn bytes(&self, text: String) -> Result<Vec<u8>, MediaError> {
        let given = text.trim();
        if given.starts_with("data:") {
            return decode(text).await?.ok_or_else(|| unreadable(Cause::Unreadable, "a data URI without base64 content"));
        }
        if given.starts_with("http://") || given.starts_with("https://") {
            return self.fetch(given).await;
        }
        if let Some(path) = given.strip_prefix("file:") {
            return self.read(path).await;
        }
        if self.is_file(given).await? {
            return self.read(given).await;
        }
        let path = given.get(..MAX_PATH.min(given.len())).unwrap_or_default().to_owned();
        match decode(text).await? {
            Some(bytes) => Ok(bytes),
            None => self.read(&path).await,
        }
    }

    /// Whether a string is the path of a file that may be read.
    async fn is_file(&self, path: &str) -> Result<bool, MediaError> {
        let Some(root) = self.root.clone().filter(|_| path.len() <= MAX_PATH) else { return Ok(false) };
        let Some(path) = inside(&root, path) else { return Ok(false) };
        self.on_a_thread(move || Ok(path.canonicalize().is_ok_and(|found| found.starts_with(&root) && found.is_file()))).await
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>, MediaError> {
        let Some(root) = self.root.clone() else {
            return Err(unreadable(Cause::Unreadable, "not base64, and this server does not read paths; send the file itself"));
        };
        let path = inside(&root, path).ok_or_else(|| {
            MediaError::Refused(ApiError::new(ApiErrorKind::Forbidden, "the path is outside the media root of this server"))
        })?;
        let max_bytes = self.max_bytes as u64;
        self.on_a_thread(move || {
            // Do not reveal where a link points to, or whether a file exists outside the folder.
            let missing = || unreadable(Cause::FileNotFound, "no such file in the media root of this server");
            let found = path.canonicalize().map_err(|_| missing())?;
            if !found.starts_with(&root) || !found.is_file() {
                return Err(missing());
            }
            let size = found.metadata().map_err(|_| missing())?.len();
            if size > max_bytes {
                return Err(unreadable(Cause::TooLarge, format!("{size} bytes; the limit is {max_bytes}")));
            }
            std::fs::read(&found).map_err(|_| unreadable(Cause::Unreadable, "the file cannot be read"))
        })
        .await
    }

    async fn fetch(&self, url: &str) -> Result<Vec<u8>, MediaError> {
        let authority = url.parse::<Uri>().ok().and_then(|uri| uri.authority().cloned());
        if !authority.is_some_and(|authority| self.hosts.iter().any(|host| authority.as_str().eq_ignore_ascii_case(host))) {
            let message = "this server does not fetch from this host; send the file itself";
            return Err(MediaError::Refused(ApiError::new(ApiErrorKind::Forbidden, message)));
        }
        let (url, max_bytes, timeout) = (url.to_owned(), self.max_bytes as u64, self.timeout);
        self.on_a_thread(move || {
            // Redirects could bypass the list of allowed hosts.
            let config = ureq::Agent::config_builder().max_redirects(0).timeout_global(Some(timeout)).build();
            let failed = |error: ureq::Error| match error {
                ureq::Error::BodyExceedsLimit(_) => unreadable(Cause::TooLarge, format!("the limit is {max_bytes} bytes")),
                _ => unreadable(Cause::Unreadable, "the URL cannot be fetched"),
            };
            let mut response = ureq::Agent::new_with_config(config).get(&url).call().map_err(failed)?;
            if response.status() != 200 {
                return Err(unreadable(Cause::Unreadable, format!("the host responded with {}", response.status().as_u16())));
            }
            response.body_mut().with_config().limit(max_bytes).read_to_vec().map_err(failed)
        })
        .await
    }

    async fn on_a_thread<T: Send + 'static>(
        &self,
        run: impl FnOnce() -> Result<T, MediaError> + Send + 'static,
    ) -> Result<T, MediaError> {
        let turn = self.turns.clone().acquire_owned().await.map_err(thread_failed)?;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            run()
        });
        done.await.map_err(thread_failed)?
    }
}

/// Maximum length of a path on Linux. Longer strings, such as base64 of an image, are not looked up on disk.
const MAX_PATH: usize = 4096;

/// Decodes base64 or a data URI with base64; `None` if the string is neither.
async fn decode(text: String) -> Result<Option<Vec<u8>>, MediaError> {
    let n_bytes = text.len();
    MemoryShare::current()
        .work(n_bytes, move || {
            let text = text.trim();
            let content = match text.strip_prefix("data:") {
                Some(uri) => uri.split_once(";base64,").map(|(_, content)| content),
                None => Some(text),
            };
            Ok(content.and_then(|content| BASE64.decode(content).ok()))
        })
        .await
        .map_err(MediaError::Refused)
}

fn thread_failed(error: impl std::fmt::Display) -> MediaError {
    MediaError::Refused(ApiError::new(ApiErrorKind::Failed, error.to_string()))
}

fn unreadable(cause: Cause, detail: impl Into<String>) -> MediaError {
    MediaError::Unreadable(Fault::new(cause, detail))
}

/// Resolves a path lexically within a folder, so that nothing outside is accessed; `None` if it leads out of the folder.
fn inside(root: &Path, path: &str) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for component in root.join(path).components() {
        match component {
            Component::ParentDir => drop(inside.pop()),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => inside.push(component),
        }
    }
    inside.starts_with(root).then_some(inside)
}

/// Reads the cells of one request. Their total size is bounded, even if rows refer to the same form file or path many times.
pub(crate) struct CellReader<'a> {
    media: &'a Media,
    served: &'a LoadedModel,
    held: MemoryShare,
    n_bytes: usize,
}

impl<'a> CellReader<'a> {
    pub fn new(media: &'a Media, served: &'a LoadedModel) -> Self {
        Self { media, served, held: MemoryShare::current(), n_bytes: 0 }
    }

    /// Converts a row to one cell per input of the model. A column is the value of all inputs that read it and are not given by their own
    /// names. Columns of outputs are allowed and ignored.
    pub async fn cells(&mut self, row: RequestRow) -> Result<Cells, ApiError> {
        // Let other tasks run between rows.
        tokio::task::yield_now().await;
        let mut unread = Vec::new();
        let mut cells: Vec<Option<Cell>> = vec![None; self.served.model.inputs().len()];
        let mut shared = Vec::new();
        for (name, given) in row {
            match self.served.named(&name) {
                Some(FieldRef::Inputs(inputs)) if inputs.len() > 1 => shared.push((name, inputs, given)),
                Some(FieldRef::Inputs(inputs)) => self.fill(&mut cells, &mut unread, (&name, inputs, given)).await?,
                Some(FieldRef::Output) => {}
                None => return Err(self.unknown(&name)),
            }
        }
        for (name, inputs, given) in shared {
            self.fill(&mut cells, &mut unread, (&name, inputs, given)).await?;
        }
        Ok(Cells { cells: cells.into_iter().map(|cell| cell.unwrap_or(Cell::Empty)).collect(), unread })
    }

    /// Fills those of the cells of some inputs that are not given yet.
    async fn fill(
        &mut self,
        cells: &mut [Option<Cell>],
        unread: &mut Vec<(usize, Fault)>,
        (name, inputs, given): (&str, &[usize], InputValue),
    ) -> Result<(), ApiError> {
        let open: Vec<usize> = inputs.iter().copied().filter(|at| cells[*at].is_none()).collect();
        let Some((last, others)) = open.split_last() else {
            return Err(ApiError::validation(format!("'{name}' is given twice")));
        };
        for at in others {
            cells[*at] = Some(self.read(*at, given.clone(), unread).await?);
        }
        cells[*last] = Some(self.read(*last, given, unread).await?);
        Ok(())
    }

    /// Converts a value to a cell of one input; empty if it cannot be read.
    async fn read(&mut self, at: usize, given: InputValue, unread: &mut Vec<(usize, Fault)>) -> Result<Cell, ApiError> {
        Ok(self.cell(at, given).await?.unwrap_or_else(|fault| {
            unread.push((at, fault));
            Cell::Empty
        }))
    }

    /// Converts a value to a cell of one input, or returns why it cannot be read.
    pub async fn cell(&mut self, input: usize, given: InputValue) -> Result<Result<Cell, Fault>, ApiError> {
        let name = self.served.model.input_at(input).name();
        let cell = match (given, self.served.is_media(input)) {
            (InputValue::File(bytes), true) if bytes.is_empty() => Ok(Cell::Empty),
            (InputValue::File(bytes), true) => self.counted(bytes.len()).map(|()| Cell::Bytes(bytes.to_vec())),
            (InputValue::File(bytes), false) => self.counted(bytes.len()).map(|()| Cell::field(&bytes)),
            (InputValue::Json(value), false) => Ok(Cell::json(value)),
            (InputValue::Json(Value::Null), true) => Ok(Cell::Empty),
            (InputValue::Json(Value::String(text)), true) if text.trim().is_empty() => Ok(Cell::Empty),
            (InputValue::Json(Value::String(text)), true) => {
                let bytes = match self.media.bytes(text).await {
                    Ok(bytes) => bytes,
                    Err(MediaError::Unreadable(fault)) => return Ok(Err(fault)),
                    Err(MediaError::Refused(api_error)) => {
                        return Err(ApiError { message: format!("{name}: {}", api_error.message), ..api_error });
                    }
                };
                self.counted(bytes.len()).map(|()| Cell::Bytes(bytes))
            }
            (InputValue::Json(other), true) => {
                return Ok(Err(Fault::new(Cause::Malformed, format!("{} is not a string; send files as base64", kind(&other)))));
            }
        };
        cell.map(Ok)
    }

    fn counted(&mut self, n_bytes: usize) -> Result<(), ApiError> {
        let limit = MAX_BODIES * self.media.max_bytes;
        if self.n_bytes + n_bytes > limit {
            return Err(ApiError::new(
                ApiErrorKind::TooLarge,
                format!("the files of this request exceed {limit} bytes in total"),
            ));
        }
        self.held.take(n_bytes)?;
        self.n_bytes += n_bytes;
        Ok(())
    }

    fn unknown(&self, name: &str) -> ApiError {
        let names: Vec<&str> = self.served.model.inputs().map(|input| input.name()).collect();
        ApiError::validation(format!("'{}' is not an input of the model; the inputs are: {}", shortened(name), listed(&names)))
    }
}

/// Returns the type of a JSON value with an article, for messages.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
