//! The command line as typed.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::serve::duration;

/// Multimodal learning from one declarative file and one table.
#[derive(Parser)]
#[command(
    name = "mbm",
    version,
    after_help = "Examples:
  mbm train --dataset houses.csv --target price
  mbm train --config config.yaml --dataset digits.csv --output-directory results/digits
  mbm predict --model-path results/digits --dataset new.csv --output predictions.csv
  echo '{\"image\": \"7.png\"}' | mbm predict --model-path results/digits --dataset -

Exit status: 0 done, 1 failed, 2 wrong usage, 128 and its number where a signal stopped it (130: Ctrl-C)."
)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Train a model, measure it on the test rows, and write the run folder.
    #[command(after_help = "Examples:
  mbm train --dataset houses.csv --target price
  mbm train --config config.yaml --dataset houses.csv --set trainer.epochs=3 --set combiner.type=gated
  mbm train --config config.yaml --dataset houses.csv --output-directory results/run --resume")]
    Train(Train),
    /// Write the config that `train --target` would choose.
    Init(Init),
    /// Measure a model on a table that has the output columns.
    Evaluate(Evaluate),
    /// Predict every row of a table, or rows from standard input as JSON.
    #[command(after_help = "Examples:
  mbm predict --model-path results/run --dataset new.csv --output predictions.parquet
  echo '{\"area\": 120, \"notes\": \"sea view\"}' | mbm predict --model-path results/run --dataset -")]
    Predict(Predict),
    /// Translate a text, or standard input line by line.
    #[command(after_help = "Examples:
  mbm translate --model-path results/run 'Ein Hund läuft.'
  mbm translate --model-path results/run --beam-width 5 < sentences.de > sentences.en")]
    Translate(Translate),
    /// Write a caption for each image.
    #[command(after_help = "Example:
  mbm caption --model-path results/run photo.jpg")]
    Caption(Caption),
    /// Say what a model, a dataset or a config holds.
    Inspect(Inspect),
    /// Turn every row of a table into vectors.
    #[command(after_help = "Examples:
  mbm embed --model-path results/run --dataset photos.csv --output photos.parquet
  mbm embed --model-path results/run --dataset photos.csv --input image --output photos.npy")]
    Embed(Embed),
    /// Make, change and look at an index of vectors.
    #[command(subcommand)]
    Index(IndexCommand),
    /// Find the rows of an index that are nearest to a text, an image, a sound, or several at once.
    #[command(after_help = "Examples:
  mbm search --index photos.index --text 'a dog in the snow' --k 10 --html found.html
  mbm search --index photos.index --image cat.jpg --text 'at night' --text-weight 0.5 --filter \"split = 'train'\"")]
    Search(Search),
    /// Serve a model and an index over HTTP, with a page to try them.
    #[command(after_help = "Examples:
  mbm serve --model-path results/run
  mbm serve --model-path results/run --index photos.index --port 9000
  curl -F image=@7.png http://127.0.0.1:8000/predict")]
    Serve(Serve),
    /// Train with each combiner and print a table.
    #[command(after_help = "Example:
  mbm compare --config config.yaml --dataset digits.csv --combiners concat,gated,late")]
    Compare(Compare),
    /// Look at files of weights: safetensors, PyTorch, TensorFlow.js, Hugging Face folders.
    #[command(subcommand)]
    Weights(Weights),
    /// Look at the features that are kept for later runs, or remove them.
    #[command(subcommand)]
    Cache(Cache),
    /// Print shell completions.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// What is shown while it runs.
#[derive(Group, Clone, Copy)]
pub struct Show {
    /// Show nothing but errors.
    #[arg(long, conflicts_with = "json")]
    pub quiet: bool,
    /// Write events as JSON lines to standard output.
    #[arg(long)]
    pub json: bool,
}

