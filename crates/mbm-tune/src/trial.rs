//! Trials: configs that are trained and scored.

use crate::Suggestion;
use crate::suggestion::yaml;

/// A trial of a study.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Its number; trial 0 is the config as written.
    pub number: usize,
    /// What it changes in the config.
    pub parameters: Suggestion,
    /// How far it is.
    pub state: State,
    /// The resource, such as epochs, that it has reported so far.
    pub resource: usize,
    /// Its metric: at its end, or the last one reported. `None` if there is none, or it is not a finite number.
    pub score: Option<f64>,
    /// Why it failed.
    pub error: Option<String>,
}

/// How far a trial is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It was given out and has not ended.
    Running,
    /// The process that ran it has ended without finishing it; it is run again.
    Interrupted,
    /// It ran to its end.
    Completed,
    /// It was stopped early, as others had better scores.
    Stopped,
    /// It has no score, because an error occurred.
    Failed,
}

/// How a trial has ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It was scored, after its training has ended or was stopped early.
    Scored(f64),
    /// An error occurred.
    Failed(String),
}

impl State {
    /// Returns the word for the state.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Completed => "completed",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

impl Trial {
    pub(crate) fn started(number: usize, parameters: Suggestion) -> Self {
        Self { number, parameters, state: State::Running, resource: 0, score: None, error: None }
    }

    /// Returns whether it has ended.
    pub fn is_finished(&self) -> bool {
        match self.state {
            State::Completed | State::Stopped | State::Failed => true,
            State::Running | State::Interrupted => false,
        }
    }
}

/// Writes a table of trials as CSV: number, state, score, resource, a column for each parameter, and the error.
///
/// # Errors
/// Fails if the writer fails.
pub fn write_csv(trials: &[Trial], out: impl std::io::Write) -> Result<(), csv::Error> {
    let paths: std::collections::BTreeSet<&str> =
        trials.iter().flat_map(|trial| trial.parameters.0.keys().map(String::as_str)).collect();
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(["trial", "state", "score", "resource"].into_iter().chain(paths.iter().copied()).chain(["error"]))?;
    for trial in trials {
        let score = trial.score.map_or(String::new(), |score| score.to_string());
        let start = [trial.number.to_string(), trial.state.as_str().to_owned(), score, trial.resource.to_string()];
        let values = paths.iter().map(|path| trial.parameters.0.get(*path).map_or(String::new(), yaml));
        writer.write_record(start.into_iter().chain(values).chain([trial.error.clone().unwrap_or_default()]))?;
    }
    Ok(writer.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_a_column_for_each_parameter() {
        let parameters = serde_json::from_str(r#"{"b": 0.5, "a": [1, 2]}"#).unwrap();
        let completed =
            Trial { state: State::Completed, resource: 9, score: Some(0.25), ..Trial::started(0, Suggestion::default()) };
        let failed = Trial { state: State::Failed, error: Some("no, thanks".to_owned()), ..Trial::started(1, parameters) };
        let mut out = Vec::new();
        write_csv(&[completed, failed], &mut out).unwrap();
        let expected = "trial,state,score,resource,a,b,error\n0,completed,0.25,9,,,\n1,failed,,0,\"[1,2]\",0.5,\"no, thanks\"\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
