//! Weights by their name on the Hugging Face Hub: `hf://owner/name`, or `hf://owner/name@revision`.
//!
//! They are looked up in the cache that Hugging Face tools share (`HF_HOME`, or `~/.cache/huggingface`), and downloaded if they
//! are not there (`HF_ENDPOINT` selects another hub, `HF_HUB_OFFLINE=1` disables downloads).

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};

use crate::WeightFileError;

/// Files that accompany weights and describe how to use them.
const DESCRIPTIONS: [&str; 4] = ["config.json", "tokenizer.json", "preprocessor_config.json", "sentence_bert_config.json"];

/// Weight files of a repository, in order of preference.
const WEIGHTS: [&str; 3] = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"];

/// Returns the file or folder that a path refers to: the path itself, or, for a name on the hub, its folder in the hub's cache.
///
/// # Errors
/// Fails if the name is not valid, or the weights are neither cached nor can be downloaded.
pub fn locate(path: &Path) -> Result<Cow<'_, Path>, WeightFileError> {
    let Some(name) = path.to_str().and_then(|text| text.strip_prefix("hf://")) else { return Ok(Cow::Borrowed(path)) };
    let is_offline = std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    Hub { cache: Cache::from_env(), api: ApiBuilder::from_env(), is_offline }.folder(name).map(Cow::Owned)
}

/// Returns the folders of the models in the hub's cache, in the order of their names; none if there is no cache.
pub fn cached_models() -> Vec<PathBuf> {
    models_in(&Cache::from_env())
}

fn models_in(cache: &Cache) -> Vec<PathBuf> {
    let Ok(entries) = cache.path().read_dir() else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("models--").map(|name| name.replacen("--", "/", 1)))
        .collect();
    names.sort();
    let folder = |name: String| {
        let repo = cache.repo(Repo::new(name, RepoType::Model));
        WEIGHTS.iter().find_map(|file| repo.get(file)).map(|weights| weights.with_file_name(""))
    };
    names.into_iter().filter_map(folder).collect()
}

/// Why weights on the hub cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A malformed name.
    #[error("not a valid Hugging Face name; write hf://owner/name or hf://owner/name@revision")]
    Name,
    /// Weights that are not cached, with downloads disabled.
    #[error("{0}. HF_HUB_OFFLINE is set, so no download was attempted")]
    Offline(NotCached),
    /// Weights that are not cached and cannot be downloaded.
    #[error("{not_cached}. The hub could not be reached: {source}")]
    Unreachable {
        /// Where they were looked up.
        not_cached: NotCached,
        /// The error of the download.
        source: ApiError,
    },
}

/// Weights that the hub's cache lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no model.safetensors for revision '{revision}' in {}; on a machine with network access, download config.json, model.safetensors and, \
     if it has them, tokenizer.json and preprocessor_config.json, and specify their folder as weights",
    snapshots.display()
)]
pub struct NotCached {
    /// The revision.
    pub revision: String,
    /// The folder of the model's revisions in the cache.
    pub snapshots: PathBuf,
}

struct Hub {
    cache: Cache,
    api: ApiBuilder,
    is_offline: bool,
}

impl Hub {
    fn folder(self, name: &str) -> Result<PathBuf, WeightFileError> {
        let error = |source| WeightFileError::Hub { name: name.to_owned(), source: Box::new(source) };
        let (id, revision) = name.split_once('@').unwrap_or((name, "main"));
        if id.split('/').filter(|part| !part.is_empty() && !part.starts_with('.')).count() != 2 || id.matches('/').count() != 1 {
            return Err(error(HubError::Name));
        }
        let repo = Repo::with_revision(id.to_owned(), RepoType::Model, revision.to_owned());
        let known = self.cache.repo(repo.clone());
        if let Some(weights) = WEIGHTS.iter().find_map(|file| known.get(file)) {
            return Ok(weights.with_file_name(""));
        }
        let pinned = known.pointer_path(revision);
        if WEIGHTS.iter().any(|file| pinned.join(file).is_file()) {
            return Ok(pinned);
        }
        let snapshots = self.cache.path().join(repo.folder_name()).join("snapshots");
        let not_cached = NotCached { revision: revision.to_owned(), snapshots };
        if self.is_offline {
            return Err(error(HubError::Offline(not_cached)));
        }
        download(self.api, repo).map_err(|source| error(HubError::Unreachable { not_cached, source }))
    }
}

/// Downloads what a model needs, the weights last: if they are cached, everything else is.
fn download(api: ApiBuilder, repo: Repo) -> Result<PathBuf, ApiError> {
    let repo = api.with_retries(3).build()?.repo(repo);
    let files: Vec<String> = repo.info()?.siblings.into_iter().map(|file| file.rfilename).collect();
    let has = |name: &str| files.iter().any(|file| file == name);
    for name in DESCRIPTIONS.into_iter().filter(|name| has(name)) {
        repo.download(name)?;
    }
    let weights = WEIGHTS.into_iter().find(|name| has(name)).unwrap_or(WEIGHTS[0]);
    if weights.ends_with(".index.json") {
        for shard in files.iter().filter(|file| is_shard(file)) {
            repo.download(shard)?;
        }
    }
    Ok(repo.download(weights)?.with_file_name(""))
}

