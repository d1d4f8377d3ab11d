//! Implements the commands.

use std::collections::BTreeMap;
use std::io::{BufRead, ErrorKind, Write, stdin};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail};
use clap::CommandFactory;
use mbm::{
    ConfigSource, Experiment, FeatureCache, InferOptions, Model, Outcome, OutputFormat, Plan, ReadOptions, RunEvent, Start,
    Table, TableWriter, TuneEvent, Weighting,
};
use serde_json::json;

use crate::args::{Args, Cache, Command, Compare, Evaluate, Init, Inspect, Leaderboard, Predict, Show, Train, Tune, Weights};
use crate::dataset::{
    self, check_output, default_folder, feature_cache, in_dataset, is_stdin, show_cache_fault, show_faults, show_misspelled,
    unreadable,
};
use crate::explain::explain;
use crate::generate;
use crate::interrupt::{Interrupted, stop_flag};
use crate::output::{bytes, columns, line, note};
use crate::progress::{Progress, rows_bar, shown_on};
use crate::retrieval;
use crate::schema;
use crate::serve::serve;

/// Runs a command.
pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Train(args) => train(args),
        Command::Init(args) => init(&args),
        Command::Evaluate(args) => evaluate(&args),
        Command::Predict(args) => predict(&args),
        Command::Explain(args) => explain(&args),
        Command::Translate(args) => generate::translate(&args),
        Command::Caption(args) => generate::caption(&args),
        Command::Inspect(args) => inspect(&args),
        Command::Embed(args) => retrieval::embed(&args),
        Command::Index(args) => retrieval::index(args),
        Command::Search(args) => retrieval::search(&args),
        Command::Serve(args) => serve(args),
        Command::Tune(args) => tune(args),
        Command::Leaderboard(args) => leaderboard(&args),
        Command::Compare(args) => compare(&args),
        Command::Weights(args) => weights(&args),
        Command::Cache(args) => cache(&args),
        Command::Schema(args) => schema::schema(&args),
        Command::Completions { shell } => {
            // Into memory first: `generate` panics where it cannot write.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "mbm", &mut script);
            bytes(&script)
        }
    }
}

fn train(args: Train) -> Result<()> {
    let mut overrides = args.effort.overrides();
    overrides.extend(args.weighting.overrides());
    overrides.extend(args.overrides);
    overrides.extend(args.random_seed.map(|seed| format!("random_seed={seed}")));
    let start = start(args.resume, args.overwrite, args.output_directory.is_some());
    let folder = args.output_directory.unwrap_or_else(|| default_folder(&args.dataset));
    let read = if args.show.quiet || args.show.json { dataset::read_silently } else { dataset::read };
    let (plan, table) = match &args.config {
        Some(config) => {
            let plan = Plan::read_file(config, &overrides)?;
            (plan, is_stdin(&args.dataset).then(|| read(&args.dataset, &args.reading)).transpose()?)
        }
        None => {
            let table = read(&args.dataset, &args.reading)?;
            let options = InferOptions::default().weights_at_hand().sample_weight(args.weighting.weight);
            let options = options.preset(args.effort.preset.unwrap_or_default());
            (inferred_plan(&table, &args.target, &options, &overrides, args.show)?, Some(table))
        }
    };
    let inferred = args.config.is_none();
    let cache = feature_cache(args.cache);
    let experiment = Experiment::new(plan, args.dataset, folder).table_options(args.reading.options()).start(start).cache(cache);
    let experiment = experiment.time_limit(args.effort.time_limit);
    let stop = stop_flag()?;
    let mut progress = Progress::new(args.show);
    let mut observe = |event| progress.show(&event);
    let outcome = match table {
        Some(table) => experiment.run_on(table, &stop, &mut observe),
        None => experiment.run(&stop, &mut observe),
    };
    progress.finish();
    let outcome = outcome?;
    if inferred && !args.show.quiet && !args.show.json {
        note(&format!("inferred config: {}", outcome.folder.join("config.yaml").display()));
    }
    show_outcome(&outcome, args.show)?;
    if stop.load(Ordering::Relaxed) && outcome.test_statistics.is_empty() {
        let folder = outcome.folder.display();
        bail!(Interrupted(format!("stopped early; {folder} holds the network trained so far, --resume continues the run")));
    }
    Ok(())
}

