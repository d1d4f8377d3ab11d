//! Progress of a run: a live line on a terminal, plain lines elsewhere, JSON events, or nothing; and of the rows of a table.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mbm::{Event, RowProgress, RunEvent};

use crate::args::Show;
use crate::output;

/// Displays the events of a run.
pub enum Progress {
    /// Nothing.
    Quiet,
    /// JSON lines on standard output.
    Json,
    /// One line per epoch on standard error.
    Plain,
    /// A live line on standard error, with one line per epoch above it.
    Live {
        /// The live line.
        bar: ProgressBar,
        /// The last validation metric, shown in the live line.
        validation: String,
    },
}

impl Progress {
    /// Chooses a display by the flags and by whether standard error is a terminal.
    pub fn new(show: Show) -> Self {
        match show {
            Show { quiet: true, .. } => Self::Quiet,
            Show { json: true, .. } => Self::Json,
            _ if std::io::stderr().is_terminal() => {
                let style =
                    ProgressStyle::with_template("{spinner} {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
                Self::Live { bar: ProgressBar::new_spinner().with_style(style), validation: String::new() }
            }
            _ => Self::Plain,
        }
    }

    /// Displays one event.
    pub fn show(&mut self, event: &RunEvent) {
        match self {
            Self::Quiet => {}
            // A closed pipe does not end training; the run folder is what counts.
            Self::Json => output::line(&event.to_json().to_string()).unwrap_or(()),
            Self::Plain => {
                if let Some(line) = line(event) {
                    output::note(&line);
                }
            }
            Self::Live { bar, validation } => {
                if let RunEvent::Training(Event::Epoch { validation: values, .. }) = event {
                    *validation = main_value(values);
                }
                match event {
                    RunEvent::Training(Event::Step { .. }) => bar.set_message(step(event, validation)),
                    RunEvent::Stage(stage) => bar.set_message((*stage).to_owned()),
                    RunEvent::Encoding(n_done, n_rows) => bar.set_message(format!("encoding: {n_done} of {n_rows} rows")),
                    _ => {}
                }
                bar.tick();
                if let (Some(line), false) = (line(event), matches!(event, RunEvent::Stage(_))) {
                    bar.println(line);
                }
            }
        }
    }

    /// Displays an event in the live line only.
    pub fn show_step(&mut self, event: &RunEvent) {
        if let Self::Live { bar, validation } = self {
            bar.set_message(step(event, validation));
            bar.tick();
        }
    }

    /// Clears the live line.
    pub fn finish(&self) {
        if let Self::Live { bar, .. } = self {
            bar.finish_and_clear();
        }
    }
}

/// Creates a progress bar of rows with their rate on standard error; hidden if `quiet`, or if that is no terminal.
pub fn rows_bar(what: &'static str, quiet: bool) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} rows  {per_sec}  {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(what);
    bar
}

/// Returns a callback that shows progress on a bar of rows; `predicting` is what it says once the rows have been read.
pub fn shown_on(bar: &ProgressBar, predicting: &'static str) -> impl Fn(RowProgress) + Send + Sync + 'static {
    let bar = bar.clone();
    move |progress| {
        let (message, n_done, n_rows) = match progress {
            RowProgress::Read(n_done, n_rows) => ("reading", n_done, n_rows),
            RowProgress::Predicted(n_done, n_rows) => (predicting, n_done, n_rows),
            _ => return,
        };
        bar.set_message(message);
        bar.set_length(n_rows as u64);
        bar.set_position(n_done as u64);
    }
}

fn line(event: &RunEvent) -> Option<String> {
    match event {
        RunEvent::Stage(stage) => Some((*stage).to_owned()),
        RunEvent::Rows([train, validation, test]) => Some(format!("{train} training, {validation} validation, {test} test rows")),
        RunEvent::Training(Event::Started { n_params, epochs, steps_per_epoch, epoch }) => {
            let resumed = if *epoch > 0 { format!(", resuming at epoch {}", epoch + 1) } else { String::new() };
            Some(format!("{n_params} parameters, up to {epochs} epochs of {steps_per_epoch} steps{resumed}"))
        }
        RunEvent::Encoded(n_encoded, n_cached) => {
            Some(format!("{n_encoded} cells encoded before training, {n_cached} of them from the cache"))
        }
        RunEvent::Note(note) => Some(note.clone()),
        RunEvent::Fold { fold, n_folds } => Some(format!("training the network of fold {fold} of {n_folds}")),
        RunEvent::Learner { output, learner, metric, value, seconds } => {
            Some(format!("{learner:<18}  held-out {output}.{metric} {value:.4}  {seconds:.1} s"))
        }
        RunEvent::Training(Event::Epoch { epoch, loss, validation, is_best }) => {
            let best = if *is_best { "  *" } else { "" };
            let validated = validation
                .get("loss")
                .map_or(String::new(), |loss| format!("  validation loss {loss:.4}  {}", main_value(validation)));
            Some(format!("epoch {:>3}  loss {loss:.4}{validated}{best}", epoch + 1))
        }
        _ => None,
    }
}

fn step(event: &RunEvent, validation: &str) -> String {
    let RunEvent::Training(Event::Step { epoch, step, loss, samples_per_second, time_left, .. }) = event else {
        return String::new();
    };
    format!(
        "epoch {} step {step}  loss {loss:.4}  {validation}  {samples_per_second:.0} samples/s  at most {} left",
        epoch + 1,
        duration(*time_left)
    )
}

/// Returns the main metric: accuracy, R2 or micro-averaged F1.
fn main_value(values: &std::collections::BTreeMap<String, f64>) -> String {
    let mains = ["accuracy", "r2", "f1_micro"];
    let found = values.iter().find(|(name, _)| mains.iter().any(|main| name.ends_with(&format!(".{main}"))));
    found.map_or(String::new(), |(name, value)| format!("{name} {value:.4}"))
}

fn duration(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds < 60 => format!("{seconds} s"),
        seconds if seconds < 3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}