#[derive(Group)]
#[command(group(clap::ArgGroup::new("plan").required(true).args(["config", "target"])))]
pub struct Train {
    /// The config, YAML, JSON or TOML.
    #[arg(long, short)]
    pub config: Option<PathBuf>,
    /// The dataset: .csv, .tsv, .jsonl, .parquet, a class folder, MNIST idx or COCO JSON.
    #[arg(long, short)]
    pub dataset: PathBuf,
    /// Predict this column and choose the config from the data; may be given several times.
    #[arg(long)]
    pub target: Vec<String>,
    /// The run folder; it must hold no run [default: results/<dataset's name>, with -2, -3 and so on behind it].
    #[arg(long, short)]
    pub output_directory: Option<PathBuf>,
    /// Set a key of the config, such as trainer.epochs=3; may be given several times.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub overrides: Vec<String>,
    /// Go on from the last checkpoint in the run folder; the last numbered one where none is named.
    #[arg(long)]
    pub resume: bool,
    /// Replace the run in the run folder; files that are not of a run stay.
    #[arg(long, conflicts_with = "resume", requires = "output_directory")]
    pub overwrite: bool,
    /// The seed of everything random.
    #[arg(long)]
    pub random_seed: Option<u64>,
    #[command(flatten)]
    pub cache: CacheSize,
    #[command(flatten)]
    pub show: Show,
}

/// Features of encoders that are not trained, kept for later runs.
#[derive(Group, Clone, Copy)]
pub struct CacheSize {
    /// The most that the cache of features may hold, such as 500MB; 0 keeps none.
    #[arg(long, default_value = "10GB", value_parser = bytes)]
    pub cache_size: u64,
}

/// A number of bytes with B, KB, MB, GB or TB behind it, each 1024 of the one before.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 1u64,
        "K" | "KB" => 1 << 10,
        "M" | "MB" => 1 << 20,
        "G" | "GB" => 1 << 30,
        "T" | "TB" => 1 << 40,
        other => return Err(format!("unknown unit '{other}'; there are B, KB, MB, GB, TB")),
    };
    let number = digits.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    number.ok_or_else(|| "expected a whole number such as 500MB".to_owned())
}

#[derive(Group)]
pub struct Init {
    /// The dataset.
    #[arg(long, short)]
    pub dataset: PathBuf,
    /// The column to predict; may be given several times.
    #[arg(long, required = true)]
    pub target: Vec<String>,
    /// The file to write; standard output where not given.
    #[arg(long, short)]
    pub output: Option<PathBuf>,
}

#[derive(Group)]
pub struct Evaluate {
    /// The run folder, or the model folder in it.
    #[arg(long, short)]
    pub model_path: PathBuf,
    /// The dataset.
    #[arg(long, short)]
    pub dataset: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Stop at the first cell that holds something and cannot be read, instead of leaving it out.
    #[arg(long)]
    pub strict: bool,
}

#[derive(Group)]
pub struct Predict {
    /// The run folder, or the model folder in it.
    #[arg(long, short)]
    pub model_path: PathBuf,
    /// The dataset, or - for JSON rows from standard input.
    #[arg(long, short)]
    pub dataset: PathBuf,
    /// The file to write: .csv, .jsonl or .parquet; JSON lines to standard output where not given.
    #[arg(long, short)]
    pub output: Option<PathBuf>,
    /// Show no counts of unreadable cells.
    #[arg(long)]
    pub quiet: bool,
    /// Stop at the first cell that holds something and cannot be read, instead of leaving it out.
    #[arg(long)]
    pub strict: bool,
}

#[derive(Group)]
pub struct Translate {
    /// The text; standard input, line by line, where not given.
    pub text: Vec<String>,
    /// The run folder, or the model folder in it.
    #[arg(long, short)]
    pub model_path: PathBuf,
    #[command(flatten)]
    pub decoding: Decoding,
}

#[derive(Group)]
pub struct Caption {
    /// The images.
    #[arg(required = true)]
    pub images: Vec<PathBuf>,
    /// The run folder, or the model folder in it.
    #[arg(long, short)]
    pub model_path: PathBuf,
    #[command(flatten)]
    pub decoding: Decoding,
}