/// Determines how the run folder is opened; without a name it is a numbered one.
fn start(resume: bool, overwrite: bool, is_named: bool) -> Start {
    match (resume, overwrite, is_named) {
        (true, _, true) => Start::Resume,
        (true, _, false) => Start::ResumeLatest,
        (false, true, _) => Start::Overwrite,
        (false, false, true) => Start::New,
        (false, false, false) => Start::Numbered,
    }
}

fn cache(args: &Cache) -> Result<()> {
    let folder = FeatureCache::default_folder().context("no cache folder found; set MBM_CACHE_DIR")?;
    let cache = FeatureCache { folder, max_bytes: u64::MAX };
    let at_folder = || cache.folder.display().to_string();
    match args {
        Cache::Info => {
            let info = cache.info().with_context(at_folder)?;
            line(&format!(
                "{}: {} rows of {} encoders, {:.1} MB",
                at_folder(),
                info.n_rows,
                info.n_encoders,
                info.n_bytes as f64 / f64::from(1 << 20)
            ))
        }
        Cache::Clear => cache.clear().with_context(at_folder),
    }
}

fn inferred_plan(table: &Table, targets: &[String], options: &InferOptions, overrides: &[String], show: Show) -> Result<Plan> {
    let (mut config, notes) = mbm::infer_config_with(table, targets, options)?;
    if !show.quiet && !show.json {
        notes.iter().for_each(|text| note(text));
    }
    config.set(overrides)?;
    Ok(config.resolve()?)
}

fn show_outcome(outcome: &Outcome, show: Show) -> Result<()> {
    if show.json {
        return line(
            &json!({
                "event": "finished", "test_statistics": outcome.test_statistics, "seconds": outcome.seconds,
                "peak_memory": outcome.peak_memory, "folder": outcome.folder, "faults": outcome.faults,
            })
            .to_string(),
        );
    }
    if show.quiet {
        return Ok(());
    }
    show_faults(&outcome.faults);
    show_metrics(outcome.test_statistics.iter())?;
    for it in outcome.leaderboard.iter().filter(|it| it.is_model() && !it.folds.is_empty()) {
        let (output, metric, n_folds) = (&it.output, it.main_metric(), it.folds.len());
        line(&format!("{output}: {metric} {} over {n_folds} folds, each predicted without its rows", it.over_folds_text()))?;
    }
    let memory = outcome.peak_memory.map_or(String::new(), |bytes| format!(", peak memory {} MB", bytes >> 20));
    line(&format!("{:.1} s{memory}; run folder {}", outcome.seconds, outcome.folder.display()))
}

fn show_metrics<'a>(outputs: impl Iterator<Item = (&'a String, &'a BTreeMap<String, f64>)>) -> Result<()> {
    for (output, metrics) in outputs {
        let shown: Vec<Vec<String>> =
            metrics.iter().map(|(name, value)| vec![format!("  {name}"), format!("{value:.4}")]).collect();
        line(output)?;
        columns(&shown).iter().try_for_each(|text| line(text))?;
    }
    Ok(())
}

