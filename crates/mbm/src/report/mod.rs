//! `report.html`: a self-contained report of a run.

mod attention;
mod chart;
mod gallery;
mod html;
mod images;
mod texts;

use std::collections::BTreeMap;
use std::path::Path;

use mbm_algo::metric::{
    ClassificationSamples, MultiLabelSamples, RegressionSamples, confusion_matrix, pr_curve, reliability, roc_curve,
};
use mbm_data::{Dataset, FaultReport};
use mbm_train::EpochRecord;

use self::chart::{Chart, Series};
use self::html::{escape, number, table};
pub(crate) use self::images::{WorstRows, thumbnail_uri};
use crate::error::Error;
use crate::predict::ablation::{Ablated, InputGroup};
use crate::predict::embedded_rows::{EmbeddedRows, directions};
use crate::predict::prediction::class_names;
use crate::predict::predictor::Predictor;
use crate::predict::score::MetricSamples;
use crate::run::learners::Ranked;

/// Everything that a report shows about a run.
pub(crate) struct Measured<'a> {
    /// The name of the dataset.
    pub name: &'a str,
    /// Number of model parameters.
    pub n_params: usize,
    /// Cells that could not be read.
    pub faults: &'a FaultReport,
    /// The split that was evaluated.
    pub split: &'a str,
    /// Its rows.
    pub rows: &'a [usize],
    /// Predictions and targets, one per output.
    pub scored: &'a [MetricSamples],
    /// The rows with the worst predictions of the first output.
    pub worst: &'a WorstRows,
    /// Metrics by output.
    pub statistics: &'a BTreeMap<String, BTreeMap<String, f64>>,
    /// The groups of inputs that are masked together.
    pub groups: &'a [InputGroup],
    /// Metrics with subsets of the inputs.
    pub ablation: &'a [Ablated],
    /// The number of rows of the ablation, if they are a sample.
    pub ablation_sample: Option<usize>,
    /// The record of each epoch.
    pub history: &'a [EpochRecord],
    /// The learners, if there are others than the network.
    pub leaderboard: &'a [Ranked],
}

/// With more classes than this, the confusion matrix and the curves are omitted.
const MAX_CLASSES: usize = 30;

/// Writes the report.
pub(crate) fn write_report(path: &Path, predictor: &Predictor, dataset: &Dataset, measured: &Measured) -> Result<(), Error> {
    let config = &predictor.plan.config;
    let mut page = html::Page::new("mbm report");
    page.heading(&format!("Report for {}", measured.name));
    page.paragraph(&format!(
        "{} {} rows evaluated, {} parameters, combiner {}, seed {}, mbm {}.",
        measured.rows.len(),
        measured.split,
        measured.n_params,
        config.combiner.type_name(),
        config.random_seed,
        env!("CARGO_PKG_VERSION"),
    ));
    if let Some(column) = &config.preprocessing.sample_weight {
        page.paragraph(&format!("Metrics are weighted by the column '{column}'; numbers of rows are not."));
    }
    page.section("Metrics", &metrics(measured));
    if !measured.leaderboard.is_empty() {
        page.section("Learners", &leaderboard(measured.leaderboard));
    }
    page.section("Input ablation", &subset_table(measured, predictor));
    page.section("Learning curves", &learning_curves(measured, predictor)?);
    for (output, (field, scored)) in predictor.outputs.iter().zip(measured.scored).enumerate() {
        let classes = class_names(&field.preprocessor);
        let content = match scored {
            MetricSamples::Classes(scored) => classification(scored, &classes)?,
            MetricSamples::Labels(scored) => labels(scored, &classes),
            MetricSamples::Numbers(scored) => regression(scored)?,
            MetricSamples::Embeddings(scored) => retrieval(scored)?,
            MetricSamples::Texts(scored) => texts::texts(predictor, dataset, output, scored)?,
        };
        page.section(&format!("Output {}", field.name), &content);
    }
    if !matches!(measured.scored[0], MetricSamples::Texts(_)) {
        page.section("Worst predictions", &measured.worst.to_html(predictor, dataset)?);
    }
    page.section("Missing and unreadable cells", &faults(measured.faults));
    page.section("Config", &format!("<pre>{}</pre>", escape(&predictor.plan.to_yaml())));
    Ok(mbm_data::write_file(path, page.finish().as_bytes())?)
}

fn metrics(measured: &Measured) -> String {
    let each = measured.statistics.iter().map(|(output, metrics)| {
        let rows: Vec<Vec<String>> = metrics.iter().map(|(name, value)| vec![escape(name), number(*value)]).collect();
        format!("<div><h3>{}</h3>{}</div>", escape(output), table(&["metric", measured.split], &rows))
    });
    format!("<div class=grid>{}</div>", each.collect::<String>())
}

