//! The command-line arguments.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use mbm::{Delimiter, DuplicateColumns, Preset, RaggedRows, TableFormat, TableOptions};

use crate::duration::duration;

/// Multimodal learning from one declarative config and one table.
#[derive(Parser)]
#[command(
    name = "mbm",
    version,
    after_help = "Examples:
  mbm train --dataset houses.csv --target price
  mbm train --config config.yaml --dataset digits.csv --output-directory results/digits
  mbm predict --model-path results/digits --dataset new.csv --output predictions.csv
  echo '{\"image\": \"7.png\"}' | mbm predict --model-path results/digits --dataset -

Exit status: 0 on success, 1 on failure, 2 on incorrect usage, 128 + N if stopped by signal N (130 for Ctrl-C)."
)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Train a model, evaluate it on the test rows, and write a run folder.
    #[command(after_help = "Examples:
  mbm train --dataset houses.csv --target price
  mbm train --dataset 'parts/*.parquet' --target price
  mbm train --dataset houses.csv --target price --preset best --time-limit 5m
  zcat houses.csv.gz | mbm train --dataset - --format csv --target price
  mbm train --config config.yaml --dataset houses.csv --set trainer.epochs=3 --set combiner.type=gated
  mbm train --config config.yaml --dataset houses.csv --output-directory results/run --resume")]
    Train(Train),
    /// Write the config that `train --target` would infer from the data.
    Init(Init),
    /// Evaluate a model on a dataset that has the output columns.
    Evaluate(Evaluate),
    /// Predict the outputs for every row of a dataset, or for rows on standard input.
    #[command(after_help = "Examples:
  mbm predict --model-path results/run --dataset new.csv --output predictions.parquet
  echo '{\"area\": 120, \"notes\": \"sea view\"}' | mbm predict --model-path results/run --dataset -")]
    Predict(Predict),
    /// Print what each input adds to the predictions of some rows.
    #[command(after_help = "Example:
  mbm explain --model-path results/houses --dataset new.csv --rows 1,5-7

A contribution is the Shapley value of an input: how much it raises the predicted number, or the probability of the predicted
class, averaged over the subsets of the other inputs. With more than six inputs it is estimated from two subsets: none and all
of the others.")]
    Explain(Explain),
    /// Translate a text, or standard input line by line.
    #[command(after_help = "Examples:
  mbm translate --model-path results/run 'Ein Hund läuft.'
  mbm translate --model-path results/run --beam-width 5 < sentences.de > sentences.en")]
    Translate(Translate),
    /// Generate a caption for each image.
    #[command(after_help = "Example:
  mbm caption --model-path results/run photo.jpg")]
    Caption(Caption),
    /// Describe a model, a dataset or a config.
    Inspect(Inspect),
    /// Compute embedding vectors for every row of a dataset.
    #[command(after_help = "Examples:
  mbm embed --model-path results/run --dataset photos.csv --output photos.parquet
  mbm embed --model-path results/run --dataset photos.csv --input image --output photos.npy")]
    Embed(Embed),
    /// Build, update and inspect vector indexes.
    #[command(subcommand)]
    Index(IndexCommand),
    /// Find the rows of an index that are nearest to a text, an image, an audio clip, or a combination of them.
    #[command(after_help = "Examples:
  mbm search --index photos.index --text 'a dog in the snow' --k 10 --html found.html
  mbm search --index photos.index --image cat.jpg --text 'at night' --text-weight 0.5 --filter \"split = 'train'\"")]
    Search(Search),
    /// Serve a model and an index over HTTP, with a web page to try them out.
    #[command(after_help = "Examples:
  mbm serve --model-path results/run
  mbm serve --model-path results/run --index photos.index --port 9000
  curl -F image=@7.png http://127.0.0.1:8000/predict")]
    Serve(Serve),
    /// Search better settings in the spaces of the config's hyperopt section.
    #[command(after_help = "Examples:
  mbm tune --config config.yaml --dataset digits.csv --output-directory results/tuned
  mbm evaluate --model-path results/tuned/tune/best --dataset new.csv