fn tune(args: Tune) -> Result<()> {
    let plan = Plan::read_file(&args.config, &args.overrides)?;
    let folder = args.output_directory.unwrap_or_else(|| default_folder(&args.dataset));
    let experiment =
        Experiment::new(plan, args.dataset, folder).table_options(args.reading.options()).cache(feature_cache(args.cache));
    let stop = stop_flag()?;
    let mut progress = Progress::new(Show { quiet: args.quiet, json: false });
    let tuned = mbm::tune(&experiment, &stop, &mut |event| match event {
        TuneEvent::Started(trial) => {
            let settings = trial.parameters.overrides().join(" ");
            let settings = if settings.is_empty() { "the config as written".to_owned() } else { settings };
            progress.show(&RunEvent::Note(format!("trial {}: {settings}", trial.number)));
        }
        TuneEvent::Run(RunEvent::Training(event)) => progress.show_step(&RunEvent::Training(event)),
        TuneEvent::Ended { trial, is_best } => {
            let score = trial.score.map_or("none".to_owned(), |score| format!("{score:.4}"));
            let best = if is_best { "  best so far" } else { "" };
            let error = trial.error.map_or(String::new(), |error| format!(": {error}"));
            let state = trial.state.as_str();
            progress.show(&RunEvent::Note(format!(
                "trial {}: {state}, epochs {}, score {score}{best}{error}",
                trial.number, trial.resource
            )));
        }
        _ => {}
    });
    progress.finish();
    let tuned = tuned?;
    if tuned.is_stopped {
        bail!(Interrupted("stopped; run the same command to continue the search".to_owned()));
    }
    let Some(best) = tuned.best else {
        bail!("no trial has a score; {} says why", tuned.folder.with_file_name("trials.csv").display())
    };
    let settings = if best.number == 0 { "the config as written".to_owned() } else { best.parameters.to_string() };
    line(&format!("best of {} trials: trial {}, {settings}", tuned.trials.len(), best.number))?;
    let (metric, score) = (&tuned.metric, best.score.unwrap_or(f64::NAN));
    line(&format!("validation {metric} {score:.4}; run folder {}", tuned.folder.display()))
}

/// Prints the learners of each output, best first by the main metric on held-out rows, with the metric on test rows.
fn leaderboard(args: &Leaderboard) -> Result<()> {
    let mut ranked = mbm::leaderboard(&args.run)?;
    sample_weight(&args.run).iter().for_each(|column| show_weighting(&Weighting::Column(column.clone())));
    if args.json {
        return line(&serde_json::to_string_pretty(&ranked)?);
    }
    // Stable, so outputs stay in their order.
    let first: Vec<String> = ranked.iter().map(|it| it.output.clone()).collect();
    let place = |output: &str| first.iter().position(|name| name == output);
    ranked.sort_by(|a, b| place(&a.output).cmp(&place(&b.output)).then(b.score().total_cmp(&a.score())));
    let header = ["output", "learner", "weight", "metric", "held out", "folds", "test", "seconds"].map(str::to_owned).to_vec();
    let row = |it: &mbm::Ranked| {
        let metric = it.main_metric();
        let value = |values: &BTreeMap<String, f64>| values.get(metric).map_or("-".to_owned(), |value| format!("{value:.4}"));
        let seconds = format!("{:.1}", it.seconds);
        let (output, learner, weight) = (it.output.clone(), it.learner.clone(), format!("{:.2}", it.weight));
        vec![output, learner, weight, metric.to_owned(), value(&it.held_out), it.over_folds_text(), value(&it.test), seconds]
    };
    let rows = std::iter::once(header).chain(ranked.iter().map(row)).collect::<Vec<_>>();
    columns(&rows).iter().try_for_each(|text| line(text))
}

/// Returns the column of weights that the config of a run names, if any.
fn sample_weight(run: &Path) -> Option<String> {
    let plan = ConfigSource::read(&run.join("config.yaml"), &[]).ok()?.check().ok()?;
    plan.to_json()["preprocessing"]["sample_weight"].as_str().map(str::to_owned)
}

fn init(args: &Init) -> Result<()> {
    let options = InferOptions::default().weights_at_hand().sample_weight(args.weighting.weight.clone());
    let (config, notes) = mbm::infer_config_with(&dataset::read(&args.dataset, &args.reading)?, &args.target, &options)?;
    let plan = config.resolve()?;
    notes.iter().for_each(|text| note(text));
    match &args.output {
        Some(path) => write_new(path, &plan.to_yaml()),
        None => line(plan.to_yaml().trim_end()),
    }
}

