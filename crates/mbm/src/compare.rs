//! The same run with each combiner.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use mbm_config::{Entry, Node, Value};
use mbm_data::Lock;
use mbm_model::combiner::CombinerSettings;

use crate::error::Error;
use crate::experiment::{Experiment, RunEvent};
use crate::plan::Plan;
use crate::run_folder::{RunFolder, Start, choose, holds_run};
use crate::run_manifest::reset_peak_memory;

/// One combiner's run.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The combiner.
    pub combiner: String,
    /// The first output's main metric on the test rows.
    pub metric: &'static str,
    /// Its value.
    pub value: f64,
    /// Parameters of the whole model.
    pub n_params: usize,
    /// The whole run, in seconds.
    pub seconds: f64,
    /// The most memory that the process had in the run, in bytes, where the system tells.
    pub peak_memory: Option<u64>,
}

/// The folder of a comparison, which has a run folder for each combiner, and which no other process writes to.
#[derive(Debug)]
pub struct ComparisonFolder {
    /// Where it is.
    pub path: PathBuf,
    _lock: Lock,
}

impl ComparisonFolder {
    /// Takes the folder that `start` means, as for a run.
    ///
    /// # Errors
    /// A folder that holds a comparison, or that another process writes to; nothing to go on with.
    pub fn enter(folder: &Path, start: Start) -> Result<Self, Error> {
        let holds_runs = |path: &Path| combiner_names().iter().any(|name| holds_run(&path.join(name)));
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

/// Every combiner there is.
pub fn combiner_names() -> &'static [&'static str] {
    CombinerSettings::TYPES
}

/// Runs an experiment with one combiner at its defaults (the plan's own settings for the plan's own combiner), in a folder of that name
/// below the experiment's.
///
/// # Errors
/// What the run answers.
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
        node.set("combiner", Node::bare(Value::Map(vec![kind]))).map_err(Error::Incompatible)?;
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
