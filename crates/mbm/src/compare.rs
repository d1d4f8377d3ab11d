//! The same run with each combiner.

use std::sync::atomic::AtomicBool;

use mbm_config::{Entry, Node, Value};
use mbm_model::combiner::CombinerSettings;

use crate::describe::reset_peak_memory;
use crate::error::Error;
use crate::experiment::{Experiment, Happening, Start};
use crate::plan::Plan;

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
    observe: &mut dyn FnMut(Happening),
) -> Result<Comparison, Error> {
    let plan = &experiment.plan;
    let mut node = Node::from(&plan.to_json());
    if combiner != plan.config.combiner.type_name() {
        let kind = Entry { key: "type".to_owned(), line: 0, node: Node::bare(Value::Text(combiner.to_owned())) };
        node.set("combiner", Node::bare(Value::Map(vec![kind]))).map_err(Error::Unfit)?;
    }
    let plan = Plan::from_node(&node).map_err(|problems| Error::Config { file: format!("combiner {combiner}"), problems })?;
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