/// Writes a new file; refuses if anything has that name, even a dangling link.
fn write_new(path: &Path, text: &str) -> Result<()> {
    match std::fs::File::create_new(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!("{} exists; choose another file", path.display()),
        file => file.and_then(|mut file| file.write_all(text.as_bytes())).with_context(|| path.display().to_string()),
    }
}

fn evaluate(args: &Evaluate) -> Result<()> {
    let input = &args.input;
    let model = Model::open(&input.model_path)?;
    let table = dataset::read(&input.dataset, &input.reading)?;
    table.require_rows().map_err(|error| in_dataset(error.into(), &input.dataset))?;
    show_misspelled(&model, &table);
    let bar = rows_bar("reading", args.json);
    let options = ReadOptions::default().unreadable(unreadable(input.strict)).cache(feature_cache(input.cache));
    let evaluated = model.evaluate_with(table, &options.on_progress(shown_on(&bar, "evaluating")));
    bar.finish_and_clear();
    let evaluation = evaluated.map_err(|error| in_dataset(error, &input.dataset))?;
    show_cache_fault(evaluation.cache_fault.as_deref());
    show_weighting(&evaluation.weighting);
    if args.json {
        return line(&serde_json::to_string_pretty(&evaluation.metrics)?);
    }
    show_faults(&evaluation.faults);
    if let Some(n_rows) = model.n_fitted_rows() {
        note(&format!("the learners were fitted on {n_rows} training and validation rows; on those, metrics are too good"));
    }
    line(&format!("{} rows", evaluation.n_rows))?;
    show_metrics(evaluation.metrics.iter())
}

/// Says what metrics are weighted by.
fn show_weighting(weighting: &Weighting) {
    match weighting {
        Weighting::None => {}
        Weighting::Column(column) => note(&format!("metrics are weighted by the column '{column}'")),
        Weighting::NoColumn(column) => note(&format!("the dataset has no column '{column}' of weights: metrics are unweighted")),
    }
}

fn predict(args: &Predict) -> Result<()> {
    let model = Model::open(&args.model_path)?;
    let read = if args.quiet { dataset::read_silently } else { dataset::read };
    let holds_json = || Ok::<bool, anyhow::Error>(args.reading.format.is_none() && is_json(stdin().lock().fill_buf()?));
    let table = match is_stdin(&args.dataset) && holds_json()? {
        true => rows_from_stdin()?,
        false => read(&args.dataset, &args.reading)?,
    };
    if let Some(output) = &args.output {
        check_output(output, &args.dataset)?;
    }
    let mut writer = match &args.output {
        Some(path) => TableWriter::create(path, model.columns())?,
        None => TableWriter::new(
            Box::new(std::io::stdout().lock()),
            OutputFormat::JsonLines,
            model.columns(),
            Path::new("standard output"),
        )?,
    };
    if !args.quiet {
        show_misspelled(&model, &table);
    }
    // Predictions on a terminal show the progress themselves.
    let bar = rows_bar("predicting", args.quiet || args.output.is_none());
    let options = ReadOptions::default().unreadable(unreadable(args.strict)).cache(feature_cache(args.cache));
    let predicted = model.predict_into(table, &options.on_progress(shown_on(&bar, "predicting")), &mut writer);
    bar.finish_and_clear();
    let predicted = predicted.map_err(|error| in_dataset(error, &args.dataset))?;
    writer.finish()?;
    if !args.quiet {
        show_cache_fault(predicted.cache_fault.as_deref());
        show_faults(&predicted.faults);
    }
    Ok(())
}

/// Whether a stream that starts with these bytes holds JSON objects, as far as one can tell.
fn is_json(start: &[u8]) -> bool {
    start.trim_ascii_start().first().is_none_or(|byte| *byte == b'{')
}

