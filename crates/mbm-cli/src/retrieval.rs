//! Commands that work with vectors: `embed`, `index` and `search`.

use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use mbm::{
    Cell, Embedding, Filter, GraphSettings, Hit, Index, IndexRows, IndexSettings, IndexValue, Indexed, Indexing, Model,
    QueryPart, Retriever, Store,
};
use serde_json::{Map, Value, json};

use crate::args::{Embed, IndexCommand, IndexLocation, IndexType, Precision, Rows, Search};
use crate::dataset::{self, check_output, feature_cache, show_cache_fault, show_faults};
use crate::interrupt::{Interrupted, stop_flag};
use crate::output::{columns, line};
use crate::progress::rows_bar;

impl IndexLocation {
    fn store(&self) -> Store {
        store(self.index.clone(), self.store.clone())
    }
}

/// Returns the location of an index: a folder, or a table if a database URL is given.
pub fn store(index: String, url: Option<String>) -> Store {
    match url {
        Some(url) => Store::Postgres { url, table: index },
        None => Store::Folder(index.into()),
    }
}

/// Writes the vectors of every row of a table.
pub fn embed(args: &Embed) -> Result<()> {
    check_output(&args.output, &args.dataset)?;
    let model = Model::open(&args.model_path)?;
    let read = if args.quiet { dataset::read_silently } else { dataset::read };
    let table = read(&args.dataset, &args.reading)?;
    let embedding = Embedding::new(&model, &args.output).inputs(&args.input).cache(feature_cache(args.cache));
    let stop = stop_flag()?;
    let bar = rows_bar("embedding", args.quiet);
    let started = std::time::Instant::now();
    let embedded = embedding.run(table, &stop, &mut |n_done, n_rows| {
        bar.set_length(n_rows as u64);
        bar.set_position(n_done as u64);
    })?;
    bar.finish_and_clear();
    let Some(embedded) = embedded else { bail!(Interrupted("stopped early; run the same command to resume it".to_owned())) };
    if !args.quiet {
        show_faults(&embedded.faults);
        show_cache_fault(embedded.cache_fault.as_deref());
        let (n_new, seconds) = (embedded.n_rows - embedded.n_found, started.elapsed().as_secs_f64());
        let found =
            if embedded.n_found > 0 { format!(", {} of them from an earlier run", embedded.n_found) } else { String::new() };
        line(&format!("{}: {} rows{found}; {:.0} rows/s", args.output.display(), embedded.n_rows, n_new as f64 / seconds))?;
    }
    Ok(())
}

/// Builds, modifies or describes an index.
pub fn index(args: IndexCommand) -> Result<()> {
    match args {
        IndexCommand::Build { location, rows, precision, kind, links, candidates, quiet } => {
            let precision = match precision {
                Precision::F32 => mbm::Precision::F32,
                Precision::F16 => mbm::Precision::F16,
                Precision::I8 => mbm::Precision::I8,
            };
            let graph = match kind {
                IndexType::Hnsw => Some(GraphSettings { links: links.into(), candidates: candidates.into() }),
                IndexType::Exact => None,
            };
            let settings = IndexSettings::default().precision(precision).graph(graph);
            let store = location.store();
            with_rows(&store, rows, quiet, |rows, observe| Ok(mbm::build_index(&store, rows, settings, observe)?))
        }
        IndexCommand::Add { location, rows, quiet } => {
            let store = location.store();
            with_rows(&store, rows, quiet, |rows, observe| Ok(mbm::add_to_index(&store, rows, observe)?))
        }
        IndexCommand::Remove { location, filter } => {
            let store = location.store();
            let n_removed = mbm::remove_from_index(&store, &Filter::parse(&filter)?)?;
            line(&format!("{store}: {n_removed} rows removed"))
        }
        IndexCommand::Info { location, index, store: url, json } => {
            info(&store(location.or(index).unwrap_or_default(), url), json)
        }
    }
}

type Fill<'a> = dyn Fn(Indexing) + Sync + 'a;

fn with_rows(store: &Store, rows: Rows, quiet: bool, fill: impl FnOnce(IndexRows, &Fill) -> Result<Indexed>) -> Result<()> {
    let path = rows.dataset.or(rows.embeddings).context("give --dataset or --embeddings")?;
    let read = if quiet { dataset::read_silently } else { dataset::read };
    let table = read(&path, &rows.reading)?;
    let model = rows.model_path.map(Model::open).transpose()?;
    let of_rows = match (&model, rows.column) {
        (Some(model), _) => IndexRows::embedded_by(model, table)?,
        (None, Some(column)) => IndexRows::from_column(table, column)?,
        (None, None) => bail!("give --model-path, or --column for --embeddings"),
    };
    let of_rows = rows.input.into_iter().fold(of_rows, IndexRows::input).cache(feature_cache(rows.cache));
    let bar = Mutex::new(rows_bar("embedding", quiet));
    let indexed = fill(of_rows, &|indexing| show_progress(&bar, indexing))?;
    if let Ok(bar) = bar.lock() {
        bar.finish_and_clear();
    }
    if quiet {
        return Ok(());
    }
    show_faults(&indexed.faults);
    show_cache_fault(indexed.cache_fault.as_deref());
    let more = [(indexed.n_repeated, "duplicates"), (indexed.n_absent, "without a vector")];
    let more: String = more.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {n} {what}")).collect();
    line(&format!("{store}: {} rows added{more}", indexed.n_rows))
}

