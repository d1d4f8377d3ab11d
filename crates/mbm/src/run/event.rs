//! The progress of a run.

use mbm_train::Event;
use serde_json::{Value, json};

/// A progress event of a run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RunEvent {
    /// A stage starts.
    Stage(&'static str),
    /// Rows encoded so far, and the total.
    Encoding(usize, usize),
    /// Cells encoded before training, and how many of them were cached.
    Encoded(usize, usize),
    /// A message for the user.
    Note(String),
    /// The dataset was read and split: number of train, validation and test rows.
    Rows([usize; 3]),
    /// An event of training.
    Training(Event),
    /// The network of a further fold is trained.
    Fold {
        /// Its number, from 1.
        fold: usize,
        /// Number of folds.
        n_folds: usize,
    },
    /// A learner other than the network was fitted.
    Learner {
        /// The output.
        output: String,
        /// The learner.
        learner: String,
        /// The main metric of the output.
        metric: String,
        /// Its value on rows that the learner was not fitted on.
        value: f64,
        /// Wall-clock seconds.
        seconds: f64,
    },
}

impl RunEvent {
    /// Returns the event as `mbm train --json` prints it: an object whose `event` says which it is.
    ///
    /// ```
    /// let event = mbm::RunEvent::Rows([80, 10, 10]);
    /// assert_eq!(event.to_json().to_string(), r#"{"event":"rows","test":10,"train":80,"validation":10}"#);
    /// ```
    pub fn to_json(&self) -> Value {
        match self {
            Self::Stage(stage) => json!({"event": "stage", "stage": stage}),
            Self::Encoding(n_done, n_rows) => json!({"event": "encoding", "done": n_done, "rows": n_rows}),
            Self::Encoded(n_encoded, n_cached) => json!({"event": "encoded", "cells": n_encoded, "from_cache": n_cached}),
            Self::Note(note) => json!({"event": "note", "note": note}),
            Self::Rows([train, validation, test]) => {
                json!({"event": "rows", "train": train, "validation": validation, "test": test})
            }
            Self::Fold { fold, n_folds } => json!({"event": "fold", "fold": fold, "folds": n_folds}),
            Self::Learner { output, learner, metric, value, seconds } => {
                json!({"event": "learner", "output": output, "learner": learner, "metric": metric, "value": value, "seconds": seconds})
            }
            Self::Training(Event::Started { n_params, epochs, steps_per_epoch, epoch }) => {
                json!({"event": "started", "parameters": n_params, "epochs": epochs, "steps_per_epoch": steps_per_epoch, "epoch": epoch + 1})
            }
            Self::Training(Event::Step { epoch, step, loss, learning_rate, samples_per_second, time_left }) => json!({
                "event": "step", "epoch": epoch + 1, "step": step, "loss": loss, "learning_rate": learning_rate,
                "samples_per_second": samples_per_second, "seconds_left": time_left.as_secs_f64(),
            }),
            Self::Training(Event::Epoch { epoch, loss, validation, is_best }) => {
                json!({"event": "epoch", "epoch": epoch + 1, "loss": loss, "validation": validation, "is_best": is_best})
            }
        }
    }
}