/// Reads rows from standard input: one JSON object per line, or a single one over several lines.
fn rows_from_stdin() -> Result<Table> {
    let mut text = String::new();
    for read in stdin().lock().lines() {
        text.push_str(&read.context("standard input is not UTF-8 text")?);
        text.push('\n');
    }
    if text.trim().is_empty() {
        bail!("standard input is empty; it may hold a JSON object per line, or a table");
    }
    Ok(mbm::table_from_json(&text)?)
}

fn weights(args: &Weights) -> Result<()> {
    match args {
        Weights::Inspect { path } => mbm::inspect_weights(path)?.iter().try_for_each(|text| line(text)),
        Weights::Convert { source, target } => Ok(mbm::convert_weights(source, target)?),
    }
}

fn inspect(args: &Inspect) -> Result<()> {
    let path = &args.path;
    let is_bundle = ["bundle.json", "model/bundle.json", "description.json"].iter().any(|file| path.join(file).is_file());
    let is_config =
        path.is_file() && ["yaml", "yml", "toml"].iter().any(|ending| path.extension().is_some_and(|it| it == *ending));
    let read = || ConfigSource::read(path, &[])?.check();
    let is_json_config = path.extension().is_some_and(|it| it == "json") && read().is_ok();
    let lines = match () {
        () if is_bundle => mbm::inspect_bundle(path)?,
        () if is_config || is_json_config => read()?.to_yaml().lines().map(str::to_owned).collect(),
        () => mbm::inspect_dataset(dataset::read_silently(path, &args.reading)?)?,
    };
    lines.iter().try_for_each(|text| line(text))
}

fn compare(args: &Compare) -> Result<()> {
    let plan = Plan::read_file(&args.config, &args.overrides)?;
    let all = mbm::combiner_names();
    let names: Vec<&str> =
        if args.combiners == "all" { all.to_vec() } else { args.combiners.split(',').map(str::trim).collect() };
    if let Some(unknown) = names.iter().find(|name| !all.contains(name)) {
        bail!("unknown combiner '{unknown}'; available combiners: {}", all.join(", "));
    }
    let start = start(args.resume, args.overwrite, args.output_directory.is_some());
    let folder = args.output_directory.clone().unwrap_or_else(|| PathBuf::from("results/compare"));
    let comparing = mbm::ComparisonFolder::enter(&folder, start)?;
    let cache = feature_cache(args.cache);
    let options = args.reading.options();
    let experiment =
        Experiment::new(plan, &args.dataset, &comparing.path).table_options(options).start(Start::Resume).cache(cache);
    let stop = stop_flag()?;
    let mut progress = Progress::new(Show { quiet: args.json, json: false });
    let mut rows = vec![["combiner", "metric", "value", "parameters", "seconds", "peak MB"].map(str::to_owned).to_vec()];
    let mut found = Vec::new();
    for name in names {
        let mut show = |event: RunEvent| progress.show(&event);
        show(RunEvent::Stage("next combiner"));
        let result = mbm::compare(&experiment, name, &stop, &mut show)?;
        if stop.load(Ordering::Relaxed) {
            bail!(Interrupted(format!("stopped at combiner {name}; --resume continues in {}", comparing.path.display())));
        }
        rows.push(vec![
            result.combiner.clone(),
            result.metric.to_owned(),
            format!("{:.4}", result.value),
            result.n_params.to_string(),
            format!("{:.1}", result.seconds),
            result.peak_memory.map_or("-".to_owned(), |bytes| (bytes >> 20).to_string()),
        ]);
        found.push(json!({"combiner": result.combiner, result.metric: result.value, "parameters": result.n_params, "seconds": result.seconds, "peak_memory": result.peak_memory}));
    }
    progress.finish();
    if args.json {
        return line(&serde_json::to_string_pretty(&found)?);
    }
    columns(&rows).iter().try_for_each(|text| line(text))
}