/// Returns the learners of each output with their weights in the ensemble.
fn leaderboard(ranked: &[Ranked]) -> String {
    let row = |it: &Ranked| {
        let metric = it.main_metric();
        let value = |values: &BTreeMap<String, f64>| values.get(metric).map_or("-".to_owned(), |value| number(*value));
        let (output, learner) = (escape(&it.output), escape(&it.learner));
        let (weight, seconds) = (format!("{:.2}", it.weight), format!("{:.1}", it.seconds));
        vec![output, learner, weight, metric.to_owned(), value(&it.held_out), it.over_folds_text(), value(&it.test), seconds]
    };
    let rows: Vec<Vec<String>> = ranked.iter().map(row).collect();
    let head = ["output", "learner", "weight", "metric", "held out", "mean of folds", "test", "seconds"];
    let text = "<p>Each learner on rows that it was not fitted on, together and as mean ± standard deviation over the folds, and on test rows. \
         Weights are chosen on the held-out rows.</p>";
    format!("{text}{}", table(&head, &rows))
}

fn subset_table(measured: &Measured, predictor: &Predictor) -> String {
    let mains: Vec<&str> = measured.scored.iter().map(MetricSamples::main_metric).collect();
    let mut head: Vec<String> = measured.groups.iter().map(|group| escape(&group.name)).collect();
    head.extend(predictor.outputs.iter().zip(&mains).map(|(field, metric)| format!("{} {metric}", escape(&field.name))));
    let rows = measured.ablation.iter().map(|subset| {
        let marks = subset.groups.iter().map(|is| if *is { "●".to_owned() } else { "<span class=dim>masked</span>".to_owned() });
        let values = subset
            .metrics
            .iter()
            .zip(&mains)
            .map(|((_, metrics), main)| metrics.get(*main).map_or("-".to_owned(), |value| number(*value)));
        marks.chain(values).collect::<Vec<String>>()
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let sample = measured.ablation_sample.map_or(String::new(), |n_rows| format!(" A sample of {n_rows} rows."));
    format!("<p>The same model with some inputs masked in every row.{sample}</p>{}", table(&head, &rows))
}

fn learning_curves(measured: &Measured, predictor: &Predictor) -> Result<String, Error> {
    let history = measured.history;
    let points = |value: &dyn Fn(&EpochRecord) -> Option<f64>| -> Vec<(f64, f64)> {
        history.iter().enumerate().filter_map(|(epoch, record)| Some(((epoch + 1) as f64, value(record)?))).collect()
    };
    let loss = vec![
        Series::line("train", points(&|record| Some(record.loss))),
        Series::line("validation", points(&|record| record.validation.get("loss").copied())),
    ];
    let mut charts = vec![Chart { title: "loss".to_owned(), x: "epoch", series: loss, ..Chart::default() }.to_svg()?];
    for (field, scored) in predictor.outputs.iter().zip(measured.scored) {
        let name = format!("{}.{}", field.name, scored.main_metric());
        let series = vec![Series::line("validation", points(&|record| record.validation.get(&name).copied()))];
        charts.push(Chart { title: format!("validation {name}"), x: "epoch", series, ..Chart::default() }.to_svg()?);
    }
    Ok(format!("<div class=grid>{}</div>", charts.concat()))
}

fn classification(scored: &ClassificationSamples, classes: &[String]) -> Result<String, Error> {
    if classes.len() > MAX_CLASSES {
        return Ok(format!("<p>{} classes are too many to plot.</p>", classes.len()));
    }
    let mut roc = Vec::new();
    let mut precision_recall = Vec::new();
    let first = if classes.len() == 2 { 1 } else { 0 };
    for (class, name) in classes.iter().enumerate().skip(first) {
        let scores: Vec<f32> = scored.probabilities.iter().skip(class).step_by(classes.len()).copied().collect();
        let positive: Vec<bool> = scored.truth.iter().map(|truth| *truth == class).collect();
        roc.extend(roc_curve(&scores, &positive, &scored.weights).map(|points| Series::line(name, points)));
        precision_recall.extend(pr_curve(&scores, &positive, &scored.weights).map(|points| Series::line(name, points)));
    }
    let unit = Some((0.0, 1.0));
    let charts = [
        Chart {
            title: "ROC, one class against the rest".into(),
            x: "false positive rate",
            y: "true positive rate",
            series: roc,
            x_range: unit,
            y_range: unit,
        },
        Chart {
            title: "Precision and recall".into(),
            x: "recall",
            y: "precision",
            series: precision_recall,
            x_range: unit,
            y_range: unit,
        },
        calibration(scored),
    ];
    let drawn: String = charts.iter().map(Chart::to_svg).collect::<Result<_, _>>()?;
    Ok(format!("{}<div class=grid>{drawn}</div>", confusion(scored, classes)))
}

fn calibration(scored: &ClassificationSamples) -> Chart {
    let points = reliability(scored).into_iter().map(|(confidence, accuracy, _)| (confidence, accuracy)).collect();
    Chart {
        title: "Calibration".into(),
        x: "confidence",
        y: "accuracy",
        series: vec![Series::line("perfect", vec![(0.0, 0.0), (1.0, 1.0)]), Series::points("ten bins", points)],
        x_range: Some((0.0, 1.0)),
        y_range: Some((0.0, 1.0)),
    }
}

/// Renders the confusion matrix: rows are true classes, columns are predicted classes, and shading is the share of the row.
fn confusion(scored: &ClassificationSamples, classes: &[String]) -> String {
    let counts = confusion_matrix(scored);
    let n = classes.len();
    let head: String = classes.iter().map(|class| format!("<th>{}</th>", escape(class))).collect();
    let rows: String = (0..n)
        .map(|truth| {
            let row = &counts[truth * n..(truth + 1) * n];
            let total = row.iter().sum::<usize>().max(1);
            let cells = row.iter().enumerate().map(|(predicted, count)| {
                let share = *count as f64 / total as f64;
                let colour = if predicted == truth { "46,125,80" } else { "178,60,50" };
                format!("<td style='background:rgba({colour},{share:.2})'>{count}</td>")
            });
            format!("<tr><th>{}</th>{}</tr>", escape(&classes[truth]), cells.collect::<String>())
        })
        .collect();
    format!(
        "<h3>Confusion matrix</h3><p>Rows are true classes, columns are predicted classes.</p><div class=scroll><table class=matrix><tr><th></th>{head}</tr>{rows}</table></div>"
    )
}

fn labels(scored: &MultiLabelSamples, names: &[String]) -> String {
    let rows = names.iter().enumerate().map(|(label, name)| {
        let truth = scored.truth.iter().skip(label).step_by(scored.n_labels);
        let predicted = scored.probabilities.iter().skip(label).step_by(scored.n_labels);
        let (mut n_hits, mut n_true, mut n_predicted) = (0, 0, 0);
        for (truth, p) in truth.zip(predicted) {
            n_true += usize::from(*truth);
            n_predicted += usize::from(*p >= 0.5);
            n_hits += usize::from(*truth && *p >= 0.5);
        }
        vec![escape(name), n_true.to_string(), n_predicted.to_string(), n_hits.to_string()]
    });
    table(&["label", "true", "predicted", "both"], &rows.collect::<Vec<_>>())
}

fn regression(scored: &RegressionSamples) -> Result<String, Error> {
    let pairs: Vec<(f64, f64)> = scored.truth.iter().copied().zip(scored.predicted.iter().copied()).take(5000).collect();
    let low = pairs.iter().map(|pair| pair.0.min(pair.1)).fold(f64::INFINITY, f64::min);
    let high = pairs.iter().map(|pair| pair.0.max(pair.1)).fold(f64::NEG_INFINITY, f64::max);
    let residuals = pairs.iter().map(|(truth, predicted)| (*predicted, predicted - truth)).collect();
    let charts = [
        Chart {
            title: "Predicted vs. true".into(),
            x: "true",
            y: "predicted",
            series: vec![Series::line("identity", vec![(low, low), (high, high)]), Series::points("rows", pairs)],
            ..Chart::default()
        },
        Chart {
            title: "Residuals".into(),
            x: "predicted",
            y: "predicted - true",
            series: vec![Series::line("zero", vec![(low, 0.0), (high, 0.0)]), Series::points("rows", residuals)],
            ..Chart::default()
        },
    ];
    let drawn: String = charts.iter().map(Chart::to_svg).collect::<Result<_, _>>()?;
    Ok(format!("<div class=grid>{drawn}</div>"))
}

/// Plots, for each direction, the share of queries with a relevant candidate among the first k.
fn retrieval(scored: &EmbeddedRows) -> Result<String, Error> {
    let series = directions(&scored.align)
        .into_iter()
        .map(|(from, to, way)| {
            let retrieved = scored.retrieved(from, to);
            let points = (1..=retrieved.n_candidates.min(100)).map(|k| {
                let n_found = retrieved.ranks.iter().filter(|ranks| ranks[0] <= k).count();
                (k as f64, n_found as f64 / retrieved.ranks.len().max(1) as f64)
            });
            Series::line(&way, points.collect())
        })
        .collect();
    let chart = Chart { title: "Recall at k".into(), x: "k", y: "recall", series, y_range: Some((0.0, 1.0)), x_range: None };
    Ok(format!("<div class=grid>{}</div>", chart.to_svg()?))
}

fn faults(faults: &FaultReport) -> String {
    let lines = faults.lines();
    if lines.is_empty() {
        return "<p>None.</p>".to_owned();
    }
    format!("<ul>{}</ul>", lines.iter().map(|line| format!("<li>{}</li>", escape(line))).collect::<String>())
}