Run the same command again to continue after an interruption.")]
    Tune(Tune),
    /// Print how well each learner of a run did.
    #[command(after_help = "Example:
  mbm leaderboard results/houses")]
    Leaderboard(Leaderboard),
    /// Train one model per combiner and print a comparison table.
    #[command(after_help = "Example:
  mbm compare --config config.yaml --dataset digits.csv --combiners concat,gated,late")]
    Compare(Compare),
    /// Inspect and convert weight files: safetensors, PyTorch, TensorFlow.js, Hugging Face folders.
    #[command(subcommand)]
    Weights(Weights),
    /// Inspect or clear the cache of encoder features.
    #[command(subcommand)]
    Cache(Cache),
    /// Print the JSON Schema of configs, by which editors complete and check them.
    #[command(after_help = "Example:
  mbm schema > mbm.schema.json")]
    Schema(Schema),
    /// Print shell completions.
    Completions {
        /// Shell to generate completions for.
        shell: Shell,
    },
}

/// How a dataset is read, if its name and content do not say.
#[derive(Group, Clone)]
pub struct Reading {
    /// Format of the dataset, if its name does not say: csv, tsv, psv, jsonl, json, arrow, parquet, xlsx, ...
    #[arg(long)]
    pub format: Option<TableFormat>,
    /// Delimiter of a CSV file, such as ';' or tab [default: found in the first rows].
    #[arg(long, value_name = "CHARACTER")]
    pub delimiter: Option<Delimiter>,
    /// Rows with more or fewer fields than the header: error, or pad to fill them with empty cells and drop surplus fields.
    #[arg(long, value_name = "error|pad", default_value = "error")]
    pub ragged: RaggedRows,
    /// Columns with the same name: rename to x_2, x_3, ..., or error.
    #[arg(long, value_name = "rename|error", default_value = "rename")]
    pub duplicate_columns: DuplicateColumns,
    /// Sheet of an Excel workbook [default: the first].
    #[arg(long)]
    pub sheet: Option<String>,
}

impl Reading {
    /// Returns the options of the reader.
    pub fn options(&self) -> TableOptions {
        let Self { format, delimiter, ragged, duplicate_columns, sheet } = self.clone();
        TableOptions { format, delimiter, ragged, duplicate_columns, sheet }
    }
}

/// What is printed while a command runs.
#[derive(Group, Clone, Copy)]
pub struct Show {
    /// Print nothing but errors.
    #[arg(long, conflicts_with = "json")]
    pub quiet: bool,
    /// Print progress events to standard output as JSON lines.
    #[arg(long)]
    pub json: bool,
}

#[derive(Group)]
#[command(group(clap::ArgGroup::new("plan").required(true).args(["config", "target"])))]
pub struct Train {
    /// Config file in YAML, JSON or TOML.
    #[arg(long, short)]
    pub config: Option<PathBuf>,
    /// Dataset: .csv, .tsv, .jsonl, .json, .parquet, .arrow or .xlsx, also as .gz, .zst or .zip; a folder or a pattern of several
    /// such files; a folder with one subfolder per class, MNIST idx or COCO JSON; - for standard input.
    #[arg(long, short)]
    pub dataset: PathBuf,
    #[command(flatten)]
    pub reading: Reading,
    /// Column to predict; the config is inferred from the data. Can be repeated.
    #[arg(long)]
    pub target: Vec<String>,
    #[command(flatten)]
    pub weighting: Weighting,
    /// Run folder; must not contain a run yet [default: results/<dataset name>, with -2, -3, ... if taken].
    #[arg(long, short)]
    pub output_directory: Option<PathBuf>,
    /// Override a config key, for example trainer.epochs=3. Can be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub overrides: Vec<String>,
    #[command(flatten)]
    pub effort: Effort,
    /// Resume from the last checkpoint in the run folder, by default the latest numbered one.
    #[arg(long)]
    pub resume: bool,
    /// Replace the run in the run folder; other files in it are kept.
    #[arg(long, conflicts_with = "resume", requires = "output_directory")]
    pub overwrite: bool,
    /// Random seed; overrides random_seed of the config.
    #[arg(long)]
    pub random_seed: Option<u64>,
    #[command(flatten)]
    pub cache: CacheSize,
    #[command(flatten)]
    pub show: Show,
}

/// How much each row counts.
#[derive(Group, Clone)]
pub struct Weighting {
    /// Column with the weight of each row, a number of at least 0, in training and in metrics; it is not an input.
    #[arg(long, value_name = "COLUMN")]
    pub weight: Option<String>,
}