/// How texts are searched for; as the model's config says where not given.
#[derive(Group)]
#[command(next_help_heading = "Decoding")]
pub struct Decoding {
    /// Texts that are followed side by side; 1 is greedy.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub beam_width: Option<u8>,
    /// Texts for each input, the best first, each behind its score.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub n_best: Option<u8>,
    /// The power of the length that log-probabilities are divided by.
    #[arg(long, allow_negative_numbers = true)]
    pub length_penalty: Option<f64>,
    /// Draw tokens by their probabilities.
    #[arg(long)]
    pub sample: bool,
    /// What scores are divided by before tokens are drawn.
    #[arg(long, value_parser = positive)]
    pub temperature: Option<f64>,
    /// Draw from so many of the likeliest tokens.
    #[arg(long)]
    pub top_k: Option<usize>,
    /// Draw from the likeliest tokens that together have this probability.
    #[arg(long, value_parser = positive)]
    pub top_p: Option<f64>,
    /// The seed of draws.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Runs of so many tokens occur once at most.
    #[arg(long)]
    pub no_repeat_ngram_size: Option<usize>,
    /// Tokens at least.
    #[arg(long)]
    pub min_length: Option<usize>,
    /// Tokens at most.
    #[arg(long)]
    pub max_length: Option<usize>,
    /// What texts begin with.
    #[arg(long)]
    pub prefix: Option<String>,
    /// Show a text as it grows.
    #[arg(long)]
    pub stream: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|value: &f64| *value > 0.0).ok_or_else(|| "expected a number above 0".to_owned())
}

#[derive(Group)]
pub struct Inspect {
    /// A run folder, a model folder, a dataset or a config.
    pub path: PathBuf,
}

#[derive(Group)]
pub struct Embed {
    /// The run folder, or the model folder in it.
    #[arg(long, short)]
    pub model_path: PathBuf,
    /// The dataset.
    #[arg(long, short)]
    pub dataset: PathBuf,
    /// The file to write: .parquet, .jsonl or .csv with the dataset's columns, or .npy with the vectors alone. A run that was stopped goes on.
    #[arg(long, short)]
    pub output: PathBuf,
    /// Read this input alone; may be given several times.
    #[arg(long)]
    pub input: Vec<String>,
    #[command(flatten)]
    pub cache: CacheSize,
    /// Show nothing but errors.
    #[arg(long)]
    pub quiet: bool,
}

#[derive(Subcommand)]
pub enum IndexCommand {
    /// Make an index of a dataset through a model, or of vectors from a file.
    #[command(after_help = "Examples:
  mbm index build --index photos.index --model-path results/run --dataset photos.csv
  mbm index build --index photos.index --embeddings photos.parquet --column image_embedding --precision f16
  mbm index build --store postgres://localhost/shop --index photos --model-path results/run --dataset photos.csv")]
    Build {
        #[command(flatten)]
        place: IndexPlace,
        #[command(flatten)]
        rows: Rows,
        /// What the numbers are stored in.
        #[arg(long, value_enum, default_value_t = Precision::F32)]
        precision: Precision,
        /// How the nearest are found.
        #[arg(long = "type", value_enum, default_value_t = IndexType::Hnsw)]
        kind: IndexType,
        /// Links of a vector in the graph (M).
        #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(2..=512))]
        links: u16,
        /// Candidates while links are looked for (efConstruction).
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(2..=10_000))]
        candidates: u16,
        /// Show nothing but errors.
        #[arg(long)]
        quiet: bool,
    },
    /// Add rows.
    Add {
        #[command(flatten)]
        place: IndexPlace,
        #[command(flatten)]
        rows: Rows,
        /// Show nothing but errors.
        #[arg(long)]
        quiet: bool,
    },
    /// Remove the rows for which a condition holds.
    Remove {
        #[command(flatten)]
        place: IndexPlace,
        /// The condition, such as "image = 'a.jpg'".
        #[arg(long)]
        filter: String,
    },
    /// Say what an index holds.
    Info {
        /// The index: a folder, or with --store a table.
        #[arg(value_name = "INDEX", required_unless_present = "index")]
        place: Option<String>,
        /// The same, as the other commands name it.
        #[arg(long, short, conflicts_with = "place")]
        index: Option<String>,
        /// A PostgreSQL database with pgvector that holds the index.
        #[arg(long, value_name = "URL")]
        store: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Where an index lies.
#[derive(Group)]
pub struct IndexPlace {
    /// The index: a folder, or with --store a table.
    #[arg(long, short)]
    pub index: String,
    /// A PostgreSQL database with pgvector, such as postgres://user@host/database, with ?sslmode=require encrypted.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
}

/// Rows for an index.
#[derive(Group)]
pub struct Rows {
    /// The run folder, or the model folder in it, with --dataset.
    #[arg(long, short, requires = "dataset", required_unless_present = "embeddings")]
    pub model_path: Option<PathBuf>,
    /// The dataset.
    #[arg(long, short, requires = "model_path")]
    pub dataset: Option<PathBuf>,
    /// The input that the vectors are made from; equal cells are one row.
    #[arg(long, requires = "model_path")]
    pub input: Option<String>,
    #[command(flatten)]
    pub cache: CacheSize,
    /// A table that holds vectors, such as 'mbm embed' writes.
    #[arg(long, conflicts_with = "model_path", requires = "column")]
    pub embeddings: Option<PathBuf>,
    /// Its column of vectors.
    #[arg(long, requires = "embeddings")]
    pub column: Option<String>,
}

#[derive(ValueEnum, Clone, Copy)]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 16 bits.
    F16,
    /// 8 bits.
    I8,
}

