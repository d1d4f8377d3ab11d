//! Comparison of combiners: the same run with each of them.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use mbm_config::{Entry, Node, Value};
use mbm_data::Lock;
use mbm_model::combiner::CombinerSettings;

use crate::config::plan::Plan;
use crate::error::Error;
use crate::run::event::RunEvent;
use crate::run::experiment::Experiment;
use crate::run::folder::{RunFolder, Start, choose, holds_run};
use crate::run::manifest::reset_peak_memory;

/// The result of one combiner's run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Comparison {
    /// The combiner.
    pub combiner: String,
    /// The main metric of the first output on the test rows.
    pub metric: &'static str,
    /// Its value.
    pub value: f64,
    /// Number of parameters of the whole model.
    pub n_params: usize,
    /// Wall-clock time of the run, in seconds.
    pub seconds: f64,
    /// Peak memory of the process during the run in bytes, if the system reports it.
    pub peak_memory: Option<u64>,
}

/// The folder of a comparison, with a run folder per combiner, locked against other processes.
#[derive(Debug)]
pub struct ComparisonFolder {
    /// The path of the folder.
    pub path: PathBuf,
    _lock: Lock,
}

impl ComparisonFolder {
    /// Opens and locks the folder that `start` selects, as for a run.
    ///
    /// # Errors
    /// Fails if the folder already holds a comparison, another process writes to it, or there is nothing to resume.
    pub fn enter(folder: &Path, start: Start) -> Result<Self, Error> {
        choose(folder, start, holds_runs, |path, start| {
            std::fs::create_dir_all(path).map_err(Error::io(path))?;
            let lock = Lock::of(path)?;
            match start {
                Start::New | Start::Numbered if holds_runs(path) => return Err(Error::RunExists(path.to_path_buf())),
                Start::Overwrite => {
                    let runs = combiner_names().iter().map(|name| path.join(name)).filter(|run| run.is_dir());
                    runs.map(|run| RunFolder::enter(&run, Start::Overwrite)?.make_room()).collect::<Result<Vec<()>, Error>>()?;
                }
                Start::New | Start::Numbered | Start::Resume | Start::ResumeLatest => {}
            }
            Ok(Self { path: path.to_path_buf(), _lock: lock })
        })
    }
}

fn holds_runs(path: &Path) -> bool {
    combiner_names().iter().any(|name| holds_run(&path.join(name)))
}

/// Returns the names of all combiners.
pub fn combiner_names() -> &'static [&'static str] {
    CombinerSettings::TYPES
}

/// Runs an experiment with one combiner, in a folder of its name below the experiment's. The plan's own combiner keeps its
/// settings; others use their defaults.
///
/// # Errors
/// Fails as [`Experiment::run`] does.
pub fn compare(
    experiment: &Experiment,
    combiner: &str,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(RunEvent),
) -> Result<Comparison, Error> {
    let plan = &experiment.plan;
    let mut node = Node::from(&plan.to_json());
    if combiner != plan.config.combiner.type_name() {
        let kind = Entry { key: "type".to_owned(), line: 0, node: Node::bare(Value::Text(combiner.to_owned())) };
        node.set("combiner", Node::bare(Value::Map(vec![kind]))).map_err(|error| Error::Config {
            file: format!("combiner {combiner}"),
            diagnostics: mbm_config::Diagnostic::at(0, "combiner", error.to_string()).into(),
        })?;
    }
    let plan =
        Plan::from_node(&node).map_err(|diagnostics| Error::Config { file: format!("combiner {combiner}"), diagnostics })?;
    let folder = experiment.folder.join(combiner);
    let experiment = Experiment { plan, folder, start: Start::Resume, ..experiment.clone() };
    reset_peak_memory();
    let outcome = experiment.run(stop, observe)?;
    let metrics = outcome.test_statistics.values().next().cloned().unwrap_or_default();
    let metric = ["accuracy", "r2", "f1_micro"].into_iter().find(|name| metrics.contains_key(*name)).unwrap_or("accuracy");
    let value = metrics.get(metric).copied().unwrap_or(f64::NAN);
    Ok(Comparison {
        combiner: combiner.to_owned(),
        metric,
        value,
        n_params: outcome.n_params,
        seconds: outcome.seconds,
        peak_memory: outcome.peak_memory,
    })
}