impl Weighting {
    /// Returns the setting as an override of the config.
    pub fn overrides(&self) -> Option<String> {
        // A JSON string is one in YAML, too, whatever the name of the column.
        self.weight.as_ref().map(|column| format!("preprocessing.sample_weight={}", serde_json::json!(column)))
    }
}

/// How much work is spent on a model, and what is optimized.
#[derive(Group, Clone)]
pub struct Effort {
    /// How much work is spent: fast, good or best [default: good].
    #[arg(long)]
    pub preset: Option<Preset>,
    /// How long learners may be fitted, for example 60s or 10m [default: 10m for --preset best, no limit otherwise].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub time_limit: Option<Duration>,
    /// Metric of the first output by which models are chosen and combined, for example accuracy, roc_auc or mean_absolute_error; the
    /// same as --set trainer.validation_metric.
    #[arg(long)]
    pub metric: Option<String>,
    /// Number of folds in which learners are compared.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub k_fold: Option<u16>,
}

impl Effort {
    /// Returns the settings as overrides of the config.
    pub fn overrides(&self) -> Vec<String> {
        let preset = self.preset.map(|preset| format!("ensemble.preset={}", preset.as_str()));
        let metric = self.metric.as_ref().map(|metric| format!("trainer.validation_metric={metric}"));
        let k_fold = self.k_fold.map(|k_fold| format!("ensemble.k_fold={k_fold}"));
        [preset, metric, k_fold].into_iter().flatten().collect()
    }
}

/// Size of the cache that stores features of frozen encoders for later runs.
#[derive(Group, Clone, Copy)]
pub struct CacheSize {
    /// Maximum size of the feature cache, for example 500MB; 0 disables it.
    #[arg(long, default_value = "10GB", value_parser = bytes)]
    pub cache_size: u64,
}

/// Parses a size such as 500MB: a whole number of B, KB, MB, GB or TB, each 1024 times the previous unit.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 1u64,
        "K" | "KB" => 1 << 10,
        "M" | "MB" => 1 << 20,
        "G" | "GB" => 1 << 30,
        "T" | "TB" => 1 << 40,
        other => return Err(format!("unknown unit '{other}'; use B, KB, MB, GB or TB")),
    };
    let number = digits.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    number.ok_or_else(|| "expected a whole number such as 500MB".to_owned())
}

#[derive(Group)]
pub struct Schema {
    /// Instead, write the reference of all keys as Markdown pages to this folder.
    #[arg(long, value_name = "FOLDER")]
    pub markdown: Option<PathBuf>,
}

#[derive(Group)]
pub struct Init {
    /// Dataset, in any format that `mbm train` accepts.
    #[arg(long, short)]
    pub dataset: PathBuf,
    #[command(flatten)]
    pub reading: Reading,
    /// Column to predict. Can be repeated.
    #[arg(long, required = true)]
    pub target: Vec<String>,
    #[command(flatten)]
    pub weighting: Weighting,
    /// File to write the config to [default: standard output].
    #[arg(long, short)]
    pub output: Option<PathBuf>,
}

/// A model, and a dataset that it reads.
#[derive(Group)]
pub struct ModelAndDataset {
    /// Run folder, or the model folder in it.
    #[arg(long, short)]
    pub model_path: PathBuf,
    /// Dataset, in any format that `mbm train` accepts.
    #[arg(long, short)]
    pub dataset: PathBuf,
    #[command(flatten)]
    pub reading: Reading,
    /// Fail on the first non-empty cell that cannot be read, instead of treating it as absent.
    #[arg(long)]
    pub strict: bool,
    #[command(flatten)]
    pub cache: CacheSize,
}

#[derive(Group)]
pub struct Evaluate {
    #[command(flatten)]
    pub input: ModelAndDataset,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Group)]
pub struct Predict {
    /// Run folder, or the model folder in it.
    #[arg(long, short)]
    pub model_path: PathBuf,
    /// Dataset, in any format that `mbm train` accepts, or - for standard input, whose first bytes tell the format.
    #[arg(long, short)]
    pub dataset: PathBuf,
    #[command(flatten)]
    pub reading: Reading,
    /// File to write: .csv, .jsonl or .parquet [default: JSON lines on standard output].
    #[arg(long, short)]
    pub output: Option<PathBuf>,
    /// Print nothing but errors and predictions.
    #[arg(long)]
    pub quiet: bool,
    /// Fail on the first non-empty cell that cannot be read, instead of treating it as absent.
    #[arg(long)]
    pub strict: bool,
    #[command(flatten)]
    pub cache: CacheSize,
}