#[derive(ValueEnum, Clone, Copy)]
pub enum IndexType {
    /// By a graph of near vectors: quick, and nearly always right.
    Hnsw,
    /// By looking at all.
    Exact,
}

#[derive(Group)]
pub struct Search {
    #[command(flatten)]
    pub place: IndexPlace,
    /// A text.
    #[arg(long)]
    pub text: Option<String>,
    /// An image's file.
    #[arg(long)]
    pub image: Option<PathBuf>,
    /// A sound's file.
    #[arg(long)]
    pub audio: Option<PathBuf>,
    /// Inputs by name, as JSON.
    #[arg(long, value_name = "JSON")]
    pub row: Option<String>,
    /// How much the text counts.
    #[arg(long, default_value_t = 1.0)]
    pub text_weight: f32,
    /// How much the image counts.
    #[arg(long, default_value_t = 1.0)]
    pub image_weight: f32,
    /// How much the sound counts.
    #[arg(long, default_value_t = 1.0)]
    pub audio_weight: f32,
    /// How many rows.
    #[arg(long, short, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub k: u32,
    /// Which rows may be found, such as "split = 'train' AND year >= 2010".
    #[arg(long)]
    pub filter: Option<String>,
    /// Candidates that a graph keeps, the more the surer (ef).
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub width: u32,
    /// Look at all rows.
    #[arg(long)]
    pub exact: bool,
    /// Where the model is, if it was moved.
    #[arg(long, short)]
    pub model_path: Option<PathBuf>,
    /// Print JSON lines.
    #[arg(long, conflicts_with = "html")]
    pub json: bool,
    /// Write a page with the images instead.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

#[derive(Group)]
pub struct Serve {
    /// The run folder, or the model folder in it; the index's model where not given.
    #[arg(long, short, required_unless_present = "index")]
    pub model_path: Option<PathBuf>,
    /// An index to search: a folder, or with --store a table.
    #[arg(long, short)]
    pub index: Option<String>,
    /// A PostgreSQL database with pgvector that holds the index.
    #[arg(long, value_name = "URL", requires = "index")]
    pub store: Option<String>,
    /// The port; 0 takes any that is free.
    #[arg(long, short, default_value_t = 8000)]
    pub port: u16,
    /// The address; 0.0.0.0 is reached from everywhere.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// Rows that the model is given at once, at most.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub max_batch_size: u32,
    /// How long a batch that is not full waits for more rows, such as 5ms.
    #[arg(long, default_value = "0ms", value_parser = duration)]
    pub max_batch_delay: Duration,
    /// Rows that may be accepted and not yet answered; more are refused with status 429.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub queue_size: u32,
    /// The most that a request may hold.
    #[arg(long, default_value = "32MB", value_parser = bytes)]
    pub max_body_size: u64,
    /// Connections at a time.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,
    /// The most that all requests may hold together; bodies wait a second for their share and are then refused with status 429.
    #[arg(long, default_value = "1GB", value_parser = bytes)]
    pub max_memory_for_requests: u64,
    /// How long a request may take, and a connection stand still.
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
    /// A name that the server is asked by, such as the one that a proxy has, or '*' for any; may be given several times. Beyond
    /// this machine (--host) one is needed, or an API key.
    #[arg(long, value_name = "NAME")]
    pub allowed_host: Vec<String>,
    /// A file with the key that clients must send; the variable MBM_API_KEY does the same.
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// A folder that paths in requests may lead into; without it none are read.
    #[arg(long, value_name = "FOLDER")]
    pub media_root: Option<PathBuf>,
    /// A host (with its port, if it has one) that images and sounds may be fetched from; may be given several times.
    #[arg(long, value_name = "HOST")]
    pub url_host: Vec<String>,
    /// A site whose pages may ask and read answers, such as https://example.com; may be given several times.
    #[arg(long, value_name = "ORIGIN")]
    pub cors_origin: Vec<String>,
    /// How long the cells of a row may be read.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub read_timeout: Duration,
    /// How long the model may be silent before it is started again [default: --timeout, and 10s at least].
    #[arg(long, value_parser = duration)]
    pub model_timeout: Option<Duration>,
    /// Texts that are sent as they grow, at a time; more wait.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub max_streams: u16,
}

#[derive(Subcommand)]
pub enum Weights {
    /// List tensors, types and shapes, and the encoders that the file fits.
    Inspect {
        /// The file or folder.
        path: PathBuf,
    },
    /// Write a file as safetensors.
    Convert {
        /// The file or folder.
        source: PathBuf,
        /// The new file.
        target: PathBuf,
    },
}

#[derive(Subcommand)]
pub enum Cache {
    /// Say where the cache is and what it holds.
    Info,
    /// Remove every feature.
    Clear,
}

#[derive(Group)]
pub struct Compare {
    /// The config.
    #[arg(long, short)]
    pub config: PathBuf,
    /// The dataset.
    #[arg(long, short)]
    pub dataset: PathBuf,
    /// Combiners separated by commas, or all.
    #[arg(long, default_value = "all")]
    pub combiners: String,
    /// The folder of the runs; it must hold none [default: results/compare, with -2, -3 and so on behind it].
    #[arg(long, short)]
    pub output_directory: Option<PathBuf>,
    /// Go on with a comparison that was stopped; the last numbered one where no folder is named.
    #[arg(long)]
    pub resume: bool,
    /// Replace the runs in the folder; other files stay.
    #[arg(long, conflicts_with = "resume", requires = "output_directory")]
    pub overwrite: bool,
    /// Set a key of the config; may be given several times.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub overrides: Vec<String>,
    #[command(flatten)]
    pub cache: CacheSize,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Accepts `--output_directory` for `--output-directory`, as Ludwig spells it.
pub fn with_dashes(args: impl IntoIterator<Item = String>) -> Vec<String> {
    let spelled = |arg: String| match arg.split_once('=') {
        Some((flag, value)) if flag.starts_with("--") => format!("{}={value}", flag.replace('_', "-")),
        None if arg.starts_with("--") => arg.replace('_', "-"),
        _ => arg,
    };
    args.into_iter().map(spelled).collect()
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
        assert!(bytes("10 parsecs").unwrap_err().contains("there are B, KB"));
        assert!(["", "GB", "-1", "1.5GB", "99999999999999TB"].iter().all(|text| bytes(text).is_err()));
    }

    #[test]
    fn underscores_in_flags_work_and_values_stay_as_they_are() {
        let args = ["mbm", "train", "--output_directory=a_b", "--model_path", "c_d"].map(str::to_owned);
        assert_eq!(with_dashes(args), ["mbm", "train", "--output-directory=a_b", "--model-path", "c_d"]);
    }
}