/// Returns whether a file is a shard of weights, such as `model-00001-of-00002.safetensors`.
fn is_shard(file: &str) -> bool {
    file.starts_with("model-") && file.ends_with(".safetensors") && !file.contains('/')
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    const COMMIT: &str = "0123456789012345678901234567890123456789";

    fn hub(cache: &Path, endpoint: &str, is_offline: bool) -> Hub {
        let cache = Cache::new(cache.to_path_buf());
        let api = ApiBuilder::from_cache(cache.clone()).with_endpoint(endpoint.to_owned()).with_progress(false);
        Hub { cache, api, is_offline }
    }

    /// Serves a hub with one repository until the test ends. A file with an empty body is listed but cannot be downloaded.
    fn serve(files: &'static [(&'static str, &'static str)]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || listener.incoming().for_each(|stream| answer(&stream.unwrap(), files)));
        format!("http://{address}")
    }

    fn answer(mut stream: &TcpStream, files: &[(&str, &str)]) {
        let head: Vec<String> =
            BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let path = head[0].split(' ').nth(1).unwrap_or_default();
        let (status, body) = if path.starts_with("/api/models/owner/tiny/revision/") {
            let siblings: Vec<_> = files.iter().map(|(name, _)| serde_json::json!({"rfilename": name})).collect();
            ("200 OK", serde_json::json!({"siblings": siblings, "sha": COMMIT}).to_string())
        } else {
            let file =
                files.iter().find(|(name, body)| !body.is_empty() && path.ends_with(&format!("/owner/tiny/resolve/main/{name}")));
            file.map_or(("404 Not Found", String::new()), |(_, body)| ("206 Partial Content", (*body).to_owned()))
        };
        let is_probe = head.iter().any(|line| line.eq_ignore_ascii_case("range: bytes=0-0"));
        let sent = if is_probe { body.get(..1).unwrap_or_default() } else { &body };
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\ncontent-range: bytes 0-{}/{}\r\n\
             etag: \"{:x}\"\r\nx-repo-commit: {COMMIT}\r\n\r\n{sent}",
            sent.len(),
            sent.len().saturating_sub(1),
            body.len(),
            body.len() * 31 + body.bytes().map(usize::from).sum::<usize>(),
        );
    }

    #[test]
    fn files_of_a_model_are_downloaded_once() {
        let cache = tempfile::tempdir().unwrap();
        let endpoint =
            serve(&[("README.md", "no"), ("config.json", "{}"), ("onnx/model.onnx", "no"), ("model.safetensors", "weights")]);
        let folder = hub(cache.path(), &endpoint, false).folder("owner/tiny").unwrap();
        assert_eq!(std::fs::read_to_string(folder.join("model.safetensors")).unwrap(), "weights");
        let mut names: Vec<_> =
            folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["config.json", "model.safetensors"]);
        for name in ["owner/tiny", &format!("owner/tiny@{COMMIT}")] {
            let again = hub(cache.path(), "http://127.0.0.1:1", true).folder(name).unwrap();
            assert_eq!(again.canonicalize().unwrap(), folder.canonicalize().unwrap(), "{name}");
        }
    }

    #[test]
    fn models_in_the_cache_are_those_with_weights() {
        let cache = tempfile::tempdir().unwrap();
        assert!(models_in(&Cache::new(cache.path().join("none"))).is_empty());
        let endpoint = serve(&[("config.json", "{}"), ("model.safetensors", "weights")]);
        let folder = hub(cache.path(), &endpoint, false).folder("owner/tiny").unwrap();
        std::fs::create_dir(cache.path().join("models--owner--empty")).unwrap();
        assert_eq!(models_in(&Cache::new(cache.path().to_path_buf())), [folder]);
    }

    #[test]
    fn shards_are_downloaded_before_their_index() {
        const INDEX: &str = "model.safetensors.index.json";
        const FIRST: &str = "model-00001-of-00002.safetensors";
        const SECOND: &str = "model-00002-of-00002.safetensors";
        let cache = tempfile::tempdir().unwrap();
        let broken = serve(&[(INDEX, "index"), (FIRST, "one"), (SECOND, "")]);
        hub(cache.path(), &broken, false).folder("owner/tiny").unwrap_err();
        hub(cache.path(), &broken, true).folder("owner/tiny").unwrap_err();
        let whole = serve(&[(INDEX, "index"), (FIRST, "one"), (SECOND, "two, longer")]);
        let folder = hub(cache.path(), &whole, false).folder("owner/tiny").unwrap();
        for name in [FIRST, SECOND, INDEX] {
            assert!(folder.join(name).is_file(), "{name}");
        }
    }

    #[test]
    fn offline_error_names_the_file_and_the_cache_folder() {
        let cache = tempfile::tempdir().unwrap();
        for (is_offline, cause) in [(true, "HF_HUB_OFFLINE is set"), (false, "The hub could not be reached")] {
            let error = hub(cache.path(), "http://127.0.0.1:1", is_offline).folder("owner/tiny").unwrap_err().to_string();
            let snapshots = cache.path().join("models--owner--tiny").join("snapshots");
            for part in ["hf://owner/tiny", "model.safetensors", snapshots.to_str().unwrap(), cause] {
                assert!(error.contains(part), "'{part}' is not in: {error}");
            }
        }
    }

    #[test]
    fn invalid_names_are_rejected() {
        let cache = tempfile::tempdir().unwrap();
        for name in ["", "name", "a/b/c", "/b", "a/", "../b", "a/.."] {
            let error = hub(cache.path(), "http://127.0.0.1:1", true).folder(name).unwrap_err().to_string();
            assert!(error.contains("write hf://owner/name"), "{name}: {error}");
        }
    }
}