fn show_progress(bar: &Mutex<ProgressBar>, indexing: Indexing) {
    let Ok(bar) = bar.lock() else { return };
    match indexing {
        Indexing::Embedding(n_done, n_rows) => {
            bar.set_length(n_rows as u64);
            bar.set_position(n_done as u64);
        }
        Indexing::Linking(n_done) => {
            bar.set_message("linking");
            bar.set_position(n_done as u64);
        }
        _ => {}
    }
}

fn info(store: &Store, json: bool) -> Result<()> {
    let index = Index::open(store)?;
    let info = index.info()?;
    if json {
        return line(&serde_json::to_string_pretty(&json!({ "info": info, "spec": index.spec() }))?);
    }
    let names: Vec<&str> = index.spec().columns.iter().map(|column| column.name.as_str()).collect();
    let precision = format!("{:?}", index.spec().precision).to_lowercase();
    line(&format!("{} rows of {} dimensions in {precision}, {} removed", info.n_rows, index.spec().width, info.n_removed))?;
    line(&format!("{} segments, {} with a graph", info.n_segments, info.n_graphs))?;
    line(&format!(
        "vectors {}, graphs {}, columns {}",
        megabytes(info.vector_bytes),
        megabytes(info.graph_bytes),
        megabytes(info.column_bytes)
    ))?;
    line(&format!("columns: {}", names.join(", ")))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / f64::from(1 << 20))
}

/// Prints the rows nearest to a query.
pub fn search(args: &Search) -> Result<()> {
    let retriever = Retriever::open(args.location.store(), args.model_path.as_deref())?;
    let parts = query_parts(args, &retriever)?;
    let filter = args.filter.as_deref().map(Filter::parse).transpose()?;
    let width = (!args.exact).then_some(args.width as usize);
    let search = mbm::Search::nearest(args.k as usize).width(width).filter(filter.as_ref());
    let hits = retriever.search(parts, search)?;
    if let Some(path) = &args.html {
        std::fs::write(path, retriever.gallery(&title(args), &hits)?).with_context(|| path.display().to_string())?;
        return line(&format!("{}: {} rows", path.display(), hits.len()));
    }
    let names: Vec<&str> = retriever.index().spec().columns.iter().map(|column| column.name.as_str()).collect();
    if args.json {
        return hits.iter().try_for_each(|hit| line(&object(&names, hit).to_string()));
    }
    let head = ["rank", "cosine"].iter().chain(&names).map(|name| name.to_string()).collect();
    let rows: Vec<Vec<String>> = [head]
        .into_iter()
        .chain(hits.iter().enumerate().map(|(at, hit)| {
            let first = [(at + 1).to_string(), format!("{:.4}", hit.similarity)];
            first.into_iter().chain(hit.values.iter().map(shown)).collect::<Vec<String>>()
        }))
        .collect();
    columns(&rows).iter().try_for_each(|text| line(text))
}

fn title(args: &Search) -> String {
    let paths = [&args.image, &args.audio].into_iter().flatten().map(|path| path.display().to_string());
    let parts: Vec<String> = args.text.iter().chain(&args.row).cloned().chain(paths).collect();
    parts.join(" + ")
}

fn query_parts(args: &Search, retriever: &Retriever) -> Result<Vec<QueryPart>> {
    let mut parts = Vec::new();
    if let Some(text) = &args.text {
        let input = retriever.model().input_of_type("text")?;
        parts.push(QueryPart::from((input, text.as_str())).weight(args.text_weight));
    }
    let files = [("image", &args.image, args.image_weight), ("audio", &args.audio, args.audio_weight)];
    for (kind, path, weight) in files {
        let Some(path) = path else { continue };
        parts.push(QueryPart::from((retriever.model().input_of_type(kind)?, path)).weight(weight));
    }
    if let Some(row) = &args.row {
        let row: Map<String, Value> = serde_json::from_str(row).context("--row is not a JSON object")?;
        parts.extend(row.into_iter().map(|(input, value)| QueryPart::from((input, Cell::json(value)))));
    }
    if parts.is_empty() {
        bail!("nothing to search for: give --text, --image, --audio or --row");
    }
    Ok(parts)
}

fn object(names: &[&str], hit: &Hit) -> Value {
    let values: Map<String, Value> =
        names.iter().zip(&hit.values).map(|(name, value)| ((*name).to_owned(), to_json(value))).collect();
    json!({ "similarity": hit.similarity, "row": values })
}

fn to_json(value: &IndexValue) -> Value {
    match value {
        IndexValue::Null => Value::Null,
        IndexValue::Number(number) => json!(number),
        IndexValue::Text(text) => json!(text),
    }
}

/// Formats a cell for the terminal.
fn shown(value: &IndexValue) -> String {
    match value {
        IndexValue::Null => "-".to_owned(),
        IndexValue::Number(number) => number.to_string(),
        IndexValue::Text(text) if text.chars().count() > 60 => text.chars().take(59).chain(['\u{2026}']).collect(),
        IndexValue::Text(text) => text.clone(),
    }
}