#[derive(Group)]
pub struct Explain {
    #[command(flatten)]
    pub input: ModelAndDataset,
    /// Rows to explain, counted from 1 without the header, for example 1,5-7 [default: the first 10].
    #[arg(long, value_name = "ROWS", value_delimiter = ',', value_parser = row_range)]
    pub rows: Vec<RowRange>,
    /// Print the result as JSON lines.
    #[arg(long)]
    pub json: bool,
}

/// Numbers of successive rows, from 1; both ends are included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowRange {
    pub first: usize,
    pub last: usize,
}

/// Parses the number of a row, or a range such as 5-7.
fn row_range(text: &str) -> Result<RowRange, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.trim().parse(), last.trim().parse()) {
        (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(RowRange { first, last }),
        _ => Err("expected the number of a row, from 1, or a range such as 5-7".to_owned()),
    }
}

#[derive(Group)]
pub struct Translate {
    /// Text to translate [default: standard input, line by line].
    pub text: Vec<String>,
    /// Run folder, or the model folder in it.
    #[arg(long, short)]
    pub model_path: PathBuf,
    #[command(flatten)]
    pub decoding: Decoding,
}

#[derive(Group)]
pub struct Caption {
    /// Image files.
    #[arg(required = true)]
    pub images: Vec<PathBuf>,
    /// Run folder, or the model folder in it.
    #[arg(long, short)]
    pub model_path: PathBuf,
    #[command(flatten)]
    pub decoding: Decoding,
}

/// Decoding options, which default to those of the model's config.
#[derive(Group)]
#[command(next_help_heading = "Decoding")]
pub struct Decoding {
    /// Beam width; 1 is greedy decoding.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub beam_width: Option<u8>,
    /// Number of texts per input, best first, each preceded by its score.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub n_best: Option<u8>,
    /// Exponent of the length by which log-probabilities are divided.
    #[arg(long, allow_negative_numbers = true)]
    pub length_penalty: Option<f64>,
    /// Sample tokens instead of searching for the most probable text.
    #[arg(long)]
    pub sample: bool,
    /// Sampling temperature: scores are divided by it before sampling.
    #[arg(long, value_parser = positive)]
    pub temperature: Option<f64>,
    /// Sample only from this many of the most probable tokens.
    #[arg(long)]
    pub top_k: Option<usize>,
    /// Sample only from the most probable tokens whose probabilities add up to this value.
    #[arg(long, value_parser = positive)]
    pub top_p: Option<f64>,
    /// Seed for sampling.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Do not repeat any sequence of this many tokens.
    #[arg(long)]
    pub no_repeat_ngram_size: Option<usize>,
    /// Minimum number of tokens to generate.
    #[arg(long)]
    pub min_length: Option<usize>,
    /// Maximum number of tokens to generate.
    #[arg(long)]
    pub max_length: Option<usize>,
    /// Text that every output starts with.
    #[arg(long)]
    pub prefix: Option<String>,
    /// Print the text while it is being generated.
    #[arg(long)]
    pub stream: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|value: &f64| *value > 0.0).ok_or_else(|| "expected a number above 0".to_owned())
}

#[derive(Group)]
pub struct Inspect {
    /// Run folder, model folder, dataset or config.
    pub path: PathBuf,
    #[command(flatten)]
    pub reading: Reading,
}

#[derive(Group)]
pub struct Embed {
    /// Run folder, or the model folder in it.
    #[arg(long, short)]
    pub model_path: PathBuf,
    /// Dataset, in any format that `mbm train` accepts.
    #[arg(long, short)]
    pub dataset: PathBuf,
    #[command(flatten)]
    pub reading: Reading,
    /// File to write: .parquet, .jsonl or .csv with the columns of the dataset, or .npy with the vectors only. Run the same
    /// command again to resume an interrupted run.
    #[arg(long, short)]
    pub output: PathBuf,
    /// Embed only this input. Can be repeated.
    #[arg(long)]
    pub input: Vec<String>,
    #[command(flatten)]
    pub cache: CacheSize,
    /// Print nothing but errors.
    #[arg(long)]
    pub quiet: bool,
}

