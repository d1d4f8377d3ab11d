//! Metrics: named functions in one list per type of target. A new metric takes one file and one line in a list: CONTRIBUTING.md
//! shows how.
//!
//! A metric that is undefined on the given rows (a single class, no rows) is `None`, never a placeholder value.

/// Declares a list of metrics: the direction in which each improves, its name, and the function that computes it. Without a
/// function, it is `score` in a file named like the metric, in the folder of the list.
macro_rules! metrics {
    ($(#[doc = $doc:literal])* pub $list:ident of $samples:ident {
        $( $better:ident $(file $file:ident)? $($name:literal = $score:expr)? ; )+
    }) => {
        $( $(mod $file;)? )+

        $(#[doc = $doc])*
        pub const $list: &[Metric<$samples>] =
            &[$( $better($(stringify!($file), $file::score)? $($name, $score)?) ),+];
    };
}

mod bootstrap;
mod classification;
mod ranking;
mod regression;
mod retrieval;
mod sample_weights;
mod sets;
mod text;

pub use bootstrap::{Interval, resampled};
pub use classification::{CLASSIFICATION, ClassificationSamples, confusion_matrix, reliability};
pub use ranking::{average_precision, pr_curve, ranks, roc_auc, roc_curve};
pub use regression::{REGRESSION, RegressionSamples};
pub use retrieval::{CHANCE, RETRIEVAL, RetrievalSamples};
pub use sample_weights::SampleWeights;
pub use sets::{MultiLabelSamples, SETS};
pub use text::{Bleu, TEXTS, TeacherForcing, TextSamples, WordCut, bleu, chrf, edit_distance};

/// The direction in which a metric improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Larger values are better.
    Higher,
    /// Smaller values are better.
    Lower,
}

/// A metric of scored rows of type `S`.
pub struct Metric<S> {
    /// The name in reports and in `test_statistics.json`.
    pub name: &'static str,
    /// The direction in which it improves.
    pub better: Direction,
    /// Computes its value; `None` where it is undefined.
    pub score: fn(&S) -> Option<f64>,
}

const fn higher<S>(name: &'static str, score: fn(&S) -> Option<f64>) -> Metric<S> {
    Metric { name, better: Direction::Higher, score }
}

const fn lower<S>(name: &'static str, score: fn(&S) -> Option<f64>) -> Metric<S> {
    Metric { name, better: Direction::Lower, score }
}

/// Computes all metrics that are defined on `scored`, with their names.
pub fn evaluate<S>(metrics: &[Metric<S>], scored: &S) -> Vec<(&'static str, f64)> {
    metrics.iter().filter_map(|metric| (metric.score)(scored).map(|value| (metric.name, value))).collect()
}

fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.into_iter().fold((0.0, 0usize), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / n as f64)
}