#[derive(Subcommand)]
pub enum IndexCommand {
    /// Build an index from a dataset and a model, or from a file of vectors.
    #[command(after_help = "Examples:
  mbm index build --index photos.index --model-path results/run --dataset photos.csv
  mbm index build --index photos.index --embeddings photos.parquet --column image_embedding --precision f16
  mbm index build --store postgres://localhost/shop --index photos --model-path results/run --dataset photos.csv")]
    Build {
        #[command(flatten)]
        location: IndexLocation,
        #[command(flatten)]
        rows: Rows,
        /// Number format of the stored vectors.
        #[arg(long, value_enum, default_value_t = Precision::F32)]
        precision: Precision,
        /// Type of the index.
        #[arg(long = "type", value_enum, default_value_t = IndexType::Hnsw)]
        kind: IndexType,
        /// Links per vector in the graph (M).
        #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(2..=512))]
        links: u16,
        /// Candidates considered when linking a vector (efConstruction).
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(2..=10_000))]
        candidates: u16,
        /// Print nothing but errors.
        #[arg(long)]
        quiet: bool,
    },
    /// Add rows to an index.
    Add {
        #[command(flatten)]
        location: IndexLocation,
        #[command(flatten)]
        rows: Rows,
        /// Print nothing but errors.
        #[arg(long)]
        quiet: bool,
    },
    /// Remove the rows of an index that match a filter.
    Remove {
        #[command(flatten)]
        location: IndexLocation,
        /// Condition of the rows to remove, for example "image = 'a.jpg'".
        #[arg(long)]
        filter: String,
    },
    /// Describe an index.
    Info {
        /// Index: a folder, or with --store a table.
        #[arg(value_name = "INDEX", required_unless_present = "index")]
        location: Option<String>,
        /// Same as INDEX, for consistency with the other commands.
        #[arg(long, short, conflicts_with = "location")]
        index: Option<String>,
        /// PostgreSQL database with pgvector that holds the index.
        #[arg(long, value_name = "URL")]
        store: Option<String>,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// The location of an index.
#[derive(Group)]
pub struct IndexLocation {
    /// Index: a folder, or with --store a table.
    #[arg(long, short)]
    pub index: String,
    /// PostgreSQL database with pgvector, for example postgres://user@host/database; append ?sslmode=require for TLS.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
}

/// The rows to put into an index.
#[derive(Group)]
pub struct Rows {
    /// Run folder, or the model folder in it, that embeds the rows of --dataset.
    #[arg(long, short, requires = "dataset", required_unless_present = "embeddings")]
    pub model_path: Option<PathBuf>,
    /// Dataset, in any format that `mbm train` accepts.
    #[arg(long, short, requires = "model_path")]
    pub dataset: Option<PathBuf>,
    #[command(flatten)]
    pub reading: Reading,
    /// Input to embed; equal cells become one row.
    #[arg(long, requires = "model_path")]
    pub input: Option<String>,
    #[command(flatten)]
    pub cache: CacheSize,
    /// Table with a column of vectors, for example one written by `mbm embed`.
    #[arg(long, conflicts_with = "model_path", requires = "column")]
    pub embeddings: Option<PathBuf>,
    /// Column of the vectors in --embeddings.
    #[arg(long, requires = "embeddings")]
    pub column: Option<String>,
}

#[derive(ValueEnum, Clone, Copy)]
pub enum Precision {
    /// 32-bit floating point.
    F32,
    /// 16-bit floating point.
    F16,
    /// 8-bit integers with a scale per vector.
    I8,
}

#[derive(ValueEnum, Clone, Copy)]
pub enum IndexType {
    /// Approximate search in a graph: fast, with high recall.
    Hnsw,
    /// Exact search over all vectors.
    Exact,
}

#[derive(Group)]
pub struct Search {
    #[command(flatten)]
    pub location: IndexLocation,
    /// Text to search for.
    #[arg(long)]
    pub text: Option<String>,
    /// Image file to search for.
    #[arg(long)]
    pub image: Option<PathBuf>,
    /// Audio file to search for.
    #[arg(long)]
    pub audio: Option<PathBuf>,
    /// Inputs to search for by name, as a JSON object.
    #[arg(long, value_name = "JSON")]
    pub row: Option<String>,
    /// Weight of the text in the query.
    #[arg(long, default_value_t = 1.0)]
    pub text_weight: f32,
    /// Weight of the image in the query.
    #[arg(long, default_value_t = 1.0)]
    pub image_weight: f32,
    /// Weight of the audio in the query.
    #[arg(long, default_value_t = 1.0)]
    pub audio_weight: f32,
    /// Number of rows to return.
    #[arg(long, short, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub k: u32,
    /// Condition that rows must meet, for example "split = 'train' AND year >= 2010".
    #[arg(long)]
    pub filter: Option<String>,
    /// Candidates kept during a graph search (ef); a higher value increases recall.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub width: u32,
    /// Search exactly, by comparing all rows.
    #[arg(long)]
    pub exact: bool,
    /// Run folder of the model, if it has moved since the index was built.
    #[arg(long, short)]
    pub model_path: Option<PathBuf>,
    /// Print the rows as JSON lines.
    #[arg(long, conflicts_with = "html")]
    pub json: bool,
    /// Write the rows to an HTML page with their images instead of printing them.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

#[derive(Group)]
pub struct Serve {
    /// Run folder, or the model folder in it [default: the model of the index].
    #[arg(long, short)]
    pub model_path: Option<PathBuf>,
    /// Index to search: a folder, or with --store a table.
    #[arg(long, short)]
    pub index: Option<String>,
    /// PostgreSQL database with pgvector that holds the index.
    #[arg(long, value_name = "URL", requires = "index")]
    pub store: Option<String>,
    /// Port to listen on; 0 picks a free one.
    #[arg(long, short, default_value_t = 8000)]
    pub port: u16,
    /// Address to listen on; 0.0.0.0 accepts connections from other machines.
    #[arg(long, default_value = "127.0.0.1", value_parser = host)]
    pub host: IpAddr,
    /// Maximum number of rows per batch.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub max_batch_size: u32,
    /// How long an incomplete batch waits for more rows, for example 5ms.
    #[arg(long, default_value = "0ms", value_parser = duration)]
    pub max_batch_delay: Duration,
    /// Maximum number of rows in progress; further requests are refused with status 429.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub queue_size: u32,
    /// Maximum size of a request body.
    #[arg(long, default_value = "32MB", value_parser = bytes)]
    pub max_body_size: u64,
    /// Maximum number of simultaneous connections.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,
    /// Maximum memory held by all requests together; a request waits up to a second for its share and is then refused with status
    /// 429.
    #[arg(long, default_value = "1GB", value_parser = bytes)]
    pub max_memory_for_requests: u64,
    /// Maximum time that a request may take, and that a connection may be idle.
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
    /// Host name that clients may use for the server, for example that of a proxy in front of it, or '*' for any. Can be
    /// repeated. Required without an API key if --host is not a loopback address.
    #[arg(long, value_name = "NAME")]
    pub allowed_host: Vec<String>,
    /// File with the API key that clients must send; alternatively, set the key in the environment variable MBM_API_KEY.
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Folder that file paths in requests may refer to; without it no paths are read.
    #[arg(long, value_name = "FOLDER")]
    pub media_root: Option<PathBuf>,
    /// Host, with its port if it has one, that images and audio may be downloaded from. Can be repeated.
    #[arg(long, value_name = "HOST")]
    pub url_host: Vec<String>,
    /// Origin whose pages may send requests and read responses, for example https://example.com. Can be repeated.
    #[arg(long, value_name = "ORIGIN")]
    pub cors_origin: Vec<String>,
    /// Maximum time for reading the cells of a row.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub read_timeout: Duration,
    /// How long the model may be unresponsive before it is restarted [default: --timeout, but at least 10s].
    #[arg(long, value_parser = duration)]
    pub model_timeout: Option<Duration>,
    /// Maximum number of texts streamed at the same time; further ones wait.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub max_streams: u16,
}

#[derive(Subcommand)]
pub enum Weights {
    /// List tensors with their types and shapes, and the encoders that the weights fit.
    Inspect {
        /// Weight file or folder.
        path: PathBuf,
    },
    /// Convert weights to safetensors.
    Convert {
        /// Weight file or folder.
        source: PathBuf,
        /// File to write.
        target: PathBuf,
    },
}

#[derive(Subcommand)]
pub enum Cache {
    /// Print the location and the contents of the cache.
    Info,
    /// Remove all cached features.
    Clear,
}

#[derive(Group)]
pub struct Tune {
    /// Config file in YAML, JSON or TOML, with a section hyperopt.
    #[arg(long, short)]
    pub config: PathBuf,
    /// Dataset, in any format that `mbm train` accepts.
    #[arg(long, short)]
    pub dataset: PathBuf,
    #[command(flatten)]
    pub reading: Reading,
    /// Folder of the search, which continues there if it was begun [default: results/<dataset name>].
    #[arg(long, short)]
    pub output_directory: Option<PathBuf>,
    /// Override a config key, for example hyperopt.executor.num_samples=30. Can be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub overrides: Vec<String>,
    #[command(flatten)]
    pub cache: CacheSize,
    /// Print nothing but errors and the result.
    #[arg(long)]
    pub quiet: bool,
}

#[derive(Group)]
pub struct Leaderboard {
    /// Run folder.
    pub run: PathBuf,
    /// Print the leaderboard as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Group)]
pub struct Compare {
    /// Config file in YAML, JSON or TOML.
    #[arg(long, short)]
    pub config: PathBuf,
    /// Dataset, in any format that `mbm train` accepts.
    #[arg(long, short)]
    pub dataset: PathBuf,
    #[command(flatten)]
    pub reading: Reading,
    /// Combiners to compare, separated by commas, or all.
    #[arg(long, default_value = "all")]
    pub combiners: String,
    /// Folder for the runs; must not contain any yet [default: results/compare, with -2, -3, ... if taken].
    #[arg(long, short)]
    pub output_directory: Option<PathBuf>,
    /// Resume an interrupted comparison, by default the latest numbered one.
    #[arg(long)]
    pub resume: bool,
    /// Replace the runs in the folder; other files in it are kept.
    #[arg(long, conflicts_with = "resume", requires = "output_directory")]
    pub overwrite: bool,
    /// Override a config key, for example trainer.epochs=3. Can be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub overrides: Vec<String>,
    #[command(flatten)]
    pub cache: CacheSize,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

fn host(text: &str) -> Result<IpAddr, String> {
    if text == "localhost" {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    text.parse().map_err(|_| "expected an IP address such as 127.0.0.1 or 0.0.0.0, or localhost".to_owned())
}

/// Accepts Ludwig's spelling of flags with underscores, such as `--output_directory` for `--output-directory`.
pub fn with_dashes(args: impl IntoIterator<Item = String>) -> Vec<String> {
    args.into_iter()
        .map(|arg| match arg.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => format!("{}={value}", flag.replace('_', "-")),
            None if arg.starts_with("--") => arg.replace('_', "-"),
            _ => arg,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(["0", "7", "3kb", "500MB", "10GB", "1t"].map(bytes), [0, 7, 3 << 10, 500 << 20, 10 << 30, 1 << 40].map(Ok));
        assert!(bytes("10 parsecs").unwrap_err().contains("use B, KB"));
        assert!(["", "GB", "-1", "1.5GB", "99999999999999TB"].iter().all(|text| bytes(text).is_err()));
    }

    #[test]
    fn rows_are_numbers_or_ranges() {
        assert_eq!(row_range("3"), Ok(RowRange { first: 3, last: 3 }));
        assert_eq!(row_range("5-7"), Ok(RowRange { first: 5, last: 7 }));
        assert!(["", "0", "7-5", "-2", "a", "1-"].iter().all(|text| row_range(text).is_err()));
    }

    #[test]
    fn hosts_are_addresses_or_localhost() {
        assert_eq!(host("localhost"), Ok(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(host("::1").map(|host| host.is_loopback()), Ok(true));
        assert!(host("example.org").unwrap_err().contains("or localhost"));
    }

    #[test]
    fn underscored_flags_work_and_values_are_unchanged() {
        let args = ["mbm", "train", "--output_directory=a_b", "--model_path", "c_d"].map(str::to_owned);
        assert_eq!(with_dashes(args), ["mbm", "train", "--output-directory=a_b", "--model-path", "c_d"]);
    }
}
